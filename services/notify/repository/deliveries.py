"""What is told at which destination, and when it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.kit.database import Connection, Row
from services.notify.repository.destinations import SUBSCRIPTIONS

_COLUMNS = """d.id, d.destination, d.channel, t.place, d.told, told.fact, told.event ->> 'type' as type,
    d.state, d.attempts, d.next_at, d.raised_at, d.sent_at, d.delivered_at, d.acknowledged_at, d.reason
    from delivery d join destination t on t.id = d.destination join told on told.id = d.told"""
# What becomes of an owner's destinations is asked for by no filter.
_WANTS = """d.state = 'active' and (starts_with(told.type, 'notify.destination.') or (
    (d.types = '{}' or exists (select from unnest(d.types) as type where starts_with(told.type, type)))
    and (d.area is null or starts_with(coalesce(told.area, ''), d.area))))"""
_TELLING = """unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[])
    as told (id, whom, type, area, raised_at, not_before)"""
_CLAIMED = """
    update delivery d set attempts = d.attempts + 1, sent_at = coalesce(d.sent_at, now()),
        next_at = now() + make_interval(secs => $1), timed_at = now()
    from chosen, destination t, told
    where d.id = chosen.id and t.id = d.destination and told.id = d.told
    returning d.id, d.attempts, d.destination, d.channel, d.told, d.raised_at, told.fact, told.event,
        told.words, told.urgent, t.target, t.language, t.state, t.topic, t.holder"""


async def owners_with_destinations(db: Connection, owners: Sequence[str]) -> set[str]:
    rows = await db.fetch(
        "select distinct owner from destination where owner = any($1::text[]) and state = 'active'", owners
    )
    return {row["owner"] for row in rows}


async def insert_told(db: Connection, told: Sequence[dict[str, Any]]) -> None:
    """What is told already stays as it was."""
    await db.execute(
        """insert into told (id, fact, event, words, urgent, raised_at)
           select id, fact, event::jsonb, words::jsonb, urgent, raised_at from unnest(
               $1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[]
           ) as new (id, fact, event, words, urgent, raised_at)
           on conflict do nothing""",
        [one["id"] for one in told],
        [one["fact"] for one in told],
        [orjson.dumps(one["event"]).decode() for one in told],
        [orjson.dumps(one["words"]).decode() for one in told],
        [one["urgent"] for one in told],
        [one["raised_at"] for one in told],
    )


Addressed = tuple[UUID, str, str, str | None, datetime, datetime | None]
"""What is told, whom (an owner or a topic), the event's type and area, raised when, not before when."""


async def insert_deliveries_to_owners(db: Connection, rows: Sequence[Addressed]) -> None:
    """To each destination of the owner that wants it; a person's or a member of staff's group robots and
    webhooks have a topic, and are told by that."""
    await db.execute(
        f"""insert into delivery (destination, told, owner, channel, raised_at, next_at)
            select d.id, told.id, d.owner, d.channel, told.raised_at, coalesce(told.not_before, now())
            from {_TELLING} join destination d on d.owner = told.whom
            where {_WANTS} and (d.topic is null or starts_with(d.owner, 'organisation:'))
                and d.topic is distinct from '{SUBSCRIPTIONS}'
            on conflict do nothing""",
        *zip(*rows, strict=True),
    )


async def followed_topics(db: Connection) -> set[str]:
    rows = await db.fetch(
        "select distinct topic from destination where state = 'active' and topic is not null"
    )
    return {row["topic"] for row in rows}


async def insert_deliveries_by_topic(
    db: Connection, rows: Sequence[Addressed], organisations: Sequence[str | None]
) -> None:
    """To each destination that has subscribed to the topic; of what is for one organisation, to its own."""
    await db.execute(
        f"""insert into delivery (destination, told, owner, channel, raised_at, next_at)
            select d.id, told.id, d.owner, d.channel, told.raised_at, coalesce(told.not_before, now())
            from {_TELLING}
            join unnest($1::uuid[], $7::text[]) as for_whom (id, organisation) using (id)
            join destination d on d.topic = told.whom
            where {_WANTS}
                and (for_whom.organisation is null or d.organisation = for_whom.organisation)
            on conflict do nothing""",
        *zip(*rows, strict=True),
        organisations,
    )


