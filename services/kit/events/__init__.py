"""Events between services: each takes effect once, in the order of its source's log.

    publish     a row of the source's `outbox`, in the fact's own commit
    relay       numbers what is committed (position 1, 2, 3 …: the source's log) and puts it on a stream
    consume     takes the log in by position; cursor, inbox row and effect are one commit
    the door    GET /<prefix>/outbox gives the log to whoever finds a gap in the stream

PostgreSQL holds all of it. The stream is a short cut: its entries are numbered by the log's positions, so
that whatever the broker loses shows as a gap, which the consumer fills from the door.
"""

from services.kit.events.consumer import consume
from services.kit.events.dead_letters import DeadLetter, replay, waiting_letters
from services.kit.events.door import events_router
from services.kit.events.log import Draft, Event, Subscription, on, on_many, publish, publish_many
from services.kit.events.relay import relay

__all__ = [
    "DeadLetter",
    "Draft",
    "Event",
    "Subscription",
    "consume",
    "events_router",
    "on",
    "on_many",
    "publish",
    "publish_many",
    "relay",
    "replay",
    "waiting_letters",
]
