"""Messages by topic: taken in from the services' events, once each, and read in their order."""

from dataclasses import dataclass

from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.database import Connection, Transaction
from services.kit.events import Event
from services.kit.policy import Resource
from services.kit.principals import Principal, unseal
from services.kit.problems import Fault, Problem
from services.kit.settings import Settings
from services.kit.waking import wake
from services.notify import repository
from services.notify.shapes import Events, Message, Topic

INBOX = "inbox"
"""What one person is told, who alone may read it."""
PRIVACY = "privacy"
"""What the privacy officers of an organisation are told."""
TOPICS = {"transport.warning.": "crowd-warnings", "health.emergency_access.": PRIVACY}
"""Which events become messages of which topic, by the beginning of their type."""
KNOWN_TOPICS = (*TOPICS.values(), INBOX)
FRESH = "notify announcements"
PAGE = 500


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may read a message: one person, by all their ids; one organisation's staff; or else everybody with
    the scope."""

    organisation: str | None = None
    recipients: tuple[str, ...] | None = None


async def take(tx: Transaction, event: Event) -> None:
    """The event's message, in the commit that notes the event as taken."""
    topic = next(topic for start, topic in TOPICS.items() if event.type.startswith(start))
    data = {"type": event.type, **event.data}
    sealed = data.pop("recipient", None)
    organisation = data["organisation"] if topic == PRIVACY else None
    told: list[tuple[str, str | None, str | None]] = [(topic, organisation, None)]
    if sealed is not None:
        key = Settings().secret_for("notify", "seal")
        told.append((INBOX, None, unseal(sealed, key)))
    for name, organisation, recipient in told:
        await repository.insert_message(
            tx,
            topic=name,
            area=event.area,
            time=event.time,
            event_id=event.id,
            data=data,
            recipient=recipient,
            organisation=organisation,
        )
    tx.after_commit(lambda: wake(FRESH))


def audience(kit: Kit, who: Principal, topic: str) -> Audience:
    """Which of a topic's messages the caller may read.

    Raises:
        Problem: 400 for a topic there is not; 403 for one that is not the caller's.
    """
    check_topic(topic)
    if topic == INBOX:
        kit.permitted(who, "inbox.read", Resource("Notify::Inbox", id=topic, owner=who.sector_id))
        return Audience(recipients=who.sector_ids)
    if topic == PRIVACY:
        kit.permitted(
            who,
            "stream.read",
            Resource("Notify::Message", id=topic, organisation=who.organisation, special=True),
        )
        return Audience(organisation=who.organisation)
    kit.permitted(who, "stream.read", Resource("Notify::Message", id=topic))
    return Audience()


def check_topic(topic: str) -> None:
    """Raises Problem 400 for a topic there is not."""
    if topic not in KNOWN_TOPICS:
        known = ", ".join(sorted(KNOWN_TOPICS))
        message = f"there is no topic {topic!r}; topics are: {known}"
        raise Problem(400, "unknown_topic", message, faults=[Fault(message, field="topic")])


async def topic_head(db: Connection, topic: str) -> Topic:
    check_topic(topic)
    return Topic(topic=topic, head=await repository.head(db))


async def page(
    db: Connection, audience: Audience, *, topic: str, area: str | None, after: int, limit: int
) -> Events:
    """Messages of a topic behind a number, in their order.

    Raises:
        Problem: 400 for a topic or area that cannot be one.
    """
    check_topic(topic)
    # The head first: what is numbered later is found again from there, whatever the filter left out.
    head = await repository.head(db)
    rows = await repository.messages(
        db,
        topic=topic,
        area=area_prefix(area),
        recipients=audience.recipients,
        organisation=audience.organisation,
        after=after,
        limit=limit,
    )
    items = [
        Message(
            seq=row["seq"],
            id=row["event_id"],
            topic=row["topic"],
            area=row["area"],
            time=row["time"],
            data=row["data"],
        )
        for row in rows
    ]
    full = len(items) == limit
    last = items[-1].seq if items else after
    return Events(items=items, next=last if full else max(last, head, after), more=full)
