"""Receivers of a test's own: real servers on loopback that note what they get and answer as told."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiohttp import web
from aiohttp.abc import ResolveResult

from services.kit.ids import uuid7
from services.notify.channels.attempt import Errand
from services.notify.channels.guard import Guard

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK = "127.0.0.0/8"
WORDS = {"zh": ("断桥：橙色预警", "断桥有 90 人。"), "en": ("Bridge: orange warning", "90 people.")}


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer_port: int


@dataclass
class Receiver:
    """What came so far; `answer` may be replaced while it runs."""

    url: str
    answer: Answering
    got: list[Got] = field(default_factory=list)


async def fine(_: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def saying(status: int, body: bytes = b"", **headers: str) -> Answering:
    async def answer(_: web.Request) -> web.StreamResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=sent)

    return answer


@asynccontextmanager
async def receiving(answer: Answering = fine, *, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        receiver.got.append(
            Got(
                request.path,
                dict(request.query),
                {name.lower(): value for name, value in request.headers.items()},
                await request.read(),
                peer[1],
            )
        )
        return await receiver.answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    with socket.create_server((host, 0)) as door:
        receiver = Receiver(f"http://{host}:{door.getsockname()[1]}", answer)
        await web.SockSite(runner, door).start()
        try:
            yield receiver
        finally:
            await runner.cleanup()


class Names(Guard):
    """A guard whose resolver answers as told: each look-up takes a name's next answer, the last for ever."""

    def __init__(self, answers: dict[str, list[list[str]]], allow: tuple[str, ...] = ()) -> None:
        super().__init__(allow)
        self.answers = answers
        self.asked: list[str] = []

    async def look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.answers[host]
        addresses = found.pop(0) if len(found) > 1 else found[0]
        return [
            ResolveResult(hostname=host, host=one, port=port, family=_family(one), proto=6, flags=0)
            for one in addresses
        ]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def event(id: UUID | None = None, **fields: Any) -> dict[str, Any]:
    """A warning in CloudEvents form."""
    found = {
        "specversion": "1.0",
        "id": str(id or uuid7()),
        "source": "urn:huimin:service:transport",
        "type": "transport.warning.raised",
        "subject": "zone/bridge",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "area": "330106",
        "data": {"zone": "bridge", "level": "orange"},
    }
    return {**found, **fields}


def errand(target: dict[str, Any], **fields: Any) -> Errand:
    """One thing to be told there."""
    told = event()
    found: dict[str, Any] = {
        "destination": uuid7(),
        "told": UUID(told["id"]),
        "fact": "transport.warning/bridge",
        "target": target,
        "language": "zh",
        "words": WORDS,
        "event": told,
        "urgent": True,
        "raised_at": datetime.now(UTC),
    }
    return Errand(**{**found, **fields})
