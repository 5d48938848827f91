"""The front door of embedded mode: every service's app in one process, chosen by the longest path prefix.

Calls between services stay in memory: each app is registered with `services.kit.calls`.
"""

import contextlib
import gc
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from importlib import import_module

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.kit.calls import answer_in_memory
from services.stack.house import HOUSE, Service, chosen, owner
from services.stack.lifespan import Held
from services.stack.processes import collect_less


class Front:
    """An ASGI app over the apps of several services."""

    def __init__(self, services: Iterable[Service] = HOUSE) -> None:
        self.held = {service.name: Held(service.name, _load(service)) for service in services}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        service = owner(scope["path"])
        held = self.held.get(service.name) if service else None
        if held is not None:
            await held(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _nobody(scope["path"])(scope, receive, send)

    @contextlib.asynccontextmanager
    async def running(self, stand_ins: Mapping[str, ASGIApp] | None = None) -> AsyncIterator["Front"]:
        """All apps started, in the order of the house; stopped again in reverse.

        Args:
            stand_ins: apps that answer other services' calls for services which do not run here.
        """
        answer_in_memory({**(stand_ins or {}), **self.held})
        started: list[Held] = []
        try:
            for held in self.held.values():
                await held.start()
                started.append(held)
            yield self
        finally:
            for held in reversed(started):
                await held.stop()
            answer_in_memory({})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with self.running():
                # What is imported now stays: the collector need not look at it again and again.
                gc.collect()
                gc.freeze()
                collect_less()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                phase = "shutdown"
        except RuntimeError as error:
            await send({"type": f"lifespan.{phase}.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


def _load(service: Service) -> ASGIApp:
    module, _, attribute = service.app.partition(":")
    app: ASGIApp = getattr(import_module(module), attribute)
    return app


def _nobody(path: str) -> JSONResponse:
    problem = {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": f"no service that runs here answers {path}",
    }
    return JSONResponse(problem, status_code=404, media_type="application/problem+json")


def app() -> Front:
    """The services of HUIMIN_SERVICES, or all. Importing this module alone loads none."""
    return Front(chosen(os.environ.get("HUIMIN_SERVICES", "")))
