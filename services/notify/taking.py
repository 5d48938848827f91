"""Taking events in: what each says becomes messages of its topic, and news for those it concerns."""

from collections.abc import Sequence

from services.kit.database import Transaction
from services.kit.events import Event
from services.kit.principals import unseal
from services.kit.settings import Settings
from services.notify import deliveries, escalation, messages, notifications
from services.notify.ladders import rule_of
from services.notify.repository.messages import NewMessage
from services.notify.repository.notifications import now

SEALED = "recipient"
"""Where an event carries whom it is for, sealed to notify."""


async def take(tx: Transaction, events: Sequence[Event]) -> None:
    """What follows from the events, in the commit that notes them as taken: a few statements, however many
    they are. Locks are taken in one order: facts, then the head of the messages."""
    at = await now(tx)
    await escalation.follow(tx, events, at)
    await notifications.tell(tx, _named(events), at)
    public = [event for event in events if not event.type.startswith(messages.NAMED)]
    new = [_message(event) for event in public]
    await messages.add(tx, new)
    followed = await deliveries.followed_topics(tx)
    told = [both for both in zip(new, public, strict=True) if both[0].topic in followed]
    await deliveries.announce(tx, [_announcement(*both) for both in told])


def _named(events: Sequence[Event]) -> list[notifications.Told]:
    """Those whom an event itself names."""
    named = [event for event in events if event.data.get(SEALED)]
    key = Settings().secret_for("notify", "seal") if named else b""
    return [
        notifications.Told(
            unseal(event.data[SEALED], key),
            event.form() | {"data": _open(event)},
            event.aggregate,
            urgent=False,
        )
        for event in named
    ]


def _message(event: Event) -> NewMessage:
    topic = next(topic for start, topic in messages.TOPICS.items() if event.type.startswith(start))
    organisation = event.data["organisation"] if topic == messages.PRIVACY else None
    data = {"type": event.type, **_open(event)}
    return NewMessage(topic, event.id, event.time, event.area, data, organisation=organisation)


def _announcement(message: NewMessage, event: Event) -> deliveries.Announcement:
    rule = rule_of(event.type)
    return deliveries.Announcement(
        topic=message.topic,
        organisation=message.organisation,
        fact=rule.fact_of(event.aggregate, event.data) if rule else event.aggregate,
        event=event.form() | {"data": _open(event)},
    )


def _open(event: Event) -> dict[str, object]:
    return {name: value for name, value in event.data.items() if name != SEALED}
