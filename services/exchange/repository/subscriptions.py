"""SQL about subscriptions: to whom changes are pushed, and up to where they were taken."""

from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_NOTED_EVERY = "interval '10 seconds'"
_SUBSCRIPTION = """
select subscription.*, consumer, dataset, provider, needs_consent,
    agreement.state = 'active' and valid_from <= clock_timestamp() and clock_timestamp() < valid_until
        as in_force,
    case when agreement.state = 'ended' then 'ended' else subscription.state end as standing
from subscription join agreement on agreement.id = agreement_id"""


async def add(db: Connection, id: UUID, agreement: str) -> Row:
    """The agreement's one subscription: this one, when it had none."""
    await db.execute(
        """insert into subscription (id, agreement_id) values ($1, $2)
           on conflict (agreement_id) where state <> 'ended' do nothing""",
        id,
        agreement,
    )
    row = await db.fetchrow(
        f"{_SUBSCRIPTION} where agreement_id = $1 and subscription.state <> 'ended'", agreement
    )
    assert row is not None
    return row


async def of(db: Connection, consumer: str, *, before: UUID | None, limit: int) -> list[Row]:
    """A consumer's, newest first."""
    return await db.fetch(
        f"""{_SUBSCRIPTION} where consumer = $1 and ($2::uuid is null or subscription.id < $2)
            order by subscription.id desc limit $3""",
        consumer,
        before,
        limit,
    )


async def every(db: Connection, *, before: UUID | None, limit: int) -> list[Row]:
    """Newest first."""
    return await db.fetch(
        f"""{_SUBSCRIPTION} where $1::uuid is null or subscription.id < $1
            order by subscription.id desc limit $2""",
        before,
        limit,
    )


async def one(db: Connection, id: UUID, consumer: str | None = None) -> Row | None:
    """A subscription; of that consumer alone, when one is named."""
    return await db.fetchrow(
        f"{_SUBSCRIPTION} where subscription.id = $1 and ($2::text is null or consumer = $2)", id, consumer
    )


async def due(db: Connection, limit: int) -> list[Row]:
    """Those that may be pushed to now."""
    return await db.fetch(
        f"""select * from ({_SUBSCRIPTION}) as found
            where in_force and state = 'active' and next_at <= clock_timestamp()
            order by next_at, id limit $1""",
        limit,
    )


async def hold(db: Connection, row: Row) -> bool:
    """Locks it until the commit; False when it was ended, parked or begun anew meanwhile."""
    return bool(
        await db.fetchval(
            """select true from subscription where id = $1 and state = 'active' and batches = $2
                   and place is not distinct from $3 for no key update""",
            row["id"],
            row["batches"],
            row["place"],
        )
    )


async def moved(db: Connection, id: UUID, *, place: str, rows: int) -> None:
    """A batch was answered."""
    await db.execute(
        """update subscription set place = $2, rows = rows + $3, batches = batches + 1, attempts = 0,
               pushed_at = clock_timestamp(), next_at = clock_timestamp(), reason = null where id = $1""",
        id,
        place,
        rows,
    )


async def passed(db: Connection, id: UUID, place: str) -> None:
    """Nothing up to there was for the consumer."""
    await db.execute("update subscription set place = $2 where id = $1", id, place)


async def even(db: Connection, id: UUID) -> None:
    """Everything there is was told; not noted at every look."""
    await db.execute(
        f"""update subscription set even_at = clock_timestamp(), attempts = 0, reason = null
            where id = $1 and state = 'active'
                and (attempts > 0 or coalesce(even_at < clock_timestamp() - {_NOTED_EVERY}, true))""",
        id,
    )


async def put_off(db: Connection, row: Row, *, reason: str, seconds: float) -> None:
    """Unless it was resumed after this was read: what was refused before then is no reason to wait."""
    await db.execute(
        """update subscription set attempts = attempts + 1, reason = $3,
               next_at = clock_timestamp() + make_interval(secs => $4) where id = $1 and next_at = $2""",
        row["id"],
        row["next_at"],
        reason,
        seconds,
    )


async def park(db: Connection, id: UUID, reason: str) -> None:
    await db.execute(
        "update subscription set state = 'parked', reason = $2 where id = $1 and state = 'active'", id, reason
    )


async def pause(db: Connection, id: UUID, reason: str) -> bool:
    """False when there is nothing to hold back."""
    return bool(
        await db.fetchval(
            """update subscription set state = 'paused', reason = $2
               where id = $1 and state in ('active', 'parked') returning true""",
            id,
            reason,
        )
    )


async def resume(db: Connection, id: UUID, *states: str) -> bool:
    """Whether it was in one of these states, and goes on now."""
    return bool(
        await db.fetchval(
            """update subscription set state = 'active', attempts = 0, next_at = clock_timestamp(),
                   reason = null
               where id = $1 and state = any($2) returning true""",
            id,
            states,
        )
    )


async def at_once(db: Connection, agreement: str) -> None:
    """A push that was refused while the agreement was suspended need not wait out its pause."""
    await db.execute(
        "update subscription set next_at = clock_timestamp() where agreement_id = $1 and state = 'active'",
        agreement,
    )


async def end(db: Connection, id: UUID) -> None:
    await db.execute("update subscription set state = 'ended' where id = $1", id)


async def begin_anew(
    db: Connection, *, sector: str | None = None, id: UUID | None = None, seconds: float = 0
) -> None:
    """All is told again: of one subscription, or of those whose people go by ids of a sector."""
    values: list[Any] = [sector, id, seconds]
    await db.execute(
        """update subscription set place = null,
               next_at = greatest(next_at, clock_timestamp() + make_interval(secs => $3))
           from agreement where agreement.id = agreement_id and subscription.state <> 'ended'
               and (subscription.id = $2 or $1 in (provider, consumer))""",
        *values,
    )
