"""Warnings, the steps of their episodes, acknowledgements."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.kit.database import Connection, Row

_WARNING = """
select w.*, z.area, z.name_zh, z.name_en, z.site
  from warning w join zone z on z.id = w.zone
"""


async def leave_level(db: Connection, zone: str, state: str, at: datetime) -> UUID | None:
    """The warning that held until now no longer does; `ended` closes the whole episode's."""
    found: UUID | None = await db.fetchval(
        "update warning set state = $2, changed_at = $3 where zone = $1 and state = 'active' returning id",
        zone,
        state,
        at,
    )
    return found


async def end_episode(db: Connection, zone: str, episode: int, at: datetime) -> None:
    await db.execute(
        "update warning set state = 'ended', ended_at = $3, changed_at = $3 where zone = $1 and episode = $2",
        zone,
        episode,
        at,
    )


async def enter_level(
    db: Connection,
    *,
    id: UUID,
    zone: str,
    policy: UUID,
    episode: int,
    level: int,
    cause: str,
    people: int,
    capacity: int,
    at: datetime,
) -> UUID:
    """The warning of this level in this episode, made or taken up again; its acknowledgement stands."""
    found: UUID = await db.fetchval(
        """insert into warning (id, zone, policy, episode, level, state, cause, people, capacity,
                                raised_at, changed_at)
           values ($1, $2, $3, $4, $5, 'active', $6, $7, $8, $9, $9)
           on conflict (zone, policy, episode, level)
           do update set state = 'active', changed_at = excluded.changed_at
           returning id""",
        id,
        zone,
        policy,
        episode,
        level,
        cause,
        people,
        capacity,
        at,
    )
    return found


async def insert_change(
    db: Connection,
    *,
    zone: str,
    episode: int,
    revision: int,
    kind: str,
    level: int,
    previous: int,
    people: int,
    capacity: int,
    at: datetime,
    warning: UUID,
    event: UUID,
) -> None:
    await db.execute(
        """insert into warning_change
               (zone, episode, revision, kind, level, previous, people, capacity, at, warning, event)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        zone,
        episode,
        revision,
        kind,
        level,
        previous,
        people,
        capacity,
        at,
        warning,
        event,
    )


async def warnings_by_id(db: Connection, ids: Sequence[UUID]) -> list[Row]:
    return await db.fetch(f"{_WARNING} where w.id = any($1)", list(ids))


async def warnings_in(
    db: Connection,
    *,
    area: str,
    zones: Sequence[str] | None,
    open_only: bool,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Row]:
    """Newest first."""
    at, id = before or (None, None)
    return await db.fetch(
        f"""{_WARNING}
            where starts_with(z.area, $1) and ($2::text[] is null or w.zone = any($2))
              and (not $3 or w.state <> 'ended')
              and ($4::timestamptz is null or (w.raised_at, w.id) < ($4, $5))
            order by w.raised_at desc, w.id desc limit $6""",
        area,
        None if zones is None else list(zones),
        open_only,
        at,
        id,
        limit,
    )


async def warnings_of_zones(db: Connection, zones: Sequence[str], each: int) -> list[Row]:
    """The newest few of each zone."""
    return await db.fetch(
        """select w.*, z.area, z.name_zh, z.name_en, z.site
             from unnest($1::text[]) as wanted(id)
             join zone z on z.id = wanted.id
             cross join lateral (select * from warning w where w.zone = z.id
                                  order by w.raised_at desc, w.id desc limit $2) w
            order by w.zone, w.raised_at desc, w.id desc""",
        list(zones),
        each,
    )


async def changes_of(
    db: Connection, zone: str, *, episode: int | None, after: tuple[int, int], limit: int
) -> list[Row]:
    """The steps of a zone's episodes, oldest first."""
    return await db.fetch(
        """select * from warning_change
            where zone = $1 and ($2::int is null or episode = $2) and (episode, revision) > ($3, $4)
            order by episode, revision limit $5""",
        zone,
        episode,
        *after,
        limit,
    )


async def acknowledge(
    db: Connection, id: UUID, *, by: str, organisation: str | None, note: str | None
) -> bool:
    """False when somebody had done so before, or there is no such warning."""
    found = await db.fetchval(
        """update warning set acknowledged_by = $2, acknowledged_for = $3, note = $4, acknowledged_at = now()
            where id = $1 and acknowledged_at is null returning true""",
        id,
        by,
        organisation,
        note,
    )
    return found is True
