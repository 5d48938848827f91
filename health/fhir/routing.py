"""What every door of `/fhir` has in common: what it refuses before it looks, and the form of its answers."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from health.fhir.interactions import Fhir, Reply
from health.fhir.negotiation import JSON, check_accept
from health.fhir.outcome import MEDIA_TYPE, refused


class FhirRoute(APIRoute):
    """A route that takes no query parameters. One that answers GET answers HEAD."""

    looks_itself: ClassVar[bool] = False
    offers: ClassVar[Sequence[str]] = JSON

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Operations stand before what might take them for an id; nearly nothing that is asked is one.
        if "$" in self.path and "$" not in scope["path"]:
            return Match.NONE, {}
        heads = scope["type"] == "http" and scope["method"] == "HEAD" and "GET" in (self.methods or ())
        return super().matches({**scope, "method": "GET"} if heads else scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD" and "GET" in (self.methods or ()):
            await super().handle({**scope, "method": "GET"}, receive, _without_body(send))
            return
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(_methods_here(scope))})
        await super().handle(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            unknown = [name for name in request.query_params if name != "_format"]
            if unknown and not self.looks_itself:
                raise refused(400, "not-supported", f"unknown parameter {', '.join(unknown)}", unknown[0])
            if any("\0" in str(value) for value in request.path_params.values()):
                raise refused(400, "value", "no path holds a character U+0000")
            if request.path_params.get("type") != "Binary":  # which has forms of its own
                check_accept(request, self.offers)
            return await handler(request)

        return strict


class ParameterRoute(FhirRoute):
    """A route that looks at its query parameters itself, and refuses those it does not know."""

    looks_itself = True


def _without_body(send: Send) -> Send:
    async def headers_alone(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return headers_alone


def _methods_here(scope: Scope) -> list[str]:
    """All methods of the doors at this path, whichever route has them."""
    from health.fhir.doors import ROUTERS

    found = {
        method
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.matches(scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _fhir(request: Request) -> Fhir:
    found = request.app.state.kit.parts["fhir"]
    assert isinstance(found, Fhir)
    return found


FhirDep = Annotated[Fhir, Depends(_fhir)]


def response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, headers=reply.headers, media_type=MEDIA_TYPE)
