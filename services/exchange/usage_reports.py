""" "This looks wrong": what a person says about a usage of their data, and the answer within a term.

Whoever handles personal data must take such requests and deal with them in time (个人信息保护法 第五十条).
open → answered (by the organisation whose usage it was) → closed (by the person). A report whose term passes
without an answer is overdue: it says so, and an event tells.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.exchange import people, usage
from services.exchange.person_shapes import Report, ReportPage, ReportRequest, ReportState, Usage
from services.exchange.repository import usages as repository
from services.exchange.working_days import HERE, term
from services.kit import telemetry
from services.kit.app import Kit
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Decision, Resource
from services.kit.principals import Principal
from services.kit.problems import Problem, conflict, not_found
from services.kit.purposes import OPERATIONS, OWN_RECORDS

LEGAL_BASIS = "《中华人民共和国个人信息保护法》第五十条"
REPORT = "usages.report"
CASE = "Exchange::Case"
LOOK_EVERY_S = 5.0
AT_ONCE = 500


async def open_report(kit: Kit, who: Principal, asked: ReportRequest) -> Report:
    """Opens a report about a usage that is in the person's own list.

    Raises:
        Problem: 404 for a usage that is not; 409 when one about it is at work already.
    """
    code = asked.ward or people.own_code(who)
    decision = await people.admit(kit, who, REPORT, usage.RESOURCE, code=code)
    wrong, organisation = await usage.one(kit, code, asked.leaf_index)
    id, due = uuid7(), term(datetime.now(HERE), kit.settings.usage_report_days)
    report = {
        "id": id,
        "subject": code,
        "reported_by": people.own_code(who),
        "leaf_index": wrong.leaf_index,
        "usage": wrong.model_dump(mode="json"),
        "organisation": organisation,
        "words": asked.words,
        "due_at": due.ends,
        "due_by_weekdays": due.by_weekdays,
    }
    async with kit.db.transaction(who) as tx:
        if not await repository.open_report(tx, report):
            raise conflict("already_reported", "a report about this usage is being looked into already")
        row = await repository.lock_report(tx, id)
        assert row is not None, "it was just opened"
        await _tell(tx, row, REPORT, "opened", decision, purpose=OWN_RECORDS)
    return shape_of(row)


async def answer(kit: Kit, who: Principal, id: UUID, words: str) -> Report:
    """The organisation's answer, by its privacy officer; for usages by our own services by exchange staff.

    Raises:
        Problem: 404, 403 with the reason, 409 when it is answered already.
    """
    async with kit.db.read() as db:
        row = await repository.report(db, id)
    decision = await _admit_staff(kit, who, "cases.decide", row)
    async with kit.db.transaction(who) as tx:
        row = await repository.lock_report(tx, id)
        if row is None or row["state"] != "open":
            raise _wrong_state(row, "open")
        await repository.answer(tx, id, words=words, by=who.subject)
        await _tell(tx, row, "cases.decide", "answered", decision, purpose=OPERATIONS)
        row = await repository.report(tx, id)
    assert row is not None
    return shape_of(row)


async def close(kit: Kit, who: Principal, id: UUID) -> Report:
    """By the person, who has the answer."""
    async with kit.db.read() as db:
        row = await repository.report(db, id)
    if row is None:
        raise _unknown()
    decision = await people.admit(kit, who, REPORT, usage.RESOURCE, code=row["subject"])
    async with kit.db.transaction(who) as tx:
        row = await repository.lock_report(tx, id)
        if row is None or row["state"] != "answered":
            raise _wrong_state(row, "answered")
        await repository.close(tx, id)
        await _tell(tx, row, REPORT, "closed", decision, purpose=OWN_RECORDS)
        row = await repository.report(tx, id)
    assert row is not None
    return shape_of(row)


async def mine(kit: Kit, who: Principal, *, code: str | None, after: str | None, limit: int) -> ReportPage:
    """What the person said, newest first."""
    code = code or people.own_code(who)
    decision = await people.admit(kit, who, "cases.read", CASE, code=code)
    subjects = (await people.ids_of(kit, code, people.SECTOR)).get(people.SECTOR, [])
    async with kit.db.read() as db:
        rows = await repository.reports_of(db, subjects, before=uuid_after(after), limit=limit + 1)
    return await _shown(kit, who, rows, limit, decision, purpose=OWN_RECORDS)


async def to_answer(
    kit: Kit, who: Principal, *, state: ReportState | None, after: str | None, limit: int
) -> ReportPage:
    """Those about usages by the caller's organisation; for exchange staff also by our own services."""
    of_nobody = "exchange_staff" in who.roles
    decision = kit.policy.decide(
        who, "cases.read", Resource(CASE, organisation=who.organisation), purpose=OPERATIONS
    )
    if not decision.permitted:
        await people.refused(kit, who, "cases.read", decision, resource=CASE)
    async with kit.db.read() as db:
        rows = await repository.reports_for(
            db, who.organisation, of_nobody=of_nobody, state=state, before=uuid_after(after), limit=limit + 1
        )
    return await _shown(kit, who, rows, limit, decision, purpose=OPERATIONS)


