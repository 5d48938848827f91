"""The doors of social security: pushes in; audit runs, findings and people's own records out.

There is no door here that stops, reduces or recovers a benefit.
"""

import asyncio
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Header, Query, Request, Response
from starlette.datastructures import FormData

from services.identity.client import IdentityClient
from services.kit import changes, purposes
from services.kit.app import Kit, KitDep, Read, Router, Tx, permitted, service
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Transaction
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.kit.problems import bad_request, forbidden
from services.kit.renewal import RENEWS
from social_security import benefit_audit, findings, records, told
from social_security.imports import people, receive, spool
from social_security.imports.push import SentFile
from social_security.offers import OFFERS
from social_security.records import Part, Slice
from social_security.repository import intake
from social_security.shapes import (
    AuditRun,
    Finding,
    FindingStatus,
    Mode,
    PageOf,
    Receipt,
    Record,
    RefusedRow,
    RunRequest,
)

BODY_LIMIT_BYTES = 256 * 1024 * 1024
PUSHES_AT_ONCE = 2
HERE = ZoneInfo("Asia/Shanghai")

router = Router(prefix="/social-security", tags=["social security"])
Audits = Annotated[Principal, allowed("social_security:findings:read")]
Myself = Annotated[Principal, allowed("social_security:records:read", kinds=("person",))]
First = Annotated[int, Query(ge=1, le=100)]


def _organisation(who: Principal) -> str:
    return who.organisation or who.client_id


def _own_imports(who: Principal) -> Resource:
    return Resource("SocialSecurity::Import", id="imports", organisation=_organisation(who))


IMPORTS, AUDITS = "social_security:imports:write", "social_security:audits:run"
FINDINGS = Resource("SocialSecurity::Finding", id="findings")
RUNS = Resource("SocialSecurity::AuditRun", id="audit-runs")
Sends = Annotated[Principal, permitted("import", _own_imports, IMPORTS, kinds=("organisation",))]
Sent = Annotated[Principal, permitted("import.read", _own_imports, IMPORTS, kinds=("organisation",))]
Runs = Annotated[Principal, permitted("audit-run.request", RUNS, AUDITS)]
SeesRun = Annotated[Principal, permitted("audit-run.read", RUNS, AUDITS, "social_security:findings:read")]
KindName = Literal["contributions", "payments", "claims", "claim_lines"]
_PARTS: tuple[Part, ...] = ("contributions", "payments", "claims", "findings")
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        kind: {"type": "string", "format": "binary"}
                        for kind in ("contributions", "payments", "claims", "claim_lines")
                    },
                }
            },
        },
    }
}


