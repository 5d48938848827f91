"""What every request passes before any door: request id, trace, body limit, deadline, metrics, a log line.

Plain ASGI: Starlette's BaseHTTPMiddleware would put a task and a queue between the server and each stream.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.kit import telemetry
from services.kit.operations import push_failures
from services.kit.problems import Problem, unavailable
from services.kit.rendering import Render, problem_of, render_problem

BODY_LIMIT_BYTES = 32 * 1024 * 1024
REQUEST_TIMEOUT_S = 60.0
QUIET = ("/livez", "/readyz", "/metrics")
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Frame:
    """Outermost middleware of a service's app.

    Args:
        renders: the error form of each mounted standard, by path prefix.
        streams: path prefixes whose answers go on for long; they have no request deadline.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        renders: Mapping[str, Render],
        body_limit_bytes: int | None = None,
        request_timeout_s: float | None = None,
        streams: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._service = service
        self._renders = dict(renders)
        self._body_limit = body_limit_bytes or BODY_LIMIT_BYTES
        self._timeout = request_timeout_s or REQUEST_TIMEOUT_S
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started = time.perf_counter()
        answered: list[int] = []
        with telemetry.incoming(headers, f"{scope['method']} {self._service}") as request_id:

            async def send_framed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered.append(message["status"])
                    found = MutableHeaders(scope=message)
                    found["x-request-id"] = request_id
                    for name, value in SECURITY_HEADERS.items():
                        found.setdefault(name, value)
                await send(message)

            try:
                await self._answer(scope, headers, receive, send_framed, answered)
            finally:
                status = answered[0] if answered else 499
                self._done(scope, status, time.perf_counter() - started)
                await push_failures.note(scope, status)

    async def _answer(
        self, scope: Scope, headers: Headers, receive: Receive, send: Send, answered: list[int]
    ) -> None:
        render = self._render_of(scope["path"])
        refused = self._refused(headers)
        if refused is not None:
            await render(refused)(scope, receive, send)
            return
        limited = _Limited(receive, self._body_limit)
        try:
            async with asyncio.timeout(
                None if scope["path"].startswith(self._streams or ("\0",)) else self._timeout
            ):
                await self._app(scope, limited, send)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except TimeoutError:
            if not answered:
                await render(_too_slow(self._timeout))(scope, receive, send)
        except Exception as error:
            # Here and not outside, so that it gets its request id and is counted as what it is.
            if answered:
                raise
            await render(problem_of(error))(scope, receive, send)

    def _refused(self, headers: Headers) -> Problem | None:
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._body_limit:
            return too_large(self._body_limit)
        encoding = headers.get("content-encoding", "identity")
        if encoding not in {"identity", ""}:
            return Problem(
                415, "content_encoding", f"send the body without content-encoding; {encoding} is not taken"
            )
        return None

    def _render_of(self, path: str) -> Render:
        for prefix, render in self._renders.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return render
        return render_problem

    def _done(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        # Ids are no labels, and a path nobody declared is not one either.
        template = getattr(route, "path", "unmatched")
        telemetry.request_done(self._service, scope["method"], template, status, seconds)
        if not scope["path"].endswith(QUIET):
            telemetry.logger(self._service).info(
                "request",
                extra={
                    "method": scope["method"],
                    "route": template,
                    "status": status,
                    "ms": round(seconds * 1000, 1),
                },
            )


def _too_slow(seconds: float) -> Problem:
    # The deadline may have struck while the commit was on its way.
    return unavailable(
        f"no answer within {seconds:g} s; whether it was applied is not certain: look, or send it again "
        "under the same Idempotency-Key"
    )


def too_large(limit_bytes: int) -> Problem:
    return Problem(413, "body_too_large", f"the body is larger than {limit_bytes} bytes; send it in parts")


class _Limited:
    """Receives at most so many bytes, whatever Content-Length said."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit = limit_bytes
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._limit:
                raise too_large(self._limit)
        return message