async def insert_delivery(db: Connection, destination: UUID, told: UUID) -> None:
    await db.execute(
        """insert into delivery (destination, told, owner, channel, raised_at, next_at)
           select d.id, told.id, d.owner, d.channel, told.raised_at, told.raised_at
           from destination d, told where d.id = $1 and told.id = $2""",
        destination,
        told,
    )


async def stop_deliveries(db: Connection, facts: Sequence[str], at: datetime) -> None:
    await db.execute(
        """update delivery d set acknowledged_at = $2,
                state = case when state = 'waiting' and channel <> 'webhook' then 'stopped' else state end,
                reason = case when state = 'waiting' and channel <> 'webhook' then 'acknowledged'
                    else reason end,
                timed_at = case when state = 'waiting' and channel <> 'webhook' then now() else timed_at end,
                next_at = case when channel = 'webhook' then next_at end
           where d.id = any(array(
               select d.id from delivery d join told on told.id = d.told
               where told.fact = any($1::text[]) and d.acknowledged_at is null
               order by d.id for no key update of d))""",
        facts,
        at,
    )


async def turned_back(db: Connection) -> None:
    """Where the clock was ahead when times were said, and has been set back: what waits is due now."""
    await db.execute(
        """with early as (
               update delivery set next_at = now(), timed_at = now()
               where next_at is not null and timed_at > now() + interval '1 minute' returning destination)
           update destination set rest_until = null where id in (select destination from early)"""
    )


async def claim(
    db: Connection, *, lease_s: float, flying: dict[UUID, int], each: int, limit: int, window: int
) -> list[Row]:
    """Due deliveries of healthy destinations, at most `each` in flight for one, leased to the caller.

    Args:
        flying: how many the caller has in flight, by destination.
        window: how many of the longest due are looked at.
    """
    full = [destination for destination, number in flying.items() if number >= each]
    return await db.fetch(
        f"""with due as (
                select d.id, d.destination, d.next_at
                from delivery d join destination t on t.id = d.destination
                where d.next_at <= now() and d.destination <> all($2::uuid[]) and t.failing_since is null
                    and t.channel not in ('wecom', 'dingtalk')
                    and (t.rest_until is null or t.rest_until <= now())
                order by d.next_at limit $3),
            placed as (
                select id, destination, row_number() over (partition by destination order by next_at) as place
                from due),
            chosen as (
                select d.id from placed join delivery d using (id)
                left join unnest($4::uuid[], $5::int[]) as flying (destination, number)
                    on flying.destination = placed.destination
                where placed.place + coalesce(flying.number, 0) <= $6 and d.next_at <= now()
                order by d.next_at limit $7 for update of d skip locked)
            {_CLAIMED}""",
        lease_s,
        full,
        window,
        list(flying),
        list(flying.values()),
        each,
        limit,
    )


async def claim_slowly(db: Connection, *, lease_s: float, spacing_s: float, limit: int) -> list[Row]:
    """One due delivery of each robot and each failing destination that has rested; it rests again from now:
    a robot for its spacing, a failing one for a tenth of the time it has been failing, at most a minute."""
    return await db.fetch(
        f"""with free as (
                select id from destination t
                where state = 'active' and (failing_since is not null or channel in ('wecom', 'dingtalk'))
                    and (rest_until is null or rest_until <= now())
                    and exists (select from delivery where destination = t.id and next_at <= now())
                order by rest_until nulls first limit $3 for update skip locked),
            resting as (
                update destination t set rest_until = now() + greatest(
                    case when channel in ('wecom', 'dingtalk') then make_interval(secs => $2) end,
                    case when failing_since is not null
                        then least((now() - failing_since) / 10, interval '1 minute') end,
                    interval '0.2 seconds')
                from free where t.id = free.id),
            chosen as (
                select next.id from free cross join lateral (
                    select id from delivery where destination = free.id and next_at <= now()
                    order by next_at limit 1 for update skip locked) as next)
            {_CLAIMED}""",
        lease_s,
        spacing_s,
        limit,
    )


