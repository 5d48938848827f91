"""Notifications, and the quiet hours of those who get them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from uuid import UUID

import orjson

from services.kit.database import Connection, Row


@dataclass(frozen=True, slots=True)
class NewNotification:
    """As the table has it; see `services.notify.models.Notification`."""

    id: UUID
    recipient: str
    event_id: UUID
    fact: str
    type: str
    tier: int | None
    level: int | None
    area: str | None
    urgent: bool
    words: dict[str, tuple[str, str]]
    acknowledge: str | None
    raised_at: datetime


async def now(db: Connection) -> datetime:
    """The one clock that all processes of the service go by."""
    found: datetime = await db.fetchval("select clock_timestamp()")
    return found


async def insert(db: Connection, rows: Sequence[NewNotification], at: datetime) -> set[UUID]:
    """Tells each person of an event once; the ids of those who were not told of it before."""
    found = await db.fetch(
        """insert into notification (id, recipient, event_id, fact, type, tier, level, area, urgent, words,
               acknowledge, raised_at, sent_at)
           select id, recipient, event_id, fact, type, tier, level, area, urgent, words::jsonb, acknowledge,
               raised_at, $13
           from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::smallint[],
               $7::smallint[], $8::text[], $9::bool[], $10::text[], $11::text[], $12::timestamptz[])
               as told (id, recipient, event_id, fact, type, tier, level, area, urgent, words, acknowledge,
                   raised_at)
           on conflict (event_id, recipient) do nothing
           returning id""",
        [row.id for row in rows],
        [row.recipient for row in rows],
        [row.event_id for row in rows],
        [row.fact for row in rows],
        [row.type for row in rows],
        [row.tier for row in rows],
        [row.level for row in rows],
        [row.area for row in rows],
        [row.urgent for row in rows],
        [orjson.dumps(row.words).decode() for row in rows],
        [row.acknowledge for row in rows],
        [row.raised_at for row in rows],
        at,
    )
    return {row["id"] for row in found}


async def told_of(db: Connection, facts: Sequence[str]) -> list[Row]:
    """Who was told of each fact."""
    return await db.fetch(
        "select distinct fact, recipient from notification where fact = any($1::text[])", facts
    )


async def of_recipients(
    db: Connection, recipients: Sequence[str], *, unread_only: bool, before: UUID | None, limit: int
) -> list[Row]:
    """A person's, the newest first, with what has become of the fact."""
    return await db.fetch(
        """select notification.*, acknowledged_at, over_at
           from notification left join escalation using (fact)
           where recipient = any($1::text[]) and (not $2 or read_at is null)
               and ($3::uuid is null or id < $3)
           order by id desc limit $4""",
        recipients,
        unread_only,
        before,
        limit,
    )


async def one_of(db: Connection, id: UUID, recipients: Sequence[str]) -> Row | None:
    return await db.fetchrow(
        """select notification.*, acknowledged_at, over_at from notification left join escalation using (fact)
           where id = $1 and recipient = any($2::text[])""",
        id,
        recipients,
    )


async def mark_delivered(db: Connection, ids: Sequence[UUID], at: datetime) -> None:
    await db.execute(
        "update notification set delivered_at = $2 where id = any($1::uuid[]) and delivered_at is null",
        ids,
        at,
    )


async def mark_read(db: Connection, id: UUID, recipients: Sequence[str], at: datetime) -> None:
    await db.execute(
        """update notification set read_at = coalesce(read_at, $3), delivered_at = coalesce(delivered_at, $3)
           where id = $1 and recipient = any($2::text[])""",
        id,
        recipients,
        at,
    )


async def count(db: Connection) -> int:
    found: int = await db.fetchval("select count(*) from notification")
    return found


async def quiet_hours(db: Connection, recipients: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = await db.fetch(
        "select recipient, starts, ends, time_zone from quiet_hours where recipient = any($1::text[])",
        recipients,
    )
    return {row["recipient"]: {k: v for k, v in row.items() if k != "recipient"} for row in rows}


async def put_quiet_hours(db: Connection, recipient: str, starts: time, ends: time, time_zone: str) -> None:
    await db.execute(
        """insert into quiet_hours (recipient, starts, ends, time_zone) values ($1, $2, $3, $4)
           on conflict (recipient) do update
           set starts = excluded.starts, ends = excluded.ends, time_zone = excluded.time_zone""",
        recipient,
        starts,
        ends,
        time_zone,
    )


async def delete_quiet_hours(db: Connection, recipients: Sequence[str]) -> None:
    await db.execute("delete from quiet_hours where recipient = any($1::text[])", recipients)
