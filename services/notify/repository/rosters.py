"""Duty rosters: who is on duty when. Hours and days are those of Asia/Shanghai."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

ON_DUTY = """
    clock as (select $1::timestamptz at time zone 'Asia/Shanghai' as local),
    on_duty as (
        select duty.roster, coalesce(swap.substitute, duty.recipient) as recipient, duty.tier,
            (days.day + duty.ends + case when duty.ends <= duty.starts then interval '1 day' else '0' end)
                at time zone 'Asia/Shanghai' as until
        from clock
        cross join lateral (values (local::date), (local::date - 1)) as days (day)
        join duty on extract(isodow from days.day)::smallint = any(duty.weekdays)
            and days.day >= duty.first_day
            and (duty.last_day is null or days.day <= duty.last_day)
            and local >= days.day + duty.starts
            and local < days.day + duty.ends
                + case when duty.ends <= duty.starts then interval '1 day' else '0' end
        left join duty_swap as swap on swap.roster = duty.roster and swap.day = days.day
            and swap.recipient = duty.recipient and swap.accepted_at is not null
    )
"""
"""Who is on duty at $1: today's duties, and yesterday's that go on over midnight."""


async def reachable(
    db: Connection,
    at: datetime,
    asked: Sequence[tuple[str | None, str | None, int, int | None]],
) -> list[Row]:
    """Whom the rosters name: of each (area, site, level, tier) asked for, by its place from 1.

    A tier of None means everybody whom the rosters have, on duty or not.
    """
    return await db.fetch(
        f"""with {ON_DUTY}, asked as (
                select * from unnest($2::text[], $3::text[], $4::smallint[], $5::smallint[]) with ordinality
                    as asked (area, site, level, tier, place)
            )
            select distinct asked.place, someone.recipient
            from asked
            join roster on closed_at is null and starts_with(coalesce(asked.area, ''), area_prefix)
                and (sites is null or asked.site = any(sites)) and asked.level >= from_level
            join lateral (
                select recipient from on_duty where on_duty.roster = roster.id and on_duty.tier = asked.tier
                union
                select recipient from roster_member
                where roster_member.roster = roster.id and confirmed_at is not null and asked.tier is null
            ) as someone on true""",
        at,
        [area for area, _, _, _ in asked],
        [site for _, site, _, _ in asked],
        [level for _, _, level, _ in asked],
        [tier for _, _, _, tier in asked],
    )


async def on_duty(db: Connection, at: datetime, rosters: Sequence[UUID]) -> list[Row]:
    return await db.fetch(
        f"""with {ON_DUTY}
            select roster, recipient as member, name, tier, until
            from on_duty join roster_member using (roster, recipient)
            where roster = any($2::uuid[]) order by roster, tier, until, recipient""",
        at,
        rosters,
    )


async def insert(db: Connection, roster: Mapping[str, Any]) -> None:
    await db.execute(
        """insert into roster (id, organisation, name_zh, name_en, area, area_prefix, sites, from_level,
               kept_by, kept_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
        *(roster[name] for name in ("id", "organisation", "name_zh", "name_en", "area", "area_prefix")),
        *(roster[name] for name in ("sites", "from_level", "kept_by", "kept_at")),
    )


async def update(db: Connection, roster: Mapping[str, Any]) -> None:
    await db.execute(
        """update roster set name_zh = $2, name_en = $3, area = $4, area_prefix = $5, sites = $6,
               from_level = $7, kept_by = $8, kept_at = $9 where id = $1""",
        *(roster[name] for name in ("id", "name_zh", "name_en", "area", "area_prefix", "sites")),
        *(roster[name] for name in ("from_level", "kept_by", "kept_at")),
    )


async def close(db: Connection, id: UUID, at: datetime) -> None:
    await db.execute("update roster set closed_at = $2 where id = $1", id, at)


async def one(db: Connection, id: UUID) -> Row | None:
    """The roster if it is open."""
    return await db.fetchrow("select * from roster where id = $1 and closed_at is null", id)


async def lock(db: Connection, id: UUID) -> None:
    """Nobody else changes the roster until the commit."""
    await db.execute("select from roster where id = $1 for update", id)


