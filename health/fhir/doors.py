"""The doors of `/fhir`: what comes over HTTP, handed to the interactions, and their answers."""

import re
from typing import cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from health.fhir import capability, interactions, operations
from health.fhir.bundle import transaction
from health.fhir.interactions import Reply, Return
from health.fhir.negotiation import check_content
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, FhirRoute, ParameterRoute, response
from health.fhir.search import Handling
from services.kit.principals import Anyone

_RETURNS = re.compile(r"(?:^|[;,\s])return=(representation|minimal|OperationOutcome)(?=$|[;,\s])")
_LENIENT = re.compile(r"(?:^|[;,\s])handling=lenient(?=$|[;,\s])")
_FORM = "application/x-www-form-urlencoded"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_KEY_MAX = 200


router = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])
searches = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])


@router.get("/metadata")
async def metadata(fhir: FhirDep) -> Response:
    """What this server can do, as a CapabilityStatement."""
    doors = [route for router in ROUTERS for route in router.routes]
    return response(Reply(capability.statement(doors, fhir.base)))


@router.post("/")
async def post_bundle(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A transaction Bundle: all entries or none."""
    check_content(request)
    body = await transaction(
        fhir.kit, fhir.workers, who, await request.body(), key=_key(request), base=fhir.base
    )
    return response(Reply(body))


@searches.get("/{type}")
async def search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of one type, by query parameters."""
    pairs = request.query_params.multi_items()
    return response(
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
    return response(await interactions.find(fhir, who, type, pairs, handling=_handling(request), posted=True))


@router.post("/{type}")
async def create(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new resource; always, unless If-None-Exist finds one."""
    interactions.check_type(type)
    check_content(request)
    return response(
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
    return response(await interactions.read(fhir, who, type, id))


@router.get("/{type}/{id}/_history/{version}")
async def vread(type: str, id: str, version: str, fhir: FhirDep, who: Anyone) -> Response:
    """A certain version of a resource."""
    if not _VERSION.fullmatch(version):
        raise refused(404, "not-found", f"versions are whole numbers from 1 on, not {version[:40]!r}")
    return response(await interactions.read(fhir, who, type, id, int(version)))


@router.put("/{type}/{id}")
async def update(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new version of a resource, or a first one under this id."""
    interactions.check_type(type)
    check_content(request)
    return response(
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


ROUTERS = (*operations.ROUTERS, router, searches)
