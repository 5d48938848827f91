"""The doors of `/fhir`: what comes over HTTP, handed to the interactions, and their answers."""

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from health.fhir import capability, interactions
from health.fhir.bundle import transaction
from health.fhir.interactions import Fhir, Reply, Return
from health.fhir.negotiation import check_accept, check_content
from health.fhir.outcome import MEDIA_TYPE, refused
from health.fhir.search import Handling
from services.kit.principals import Anyone

_RETURNS = re.compile(r"(?:^|[;,\s])return=(representation|minimal|OperationOutcome)(?=$|[;,\s])")
_LENIENT = re.compile(r"(?:^|[;,\s])handling=lenient(?=$|[;,\s])")
_FORM = "application/x-www-form-urlencoded"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_KEY_MAX = 200


class _Route(APIRoute):
    """A route that refuses query parameters; the search has its own way to."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        searches = self.name == "search"

        async def strict(request: Request) -> Response:
            unknown = [name for name in request.query_params if name != "_format"]
            if unknown and not searches:
                raise refused(400, "not-supported", f"unknown parameter {', '.join(unknown)}", unknown[0])
            check_accept(request)
            return await handler(request)

        return strict


router = APIRouter(route_class=_Route, tags=["FHIR R4"])


def _fhir(request: Request) -> Fhir:
    found = request.app.state.kit.parts["fhir"]
    assert isinstance(found, Fhir)
    return found


FhirDep = Annotated[Fhir, Depends(_fhir)]


@router.get("/metadata")
async def metadata(fhir: FhirDep) -> Response:
    """What this server can do, as a CapabilityStatement."""
    return _response(Reply(capability.statement(router.routes, fhir.base)))


@router.post("/")
async def post_bundle(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A transaction Bundle: all entries or none."""
    check_content(request)
    body = await transaction(
        fhir.kit, fhir.workers, who, await request.body(), key=_key(request), base=fhir.base
    )
    return _response(Reply(body))


@router.get("/{type}")
async def search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of one type, by query parameters."""
    pairs = request.query_params.multi_items()
    return _response(
        await interactions.find(fhir, who, type, pairs, handling=_handling(request), posted=False)
    )


@router.post("/{type}/_search")
async def search_by_post(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same search, its parameters in the body (where personal numbers belong)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise refused(415, "not-supported", f"send the parameters as {_FORM}", "Content-Type")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise refused(400, "structure", "the parameters are not UTF-8") from error
    return _response(
        await interactions.find(fhir, who, type, pairs, handling=_handling(request), posted=True)
    )


@router.post("/$validate")
async def validate_any(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """What would be refused of a resource, of whatever type; nothing is stored."""
    check_content(request)
    return _response(await interactions.validate(fhir, who, None, await request.body()))


@router.post("/{type}/$validate")
async def validate(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same for a resource of this type."""
    check_content(request)
    return _response(await interactions.validate(fhir, who, type, await request.body()))


@router.post("/{type}")
async def create(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new resource; always, unless If-None-Exist finds one."""
    interactions.check_type(type)
    check_content(request)
    return _response(
        await interactions.create(
            fhir,
            who,
            type,
            await request.body(),
            if_none_exist=request.headers.get("if-none-exist"),
            key=_key(request),
            wanted=_wanted(request),
        )
    )


@router.get("/{type}/{id}")
async def read(type: str, id: str, fhir: FhirDep, who: Anyone) -> Response:
    """The current version of a resource."""
    return _response(await interactions.read(fhir, who, type, id))


@router.get("/{type}/{id}/_history/{version}")
async def vread(type: str, id: str, version: str, fhir: FhirDep, who: Anyone) -> Response:
    """A certain version of a resource."""
    if not _VERSION.fullmatch(version):
        raise refused(404, "not-found", f"versions are whole numbers from 1 on, not {version[:40]!r}")
    return _response(await interactions.read(fhir, who, type, id, int(version)))


@router.put("/{type}/{id}")
async def update(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new version of a resource, or a first one under this id."""
    interactions.check_type(type)
    check_content(request)
    return _response(
        await interactions.update(
            fhir,
            who,
            type,
            id,
            await request.body(),
            if_match=request.headers.get("if-match"),
            wanted=_wanted(request),
        )
    )


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, headers=reply.headers, media_type=MEDIA_TYPE)


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _KEY_MAX:
        words = f"an Idempotency-Key has 1 to {_KEY_MAX} characters"
        raise refused(400, "value", words, "Idempotency-Key")
    return key


def _handling(request: Request) -> Handling:
    return "lenient" if _LENIENT.search(request.headers.get("prefer", "")) else "strict"


def _wanted(request: Request) -> Return:
    found = _RETURNS.search(request.headers.get("prefer", ""))
    return cast(Return, found[1]) if found else "representation"