async def listed(
    db: Connection, *, area: str, prefixes: Sequence[str] | None, after: UUID | None, limit: int
) -> list[Row]:
    """Open rosters that have to do with an area: inside it, or around it."""
    return await db.fetch(
        """select * from roster
           where closed_at is null and (starts_with(area_prefix, $1) or starts_with($1, area_prefix))
               and ($2::text[] is null or exists (
                   select from unnest($2::text[]) as right_for
                   where starts_with(area_prefix, right_for) or starts_with(right_for, area_prefix)))
               and ($3::uuid is null or id > $3)
           order by id limit $4""",
        area,
        prefixes,
        after,
        limit,
    )


async def members(db: Connection, rosters: Sequence[UUID]) -> list[Row]:
    return await db.fetch(
        """select roster, recipient, name, joined_at, confirmed_at from roster_member
           where roster = any($1::uuid[]) order by joined_at, recipient""",
        rosters,
    )


async def member(db: Connection, roster: UUID, recipient: str) -> Row | None:
    return await db.fetchrow(
        "select * from roster_member where roster = $1 and recipient = $2", roster, recipient
    )


async def join(db: Connection, roster: UUID, recipient: str, name: str, at: datetime) -> None:
    """A second time it changes the name."""
    await db.execute(
        """insert into roster_member (roster, recipient, name, joined_at) values ($1, $2, $3, $4)
           on conflict (roster, recipient) do update set name = excluded.name""",
        roster,
        recipient,
        name,
        at,
    )


async def confirm(db: Connection, roster: UUID, recipient: str, by: str, at: datetime) -> bool:
    """Whether there is such a member."""
    done = await db.execute(
        """update roster_member set confirmed_by = coalesce(confirmed_by, $3),
               confirmed_at = coalesce(confirmed_at, $4)
           where roster = $1 and recipient = $2""",
        roster,
        recipient,
        by,
        at,
    )
    return done == "UPDATE 1"


async def remove(db: Connection, roster: UUID, recipient: str) -> bool:
    """With the member's duties and swaps; whether there was one."""
    done = await db.execute(
        "delete from roster_member where roster = $1 and recipient = $2", roster, recipient
    )
    return done == "DELETE 1"


async def duties(db: Connection, rosters: Sequence[UUID]) -> list[Row]:
    return await db.fetch(
        """select roster, recipient as member, tier, weekdays, starts, ends, first_day, last_day from duty
           where roster = any($1::uuid[]) order by roster, place""",
        rosters,
    )


async def replace_duties(db: Connection, roster: UUID, rows: Sequence[Sequence[Any]]) -> None:
    """Rows of (recipient, tier, weekdays, starts, ends, first day, last day), in their order."""
    await db.execute("delete from duty where roster = $1", roster)
    await db.copy_records_to_table(
        "duty",
        columns=(
            *("roster", "place", "recipient", "tier", "weekdays", "starts", "ends"),
            *("first_day", "last_day"),
        ),
        records=[(roster, place, *row) for place, row in enumerate(rows)],
    )


async def swaps(db: Connection, rosters: Sequence[UUID], since: date) -> list[Row]:
    return await db.fetch(
        """select id, roster, day, recipient as member, substitute, accepted_at is not null as accepted
           from duty_swap where roster = any($1::uuid[]) and day >= $2 order by day, id""",
        rosters,
        since,
    )


async def ask_swap(db: Connection, swap: Mapping[str, Any]) -> Row:
    """A second one for the same day takes the place of the first."""
    row = await db.fetchrow(
        """insert into duty_swap (id, roster, day, recipient, substitute, asked_by, asked_at, accepted_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (roster, day, recipient) do update set substitute = excluded.substitute,
               asked_by = excluded.asked_by, asked_at = excluded.asked_at, accepted_at = excluded.accepted_at
           returning id, roster, day, recipient as member, substitute, accepted_at is not null as accepted""",
        *(swap[name] for name in ("id", "roster", "day", "member", "substitute", "asked_by", "asked_at")),
        swap["accepted_at"],
    )
    assert row is not None
    return row


async def accept_swap(db: Connection, id: UUID, substitute: str, at: datetime) -> Row | None:
    """None when nothing of the kind is asked of them."""
    return await db.fetchrow(
        """update duty_swap set accepted_at = coalesce(accepted_at, $3) where id = $1 and substitute = $2
           returning id, roster, day, recipient as member, substitute, accepted_at is not null as accepted""",
        id,
        substitute,
        at,
    )
