"""Where recipients are told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_SHOWN = (
    """id, owner, channel, place, topic, types, area, language, state, reason, created_at, failing_since"""
)


SUBSCRIPTIONS = "fhir-subscriptions"
"""The topic of endpoints that are told by another service alone."""


async def endpoint_at(db: Connection, owner: str, target_hash: bytes) -> UUID | None:
    """The owner's endpoint of that address, locked against being removed before the commit."""
    found: UUID | None = await db.fetchval(
        """select id from destination
            where owner = $1 and target_hash = $2 and topic = $3 and state <> 'removed' for share""",
        owner,
        target_hash,
        SUBSCRIPTIONS,
    )
    return found


async def endpoint(db: Connection, id: UUID) -> Row | None:
    """What sending to it needs: state, target."""
    return await db.fetchrow(
        "select state, target from destination where id = $1 and topic = $2", id, SUBSCRIPTIONS
    )


async def insert_destination(db: Connection, **row: Any) -> bool:
    """False when the owner has it already."""
    names = ", ".join(row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    done = await db.execute(
        f"insert into destination ({names}) values ({places}) on conflict do nothing", *row.values()
    )
    return done == "INSERT 0 1"


async def count_destinations(db: Connection, owner: str) -> int:
    found: int = await db.fetchval(
        "select count(*) from destination where owner = $1 and state <> 'removed'", owner
    )
    return found


async def same_destination(
    db: Connection, owners: Sequence[str], channel: str, target_hash: bytes
) -> Row | None:
    """The owner's own one of that address, locked."""
    return await db.fetchrow(
        f"""select {_SHOWN}, target, code_until from destination
            where owner = any($1::text[]) and channel = $2 and target_hash = $3 and state <> 'removed'
            for update""",
        owners,
        channel,
        target_hash,
    )


async def renew_target(db: Connection, id: UUID, target: str, language: str) -> None:
    """A push subscription that was registered anew works again, whatever became of it before."""
    await db.execute(
        """update destination set target = $2, language = $3, state = 'active', reason = null,
                failing_since = null, rest_until = null where id = $1""",
        id,
        target,
        language,
    )


async def set_target(db: Connection, id: UUID, target: str) -> None:
    await db.execute("update destination set target = $2 where id = $1", id, target)


async def set_code(db: Connection, id: UUID, *, target: str, until: datetime) -> None:
    await db.execute(
        "update destination set target = $2, code_until = $3, code_tries = 0 where id = $1", id, target, until
    )


async def try_code(db: Connection, id: UUID, owners: Sequence[str]) -> Row | None:
    """Counts a try at the code of an address that is not verified yet; what it is compared with."""
    return await db.fetchrow(
        """update destination set code_tries = code_tries + 1
            where id = $1 and owner = any($2::text[]) and state = 'unverified'
            returning target, code_until, code_tries""",
        id,
        owners,
    )


async def verified(db: Connection, id: UUID, target: str) -> None:
    await db.execute(
        """update destination set state = 'active', target = $2, code_until = null
            where id = $1""",
        id,
        target,
    )


async def destination(db: Connection, id: UUID, owners: Sequence[str], channels: Sequence[str]) -> Row | None:
    """One of the owner's own, locked."""
    return await db.fetchrow(
        f"""select {_SHOWN}, target from destination
            where id = $1 and owner = any($2::text[]) and channel = any($3::text[]) and state <> 'removed'
            for update""",
        id,
        owners,
        channels,
    )


async def destinations(
    db: Connection, owners: Sequence[str], channels: Sequence[str], *, after: UUID | None, limit: int
) -> list[Row]:
    return await db.fetch(
        f"""select {_SHOWN} from destination
            where owner = any($1::text[]) and channel = any($2::text[]) and state <> 'removed'
                and ($3::uuid is null or id > $3)
            order by id limit $4""",
        owners,
        channels,
        after,
        limit,
    )


async def held_by_others(db: Connection, channel: str, target_hash: bytes, owner: str) -> list[UUID]:
    """The same address in the hands of others."""
    rows = await db.fetch(
        """select id from destination
            where channel = $1 and target_hash = $2 and owner <> $3 and state <> 'removed'""",
        channel,
        target_hash,
        owner,
    )
    return [row["id"] for row in rows]


async def activate(db: Connection, id: UUID) -> None:
    await db.execute(
        """update destination set state = 'active', reason = null, failing_since = null, rest_until = null
            where id = $1""",
        id,
    )


async def remove_destinations(db: Connection, ids: Sequence[UUID], reason: str) -> None:
    """Nothing of the address is kept; what was still to be sent there is not."""
    await db.execute(
        """with gone as (
               update destination set state = 'removed', target = '', reason = $2
               where id = any($1::uuid[]) returning id)
           update delivery set state = 'stopped', next_at = null, timed_at = now(), reason = $2
           from gone where destination = gone.id and state = 'waiting'""",
        ids,
        reason,
    )


async def disable_destinations(
    db: Connection, ids: Sequence[UUID], reason: str, *, failing_days: float = 0.0
) -> list[Row]:
    """Those of them that have failed for so many days; what waits for them becomes dead letters."""
    return await db.fetch(
        """with tired as (
               update destination set state = 'disabled', reason = $2,
                   failing_since = coalesce(failing_since, now())
               where id = any($1::uuid[]) and state = 'active'
                   and coalesce(failing_since, now()) <= now() - make_interval(secs => $3 * 86400)
               returning id, owner, channel, place, failing_since),
           letters as (
               update delivery set state = 'dead', next_at = null, timed_at = now(), reason = $2
               from tired where destination = tired.id and delivery.state = 'waiting')
           select * from tired""",
        ids,
        reason,
        failing_days,
    )