async def watch(kit: Kit) -> None:
    """Finds the reports whose term has passed, for as long as the service runs."""
    while True:
        async with kit.db.transaction() as tx:
            rows = await repository.overdue(tx, limit=AT_ONCE)
            for row in rows:
                await tx.publish("exchange.usage_report.overdue", aggregate=f"usage-report/{row['id']}",
                                 data=_told(row))  # fmt: skip
        if rows:
            telemetry.logger(kit.name).warning("usage reports are overdue", extra={"reports": len(rows)})
        if len(rows) < AT_ONCE:
            await asyncio.sleep(LOOK_EVERY_S)


async def _admit_staff(kit: Kit, who: Principal, action: str, row: Row | None) -> Decision:
    if row is None:
        raise _unknown()
    organisation = row["organisation"]
    decision = kit.policy.decide(
        who, action, Resource(CASE, id=str(row["id"]), organisation=organisation), purpose=OPERATIONS
    )
    if not decision.permitted:
        resource = f"usage-reports/{row['id']}"
        await people.refused(kit, who, action, decision, subject=row["subject"], resource=resource)
    return decision


async def _shown(
    kit: Kit, who: Principal, rows: Sequence[Row], limit: int, decision: Decision, *, purpose: str
) -> ReportPage:
    page = list(rows[:limit])
    assert kit.leaves is not None
    await kit.leaves.write(
        who,
        action="cases.read",
        subjects=sorted({row["subject"] for row in page}),
        records=len(page),
        resource="usage-reports",
        purpose=purpose,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
    )
    following = encode_cursor(page[-1]["id"]) if len(rows) > limit else None
    return ReportPage(items=[shape_of(row) for row in page], next=following)


async def _tell(
    tx: Transaction, row: Row, action: str, change: str, decision: Decision, *, purpose: str
) -> None:
    await tx.leaf(
        action=action,
        subject=row["subject"],
        resource=f"usage-reports/{row['id']}",
        purpose=purpose,
        legal_basis=decision.legal_basis or LEGAL_BASIS,
        reason=decision.reason,
    )
    await tx.publish(
        f"exchange.usage_report.{change}", aggregate=f"usage-report/{row['id']}", data=_told(row)
    )


def _told(row: Row) -> dict[str, str | None]:
    """What others hear of it: not who said it, nor what."""
    return {
        "report": str(row["id"]),
        "organisation": row["organisation"],
        "due_at": row["due_at"].isoformat(),
    }


def shape_of(row: Row) -> Report:
    return Report(
        id=row["id"],
        usage=Usage(**row["usage"]),
        words=row["words"],
        state=row["state"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        due_by_weekdays=row["due_by_weekdays"],
        overdue=(row["answered_at"] or datetime.now(HERE)) > row["due_at"],
        legal_basis=LEGAL_BASIS,
        answer=row["answer"],
        answered_at=row["answered_at"],
        closed_at=row["closed_at"],
    )


def _unknown() -> Problem:
    return not_found("there is no such report", code="unknown_report")


def _wrong_state(row: Row | None, wanted: str) -> Problem:
    if row is None:
        return _unknown()
    return conflict("wrong_state", f"the report is {row['state']}; this needs one that is {wanted}")
