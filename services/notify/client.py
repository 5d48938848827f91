"""How others call notify."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import ClassVar

from services.kit.calls import DomainError, ServiceClient
from services.notify.shapes import Events, Message, Topic
from services.notify.wakeups import wakeups

PAGE = 100
PATIENCE_S = 30.0
AGAIN_S = 0.5


class NotifyClient(ServiceClient):
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

    async def head(self, topic: str) -> int:
        """The number to follow a topic from, from now on."""
        return Topic.model_validate(await self.get(f"/notify/topics/{topic}")).head

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
            position = after if after is not None else await self.head(topic)
            while True:
                heard = calls.heard(topic)
                page = await self._patiently(topic, area, position)
                for message in page.items:
                    yield message
                position = page.next
                if not page.more:
                    await calls.wait(topic, heard)

    async def _patiently(self, topic: str, area: str | None, position: int) -> Events:
        """A page, also across a restart of the service: who listens is not sent away for that."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self.events(topic, area=area, after=position)
            except DomainError as error:
                if error.code not in {"SERVICE_UNAVAILABLE", "TIMEOUT"} or time.monotonic() > until:
                    raise
                await asyncio.sleep(AGAIN_S)
