"""The due-table of escalation: facts that somebody has to acknowledge."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

import orjson

from services.kit.database import Connection, Row
from services.notify.ladders import Climb

_NAMES = [field.name for field in fields(Climb)]
_COLUMNS = ", ".join(_NAMES)


async def open_of(db: Connection, things: Sequence[str]) -> list[Climb]:
    """The open facts of these, locked, in their order: every writer locks so."""
    rows = await db.fetch(
        f"""select {_COLUMNS} from escalation where thing = any($1::text[]) and over_at is null
            order by fact for update""",
        things,
    )
    return [_climb(row) for row in rows]


async def turned_back(db: Connection, at: datetime) -> None:
    """Where the clock stands before what it showed when a step was planned, the step is planned anew.

    How long it was turned back for cannot be known; so the rest of each wait begins again, and is at most
    twice as long as it should be, instead of longer by all that the clock was turned back.
    """
    await db.execute(
        """update escalation set since = since - (planned_at - $1), next_at = next_at - (planned_at - $1),
               planned_at = $1
           where fact = any(array(
               select fact from escalation where next_at is not null
                   and planned_at > $1::timestamptz + interval '1 second'
               for update skip locked))""",
        at,
    )


async def due(db: Connection, at: datetime, limit: int) -> list[Climb]:
    """Those whose next step is due, locked; whoever else looks meanwhile finds others."""
    rows = await db.fetch(
        f"""select {_COLUMNS} from escalation where next_at <= $1 order by next_at limit $2
            for update skip locked""",
        at,
        limit,
    )
    return [_climb(row) for row in rows]


async def put(db: Connection, climbs: Sequence[Climb]) -> None:
    """Writes them as they are now."""
    kept = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "fact")
    await db.execute(
        f"""insert into escalation ({_COLUMNS})
            select fact, thing, event::jsonb, area, site, level, since, step, told, planned_at, next_at,
                unattended_at, acknowledged_at, over_at
            from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[],
                $7::timestamptz[], $8::smallint[], $9::int[], $10::timestamptz[], $11::timestamptz[],
                $12::timestamptz[], $13::timestamptz[], $14::timestamptz[]) as climb ({_COLUMNS})
            on conflict (fact) do update set {kept}""",
        *(_column(climbs, name) for name in _NAMES),
    )


def _column(climbs: Sequence[Climb], name: str) -> list[object]:
    values = [getattr(climb, name) for climb in climbs]
    return [orjson.dumps(value).decode() for value in values] if name == "event" else values


async def listed(
    db: Connection,
    *,
    area: str,
    prefixes: Sequence[str] | None,
    open_only: bool,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[Climb]:
    """The newest first; `area` and `prefixes` are what the area's codes begin with."""
    rows = await db.fetch(
        f"""select {_COLUMNS} from escalation
            where ($1 = '' or starts_with(area, $1))
                and ($2::text[] is null or exists (
                    select from unnest($2::text[]) as right_for where starts_with(area, right_for)))
                and (not $3 or (over_at is null and acknowledged_at is null))
                and ($4::timestamptz is null or (since, fact) < ($4, $5))
            order by since desc, fact desc limit $6""",
        area,
        prefixes,
        open_only,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    return [_climb(row) for row in rows]


async def counts(db: Connection) -> Row:
    """How many facts wait for somebody, and how many of all met nobody on duty."""
    row = await db.fetchrow(
        """select count(*) filter (where over_at is null and acknowledged_at is null) as unacknowledged,
               count(*) filter (where unattended_at is not null) as unattended
           from escalation where over_at is null or unattended_at is not null"""
    )
    assert row is not None
    return row


def _climb(row: Row) -> Climb:
    return Climb(**{name: row[name] for name in _NAMES})
