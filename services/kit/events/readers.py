"""Who takes in a service's log, and how far each is, as they tell the log's door.

The stream is trimmed behind the slowest of them and the log is kept for it; one that is not heard of for long
is not waited for any more and takes what it missed from the door.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from services.kit.database import Connection

BEHIND = 20_000
"""A reader further behind than this is told of: the stream grows by what it has not taken in."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a reader is behind the log's newest event."""

    reader: str
    behind: int
    heard_at: datetime


async def note_reader(db: "Connection", reader: str, log: UUID, position: int) -> None:
    """Notes up to where a reader has taken in the log."""
    await db.execute(
        """insert into outbox_reader (reader, log, position) values ($1, $2, $3)
           on conflict (reader) do update
               set log = excluded.log, position = excluded.position, heard_at = now()""",
        reader,
        log,
        position,
    )


def slowest_sql(days: int) -> str:
    """Up to where every reader heard of in these days has the log; null when there is none."""
    return f"""select min(case when reader.log = head.log then least(reader.position, head.position)
                               else 0 end)
               from outbox_reader reader, outbox_head head
               where reader.heard_at > now() - interval '{days} days'"""


async def lag(db: "Connection") -> list[Lag]:
    """Every reader ever heard of, by name."""
    rows = await db.fetch(
        """select reader.reader, reader.heard_at,
               head.position - case when reader.log = head.log then least(reader.position, head.position)
                                    else 0 end as behind
           from outbox_reader reader, outbox_head head order by reader.reader"""
    )
    return [Lag(row["reader"], row["behind"], row["heard_at"]) for row in rows]
