"""`Observation/$lastn`: the latest few observations of each kind of a subject.

FHIR R4 observation-operation-lastn.html. Kinds are told apart by `Observation.code`: two codes are one kind
that share a coding, or a text where they have no coding, and so is whatever shares one with either.
"""

from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request, Response

from health import repository
from health.fhir import access, search
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations.parameters import whole
from health.fhir.operations.results import searchset
from health.fhir.outcome import refused
from health.fhir.paging import Pairs
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.fhir.search import results
from health.fhir.search.coded import settled_first
from health.fhir.searching import bounded, patients_in
from health.repository import fitting
from services.kit.database import Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

MOST = 1000
"""Observations of one answer."""
_SUBJECTS = ("patient", "subject")
_PATH = "Observation/$lastn"


@router.get("/Observation/$lastn")
async def lastn(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The latest `max` (1) Observations of each kind that a search finds, the latest first."""
    return response(await _answer(fhir, who, request.query_params.multi_items()))


async def _answer(fhir: Fhir, who: Principal, pairs: Pairs) -> Reply:
    reach = access.reach(fhir.kit.policy, who, "Observation", "s")
    most, pairs = _most(pairs)
    subjects = [value for name, value in pairs if _bare(name) in _SUBJECTS]
    if not subjects:
        raise refused(400, "required", "say whose: patient or subject", "patient")
    for name, _ in pairs:
        if _bare(name) in results.NAMES and name != "_format":
            raise refused(400, "not-supported", f"{name} has no meaning with $lastn", name)
    asked = search.parsed("Observation", pairs, base=fhir.base)
    if asked.private:
        raise refused(400, "security", "a citizen number must not stand in a URL", "patient")
    reach = await access.with_consents(fhir.kit, who, reach, "fhir.search", patients_in(subjects))
    criteria = await settled_first(fhir.kit.db, reach, asked.criteria)
    async with bounded(fhir) as db:
        rows = await repository.latest(db, reach, criteria, most=most, limit=MOST + 1)
    if len(fitting.page(rows, MOST)) < len(rows):
        words = "more observations than one answer holds; ask by category or code, or for fewer of each"
        raise refused(422, "too-costly", words)
    found = list(_of_each(rows, most))
    await access.leave(fhir.kit, who, "fhir.search", found, resource=_PATH)
    return Reply(searchset(fhir.base, _PATH, (({"mode": "match"}, row) for row in found)))


def _bare(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def _most(pairs: Pairs) -> tuple[int, list[tuple[str, str]]]:
    said = [value for name, value in pairs if name == "max"]
    if len(said) > 1:
        raise refused(400, "value", "max stands more than once", "max")
    return whole(said, "max", least=1) or 1, [pair for pair in pairs if pair[0] != "max"]


def _of_each(rows: Sequence[Row], most: int) -> Iterable[Row]:
    """Of the rows, the latest first, those that are among the latest of their kind: more than so many only
    where several happened at once."""
    kind = _kinds(rows)
    seen: dict[object, list[int]] = {}
    for row in rows:
        later = seen.setdefault(kind[row["pt"], row["codes"][0]], [])
        later.append(row["occurred"])
        if sum(when > row["occurred"] for when in later) < most:
            yield row


def _kinds(rows: Sequence[Row]) -> dict[tuple[int, str | None], object]:
    """The kind each coding of a patient's is of: codings that stand together are of one kind."""
    members: dict[tuple[int, str | None], set[tuple[int, str | None]]] = {}
    for row in rows:
        codings = [(row["pt"], code) for code in row["codes"]]
        together = set(codings).union(*(members.get(coding, ()) for coding in codings))
        for coding in together:
            members[coding] = together
    return {coding: id(together) for coding, together in members.items()}
