"""Live streams: server-sent events with replay (WHATWG HTML, section 9.2).

There is no queue between the messages and a subscriber: each reads on from its own number as fast as it takes
in, so a slow one costs one page of memory and nobody waits for it.
"""

import time
from collections.abc import AsyncIterator

import orjson
from redis.exceptions import RedisError

from services.kit import telemetry
from services.kit.app import Kit
from services.kit.principals import Principal
from services.kit.waking import woken
from services.notify import messages, repository
from services.notify.messages import Audience
from services.notify.shapes import Message
from services.notify.wakeups import announce, wakeups

HEARTBEAT_S = 15.0
PAGE = 100
RETRY_MS = 1000
TOLD_WITHIN_S = 30.0


async def event_stream(
    kit: Kit, audience: Audience, *, who: Principal, topic: str, area: str | None, after: int | None
) -> AsyncIterator[bytes]:
    """Frames from a number on, or from now; ends when the token does."""
    async with wakeups(kit.settings.redis_url) as calls:
        position = after if after is not None else await _head(kit)
        # An id without data moves the reader's Last-Event-ID: a break before the first message loses nothing.
        yield f"retry: {RETRY_MS}\nid: {position}\n\n".encode()
        spoke = time.monotonic()
        while (left := who.expires_at - time.time()) > 0:
            heard = calls.heard(topic)
            async with kit.db.read() as connection:
                page = await messages.page(
                    connection, audience, topic=topic, area=area, after=position, limit=PAGE
                )
            position = page.next
            if page.items:
                yield b"".join(_frame(message) for message in page.items)
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= HEARTBEAT_S:
                yield f": still here\nid: {position}\n\n".encode()
                spoke = time.monotonic()
            if not page.more:
                await calls.wait(topic, heard, at_most_s=min(left, HEARTBEAT_S))
        yield b'event: closed\ndata: {"reason":"token_expired"}\n\n'


async def _head(kit: Kit) -> int:
    async with kit.db.read() as connection:
        return await repository.head(connection)


def _frame(message: Message) -> bytes:
    data = orjson.dumps(message.model_dump(mode="json"))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (message.seq, message.topic.encode(), data)


async def announcements(kit: Kit) -> None:
    """Calls out after each commit of new messages, for as long as the service runs."""
    with woken(messages.FRESH) as fresh:
        while True:
            await fresh.wait()
            fresh.clear()
            seq = await _head(kit)
            for topic in messages.KNOWN_TOPICS:
                try:
                    await announce(kit.redis, topic, seq)
                except (RedisError, OSError) as error:
                    telemetry.logger(kit.name).warning(
                        "the broker does not take calls, subscribers look by themselves",
                        extra={"error": repr(error)},
                    )