@router.post("/imports", response_model=Receipt, response_model_exclude_none=True, openapi_extra=_BODY)
async def push(
    request: Request,
    response: Response,
    kit: KitDep,
    who: Sends,
    kind: KindName | None = None,
    mode: Mode = "atomic",
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Receipt:
    """Rows of one kind, or of several in a multipart body: all or none (accept-valid: the good)."""
    async with spool.folder_under(_pushes(kit)) as folder:
        files = await _files(request, folder, kind)
        async with kit.parts["pushes"]:
            receipt = await receive.receive(
                database=kit.db,
                resolve=partial(
                    people.resolve, kit.calls.client(IdentityClient), who.organisation or who.client_id
                ),
                principal=who,
                files=files,
                mode=mode,
                today=datetime.now(HERE).date(),
                key=idempotency_key,
            )
    response.status_code = 200 if receipt.duplicate_of else 201
    response.headers["location"] = f"/social-security/imports/{receipt.receipt_id}"
    return receipt


async def _files(request: Request, folder: Any, kind: str | None) -> list[SentFile]:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await spool.from_body(request.stream(), folder, kind=kind, headers=request.headers)
    if "content-digest" in request.headers:
        raise bad_request(
            "digest_of_a_form", "Content-Digest is checked for a plain body; send one kind, or leave it out"
        )
    form: FormData = await request.form(max_files=8, max_fields=8)
    try:
        parts: list[tuple[str, Any]] = form.multi_items()
        return await spool.from_parts(parts, folder, kind=kind)
    finally:
        await form.close()


@router.get("/imports/{receipt_id}", response_model_exclude_none=True)
async def read_receipt(receipt_id: UUID, read: Read, who: Sent) -> Receipt:
    """A receipt of the caller's own organisation."""
    return await receive.receipt_for(read, receipt_id, organisation=_organisation(who))


@router.get("/imports/{receipt_id}/refusals")
async def read_refusals(
    receipt_id: UUID, read: Read, who: Sent, first: First = 100, after: str | None = None
) -> PageOf[RefusedRow]:
    """The rows that a push with mode=accept-valid was taken without, and why."""
    await receive.receipt_for(read, receipt_id, organisation=_organisation(who))
    start = _row_after(after)
    rows = await intake.refusals_of(read, receipt_id, after=start, limit=first + 1)
    following = None
    if len(rows) > first:
        following = encode_cursor(rows[first - 1]["kind"], rows[first - 1]["line"])
    return PageOf(items=[RefusedRow(**dict(row)) for row in rows[:first]], next=following)


def _row_after(after: str | None) -> tuple[str, int] | None:
    if after is None:
        return None
    kind, line = decode_cursor(after, 2)
    if not (line.isascii() and line.isdigit() and len(line) < 10):
        raise bad_cursor()
    return kind, int(line)


@router.post("/audit-runs", status_code=202, response_model_exclude_none=True)
async def start_run(
    kit: KitDep, tx: Tx, who: Runs, response: Response, body: RunRequest | None = None
) -> AuditRun:
    """Queues a benefit audit; how it goes on stands at the Location."""

    async def submit(tx: Transaction, run_id: UUID) -> UUID:
        assert kit.jobs is not None
        job_id: UUID = await kit.jobs.submit(
            tx, kind="social_security.tasks:run_audit", args={"run_id": str(run_id)}, max_attempts=3
        )
        return job_id

    run = await benefit_audit.start(tx, submit=submit, rules=body.rules if body else [])
    response.headers["location"] = f"/social-security/audit-runs/{run.id}"
    return run


@router.get("/audit-runs/{run_id}", response_model_exclude_none=True)
async def read_run(
    run_id: UUID,
    kit: KitDep,
    who: SeesRun,
) -> AuditRun:
    """A run's account; whoever is responsible for some areas gets the counts of these."""
    return await benefit_audit.find(kit.db, run_id, who)


@router.get("/findings")
async def list_findings(
    kit: KitDep,
    read: Read,
    who: Audits,
    rule: Annotated[str | None, Query(max_length=100)] = None,
    status: FindingStatus | None = None,
    first: First = 20,
    after: str | None = None,
) -> PageOf[Finding]:
    """Findings in the caller's areas, largest amount first."""
    decision = kit.permitted(who, "findings.read", FINDINGS)
    page = await findings.page(read, principal=who, rule=rule, status=status, first=first, after=after)
    assert kit.leaves is not None
    kit.leaves.add(
        who,
        action="findings.read",
        subjects=sorted({finding.subject for finding in page.items if finding.subject is not None}),
        records=len(page.items),
        resource="findings",
        purpose=who.purpose or purposes.BENEFIT_AUDIT,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    return page


@router.get("/records/me", response_model_exclude_none=False)
async def own_record(
    kit: KitDep,
    read: Read,
    who: Myself,
    parts: Annotated[str | None, Query(max_length=100)] = None,
    payments_first: First = 20,
    payments_after: str | None = None,
    claims_first: First = 20,
    claims_after: str | None = None,
    findings_first: First = 20,
    findings_after: str | None = None,
) -> Record:
    """The caller's own record, or the parts of it that are named: contributions,payments,claims,findings."""
    if who.sector_id is None:
        raise forbidden("the token does not say whose record it is for; sign in as a person in the register")
    decision = kit.permitted(
        who, "record.read", Resource("SocialSecurity::Record", id="records/me", owner=who.sector_id)
    )
    record = await records.of_person(
        read,
        who.sector_ids,
        parts=_parts(parts),
        slices={
            "payments": Slice(payments_first, payments_after),
            "claims": Slice(claims_first, claims_after),
            "findings": Slice(findings_first, findings_after),
        },
    )
    assert kit.leaves is not None
    kit.leaves.add(
        who,
        action="record.read",
        subject=who.sector_id,
        subjects=who.sector_ids[1:] or None,
        records=_shown(record),
        resource="records/me",
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    return record


def _shown(record: Record) -> int:
    lists = (record.payments, record.claims, record.findings)
    return len(record.contributions or ()) + sum(len(found.items) for found in lists if found is not None)


def _parts(named: str | None) -> list[Part]:
    if named is None:
        return list(_PARTS)
    asked = named.split(",")
    unknown = [name for name in asked if name not in _PARTS]
    if unknown:
        raise bad_request(
            "unknown_part", f"there is no part {unknown[0][:40]!r}; there are {', '.join(_PARTS)}"
        )
    return [part for part in _PARTS if part in asked]


def _pushes(kit: Kit) -> Any:
    return kit.settings.home / "social_security" / "pushes"


async def _prepare(kit: Kit) -> None:
    kit.parts["pushes"] = asyncio.Semaphore(PUSHES_AT_ONCE)
    await asyncio.to_thread(spool.sweep, _pushes(kit))


app = service(
    "social_security",
    title="Huimin social security 社会保障",
    description="Contributions, benefit payments, medical claims; benefit audit with evidence.",
    routers=[router],
    offers=OFFERS,
    handlers=[RENEWS],
    subscriptions={benefit_audit.DEATHS: told.take_deaths},
    startup=[_prepare, changes.order_those_of_elsewhere],
    counts=receive.counts,
    body_limit_bytes=BODY_LIMIT_BYTES,
    # A large push takes longer than any other answer; it has deadlines of its own.
    streams=("/social-security/imports",),
)
