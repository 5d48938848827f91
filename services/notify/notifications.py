"""Notifications: who was told of what, each person of an event once, and what they have seen of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import not_found
from services.notify import deliveries, messages, templates
from services.notify.duty_shapes import ListOf, Notification, QuietHours, Words
from services.notify.ladders import rule_of
from services.notify.quiet_hours import quiet_until
from services.notify.recipients import recipients_of
from services.notify.repository import notifications as repository
from services.notify.repository.messages import NewMessage


@dataclass(frozen=True, slots=True)
class Told:
    """A person to be told of an event.

    Attributes:
        event: its CloudEvents form, without what is for one reader alone.
        tier: of the ladder, for a fact that climbs.
        urgent: rings in quiet hours.
    """

    recipient: str
    event: Mapping[str, Any]
    fact: str
    urgent: bool
    tier: int | None = None


async def tell(tx: Transaction, told: Sequence[Told], at: datetime) -> int:
    """Everybody in the commit that says so; how many there were who had not been told before."""
    if not told:
        return 0
    rows = [_row(one) for one in told]
    new = await repository.insert(tx, rows, at)
    fresh = [(row, one) for row, one in zip(rows, told, strict=True) if row.id in new]
    await deliveries.plan(tx, await _tellings(tx, fresh, at))
    await messages.add(tx, [_message(row, one) for row, one in fresh])
    return len(fresh)


def _row(one: Told) -> repository.NewNotification:
    event, rule = one.event, rule_of(one.event["type"])
    return repository.NewNotification(
        id=uuid7(),
        recipient=one.recipient,
        event_id=UUID(event["id"]),
        fact=one.fact,
        type=event["type"],
        tier=one.tier,
        level=rule.level_of(event["data"].get("level")) if rule else None,
        area=event.get("area"),
        urgent=one.urgent,
        words=templates.words_of(event, one.tier),
        acknowledge=one.fact if rule else None,
        raised_at=moment_of(event),
    )


def moment_of(event: Mapping[str, Any]) -> datetime:
    time = event["time"]
    return datetime.fromisoformat(time) if isinstance(time, str) else time


async def _tellings(
    db: Connection, fresh: Sequence[tuple[repository.NewNotification, Told]], at: datetime
) -> list[deliveries.Telling]:
    quiet = await repository.quiet_hours(db, [row.recipient for row, _ in fresh if not row.urgent])
    until = {recipient: quiet_until(at, QuietHours(**hours)) for recipient, hours in quiet.items()}
    return [
        deliveries.Telling(
            recipient=row.recipient,
            notification=row.id,
            fact=row.fact,
            words=row.words,
            event=dict(one.event),
            urgent=row.urgent,
            not_before=None if row.urgent else until.get(row.recipient),
        )
        for row, one in fresh
    ]


def _message(row: repository.NewNotification, one: Told) -> NewMessage:
    """What the person's own stream carries: the fact's own data, and the words."""
    words = {language: {"title": title, "body": body} for language, (title, body) in row.words.items()}
    data = {"type": row.type, **one.event["data"], "notification": str(row.id), "words": words}
    return NewMessage(messages.INBOX, row.event_id, row.raised_at, row.area, data, recipient=row.recipient)


async def told_of(db: Connection, facts: Sequence[str]) -> dict[str, set[str]]:
    """Who was told of each fact."""
    found: dict[str, set[str]] = {fact: set() for fact in facts}
    for row in await repository.told_of(db, facts):
        found[row["fact"]].add(row["recipient"])
    return found


async def mine(
    tx: Transaction, who: Principal, *, unread_only: bool, after: str | None, limit: int
) -> ListOf[Notification]:
    """A page of the caller's own, the newest first; they count as delivered from now on."""
    rows = await repository.of_recipients(
        tx, recipients_of(who), unread_only=unread_only, before=uuid_after(after), limit=limit + 1
    )
    shown = rows[:limit]
    new = [row["id"] for row in shown if row["delivered_at"] is None]
    at = await repository.now(tx)
    if new:
        await repository.mark_delivered(tx, new, at)
    following = encode_cursor(shown[-1]["id"]) if len(rows) > limit else None
    return ListOf(items=[_shape(row, delivered=at) for row in shown], next=following)


async def one(db: Connection, who: Principal, id: UUID) -> Notification:
    """Raises Problem 404 for one that is not the caller's."""
    row = await repository.one_of(db, id, recipients_of(who))
    if row is None:
        raise not_found(f"you have no notification {id}", code="no_notification")
    return _shape(row)


async def mark_read(tx: Transaction, who: Principal, id: UUID) -> Notification:
    """Raises Problem 404 for one that is not the caller's."""
    await repository.mark_read(tx, id, recipients_of(who), await repository.now(tx))
    return await one(tx, who, id)


def _shape(row: Row, delivered: datetime | None = None) -> Notification:
    same = set(Notification.model_fields) - {"zh", "en", "delivered_at"}
    return Notification(
        **{name: row[name] for name in same},
        delivered_at=row["delivered_at"] or delivered,
        **{language: Words(title=title, body=body) for language, (title, body) in row["words"].items()},
    )
