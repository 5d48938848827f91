"""Entries of a bundle asked at their own doors: every one of a batch, and what a transaction reads."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from starlette.requests import Request as HttpRequest
from starlette.types import Message, Scope

from health.fhir.entries import Request
from health.fhir.outcome import Issue, outcome
from health.fhir.text import instant

_PHASES = (("DELETE",), ("POST",), ("PUT", "PATCH"), ("GET", "HEAD"))
_AT_ONCE = {("POST",): 4, ("GET", "HEAD"): 4}
"""Entries that are asked at the same time, where their order cannot matter."""
_OF_ONE_REQUEST = frozenset({"endpoint", "path_params", "route", "router"})
_HANDED_ON = ("authorization", "x-references")
_NO_DOOR = Issue("invalid", "an entry names a resource, a search or an operation of this server")

ANSWER_BYTES = 32 * 1024 * 1024
"""When so much has been read for a bundle, what it still asks for is told to ask by itself."""
_READING = ("GET", "HEAD")
_ADDING = ("POST", "PATCH")
_WRITING = (*_ADDING, "PUT", "DELETE")
_NO_RESOURCE = Issue("not-supported", "the answer is no resource, as an entry's has to be; ask by itself")
_TOO_MUCH = Issue("too-costly", "the answers before fill the bundle; ask for this one by itself")


class Doors:
    """The doors of `/fhir` for the sender of a bundle, with the rights and wishes it sent.

    Args:
        request: the one that brought the bundle.
        base: the server's base URL with a slash at its end.
        prefer: what entries shall answer with, unless they only read.
    """

    def __init__(self, request: HttpRequest, base: str, prefer: str) -> None:
        self._app = request.app
        self._scope = {k: v for k, v in request.scope.items() if k not in _OF_ONE_REQUEST}
        self._base = base
        sent = {name: request.headers[name] for name in _HANDED_ON if name in request.headers}
        self._answered = 0
        self._headers = {**sent, "accept": "application/fhir+json", "prefer": f"return={prefer}"}

    async def all(self, requests: Sequence[Request], key: str | None, content: str) -> list[dict[str, Any]]:
        """The entries of the answer to a batch, asked in the order of a transaction (http.html#trules).

        Args:
            key: its Idempotency-Key, which with its number tells a repetition of an entry.
            content: what does without one, but of a PUT or DELETE: after another it is a change back.
        """
        found: dict[int, dict[str, Any]] = {}

        async def answer(request: Request, places: asyncio.Semaphore) -> None:
            async with places:
                if request.method in (_ADDING if key is None else _WRITING):
                    own = hashlib.sha256(f"{key or content} {request.index}".encode()).hexdigest()
                    request.headers["idempotency-key"] = f"batch:{own}"
                found[request.index] = await self.one(request)

        for methods in _PHASES:
            places = asyncio.Semaphore(_AT_ONCE.get(methods, 1))
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    if request.method in methods:
                        group.create_task(answer(request, places))
        return [found[index] for index in sorted(found)]

    async def one(self, request: Request) -> dict[str, Any]:
        """The entry of the answer to one."""
        try:
            parts = urlsplit(request.url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme or parts.netloc or not parts.path.strip("/"):
            said = orjson.Fragment(outcome([_NO_DOOR]))
            return {"response": {"status": _status(400), "outcome": said}}
        body = (request.body or "").encode()
        headers = {**self._headers, **request.headers, "content-length": str(len(body))}
        path = f"{self._scope.get('root_path', '')}/{unquote(parts.path).lstrip('/')}"
        scope = {
            **self._scope,
            "method": request.method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": parts.query.encode(),
            "headers": [
                (name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()
            ],
            "state": {},
        }
        if self._answered > ANSWER_BYTES and request.method in _READING:
            return {"response": {"status": _status(413), "outcome": orjson.Fragment(outcome([_TOO_MUCH]))}}
        status, told, answer = await self._asked(scope, body)
        self._answered += len(answer)
        return self._entry(status, told, answer)

    async def _asked(self, scope: Scope, body: bytes) -> tuple[int, dict[str, str], bytes]:
        answers: list[Message] = []
        asking: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if not asking:  # nobody goes away before the answer
                await asyncio.Event().wait()
            return asking.pop()

        async def send(message: Message) -> None:
            answers.append(message)

        # What was not foreseen is answered first, and raised for the log of the whole request after that.
        with suppress(Exception):
            await self._app(scope, receive, send)
        start = next((one for one in answers if one["type"] == "http.response.start"), None)
        if start is None:
            return 500, {}, b""
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return start["status"], headers, b"".join(one.get("body", b"") for one in answers)

    def _entry(self, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"status": _status(status)}
        if "location" in headers:
            found["location"] = headers["location"].removeprefix(self._base)
        if "etag" in headers:
            found["etag"] = headers["etag"]
        if "last-modified" in headers:
            at = parsedate_to_datetime(headers["last-modified"])
            found["lastModified"] = instant(at.astimezone(UTC))
        if not body:
            return {"response": found}
        if not headers.get("content-type", "").startswith("application/fhir+json"):
            found["status"] = _status(status if status >= 400 else 406)
            return {"response": {**found, "outcome": orjson.Fragment(outcome([_NO_RESOURCE]))}}
        if status >= 400 or b'"resourceType":"OperationOutcome"' in body[:40]:
            return {"response": {**found, "outcome": orjson.Fragment(body)}}
        return {"resource": orjson.Fragment(body), "response": found}


def _status(code: int) -> str:
    return f"{code} {HTTPStatus(code).phrase}"
