"""What the exchange shows a person, and what others ask it about one: usages, reports, consents."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import JSONResponse

from services.exchange import consent, hiding, people, usage, usage_reports
from services.exchange.person_shapes import (
    Answer,
    Consent,
    ConsentAnswer,
    ConsentCheck,
    ConsentPage,
    ConsentRequest,
    HidingRight,
    HidingRightPage,
    HidingRightRequest,
    Report,
    ReportPage,
    ReportRequest,
    ReportState,
    SectorId,
    UsagePage,
    Wards,
)
from services.kit.app import KitDep, Read, Router, Tx
from services.kit.principals import Principal, allowed

router = Router(prefix="/exchange", tags=["people"])
Myself = Annotated[Principal, allowed("exchange:usages:read", kinds=("person",))]
Reporter = Annotated[Principal, allowed("exchange:usage-reports:write", kinds=("person",))]
Consents = Annotated[Principal, allowed("exchange:consents:read", kinds=("person",))]
Consenting = Annotated[Principal, allowed("exchange:consents:write", kinds=("person",))]
Answering = Annotated[Principal, allowed("exchange:usage-reports:answer", kinds=("staff",))]
Service = Annotated[Principal, allowed("exchange:consents:check", kinds=("service",))]
Recorder = Annotated[Principal, allowed("exchange:hiding-rights:write")]
After = Annotated[str | None, Query(max_length=500)]
First = Annotated[int, Query(ge=1, le=1000)]
Whose = Annotated[SectorId | None, Query(description="A child the caller stands for")]


@router.get("/usages/me")
async def my_usages(
    kit: KitDep, who: Myself, ward: Whose = None, own: bool = True, after: After = None, limit: First = 100
) -> UsagePage:
    """Who had to do with my data, newest first; `own=false` leaves out my own reading."""
    return await usage.read(kit, who, usage.Asked(own=own, after=after, limit=limit), code=ward)


@router.get("/wards/me")
async def my_wards(kit: KitDep, who: Myself) -> Wards:
    """The children I stand for, with the codes their lists are asked for by."""
    return await people.wards(kit, who)


@router.post("/usage-reports", status_code=201)
async def report_usage(kit: KitDep, who: Reporter, body: ReportRequest) -> Report:
    """ "This looks wrong": opens a case about a usage in one's own list."""
    return await usage_reports.open_report(kit, who, body)


@router.get("/usage-reports/me")
async def my_reports(
    kit: KitDep, who: Reporter, ward: Whose = None, after: After = None, limit: First = 100
) -> ReportPage:
    return await usage_reports.mine(kit, who, code=ward, after=after, limit=limit)


@router.get("/usage-reports")
async def reports_to_answer(
    kit: KitDep,
    who: Answering,
    state: ReportState | None = None,
    after: After = None,
    limit: First = 100,
) -> ReportPage:
    """What people say about usages by the caller's organisation."""
    return await usage_reports.to_answer(kit, who, state=state, after=after, limit=limit)


@router.post("/usage-reports/{id}/answer")
async def answer_report(id: UUID, kit: KitDep, who: Answering, body: Answer) -> Report:
    return await usage_reports.answer(kit, who, id, body.words)


@router.post("/usage-reports/{id}/closing")
async def close_report(id: UUID, kit: KitDep, who: Reporter) -> Report:
    return await usage_reports.close(kit, who, id)


@router.post("/consents", status_code=201)
async def give_consent(kit: KitDep, who: Consenting, body: ConsentRequest) -> Consent:
    return await consent.give(kit, who, body)


@router.get("/consents/me")
async def my_consents(
    kit: KitDep, who: Consents, ward: Whose = None, after: After = None, limit: First = 100
) -> ConsentPage:
    return await consent.page(kit, who, code=ward, after=after, limit=limit)


@router.post("/consents/check")
async def check_consents(kit: KitDep, who: Service, body: ConsentCheck) -> ConsentAnswer:
    """For a service, about people of its own sector: whether their consent covers something now."""
    return ConsentAnswer(in_force=await consent.check(kit, who, body))


@router.post("/consents/{id}/revocation")
async def revoke_consent(id: UUID, kit: KitDep, who: Consenting) -> Consent:
    """Takes effect at once."""
    return await consent.revoke(kit, who, id)


@router.get("/consents/{id}/receipt")
async def consent_receipt(id: UUID, kit: KitDep, who: Consents) -> JSONResponse:
    """ISO/IEC TS 27560's fields as JSON-LD (W3C DPV)."""
    found = await consent.receipt(kit, who, id)
    disposition = f'attachment; filename="consent-{id}.jsonld"'
    headers = {"content-disposition": disposition, "cache-control": "no-store"}
    return JSONResponse(found, media_type="application/ld+json", headers=headers)


@router.get("/hiding-rights")
async def list_hiding_rights(db: Read, after: After = None, limit: First = 100) -> HidingRightPage:
    """By which laws which organisations keep usages out of people's lists. Open to everybody."""
    return await hiding.page(db, after=after, limit=limit)


@router.post("/hiding-rights", status_code=201)
async def record_hiding_right(tx: Tx, _who: Recorder, body: HidingRightRequest) -> HidingRight:
    return await hiding.record(tx, body)
