"""Messages by topic: taken in from the services' events, once each, and read in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.database import Connection, Transaction
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem
from services.kit.waking import wake
from services.notify import repository
from services.notify.recipients import recipients_of
from services.notify.repository.messages import NewMessage
from services.notify.shapes import Events, Message, Topic

INBOX = "inbox"
"""What one person is told, who alone may read it."""
PRIVACY = "privacy"
"""What the privacy officers of an organisation are told."""
UNACKNOWLEDGED = "unacknowledged"
"""Facts that nobody acknowledged, or that nobody was there for: for whoever keeps rosters, and operators."""
TOPICS = {"transport.warning.": "crowd-warnings", "health.emergency_access.": PRIVACY}
"""Which events become messages of which topic, by the beginning of their type."""
NAMED = ("health.treatment.",)
"""Which events are for those alone whom they name."""
KNOWN_TOPICS = (*TOPICS.values(), INBOX, UNACKNOWLEDGED)
FRESH = "notify announcements"
PAGE = 500


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may read a message: one person, by all their ids; one organisation's staff; or else everybody with
    the scope."""

    organisation: str | None = None
    recipients: tuple[str, ...] | None = None

    def channel(self, topic: str) -> str:
        """What is called when there is something new for this audience; names nobody."""
        return channel(topic, self.recipients[0] if self.recipients else None, self.organisation)


async def add(tx: Transaction, rows: Sequence[NewMessage]) -> None:
    """New messages, each once; whoever follows them is called after the commit."""
    if rows:
        await repository.insert_messages(tx, rows)
        tx.after_commit(lambda: wake(FRESH))


def audience(kit: Kit, who: Principal, topic: str) -> Audience:
    """Which of a topic's messages the caller may read.

    Raises:
        Problem: 400 for a topic there is not; 403 for one that is not the caller's.
    """
    check_topic(topic)
    if topic == INBOX:
        return own_inbox(kit, who)
    if topic == PRIVACY:
        kit.permitted(
            who,
            "stream.read",
            Resource("Notify::Message", id=topic, organisation=who.organisation, special=True),
        )
        return Audience(organisation=who.organisation)
    action = "escalations.read" if topic == UNACKNOWLEDGED else "stream.read"
    kit.permitted(who, action, Resource("Notify::Message", id=topic))
    return Audience()


def own_inbox(kit: Kit, who: Principal) -> Audience:
    """Raises Problem 403 for a caller who is nobody that could be told."""
    # Staff are known by their account, and ask for nothing but what is under it.
    mine = ("self",) if who.kind == "staff" else ()
    kit.permitted(who, "inbox.read", Resource("Notify::Inbox", id=INBOX, owner=who.sector_id), relations=mine)
    return Audience(recipients=recipients_of(who))


def channel(topic: str, recipient: str | None, organisation: str | None) -> str:
    """The broker's name for those who follow a topic, or their part of it: no id stands in it."""
    whose = recipient or organisation
    return topic if whose is None else f"{topic}:{sha256(whose.encode()).hexdigest()[:32]}"


def check_topic(topic: str) -> None:
    """Raises Problem 400 for a topic there is not."""
    if topic not in KNOWN_TOPICS:
        known = ", ".join(sorted(KNOWN_TOPICS))
        message = f"there is no topic {topic!r}; topics are: {known}"
        raise Problem(400, "unknown_topic", message, faults=[Fault(message, field="topic")])


async def topic_head(db: Connection, audience: Audience, topic: str) -> Topic:
    return Topic(topic=topic, head=await repository.head(db), channel=audience.channel(topic))


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
