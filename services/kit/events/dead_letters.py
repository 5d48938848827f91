"""Events whose effect failed: tried again with growing pauses, then left to a person."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from services.kit.events.log import Event

if TYPE_CHECKING:
    from services.kit.database import Connection, Row

ATTEMPTS = 12
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 60.0
"""Together they try for about five minutes, which outlasts a restart of whatever the handler needs."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that is not taken in.

    Attributes:
        reason: what its handler failed of, or that it waits behind an earlier event of its aggregate.
        next_at: when it is tried again; None when it waits for a person.
    """

    id: int
    event: Event
    attempts: int
    reason: str
    first_at: datetime
    next_at: datetime | None


def pause_s(attempts: int) -> float:
    return float(min(FIRST_PAUSE_S * 2**attempts, LONGEST_PAUSE_S))


async def park(db: "Connection", event: Event, *, attempts: int, reason: str) -> None:
    # What waits behind another has no pause of its own: it is due as soon as the one before it is gone.
    await db.execute(
        """insert into dead_letter
               (event_id, source, position, type, aggregate, event, attempts, reason, next_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))
           on conflict (event_id) do nothing""",
        event.id,
        event.source,
        event.seq,
        event.type,
        event.aggregate,
        event.form(),
        attempts,
        reason,
        pause_s(attempts) if attempts else 0.0,
    )


async def due(db: "Connection", limit: int = 20) -> list[DeadLetter]:
    """Those to be tried now: the first of each aggregate, if its pause is over."""
    rows = await db.fetch(
        """select id, event, attempts, reason, first_at, next_at from dead_letter as letter
           -- Further ahead than any pause lies only what was written before the clock was set back.
           where (next_at <= now() or next_at > now() + interval '5 minutes') and not exists (
               select from dead_letter as earlier
               where earlier.source = letter.source and earlier.aggregate = letter.aggregate
                   and earlier.position < letter.position)
           order by position limit $1""",
        limit,
    )
    return [_letter(row) for row in rows]


async def failed_again(db: "Connection", letter: DeadLetter, reason: str) -> None:
    attempts = letter.attempts + 1
    await db.execute(
        """update dead_letter set attempts = $2, reason = $3, next_at = now() + make_interval(secs => $4)
           where id = $1""",
        letter.id,
        attempts,
        reason,
        pause_s(attempts) if attempts < ATTEMPTS else None,  # no pause, no next time
    )


async def waiting_letters(db: "Connection", *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
    """All that wait, oldest first; `after` is the id of the last one seen."""
    rows = await db.fetch(
        """select id, event, attempts, reason, first_at, next_at from dead_letter
           where id > $1 order by id limit $2""",
        after,
        limit,
    )
    return [_letter(row) for row in rows]


async def replay(db: "Connection", dead_letter_id: int) -> bool:
    """Has a dead letter tried again at once, and what waits behind it after that.

    Returns:
        False when there is no such letter (any more).
    """
    done = await db.execute(
        "update dead_letter set attempts = 0, next_at = now() where id = $1", dead_letter_id
    )
    return done == "UPDATE 1"


async def taken(db: "Connection", letter_id: int) -> None:
    await db.execute("delete from dead_letter where id = $1", letter_id)


async def lock(db: "Connection", letter_id: int) -> bool:
    """Whether the letter is still there; nobody else touches it until the transaction ends."""
    return await db.fetchval("select true from dead_letter where id = $1 for update", letter_id) is not None


def _letter(row: "Row") -> DeadLetter:
    event = Event.parse(row["event"])
    return DeadLetter(row["id"], event, row["attempts"], row["reason"], row["first_at"], row["next_at"])
