"""Every path of every service's OpenAPI, asked by every caller: what came back, and whose data it held."""

import asyncio
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
from fastapi import FastAPI
from starlette.routing import Mount

from services.stack.house import HOUSE
from tests.conformance.matrix.world import CALLERS, MARKS, World

UNKNOWN = "00000000-0000-7000-8000-000000000000"
AT_ONCE = 8
READS = 200_000
"""So much of an answer is looked at; a live stream is left as soon as it has begun."""


@dataclass(frozen=True, slots=True)
class Path:
    service: str
    method: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Attributes:
    status: None when the caller gets no token that is good at the service.
    marked: whether the owner's data stood in it.
    """

    status: int | None
    marked: bool

    @property
    def opened(self) -> bool:
        return self.status is not None and self.status not in {401, 403}


def paths() -> list[Path]:
    """All there are, the mounted standards' too; the gateway has pages and GraphQL instead."""
    found = []
    for service in HOUSE:
        if service.name != "gateway":
            module, _, attribute = service.app.partition(":")
            app = getattr(importlib.import_module(module), attribute)
            found += [Path(service.name, *one) for one in _of(app, "")]
    return found


def _of(app: FastAPI, prefix: str) -> Iterator[tuple[str, str]]:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), prefix + path
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from _of(route.app, route.path)


def asked(
    world: World, wanted: list[Path], requests: Mapping[str, Any], left_out: Mapping[str, list[str]]
) -> dict[tuple[str, str], Answer]:
    """Each path's answer to each caller, but for those it must not be called by.

    Args:
        requests: of a path, what fills its parameters, its query and its body; a value `$name` is an id.
        left_out: of a path, the callers whose call would change the suite for everybody.
    """
    cells = [
        (path, caller, world.token(caller, path.service))
        for path in wanted
        for caller in CALLERS
        if caller not in left_out.get(path.name, ())
    ]

    async def all_of() -> list[Answer]:
        async with asking(world) as http:

            async def one(path: Path, caller: str, token: str | None) -> Answer:
                if token is None and caller != "nobody":
                    return Answer(None, False)
                return await _ask(http, path, token, world.ids, requests.get(path.name, {}))

            return await asyncio.gather(*(one(*cell) for cell in cells))

    answers = asyncio.run(all_of())
    return {(path.name, caller): answer for (path, caller, _), answer in zip(cells, answers, strict=True)}


def asking(world: World) -> aiohttp.ClientSession:
    """Some ten thousand questions are asked: aiohttp's cost a quarter of httpx's."""
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    return aiohttp.ClientSession(world.suite.base_url, connector=connector)


async def _ask(
    http: aiohttp.ClientSession,
    path: Path,
    token: str | None,
    ids: Mapping[str, Any],
    said: Mapping[str, Any],
) -> Answer:
    said = cast("Mapping[str, Any]", _filled(said, ids))
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body: dict[str, Any] = {}
    if path.method != "GET":
        body = {"data": said["form"]} if said.get("form") else {"json": said.get("json", {})}
    url = path.path.format_map(_Parameters(said.get("path", {})))
    async with http.request(
        path.method, url, params=said.get("query"), headers={**headers, **said.get("headers", {})}, **body
    ) as answer:
        read = bytearray()
        if "event-stream" not in answer.headers.get("content-type", ""):
            async for chunk in answer.content.iter_any():
                read += chunk
                if len(read) > READS:
                    break
        text = read.decode(errors="replace")
    assert answer.status < 500, f"{path.name}: {answer.status} {text[:300]}"
    return Answer(answer.status, any(mark in text for mark in MARKS))


class _Parameters(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1" if name == "version" else UNKNOWN


def _filled(value: Any, ids: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return ids[value[1:]] if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {key: _filled(inner, ids) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, ids) for inner in value]
    return value
