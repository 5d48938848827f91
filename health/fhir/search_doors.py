"""The doors of search: by type, over several types, in a patient's compartment; by GET and by POST."""

import re
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response

from health.fhir import access_log, searching
from health.fhir.outcome import refused
from health.fhir.paging import Pairs
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.fhir.search import Handling
from services.kit.principals import Anyone

_LENIENT = re.compile(r"(?:^|[;,\s])handling=lenient(?=$|[;,\s])")
_FORM = "application/x-www-form-urlencoded"

posted = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])
"""Tried before the doors that create, which would take `_search` for a type."""
router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])


@posted.post("/_search")
async def search_system_by_post(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of several types (`_type`), or of all, its parameters in the body."""
    pairs = await _form(request)
    return response(await searching.find(fhir, who, None, pairs, handling=_handling(request), posted=True))


@posted.post("/{type}/_search")
async def search_by_post(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same search as by GET, its parameters in the body (where personal numbers belong)."""
    pairs = await _form(request)
    if access_log.serves(who, type):
        return response(await access_log.find(fhir, who, pairs))
    return response(await searching.find(fhir, who, type, pairs, handling=_handling(request), posted=True))


@router.get("/")
async def search_system(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of several types (`_type`), or of all, by what all of them have."""
    pairs = request.query_params.multi_items()
    return response(await searching.find(fhir, who, None, pairs, handling=_handling(request), posted=False))


@router.get("/{type}")
async def search(type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of one type, by query parameters."""
    pairs = request.query_params.multi_items()
    if access_log.serves(who, type):
        return response(await access_log.find(fhir, who, pairs))
    return response(await searching.find(fhir, who, type, pairs, handling=_handling(request), posted=False))


@router.get("/Patient/{id}/{type}")
async def search_compartment(id: str, type: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A search of what belongs to a patient, of one type or (`*`) of all."""
    pairs = request.query_params.multi_items()
    kind = None if type == "*" else type
    return response(
        await searching.find(fhir, who, kind, pairs, handling=_handling(request), posted=False, patient=id)
    )


async def _form(request: Request) -> Pairs:
    """The parameters of the body, and before them those of the URL (FHIR R4 http.html#search)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise refused(415, "not-supported", f"send the parameters as {_FORM}", "Content-Type")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise refused(400, "structure", "the parameters are not UTF-8") from error
    return [*request.query_params.multi_items(), *pairs]


def _handling(request: Request) -> Handling:
    return "lenient" if _LENIENT.search(request.headers.get("prefer", "")) else "strict"
