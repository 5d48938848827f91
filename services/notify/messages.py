"""Messages by topic: taken in from the services' events, once each, and read in their order."""

from services.kit.areas import area_prefix
from services.kit.database import Connection, Transaction
from services.kit.events import Event
from services.kit.problems import Fault, Problem
from services.kit.waking import wake
from services.notify import repository
from services.notify.shapes import Events, Message, Topic

TOPICS = {"transport.warning.": "crowd-warnings"}
"""Which events become messages of which topic, by the beginning of their type."""
FRESH = "notify announcements"
PAGE = 500


async def take(tx: Transaction, event: Event) -> None:
    """The event's message, in the commit that notes the event as taken."""
    topic = next(topic for start, topic in TOPICS.items() if event.type.startswith(start))
    await repository.insert_message(
        tx,
        topic=topic,
        area=event.area,
        time=event.time,
        event_id=event.id,
        data={"type": event.type, **event.data},
    )
    tx.after_commit(lambda: wake(FRESH))


def check_topic(topic: str) -> None:
    """Raises Problem 400 for a topic there is not."""
    if topic not in TOPICS.values():
        known = ", ".join(sorted(TOPICS.values()))
        message = f"there is no topic {topic!r}; topics are: {known}"
        raise Problem(400, "unknown_topic", message, faults=[Fault(message, field="topic")])


async def topic_head(db: Connection, topic: str) -> Topic:
    check_topic(topic)
    return Topic(topic=topic, head=await repository.head(db))


async def page(db: Connection, *, topic: str, area: str | None, after: int, limit: int) -> Events:
    """Messages of a topic behind a number, in their order.

    Raises:
        Problem: 400 for a topic or area that cannot be one.
    """
    check_topic(topic)
    # The head first: what is numbered later is found again from there, whatever the filter left out.
    head = await repository.head(db)
    rows = await repository.messages(db, topic=topic, area=area_prefix(area), after=after, limit=limit)
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
