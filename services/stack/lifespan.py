"""An ASGI app's startup and shutdown, run by us: the front door holds several apps in one process."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Held:
    """An app with its lifespan and its lifespan state (ASGI lifespan specification 2.0)."""

    def __init__(self, name: str, app: ASGIApp) -> None:
        self.name = name
        self.app = app
        self._state: dict[str, Any] = {}
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "state": dict(self._state)}, receive, send)

    async def start(self) -> None:
        """Raises RuntimeError when the app's startup fails."""
        self._task = asyncio.create_task(self._run(), name=f"lifespan {self.name}")
        await self._turn("startup")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._turn("shutdown")
            await self._task

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        await self.app(scope, self._incoming.get, self._outgoing.put)

    async def _turn(self, phase: str) -> None:
        assert self._task is not None
        await self._incoming.put({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(self._outgoing.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            error = self._task.exception() if not self._task.cancelled() else None
            raise RuntimeError(f"{self.name} failed at {phase}: {error!r}") from error
        message = answer.result()
        if message["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(f"{self.name} failed at {phase}: {message.get('message', '')}")
