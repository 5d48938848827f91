"""`$everything`: all of a patient's record, or of an encounter's, and whatever it refers to.

FHIR R4 patient-operation-everything.html and encounter-operation-everything.html.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from typing import Any

from fastapi import APIRouter, Request, Response

from health import keys, repository
from health.fhir import access, extract
from health.fhir.definitions import definitions
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations.parameters import Given, given, whole
from health.fhir.operations.results import searchset
from health.fhir.outcome import refused
from health.fhir.paging import PARAMETER
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.fhir.searching import bounded
from health.reaching import Reach
from health.repository import Compartment, fitting
from services.kit.database import Connection, Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

MOST = 5000
"""Resources of one answer; what is more comes by a link."""
_NO_CARE = frozenset({"birthdate", "death-date", "_lastUpdated"})
_TAKES = {
    "start": "date",
    "end": "date",
    "_since": "instant",
    "_type": "code*",
    "_count": "integer",
    PARAMETER: "string",
}


@router.get("/Patient/$everything")
@router.post("/Patient/$everything")
async def own_record(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """All of the record of the person whose token it is."""
    reach = access.reach(fhir.kit.policy, who, "Patient", "s")
    if not reach.sector_ids:
        raise refused(400, "required", "say whose: Patient/{id}/$everything; many patients' is $export")
    async with fhir.kit.db.session() as db:
        subjects = await repository.own_patients(db, reach)
    asked = await _asked(request, fhir, "Patient/$everything")
    return response(await _answer(fhir, who, reach, Compartment(tuple(subjects)), asked))


@router.get("/Patient/{id}/$everything")
@router.post("/Patient/{id}/$everything")
async def patient_everything(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """All that is kept of a patient, as far as the caller may see it."""
    reach, pk = await subject(fhir, who, "Patient", id)
    asked = await _asked(request, fhir, f"Patient/{id}/$everything")
    return response(await _answer(fhir, who, reach, Compartment((pk,)), asked))


@router.get("/Encounter/{id}/$everything")
@router.post("/Encounter/{id}/$everything")
async def encounter_everything(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """All that was done, found and ordered at an encounter."""
    reach, pk = await subject(fhir, who, "Encounter", id)
    asked = await _asked(request, fhir, f"Encounter/{id}/$everything")
    local = f"Encounter/{id}"
    references = tuple(keys.reference_key(kind, name, local) for kind, name in _at_encounters())
    return response(await _answer(fhir, who, reach, Compartment((pk,), references), asked))


@cache
def _at_encounters() -> list[tuple[str, str]]:
    """Type and search parameter of whatever belongs to an encounter."""
    known = definitions().parameters
    return [(kind, name) for kind in known for name in ("encounter", "context") if name in known[kind]]


@cache
def _date_keys() -> tuple[int, ...]:
    """Under which keys the dates of care stand."""
    return tuple(
        keys.date_key(kind, name)
        for kind, known in definitions().parameters.items()
        for name, parameter in known.items()
        if parameter.kind == "date" and name not in _NO_CARE
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """
    Attributes:
        path: of the operation, as links name it.
        stage, after: of the last resource seen: 0 a subject, 1 another member, 2 referred to; its pk.
    """

    path: str
    pairs: tuple[tuple[str, str], ...]
    limits: dict[str, Any]
    count: int
    stage: int = 0
    after: int = 0


async def _asked(request: Request, fhir: Fhir, path: str) -> _Asked:
    found = await given(request, _TAKES)
    if tokens := found.pop(PARAMETER):
        pairs, (stage, after) = fhir.pages.opened(path, tokens[0])
        again: Given = {name: [value for said, value in pairs if said == name] for name in _TAKES}
        return replace(_read(path, again), stage=stage, after=after)
    return _read(path, found)


def _read(path: str, found: Given) -> _Asked:
    limits: dict[str, Any] = {}
    try:
        start, end = (next(iter(found[name]), None) for name in ("start", "end"))
        if start or end:
            low = extract.interval(start)[0] if start else extract.BEGINLESS
            high = extract.interval(end)[1] if end else extract.ENDLESS
            limits |= {"dates": (low, high), "date_keys": _date_keys()}
        if found["_since"]:
            limits["since"] = extract.moment(extract.interval(found["_since"][0])[0])
    except ValueError as error:
        raise refused(400, "value", str(error), "start, end and _since") from error
    if found["_type"]:
        limits["types"] = tuple(_types(found["_type"]))
    pairs = tuple((name, value) for name, values in found.items() for value in values)
    count = whole(found["_count"], "_count", least=1) or MOST
    return _Asked(path, pairs, limits, min(count, MOST))


def _types(said: Iterable[str]) -> Iterable[str]:
    for kind in ",".join(said).split(","):
        if kind not in definitions().resources:
            raise refused(400, "value", f"{kind[:80]!r} is no resource type of FHIR R4", "_type")
        yield kind


async def subject(fhir: Fhir, who: Principal, kind: str, id: str) -> tuple[Reach, int]:
    """What the caller reaches, and the key of the Patient or Encounter, which it may see."""
    reach, local = access.reach(fhir.kit.policy, who, kind, "s"), f"{kind}/{id}"
    async with fhir.kit.db.session() as db:
        row = await repository.read(db, reach, kind, id)
    if row is None:
        reach = await access.with_consents(fhir.kit, who, reach, "fhir.read", [local])
        if reach.consented:
            async with fhir.kit.db.session() as db:
                row = await repository.read(db, reach, kind, id)
    if row is None:
        await access.leave_refused(fhir.kit, who, "fhir.read", kind, id)
        raise refused(404, "not-found", f"there is no {local} here for this caller")
    return reach, row["pk"]


async def _answer(fhir: Fhir, who: Principal, reach: Reach, of: Compartment, asked: _Asked) -> Reply:
    of = replace(of, **asked.limits)
    async with bounded(fhir) as db:
        rows = await _rows(db, reach, of, asked)
    page = list(takewhile(lambda one: not one[1]["beyond"], rows[: asked.count]))
    await access.leave(fhir.kit, who, "fhir.search", [row for _, row in page], resource=asked.path)
    following = None
    if len(rows) > len(page):
        stage, last = page[-1]
        following = fhir.pages.token(asked.path, asked.pairs, [stage, last["pk"]])
    entries = (({"mode": "include" if stage == 2 else "match"}, row) for stage, row in page)
    return Reply(searchset(fhir.base, asked.path, entries, following))


async def _rows(db: Connection, reach: Reach, of: Compartment, asked: _Asked) -> list[tuple[int, Row]]:
    """The rest of what was asked for, each with its stage, up to one more than the page holds."""
    limit, found = asked.count + 1, []
    if asked.stage < 2:
        members = await repository.members(db, reach, of, after=(bool(asked.stage), asked.after), limit=limit)
        found = [(int(row["pk"] not in of.subjects), row) for row in members]
    if len(found) < limit:
        after = asked.after if asked.stage == 2 else 0
        room = fitting.ANSWER_BYTES - fitting.size(row for _, row in found)
        further = await repository.mentioned(db, reach, of, after=after, limit=limit - len(found), room=room)
        found += [(2, row) for row in further]
    return found
