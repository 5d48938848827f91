"""Messages by topic."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from services.kit.database import Connection, Row


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message before it has its number; for one person, for one organisation's staff, or for a topic."""

    topic: str
    event_id: UUID
    time: datetime
    area: str | None
    data: dict[str, Any]
    recipient: str | None = None
    organisation: str | None = None


async def insert_messages(db: Connection, messages: Sequence[NewMessage]) -> None:
    """In the order given, numbered without gaps; one that is there already is left as it is.

    Numbers are given under the head's lock, which is held until the commit: so this comes last in it.
    """
    await db.execute(
        """with given as (
               select * from unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[],
                   $6::text[], $7::text[]) with ordinality
                   as given (topic, event_id, time, area, data, recipient, organisation, place)
           ), fresh as (
               select *, row_number() over (order by place) as step from given
               where not exists (select from message as known
                   where known.event_id = given.event_id and known.topic = given.topic
                       and known.recipient is not distinct from given.recipient)
           ), head as (
               update message_head set seq = seq + (select count(*) from fresh)
               where exists (select from fresh)
               returning seq - (select count(*) from fresh) as base
           )
           insert into message (seq, topic, event_id, time, area, data, recipient, organisation)
           select head.base + step, topic, event_id, time, area, data::jsonb, recipient, organisation
           from fresh, head order by step""",
        [one.topic for one in messages],
        [one.event_id for one in messages],
        [one.time for one in messages],
        [one.area for one in messages],
        [orjson.dumps(one.data, default=str).decode() for one in messages],
        [one.recipient for one in messages],
        [one.organisation for one in messages],
    )


async def head(db: Connection) -> int:
    found: int = await db.fetchval("select seq from message_head")
    return found


async def whom(db: Connection, after: int) -> list[Row]:
    """For whom there are messages behind a number."""
    return await db.fetch(
        "select topic, recipient, organisation from message where seq > $1 group by 1, 2, 3", after
    )


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