async def note_outcomes(
    db: Connection, outcomes: Sequence[tuple[int, int, str, float | None, str | None]]
) -> None:
    """What came of attempts: (delivery, attempt, state, pause in seconds until the next, reason).

    What somebody else has taken over meanwhile, or was acknowledged, is left alone; delivered is delivered.
    Locked in their order, as by everybody: an acknowledgement may stop some of them at the same time.
    """
    await db.execute(
        """with held as (select id from delivery where id = any($1::bigint[]) order by id for no key update)
           update delivery d set state = new.state, reason = new.reason,
                next_at = now() + make_interval(secs => new.pause_s), timed_at = now(),
                delivered_at = case new.state when 'delivered' then now() end
           from held join unnest($1::bigint[], $2::int[], $3::text[], $4::float8[], $5::text[])
                as new (id, attempts, state, pause_s, reason) using (id)
           where d.id = held.id
                and (new.state = 'delivered' or (d.state = 'waiting' and d.attempts = new.attempts))""",
        *zip(*outcomes, strict=True),
    )


async def note_health(db: Connection, healths: Sequence[tuple[UUID, bool, float]]) -> None:
    """How destinations do: (destination, whether one was delivered, how long it asks to be left alone, s)."""
    await db.execute(
        """with new as (
               select d.id, well, rest_s
               from destination d join unnest($1::uuid[], $2::boolean[], $3::float8[])
                    as new (id, well, rest_s) using (id)
               where not well or rest_s > 0 or d.failing_since is not null
               order by d.id for no key update of d)
           update destination d set
                failing_since = case when new.well then null else coalesce(d.failing_since, now()) end,
                rest_until = greatest(
                    case when not new.well or d.channel in ('wecom', 'dingtalk') then d.rest_until end,
                    now() + make_interval(secs => new.rest_s))
           from new where d.id = new.id""",
        *zip(*healths, strict=True),
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: of these owners, in this state, at this destination, of these notifications; None for
    any."""

    owners: Sequence[str] | None
    state: str | None = None
    destination: UUID | None = None
    told: Sequence[UUID] | None = None


async def deliveries(db: Connection, wanted: Wanted, *, after: int | None, limit: int) -> list[Row]:
    """The newest first."""
    # Said outright, not as "or null": each has an index, which a plan for any value would pass over.
    whose = "d.owner = any($1)" if wanted.owners is not None else "$1::text[] is null"
    which = "d.told = any($4)" if wanted.told is not None else "$4::uuid[] is null"
    dead = "and d.state = 'dead'" if wanted.state == "dead" else ""
    return await db.fetch(
        f"""select {_COLUMNS}
           where {whose} and {which} {dead} and ($2::text is null or d.state = $2)
                and ($3::uuid is null or d.destination = $3) and ($5::bigint is null or d.id < $5)
           order by d.id desc limit $6""",
        wanted.owners,
        wanted.state,
        wanted.destination,
        wanted.told,
        after,
        limit,
    )


async def replay_deliveries(
    db: Connection, owners: Sequence[str] | None, *, id: int | None = None, destination: UUID | None = None
) -> int:
    """Has dead letters sent again from the first attempt, where their destination is active; how many."""
    done = await db.execute(
        """update delivery d set state = 'waiting', attempts = 0, next_at = now(), timed_at = now(),
                reason = null
           from destination t
           where t.id = d.destination and t.state = 'active' and d.state = 'dead'
                and ($1::text[] is null or d.owner = any($1)) and ($2::bigint is null or d.id = $2)
                and ($3::uuid is null or d.destination = $3)""",
        owners,
        id,
        destination,
    )
    return int(done.rpartition(" ")[2])


async def deliveries_by_channel(db: Connection) -> list[Row]:
    """For the operators: the last day's by channel, and how long they took from when they were raised."""
    return await db.fetch(
        """select channel, raised, sent, delivered, acknowledged, waiting, dead,
               extract(epoch from sent_in[1])::float8 as sent_p50_s,
               extract(epoch from sent_in[2])::float8 as sent_p95_s,
               extract(epoch from delivered_in[1])::float8 as delivered_p50_s,
               extract(epoch from delivered_in[2])::float8 as delivered_p95_s
           from (
               select channel, count(*) as raised, count(sent_at) as sent, count(delivered_at) as delivered,
                   count(acknowledged_at) as acknowledged,
                   count(*) filter (where state = 'waiting') as waiting,
                   count(*) filter (where state = 'dead') as dead,
                   percentile_cont(array[0.5, 0.95]) within group (order by sent_at - raised_at) as sent_in,
                   percentile_cont(array[0.5, 0.95]) within group (order by delivered_at - raised_at)
                       as delivered_in
               from delivery where raised_at > now() - interval '1 day' group by channel
           ) as by_channel order by channel"""
    )
