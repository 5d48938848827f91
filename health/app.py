"""The doors of health: `/fhir` for hospitals, a person's own record for the gateway."""

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response

from health import emergencies, merged, records, repository, treatments
from health.fhir import access, doors, reindexing
from health.fhir.interactions import Fhir
from health.fhir.outcome import render
from health.fhir.paging import Pages
from health.fhir.subscriptions import telling
from health.fhir.workers import Workers
from health.offers import OFFERS
from health.reaching import Reach
from health.repository import bulk
from health.shapes import (
    PAGE_MAX,
    AccessReview,
    AccessReviewPage,
    CodeListReceipt,
    EmergencyAccess,
    EmergencyAccessPage,
    EmergencyRequest,
    Objection,
    PatientQueries,
    RecordPage,
    RecordPages,
    RecordQueries,
    RecordQuery,
    RecordType,
    ReviewDecision,
    ReviewState,
    TreatmentClaimPage,
)
from health.terminology import lists
from services.kit import changes
from services.kit.app import Kit, KitDep, Router, service, standard_app
from services.kit.database import Row
from services.kit.policy import Resource
from services.kit.principals import Anyone, Principal, allowed
from services.kit.problems import forbidden, not_found
from services.kit.renewal import RENEWS

router = Router(prefix="/health", tags=["health"])
Clinician = Annotated[Principal, allowed("health:emergency-accesses:write", kinds=("staff",))]
Reviews = Annotated[Principal, allowed("health:access-reviews:read", kinds=("staff",))]
Decides = Annotated[Principal, allowed("health:access-reviews:decide", kinds=("staff",))]
Loads = Annotated[Principal, allowed("health:terminology:write", kinds=("organisation", "staff"))]
First = Annotated[int, Query(ge=1, le=PAGE_MAX)]


@router.get("/records/me")
async def my_records(
    kit: KitDep,
    who: Anyone,
    types: Annotated[list[RecordType], Query(min_length=1, max_length=9)],
    code: Annotated[str | None, Query(min_length=1, max_length=300)] = None,
    first: First = 20,
    after: str | None = None,
) -> RecordPage:
    """A page of the signed-in person's own record, the latest first."""
    [found] = await _pages(kit, who, [RecordQuery(tuple(types), code, first, after)])
    return found


@router.post("/records/me")
async def my_record_pages(kit: KitDep, who: Anyone, body: RecordQueries) -> RecordPages:
    """Several pages of the signed-in person's own record, for a screen with several lists."""
    return RecordPages(pages=await _pages(kit, who, [query.query() for query in body.queries]))


async def _pages(kit: Kit, who: Principal, queries: list[RecordQuery]) -> list[RecordPage]:
    types = sorted({type for query in queries for type in query.types})
    sector_id, reach = _own(kit, who, types)
    kit.permitted(who, "health.record.read", Resource(access.RECORD, id=",".join(types), owner=sector_id))
    async with kit.db.read() as db:
        found = [await records.page(db, reach, query) for query in queries]
    assert kit.leaves is not None
    kit.leaves.add(
        who,
        action="health.record.read",
        subject=sector_id,
        subjects=who.sector_ids[1:] or None,
        records=sum(len(rows) for _, rows in found),
        resource=",".join(types),
    )
    if any(row["special"] for _, rows in found for row in rows):
        await kit.leaves.flush()
    return [page for page, _ in found]


@router.post("/records/patients")
async def patient_record_pages(kit: KitDep, who: Anyone, body: PatientQueries) -> RecordPages:
    """The same of a patient, for the staff of a hospital, as far as what ties them to the patient permits."""
    queries = [query.query() for query in body.queries]
    id = body.patient.removeprefix("Patient/")
    types = sorted({type for query in queries for type in query.types})
    reach = access.reach(kit.policy, who, "Patient", "r")
    for type in types:
        for right in ("r", "s"):
            listed = access.reach(kit.policy, who, type, right)
    async with kit.db.read() as db:
        patient = await repository.read(db, reach, "Patient", id)
    if patient is None:
        await access.leave_refused(kit, who, "fhir.read", "Patient", id)
        raise not_found(f"there is no Patient/{id} here for this caller", code="no_patient")
    pages: list[RecordPage] = []
    shown: list[Row] = []
    async with kit.db.read() as db:
        for query in queries:
            page, rows = await records.page(db, listed, query, patient=patient["pk"])
            pages.append(page)
            shown += rows
    what = f"Patient/{id} {','.join(types)}"
    await access.leave(kit, who, "fhir.read", shown or [patient], resource=what)
    return RecordPages(pages=pages)


@router.post("/emergency-accesses", status_code=201)
async def open_record(kit: KitDep, who: Clinician, body: EmergencyRequest) -> EmergencyAccess:
    """Opens a record in an emergency; the patient and the privacy officer are told at once."""
    return await emergencies.open_record(kit, who, body)


