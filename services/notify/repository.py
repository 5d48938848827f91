"""Every SQL statement of notify."""

from collections.abc import Sequence
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
    recipient: str | None = None,
    organisation: str | None = None,
) -> int | None:
    """The message's number; None when the event has its message of this topic already."""
    known = await db.fetchval("select true from message where event_id = $1 and topic = $2", event_id, topic)
    if known:
        return None
    seq: int = await db.fetchval(
        """with head as (update message_head set seq = seq + 1 returning seq)
           insert into message (seq, topic, area, time, event_id, data, recipient, organisation)
           select seq, $1, $2, $3, $4, $5, $6, $7 from head returning seq""",
        topic,
        area,
        time,
        event_id,
        data,
        recipient,
        organisation,
    )
    return seq


async def head(db: Connection) -> int:
    found: int = await db.fetchval("select seq from message_head")
    return found


async def messages(
    db: Connection,
    *,
    topic: str,
    area: str,
    recipients: Sequence[str] | None,
    organisation: str | None,
    after: int,
    limit: int,
) -> list[Row]:
    """Those for this reader, in their order; `area` is what the area's codes begin with."""
    return await db.fetch(
        """select seq, event_id, topic, area, time, data from message
            where topic = $1 and seq > $2 and ($3 = '' or starts_with(area, $3))
                and (recipient = any($4::text[]) or (recipient is null and $4 is null))
                and organisation is not distinct from $5
            order by seq limit $6""",
        topic,
        after,
        area,
        recipients,
        organisation,
        limit,
    )


async def count(db: Connection) -> int:
    found: int = await db.fetchval("select count(*) from message")
    return found
