"""The doors of education: rosters in, receipts and lifelong records out."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path, Query, Request
from starlette.responses import Response

from education import imports, proposals, receipts
from education import record as records
from education.offers import OFFERS
from education.oneroster.body import OPENAPI, zip_of
from education.oneroster.reading import ONEROSTER_CSV
from education.repository import roster
from education.shapes import (
    Decision,
    FaultPage,
    ImportPage,
    LearningRecord,
    Mode,
    OrganisationPage,
    ProposedPage,
    Receipt,
)
from services.kit import changes
from services.kit.app import KitDep, Read, Router, Tx, permitted, service
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.kit.renewal import RENEWS

# A zip of a million rows has about 15 MB and takes a minute.
BODY_LIMIT_BYTES = 64 * 1024 * 1024
REQUEST_TIMEOUT_S = 600.0

router = Router(prefix="/education", tags=["education"])
Reader = Annotated[Principal, allowed("education:records:read")]


def _own(who: Principal) -> Resource:
    return Resource("Education::Roster", id="imports", organisation=imports.source_of(who))


SENDS = "education:imports:write"
Pushes = Annotated[Principal, permitted("education.roster.import", _own, SENDS)]
Reads = Annotated[Principal, permitted("education.roster.read", _own, SENDS)]
Decides = Annotated[Principal, permitted("education.roster.decide", _own, SENDS)]
First = Annotated[int, Query(ge=1, le=100)]
FILES = dict(ONEROSTER_CSV.files)


@router.post(
    "/imports",
    status_code=201,
    response_model=Receipt,
    openapi_extra=OPENAPI,
    responses={
        200: {"description": "Sent before; the first receipt"},
        422: {"description": "Refused, with faults"},
    },
)
async def push_roster(
    request: Request,
    kit: KitDep,
    who: Pushes,
    mode: Mode = "atomic",
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """A OneRoster 1.2 CSV zip. `atomic`: all or nothing; `accept-valid`: faulty rows are set aside.

    The same zip sent again gets the same receipt, until another one was applied: then it is a change back.
    A repetition that may come late carries an Idempotency-Key, which holds whatever was sent in between.
    """
    body = await zip_of(request)
    import_id, before = await imports.push(
        kit, who, body=body, mode=mode, dialect=ONEROSTER_CSV, key=idempotency_key
    )
    async with kit.db.read() as db:
        found = await receipts.receipt(
            db, source=imports.source_of(who), import_id=import_id, files=FILES, sent_before=before
        )
    if found.status == "rejected":
        raise receipts.refusal(found)
    return Response(
        found.model_dump_json(),
        200 if before else 201,
        headers={"Location": f"/education/imports/{import_id}"},
        media_type="application/json",
    )


@router.get("/imports")
async def list_imports(db: Read, who: Reads, first: First = 20, after: str | None = None) -> ImportPage:
    """The caller's pushes, newest first."""
    return await receipts.listed(db, source=imports.source_of(who), first=first, after=after)


@router.get("/imports/{import_id}")
async def read_receipt(db: Read, who: Reads, import_id: Annotated[UUID, Path()]) -> Receipt:
    """The receipt of one push, refused ones included."""
    return await receipts.receipt(db, source=imports.source_of(who), import_id=import_id, files=FILES)


@router.get("/imports/{import_id}/faults")
async def read_faults(
    db: Read, who: Reads, import_id: UUID, first: First = 100, after: str | None = None
) -> FaultPage:
    """Every fault of a push, in the order of its files."""
    return await receipts.faults_of(
        db, source=imports.source_of(who), import_id=import_id, first=first, after=after
    )


@router.get("/imports/{import_id}/proposals/{proposal_id}/rows")
async def read_proposed(
    db: Read, who: Reads, import_id: UUID, proposal_id: UUID, first: First = 100, after: str | None = None
) -> ProposedPage:
    """The ids of the rows that a proposal would end."""
    return await receipts.proposed(
        db,
        source=imports.source_of(who),
        import_id=import_id,
        proposal_id=proposal_id,
        first=first,
        after=after,
    )


@router.post("/proposals/{proposal_id}/decisions", status_code=201)
async def decide_proposal(tx: Tx, who: Decides, proposal_id: UUID, decision: Decision) -> Receipt:
    """Ends the rows that a push no longer mentioned, or keeps them; names the person who says so."""
    source = imports.source_of(who)
    import_id = await proposals.decide(tx, source=source, proposal_id=proposal_id, decision=decision)
    return await receipts.receipt(tx, source=source, import_id=import_id, files=FILES)


@router.get("/organisations")
async def list_organisations(
    db: Read, who: Reads, first: First = 50, after: str | None = None
) -> OrganisationPage:
    """The organisations the caller keeps here."""
    return await records.organisations(db, source=imports.source_of(who), first=first, after=after)


@router.get("/records/me")
async def read_own_record(
    kit: KitDep, db: Read, who: Reader, first: First = 50, after: str | None = None
) -> LearningRecord:
    """The caller's own lifelong record; `first` and `after` page through the classes."""
    learner_id = records.own_id(who)
    own = Resource("Education::Record", id="record", owner=learner_id, special=True)
    decision = kit.permitted(who, "education.record.read", own)
    found = await records.record(db, who, first=first, after=after)
    assert kit.leaves is not None
    # Children's records are specially protected: the access is on record before the answer leaves.
    await kit.leaves.write(
        who,
        action="education.record.read",
        subject=learner_id,
        subjects=who.sector_ids[1:] or None,
        records=len(found.episodes) + len(found.classes.items),
        resource="record",
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    return found


app = service(
    "education",
    title="Huimin education",
    description="教育:名册接入与终身学习档案 · rosters in OneRoster 1.2 CSV, lifelong learner records",
    routers=[router],
    offers=OFFERS,
    startup=[imports.open_slots, changes.order_those_of_elsewhere],
    handlers=[RENEWS],
    counts=roster.counts,
    body_limit_bytes=BODY_LIMIT_BYTES,
    request_timeout_s=REQUEST_TIMEOUT_S,
)