@router.get("/emergency-accesses/me")
async def opened_records(
    kit: KitDep, who: Anyone, first: First = 20, after: str | None = None
) -> EmergencyAccessPage:
    """Who opened the signed-in person's own record in an emergency, and what the review came to."""
    sector_id, _ = _own(kit, who, ["Patient"])
    kit.permitted(who, "health.record.read", Resource(access.RECORD, id="emergencies", owner=sector_id))
    async with kit.db.read() as db:
        found = await emergencies.opened_to(db, who.sector_ids, after=after, limit=first)
    assert kit.leaves is not None
    kit.leaves.add(
        who,
        action="health.record.read",
        subject=sector_id,
        subjects=who.sector_ids[1:] or None,
        records=len(found.items),
        resource="emergencies",
    )
    return found


@router.get("/treatment-claims/me")
async def claimed_treatments(
    kit: KitDep, who: Anyone, first: First = 20, after: str | None = None
) -> TreatmentClaimPage:
    """Which organisations say that they treat the signed-in person, so that others' records open to them."""
    sector_id, _ = _own(kit, who, ["Patient"])
    kit.permitted(who, "health.record.read", Resource(access.RECORD, id="treatments", owner=sector_id))
    async with kit.db.read() as db:
        return await treatments.page(db, who.sector_ids, after=after, limit=first)


@router.post("/treatment-claims/me/objections", status_code=204)
async def object_to_treatment(kit: KitDep, who: Anyone, body: Objection) -> None:
    """Says that an organisation does not treat the signed-in person; from now on that opens nothing to it."""
    _own(kit, who, ["Patient"])
    await treatments.object_to(kit, who, body)


@router.get("/access-reviews")
async def access_reviews(
    kit: KitDep, who: Reviews, state: ReviewState | None = None, first: First = 20, after: str | None = None
) -> AccessReviewPage:
    """The reviews of emergency accesses at the caller's organisation."""
    return await emergencies.reviews(kit, who, state=state, after=after, limit=first)


@router.post("/access-reviews/{id}/decision")
async def decide_review(id: UUID, kit: KitDep, who: Decides, body: ReviewDecision) -> AccessReview:
    """Whether the emergency access was justified, with words; once."""
    return await emergencies.decide(kit, who, id, body)


@router.post("/code-lists", status_code=201, openapi_extra=lists.OPENAPI)
async def load_code_list(
    request: Request,
    response: Response,
    kit: KitDep,
    who: Loads,
    system: Annotated[str, Query(min_length=1, max_length=300, pattern=lists.URI)],
    version: Annotated[str | None, Query(min_length=1, max_length=100, pattern=lists.VERSION)] = None,
    title: Annotated[str | None, Query(min_length=1, max_length=300)] = None,
    language: Annotated[str, Query(pattern=lists.LANGUAGE)] = "zh",
    hierarchy: lists.Hierarchy = "none",
) -> CodeListReceipt:
    """A list of codes as CSV (ICD-10, for one): from now on a version of a code system."""
    charset = lists.charset_of(request.headers.get("content-type", ""))
    about = lists.CodeList(system, version, title, language, hierarchy, charset)
    receipt, known = await lists.load(kit, who, await request.body(), about)
    response.status_code = 200 if known else 201
    return receipt


def _own(kit: Kit, who: Principal, types: Sequence[str]) -> tuple[str, Reach]:
    for type in types:
        for right in ("r", "s"):
            reach = access.reach(kit.policy, who, type, right)
            if not reach.sector_ids:
                raise forbidden("this is a person's own record: it is read with that person's token")
    assert who.sector_id is not None
    return who.sector_id, reach


async def _start(kit: Kit) -> None:
    base = f"{kit.settings.public_url}/fhir/"
    pages = Pages(kit.settings.secret_for("health", "pages"))
    kit.parts["fhir"] = Fhir(kit, Workers(), pages, base)


async def validating(kit: Kit) -> None:
    """Holds the worker processes for as long as the service runs."""
    fhir: Fhir = kit.parts["fhir"]
    try:
        await asyncio.Event().wait()
    finally:
        await fhir.workers.close()


app = service(
    "health",
    title="Huimin health 惠民·健康",
    description="Health records in FHIR R4, and each person's own record.",
    routers=[router],
    mounts={"/fhir": standard_app("Huimin FHIR R4", render, routers=doors.ROUTERS)},
    offers=OFFERS,
    startup=[_start, changes.order_those_of_elsewhere],
    background=[
        validating,
        telling.watch,
        reindexing.follow,
        emergencies.watch_reviews,
        merged.catch_up,
        treatments.watch,
    ],
    handlers=[RENEWS, *merged.FOLLOWS],
    counts=repository.counts,
    over=bulk.OVER,
    streams=["/fhir/bulk/"],
)
