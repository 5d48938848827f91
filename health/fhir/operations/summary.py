"""`Patient/$summary`: the International Patient Summary (HL7 IPS 2.0, OperationDefinition/summary)."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from health import repository
from health.fhir import access, summary, text
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations.everything import subject
from health.fhir.operations.parameters import given
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.fhir.searching import bounded
from health.keys import token_key_asked
from health.reaching import Reach
from health.repository import summaries
from services.identity.shapes import CITIZEN_NUMBER
from services.kit.database import Connection, Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])

EACH = 100
"""Records of one type at most."""
BESIDE_MAX = 1000
"""Resources that come along because these refer to them; a reference to another one keeps its words."""
ROUNDS = 3
"""What a report refers to (a result), and what that does (who made it)."""
PROFILE = "http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips"
_Shown = tuple[Row, summary.Body]


@router.get("/Patient/{id}/$summary")
@router.post("/Patient/{id}/$summary")
async def patient_summary(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """What whoever treats the patient needs to know first, as a document."""
    reach, pk = await subject(fhir, who, "Patient", id)
    _check_profile((await given(request, {"profile": "canonical"}))["profile"])
    return response(await _summarised(fhir, who, reach, pk, id))


@router.get("/Patient/$summary")
@router.post("/Patient/$summary")
async def summary_by_identifier(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """The same of the patient with this identifier (`system|value`); a citizen number goes into the body."""
    reach = access.reach(fhir.kit.policy, who, "Patient", "s")
    asked = await given(request, {"identifier": "string", "profile": "canonical"})
    _check_profile(asked["profile"])
    if not asked["identifier"]:
        raise refused(400, "required", "say whose summary: identifier=system|value", "identifier")
    system, bar, value = asked["identifier"][0].rpartition("|")
    if system == CITIZEN_NUMBER and request.method == "GET":
        raise refused(400, "security", "a citizen number must not stand in a URL: POST it", "identifier")
    key = token_key_asked("Patient", "identifier", system if bar else None, value)
    async with fhir.kit.db.session() as db:
        found = (await repository.known_by(db, reach, [key], client=who.client_id)).get(key, [])
        same = await summaries.patients_of(db, found[0].pk) if found else []
    if not found:
        raise refused(
            404, "not-found", "no patient with this identifier is here for this caller", "identifier"
        )
    if any(one.id not in same for one in found):
        raise refused(412, "multiple-matches", "several patients have this identifier", "identifier")
    return response(await _summarised(fhir, who, reach, found[0].pk, found[0].id))


def _check_profile(said: Sequence[str]) -> None:
    if said and said[0].partition("|")[0] != PROFILE:
        raise refused(422, "not-supported", f"summaries are of the profile {PROFILE}", "profile")


async def _summarised(fhir: Fhir, who: Principal, reach: Reach, pk: int, id: str) -> Reply:
    async with bounded(fhir) as db:
        own = await _parsed(await summaries.named(db, reach, [f"Patient/{id}"]))
        if not own:
            raise refused(404, "not-found", f"there is no Patient/{id} here for this caller")
        rows = await summaries.latest(
            db,
            reach,
            pk,
            types=summary.TYPES,
            repeating=summary.REPEATING,
            left_out=summary.SAYS_NOTHING,
            each=EACH,
        )
        records = [one for one in await _parsed(rows) if summary.belongs(one[1])]
        beside = await _beside(db, reach, [*own, *records])
        patients = await summaries.patients_of(db, pk)
        kinds = (local.split("/") for local in summary.referred_to(body for _, body in records))
        names = await summaries.medications(db, [id for kind, id in kinds if kind == "Medication"])
    shown = [row for row, _ in (*own, *records, *beside)]
    await access.leave(fhir.kit, who, "fhir.read", shown, resource=f"Patient/{id}/$summary")
    as_of = text.instant(max(row["ts"] for row in shown))
    special = any(row["special"] for row in shown)
    [(_, patient)] = own

    def document() -> bytes:
        listed, others = ([body for _, body in found] for found in (records, beside))
        summary.settle([patient, *listed, *others], patient, patients, names, fhir.base)
        return summary.document(patient, listed, others, base=fhir.base, as_of=as_of, special=special)

    return Reply(await asyncio.to_thread(document))


async def _beside(db: Connection, reach: Reach, shown: Sequence[_Shown]) -> list[_Shown]:
    """What these refer to, as far as the caller may see it."""
    known = {f"{row['type']}/{row['id']}" for row, _ in shown}
    found: list[_Shown] = []
    latest = shown
    for _ in range(ROUNDS):
        wanted = sorted(summary.referred_to(body for _, body in latest) - known)[: BESIDE_MAX - len(found)]
        if not wanted:
            break
        known.update(wanted)
        latest = await _parsed(await summaries.named(db, reach, wanted))
        found += latest
    return found


async def _parsed(rows: Sequence[Row]) -> list[_Shown]:
    if any(row["beyond"] for row in rows):
        raise refused(422, "too-costly", "the record is larger than one document: ask by $everything")
    return await asyncio.to_thread(lambda: [(row, text.parsed(row["body"])) for row in rows])
