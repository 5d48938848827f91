"""How others call notify."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import ClassVar, TypeVar

from services.kit.calls import DomainError
from services.notify.destination_client import DestinationClient
from services.notify.duty_client import DutyClient
from services.notify.shapes import Events, Message, Topic
from services.notify.wakeups import wakeups

T = TypeVar("T")
PAGE = 100
PATIENCE_S = 30.0
AGAIN_S = 0.5


class NotifyClient(DutyClient, DestinationClient):
    """Messages by topic, read by page or followed live."""

    service: ClassVar[str] = "notify"

    async def events(self, topic: str, *, area: str | None = None, after: int, limit: int = PAGE) -> Events:
        """A page of a topic's messages behind a number.

        Raises:
            DomainError: BAD_USER_INPUT for a topic or area that cannot be one.
        """
        found = await self.get(
            "/notify/events", {"topic": topic, "area": area, "after": after, "limit": limit}
        )
        return Events.model_validate(found)

    async def topic(self, topic: str) -> Topic:
        """The number to follow a topic from, from now on, and what calls when there is something new."""
        return Topic.model_validate(await self.get(f"/notify/topics/{topic}"))

    async def stream(
        self, topic: str, *, area: str | None = None, after: int | None = None
    ) -> AsyncGenerator[Message, None]:
        """Messages as they come, each once: those behind `after`, then for as long as the caller goes on.

        Whoever comes back with the `seq` of the last message it got misses none and gets none twice. It
        reads pages and is woken through the broker: the in-memory transport would buffer a stream.

        Raises:
            DomainError: the service refuses, as when the token's session has ended, or is away for long.
        """
        async with wakeups(self.calls.settings.redis_url) as calls:
            asked = await _patiently(partial(self.topic, topic))
            position = after if after is not None else asked.head
            while True:
                call = calls.next_call(asked.channel)
                page = await _patiently(partial(self.events, topic, area=area, after=position))
                for message in page.items:
                    yield message
                position = page.next
                if not page.more:
                    await calls.wait(call)


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What is read, also across a restart of the service: who listens is not sent away for that."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await read()
        except DomainError as error:
            if error.code not in {"SERVICE_UNAVAILABLE", "TIMEOUT"} or time.monotonic() > until:
                raise
            await asyncio.sleep(AGAIN_S)
