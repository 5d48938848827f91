"""Deliveries: what is still to be told to whom by which way, and when it was.

`plan` and `announce` write what is to be told, in the commit of whoever tells it; the dispatcher of any
process sends it (services/notify/dispatcher.py). A delivery knows when its fact was raised, when it was first
sent, when the other side took it, and when somebody acknowledged the fact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.app import Kit
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Transaction
from services.kit.operations.shapes import Deliveries
from services.kit.problems import not_found
from services.kit.waking import wake
from services.notify.repository import deliveries as repository
from services.notify.repository.deliveries import Wanted
from services.notify.shapes import Delivery, DeliveryPage

DUE = "notify deliveries"
PARTNER = "organisation:"
"""What the name of an organisation's systems, as the owner of destinations, begins with."""


@dataclass(frozen=True, slots=True)
class Telling:
    """One notification for one recipient.

    Attributes:
        recipient: a person by the id of notify's sector, staff by their account's subject, or
            `organisation:<code>` for a partner's webhooks.
        notification: its id, the same on every channel and at every attempt.
        fact: aggregate of the event, as `transport.warning/<episode>`: what an acknowledgement stops.
        words: title and body by language.
        event: CloudEvents form, for webhooks.
        urgent: rings in quiet hours.
        not_before: end of quiet hours.
    """

    recipient: str
    notification: UUID
    fact: str
    words: dict[str, tuple[str, str]]
    event: dict[str, Any]
    urgent: bool
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What all are told who have subscribed to a topic.

    Attributes:
        organisation: whose subscriptions alone are told, where the topic is not for everybody.
        fact, event: as in `Telling`; the event's own id is the same at every attempt. Robots are told it in
            the words of its type.
    """

    topic: str
    organisation: str | None
    fact: str
    event: dict[str, Any]


async def plan(tx: Transaction, tellings: Sequence[Telling]) -> None:
    """One delivery for each of the recipients' destinations that wants it; a second time changes nothing."""
    there = await repository.owners_with_destinations(tx, sorted({one.recipient for one in tellings}))
    tellings = [one for one in tellings if one.recipient in there]
    if not tellings:
        return
    # A partner gets each event under the event's own id, by whichever way it concerns it.
    ids = [
        UUID(one.event["id"]) if one.recipient.startswith(PARTNER) else one.notification for one in tellings
    ]
    await _insert_told(tx, ids, tellings)
    rows = [
        _addressed(id, one.recipient, one.event, one.not_before)
        for id, one in zip(ids, tellings, strict=True)
    ]
    await repository.insert_deliveries_to_owners(tx, rows)
    tx.after_commit(lambda: wake(DUE))


async def followed_topics(db: Connection) -> set[str]:
    """The topics that somebody has subscribed to: of others there is nothing to announce."""
    return await repository.followed_topics(db)


async def announce(tx: Transaction, announcements: Sequence[Announcement]) -> None:
    """One delivery for each subscription to the topics that wants it; a second time changes nothing."""
    if not announcements:
        return
    ids = [UUID(one.event["id"]) for one in announcements]
    await _insert_told(tx, ids, announcements)
    rows = [_addressed(id, one.topic, one.event) for id, one in zip(ids, announcements, strict=True)]
    await repository.insert_deliveries_by_topic(tx, rows, [one.organisation for one in announcements])
    tx.after_commit(lambda: wake(DUE))


async def stop(tx: Transaction, facts: Sequence[str], at: datetime) -> None:
    """Acknowledged: what is still to be sent of these facts to people is not. Systems get every event."""
    if facts:
        await repository.stop_deliveries(tx, facts, at)


async def page(db: Connection, wanted: Wanted, *, after: str | None, limit: int) -> DeliveryPage:
    """The newest first.

    Raises:
        Problem: 400 for a cursor that is none.
    """
    last = whole_number(decode_cursor(after, 1)[0]) if after else None
    rows = await repository.deliveries(db, wanted, after=last, limit=limit)
    following = encode_cursor(rows[-1]["id"]) if len(rows) == limit else None
    items = [Delivery.model_validate(dict(row)) for row in rows]
    return DeliveryPage(items=items, next=following)


async def replay(tx: Transaction, owners: Sequence[str] | None, delivery: int) -> None:
    """Has a dead letter sent again, under the same id.

    Raises:
        Problem: 404 when there is no such dead letter of these owners whose destination is active.
    """
    if not await repository.replay_deliveries(tx, owners, id=delivery):
        raise not_found(f"there is no dead letter {delivery} of yours with an active destination")
    tx.after_commit(lambda: wake(DUE))


async def replay_all(tx: Transaction, owners: Sequence[str] | None, destination: UUID) -> int:
    """The same for all dead letters of one destination; how many there were."""
    found = await repository.replay_deliveries(tx, owners, destination=destination)
    tx.after_commit(lambda: wake(DUE))
    return found


async def _insert_told(tx: Transaction, ids: Sequence[UUID], told: Sequence[Telling | Announcement]) -> None:
    await repository.insert_told(
        tx,
        [
            {
                "id": id,
                "fact": one.fact,
                "event": one.event,
                "words": one.words if isinstance(one, Telling) else {},
                "urgent": isinstance(one, Telling) and one.urgent,
                "raised_at": _raised_at(one.event),
            }
            for id, one in zip(ids, told, strict=True)
        ],
    )


def _addressed(
    id: UUID, whom: str, event: dict[str, Any], not_before: datetime | None = None
) -> repository.Addressed:
    return id, whom, event["type"], event.get("area"), _raised_at(event), not_before


def _raised_at(event: dict[str, Any]) -> datetime:
    time = event["time"]
    return time if isinstance(time, datetime) else datetime.fromisoformat(time)


async def for_operators(_kit: Kit, db: Connection) -> dict[str, Any]:
    """The last day's deliveries by channel."""
    return {"deliveries": [Deliveries(**dict(row)) for row in await repository.deliveries_by_channel(db)]}
