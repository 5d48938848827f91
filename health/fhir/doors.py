"""The doors of `/fhir`: what comes over HTTP, handed to the interactions, and their answers."""

import re
from typing import cast

from fastapi import APIRouter, Request, Response

from health.fhir import (
    access_log,
    binary,
    bundle,
    capability,
    interactions,
    operations,
    search,
    search_doors,
)
from health.fhir import history as versions
from health.fhir.batch import Doors
from health.fhir.bundle import Return
from health.fhir.interactions import Known, Reply, Terms
from health.fhir.negotiation import PATCHES, check_content
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, FhirRoute, ParameterRoute, response
from services.kit.principals import Anyone

_RETURNS = re.compile(r"(?:^|[;,\s])return=(representation|minimal|OperationOutcome)(?=$|[;,\s])")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_KEY_MAX = 200


router = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])
by_parameters = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])


@router.get("/metadata")
async def metadata(fhir: FhirDep) -> Response:
    """What this server can do, as a CapabilityStatement."""
    doors = [route for router in ROUTERS for route in router.routes]
    return response(Reply(capability.statement(doors, fhir.base)))


@router.post("/")
async def post_bundle(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A transaction Bundle: all entries or none; or a batch: each entry by itself."""
    check_content(request)
    wanted = _wanted(request, "minimal")
    body = await bundle.answered(
        fhir.kit,
        fhir.workers,
        who,
        await request.body(),
        key=_key(request),
        base=fhir.base,
        wanted=wanted,
        ask=Doors(request, fhir.base, wanted),
        unchecked=_unchecked(request),
    )
    return response(Reply(body))


@by_parameters.get("/_history")
async def history_of_all(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The versions of everything, the latest first."""
    return response(await versions.history(fhir, who, None, None, request.query_params.multi_items()))


@by_parameters.get("/{type}/_history")
async def history_of_type(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The versions of all resources of a type, the latest first."""
    return response(await versions.history(fhir, who, type, None, request.query_params.multi_items()))


@by_parameters.get("/{type}/{id}/_history")
async def history(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The versions of a resource, the latest first."""
    return response(await versions.history(fhir, who, type, id, request.query_params.multi_items()))


@router.post("/{type}")
async def create(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new resource; always, unless If-None-Exist finds one."""
    body = await _resource(request, type)
    terms = _terms(request, request.headers.get("if-none-exist"))
    return response(await interactions.create(fhir, who, type, body, terms))


@router.get("/{type}/{id}")
async def read(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The current version of a resource."""
    if access_log.serves(who, type):
        return response(await access_log.read(fhir, who, id))
    return _shown(request, type, await interactions.read(fhir, who, type, id, known=_known(request)))


@router.get("/{type}/{id}/_history/{version}")
async def vread(type: str, id: str, version: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A certain version of a resource."""
    if not _VERSION.fullmatch(version):
        raise refused(404, "not-found", f"versions are whole numbers from 1 on, not {version[:40]!r}")
    known = _known(request)
    return _shown(request, type, await interactions.read(fhir, who, type, id, int(version), known=known))


@router.put("/{type}/{id}")
async def update(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new version of a resource, or a first one under this id."""
    body = await _resource(request, type, id)
    return response(await interactions.update(fhir, who, type, id, body, _terms(request)))


@by_parameters.put("/{type}")
async def update_by_search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A new version of the one resource that the search means, or a first one."""
    body = await _resource(request, type)
    return response(await interactions.update(fhir, who, type, "", body, _terms(request, _query(request))))


@router.patch("/{type}/{id}")
async def patch(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A resource changed in parts, by JSON Patch or FHIRPath Patch."""
    body = await _patch(request, type)
    return response(await interactions.patch(fhir, who, type, id, body, _terms(request)))


@by_parameters.patch("/{type}")
async def patch_by_search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The one resource that the search means changed in parts."""
    body = await _patch(request, type)
    return response(await interactions.patch(fhir, who, type, "", body, _terms(request, _query(request))))


@router.delete("/{type}/{id}")
async def delete(type: str, id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Takes a resource away, to which nothing may refer any more; its versions stay."""
    return response(await interactions.delete(fhir, who, type, id, _terms(request)))


@by_parameters.delete("/{type}")
async def delete_by_search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Takes away the one resource that the search means."""
    return response(await interactions.delete(fhir, who, type, "", _terms(request, _query(request))))


async def _resource(request: Request, kind: str, id: str | None = None) -> bytes:
    interactions.check_type(kind)
    if kind == binary.KIND and binary.is_own_form(request):
        return binary.resource_of(request, await request.body(), id)
    check_content(request)
    return await request.body()


async def _patch(request: Request, kind: str) -> bytes:
    interactions.check_type(kind)
    check_content(request, PATCHES)
    return await request.body()


def _shown(request: Request, kind: str, reply: Reply) -> Response:
    if kind != binary.KIND or reply.status != 200 or not binary.wants_own_form(request):
        return response(reply)
    body, media, headers = binary.own_form(request, reply)
    return Response(body, headers={**headers, "content-type": media})


def _known(request: Request) -> Known:
    return Known(request.headers.get("if-none-match"), request.headers.get("if-modified-since"))


def _terms(request: Request, query: str | None = None) -> Terms:
    if request.method != "POST" and "if-none-match" in request.headers:
        words = "a change stands on If-Match; If-None-Match is for reads"
        raise refused(400, "not-supported", words, "If-None-Match")
    return Terms(
        search=query,
        if_match=request.headers.get("if-match"),
        key=_key(request),
        wanted=_wanted(request, "representation"),
        unchecked=_unchecked(request),
    )


def _query(request: Request) -> str:
    """The search of a conditional change."""
    query = request.url.query
    if not query:
        words = "say which: Type/id, or a search that means one"
        raise refused(400, "required", words)
    if any(search.holds_number(value) for _, value in request.query_params.multi_items()):
        words = "a citizen number must not stand in a URL: send the change in a transaction"
        raise refused(400, "security", words, "identifier")
    return query


def _unchecked(request: Request) -> bool:
    said = request.headers.get("x-references")
    if said not in {None, "unchecked"}:
        raise refused(400, "value", f"X-References is `unchecked` or left out, not {said!r}", "X-References")
    return said is not None


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _KEY_MAX:
        words = f"an Idempotency-Key has 1 to {_KEY_MAX} characters"
        raise refused(400, "value", words, "Idempotency-Key")
    return key


def _wanted(request: Request, otherwise: Return) -> Return:
    found = _RETURNS.search(request.headers.get("prefer", ""))
    return cast(Return, found[1]) if found else otherwise


ROUTERS = (*operations.ROUTERS, search_doors.posted, by_parameters, router, search_doors.router)
