"""Every SQL statement of notify."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row


async def insert_message(
    db: Connection,
    *,
    topic: str,
    area: str | None,
    time: datetime,
    event_id: UUID,
    data: dict[str, Any],
) -> int | None:
    """The message's number; None when the event has its message already."""
    known = await db.fetchval("select true from message where event_id = $1", event_id)
    if known:
        return None
    seq: int = await db.fetchval(
        """with head as (update message_head set seq = seq + 1 returning seq)
           insert into message (seq, topic, area, time, event_id, data)
           select seq, $1, $2, $3, $4, $5 from head returning seq""",
        topic,
        area,
        time,
        event_id,
        data,
    )
    return seq


async def head(db: Connection) -> int:
    found: int = await db.fetchval("select seq from message_head")
    return found


async def messages(db: Connection, *, topic: str, area: str, after: int, limit: int) -> list[Row]:
    """In their order; `area` is what the area's codes begin with."""
    return await db.fetch(
        """select seq, event_id, topic, area, time, data from message
            where topic = $1 and seq > $2 and ($3 = '' or starts_with(area, $3))
            order by seq limit $4""",
        topic,
        after,
        area,
        limit,
    )


async def count(db: Connection) -> int:
    found: int = await db.fetchval("select count(*) from message")
    return found
