"""What every door of `/fhir` has in common: what it refuses before it looks, and the form of its answers."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from health.fhir.interactions import Fhir, Reply
from health.fhir.negotiation import check_accept
from health.fhir.outcome import MEDIA_TYPE, refused


class FhirRoute(APIRoute):
    """A route that takes no query parameters."""

    looks_itself: ClassVar[bool] = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            unknown = [name for name in request.query_params if name != "_format"]
            if unknown and not self.looks_itself:
                raise refused(400, "not-supported", f"unknown parameter {', '.join(unknown)}", unknown[0])
            check_accept(request)
            return await handler(request)

        return strict


class ParameterRoute(FhirRoute):
    """A route that looks at its query parameters itself, and refuses those it does not know."""

    looks_itself = True


def _fhir(request: Request) -> Fhir:
    found = request.app.state.kit.parts["fhir"]
    assert isinstance(found, Fhir)
    return found


FhirDep = Annotated[Fhir, Depends(_fhir)]


def response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, headers=reply.headers, media_type=MEDIA_TYPE)
