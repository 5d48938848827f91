"""`$export` and `$import`, and the doors where a bulk request stands and its files come and go."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from health.fhir.bulk import asking, export, files, uploads
from health.fhir.interactions import Fhir
from health.fhir.negotiation import NDJSON, check_content
from health.fhir.operations.parameters import given
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, FhirRoute, ParameterRoute, response
from services.kit.principals import Anyone, Principal

_ASYNC = re.compile(r"(?:^|[;,\s])respond-async(?=$|[;,\s])")
_GZIP = re.compile(r"(?:^|[,\s])(?:gzip|\*)(?!\s*;\s*q=0(?:\.0*)?(?:$|[,\s]))", re.IGNORECASE)


class FileRoute(FhirRoute):
    """A route that answers with a file of NDJSON."""

    offers = NDJSON


def _check_later(request: Request) -> None:
    if not _ASYNC.search(request.headers.get("prefer", "")):
        words = "this takes its time: ask with the header Prefer: respond-async"
        raise refused(400, "invalid", words, "Prefer")


router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])
plain = APIRouter(route_class=FhirRoute, tags=["FHIR R4"])
fetching = APIRouter(route_class=FileRoute, tags=["FHIR R4"])


@router.get("/$export")
@router.post("/$export")
async def export_all(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Everything the caller may export: 202, and where to ask how it goes on."""
    return await _asked(request, fhir, who, "system")


@router.get("/Patient/$export")
@router.post("/Patient/$export")
async def export_patients(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The records of all patients, or of those named."""
    return await _asked(request, fhir, who, "patient")


@router.get("/Group/{id}/$export")
@router.post("/Group/{id}/$export")
async def export_group(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The records of the patients in a Group."""
    return await _asked(request, fhir, who, "group", group=id)


async def _asked(
    request: Request, fhir: Fhir, who: Principal, level: export.Level, *, group: str = ""
) -> Response:
    asking.check(who)
    _check_later(request)
    named = request.method == "POST" and level != "system"
    found = await given(request, export.TAKES | (export.PATIENTS if named else {}))
    query = urlencode(request.query_params.multi_items())
    path = request.url.path.rpartition("/fhir/")[2]
    url = f"{fhir.base}{path}{'?' if query else ''}{query}"
    return response(await export.ask(fhir, who, level, found, url=url, group=group))


@plain.post("/$import")
async def import_(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Takes in NDJSON, sent with this or uploaded before: 202, and where to ask how it goes on."""
    uploads.check(who)
    _check_later(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in NDJSON:
        check_content(request, NDJSON)
        return response(await uploads.ask_for(fhir, who, await request.body()))
    return response(await uploads.ask(fhir, who, await given(request, uploads.TAKES)))


@plain.post("/bulk/uploads")
async def upload(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A file of NDJSON for an import to come; files of more than a request may hold come in parts."""
    uploads.check(who)
    check_content(request, NDJSON)
    return response(await uploads.upload(fhir, who, await request.body()))


@plain.get("/bulk/{id}")
async def status(id: UUID, fhir: FhirDep, who: Anyone) -> Response:
    """How a bulk request stands: 202 while it goes on, 200 with the manifest of its files."""
    return response(await asking.status(fhir, who, id))


@plain.delete("/bulk/{id}")
async def cancel(id: UUID, fhir: FhirDep, who: Anyone) -> Response:
    """Ends a bulk request and removes its files."""
    return response(await asking.cancel(fhir, who, id))


@fetching.get("/bulk/{id}/{name}")
async def fetch(id: UUID, name: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """A file of a bulk request, compressed where the caller takes that."""
    file = await files.fetched(fhir, who, id, name)
    database = fhir.kit.db
    if _GZIP.search(request.headers.get("accept-encoding", "")):
        return _streamed(files.packed_parts(database, file), {"content-encoding": "gzip"})
    return _streamed(files.parts(database, file), {})


def _streamed(body: AsyncIterator[bytes], headers: dict[str, str]) -> Response:
    headers = {"vary": "accept-encoding", "cache-control": "no-store", **headers}
    return StreamingResponse(body, headers=headers, media_type=NDJSON[0])


ROUTERS = (router, plain, fetching)
