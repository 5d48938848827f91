"""Live streams: server-sent events with replay (WHATWG HTML, section 9.2).

There is no queue between the messages and a subscriber: each reads on from its own number as fast as it takes
in, so a slow one costs one page of memory and nobody waits for it. Those who stand at the same number and may
read the same read one page together.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

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
) -> AsyncGenerator[bytes, None]:
    """Frames from a number on, or from now; ends when the token does."""
    async with wakeups(kit.settings.redis_url) as calls:
        position = after if after is not None else await _head(kit)
        # An id without data moves the reader's Last-Event-ID: a break before the first message loses nothing.
        yield f"retry: {RETRY_MS}\nid: {position}\n\n".encode()
        spoke = time.monotonic()
        while (left := who.expires_at - time.time()) > 0:
            call = calls.next_call(audience.channel(topic))
            page = await _together(kit, audience, topic, area, position, call)
            position = page.next
            if page.frames:
                yield page.frames
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= HEARTBEAT_S:
                yield f": still here\nid: {position}\n\n".encode()
                spoke = time.monotonic()
            if not page.more:
                await calls.wait(call, at_most_s=min(left, HEARTBEAT_S))
        yield b'event: closed\ndata: {"reason":"token_expired"}\n\n'


@dataclass(frozen=True, slots=True)
class _Page:
    """Messages as they are sent, and where to go on."""

    frames: bytes
    next: int
    more: bool


_reading: dict[tuple[object, ...], "asyncio.Task[_Page]"] = {}
"""Pages that are being read, by all that decides what stands in them."""


async def _together(
    kit: Kit, audience: Audience, topic: str, area: str | None, after: int, call: asyncio.Event
) -> _Page:
    """The page, read once for all who ask for the same at the same time.

    The call that each waits for next belongs to what they ask: whoever was called since must not be given
    what was read before.
    """
    key = (kit.db, audience, topic, area, after, call)
    reading = _reading.get(key)
    if reading is None:
        reading = _reading[key] = asyncio.create_task(_read(kit, audience, topic, area, after))
        reading.add_done_callback(lambda _: _reading.pop(key))
    return await asyncio.shield(reading)


async def _read(kit: Kit, audience: Audience, topic: str, area: str | None, after: int) -> _Page:
    async with kit.db.read() as connection:
        page = await messages.page(connection, audience, topic=topic, area=area, after=after, limit=PAGE)
    return _Page(b"".join(map(_frame, page.items)), page.next, page.more)


async def _head(kit: Kit) -> int:
    async with kit.db.read() as connection:
        return await repository.head(connection)


def _frame(message: Message) -> bytes:
    data = orjson.dumps(message.model_dump(mode="json"))
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (message.seq, message.topic.encode(), data)


async def announcements(kit: Kit) -> None:
    """After each commit of new messages calls those whom they are for, for as long as the service runs."""
    with woken(messages.FRESH) as fresh:
        called = await _head(kit)
        while True:
            await fresh.wait()
            fresh.clear()
            async with kit.db.read() as connection:
                seq = await repository.head(connection)
                rows = await repository.whom(connection, called)
            channels = {messages.channel(row["topic"], row["recipient"], row["organisation"]) for row in rows}
            called = seq
            try:
                await announce(kit.redis, channels, seq)
            except (RedisError, OSError) as error:
                telemetry.logger(kit.name).warning(
                    "the broker does not take calls, subscribers look by themselves",
                    extra={"error": repr(error)},
                )
