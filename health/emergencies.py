"""Emergency access (break-glass): a record opened without a right to it, by somebody who may, for a time.

It is never quiet: the patient and the privacy officer are told in the commit that opens it, each read under
it is a leaf with the reason, and it is reviewed.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from health import repository
from health.shapes import (
    AccessReview,
    AccessReviewPage,
    EmergencyAccess,
    EmergencyAccessPage,
    EmergencyRequest,
    OpenedRecord,
    ReviewDecision,
)
from services.identity.client import IdentityClient
from services.kit import telemetry
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, bad_request, forbidden, not_found, unprocessable
from services.kit.purposes import EMERGENCY
from services.kit.telemetry import holds_citizen_number

RECORD, REVIEW = "Health::Record", "Health::Review"
LOOK_EVERY_S = 5.0


async def open_record(kit: Kit, who: Principal, asked: EmergencyRequest) -> EmergencyAccess:
    """Opens a patient's record to the caller, for a time.

    Raises:
        Problem: 403 who may not; 404 no such patient; 422 a citizen number among the words.
    """
    if who.organisation is None:
        raise forbidden("an emergency access is made for a hospital; the account belongs to none")
    if holds_citizen_number(asked.reason):
        words = "a citizen number must not stand in the reason"
        raise unprocessable("citizen_number", words, Fault(words, field="reason"))
    async with kit.db.session() as db:
        patient = await repository.patient_of(db, asked.patient.removeprefix("Patient/"))
    if patient is None:
        words = f"there is no {asked.patient[:80]}"
        raise not_found(words, code="no_patient")
    local = f"Patient/{asked.patient.removeprefix('Patient/')}"
    decision = kit.permitted(who, "break_glass", Resource(RECORD, id=local, owner=patient["sector_id"]))
    recipient = await _recipient(kit, patient["sector_id"])
    id, now = uuid7(), datetime.now(UTC)
    ends_at = now + timedelta(hours=kit.settings.emergency_access_hours)
    due_at = now + timedelta(hours=kit.settings.emergency_review_hours)
    async with kit.db.transaction(who) as tx:
        await repository.add_emergency_access(
            tx,
            id=id,
            pt=patient["pt"],
            organisation=who.organisation,
            client=who.client_id,
            actor=who.subject,
            reason=asked.reason,
            begun_at=now,
            ends_at=ends_at,
            due_at=due_at,
        )
        await tx.leaf(
            action="break_glass",
            subject=patient["sector_id"],
            resource=local,
            purpose=EMERGENCY,
            relation="break_glass",
            legal_basis=decision.legal_basis,
            reason=asked.reason,
        )
        about = {"organisation": who.organisation, "ends_at": ends_at, "due_at": due_at}
        await _tell(tx, "opened", id, **about, **({"recipient": recipient} if recipient else {}))
    return EmergencyAccess(
        id=id, patient=local, reason=asked.reason, begun_at=now, ends_at=ends_at, review_due_at=due_at
    )


async def _recipient(kit: Kit, sector_id: str | None) -> str | None:
    """The patient as notify knows them, sealed to notify: no event carries an id of another sector.

    A life does not wait for identity: without it the patient still sees the access in their own list.
    """
    if sector_id is None:
        return None
    try:
        [sealed] = await kit.calls.client(IdentityClient).sealed_ids([sector_id], target="notify")
    except DomainError as error:
        telemetry.logger(kit.name).error("nobody to tell of an emergency access", extra={"error": str(error)})
        return None
    return sealed


async def _tell(tx: Transaction, what: str, id: UUID, **about: object) -> None:
    data = {name: at.isoformat() if isinstance(at, datetime) else at for name, at in about.items()}
    await tx.publish(
        f"health.emergency_access.{what}", aggregate=f"emergency_access/{id}", data={"id": str(id), **data}
    )


async def opened_to(
    db: Connection, sector_ids: Sequence[str], *, after: str | None, limit: int
) -> EmergencyAccessPage:
    """The openings of a person's own record, the latest first."""
    rows = await repository.emergency_accesses_of(db, sector_ids, before=_place(after), limit=limit + 1)
    items = [OpenedRecord(**dict(row)) for row in rows[:limit]]
    following = (
        encode_cursor(items[-1].begun_at.isoformat(), str(items[-1].id)) if len(rows) > limit else None
    )
    return EmergencyAccessPage(items=items, next=following)


async def reviews(
    kit: Kit, who: Principal, *, state: str | None, after: str | None, limit: int
) -> AccessReviewPage:
    """Reviews of the caller's own organisation, the oldest first."""
    organisation = _own(who)
    kit.permitted(who, "access_reviews.read", Resource(REVIEW, organisation=organisation))
    async with kit.db.read() as db:
        rows = await repository.reviews(db, organisation, state=state, after=_place(after), limit=limit + 1)
    shown = rows[:limit]
    _leave(kit, who, "access_reviews.read", shown)
    following = (
        encode_cursor(shown[-1]["opened_at"].isoformat(), str(shown[-1]["id"])) if len(rows) > limit else None
    )
    return AccessReviewPage(items=[_review(row) for row in shown], next=following)


async def decide(kit: Kit, who: Principal, id: UUID, said: ReviewDecision) -> AccessReview:
    """The privacy officer's word on an emergency access; it is said once.

    Raises:
        Problem: 403 who may not, or made the access; 404 no such review; 409 decided already.
    """
    if holds_citizen_number(said.words):
        words = "a citizen number must not stand in the words"
        raise unprocessable("citizen_number", words, Fault(words, field="words"))
    organisation = _own(who)
    async with kit.db.transaction(who) as tx:
        row = await repository.lock_review(tx, id)
        if row is None or row["organisation"] != organisation:
            raise not_found(f"there is no access review {id} here", code="no_review")
        review = Resource(REVIEW, id=f"access_review/{id}", organisation=organisation)
        decision = kit.permitted(who, "access_reviews.decide", review)
        if row["actor"] == who.subject:
            raise forbidden("whoever opened the record does not review it", code="own_access")
        if row["state"] != "pending":
            raise Problem(409, "decided", f"it was found {row['state']} at {row['decided_at'].isoformat()}")
        now = datetime.now(UTC)
        await repository.decide_review(
            tx, id, state=said.decision, words=said.words, decided_by=who.subject, decided_at=now
        )
        await tx.leaf(
            action="access_reviews.decide",
            subject=row["sector_id"],
            resource=f"access_review/{id}",
            legal_basis=decision.legal_basis,
            reason=said.decision,
        )
        await _tell(tx, "decided", id, organisation=organisation, state=said.decision)
        found = await repository.lock_review(tx, id)
    assert found is not None
    return _review(found)


async def watch_reviews(kit: Kit) -> None:
    """Tells of reviews that nobody decided in time, each once."""
    while True:
        async with kit.db.transaction() as tx:
            await tell_overdue(tx)
        await asyncio.sleep(LOOK_EVERY_S)


async def tell_overdue(tx: Transaction) -> None:
    for row in await repository.mark_overdue(tx):
        await _tell(tx, "overdue", row["id"], organisation=row["organisation"], due_at=row["due_at"])


def _own(who: Principal) -> str:
    if who.organisation is None:
        raise forbidden("the account belongs to no organisation, so there is nothing for it to review")
    return who.organisation


def _leave(kit: Kit, who: Principal, action: str, rows: Sequence[Row]) -> None:
    assert kit.leaves is not None
    subjects = sorted({row["sector_id"] for row in rows} - {None})
    if len(subjects) > 1:
        kit.leaves.add(who, action=action, records=len(rows), subjects=subjects, resource="access_reviews")
    else:
        one = next(iter(subjects), None)
        kit.leaves.add(who, action=action, records=len(rows), subject=one, resource="access_reviews")


def _review(row: Row) -> AccessReview:
    said = {name: row[name] for name in AccessReview.model_fields if name not in ("patient", "overdue")}
    overdue = row["state"] == "pending" and row["due_at"] <= datetime.now(UTC)
    return AccessReview(**said, patient=f"Patient/{row['patient']}", overdue=overdue)


def _place(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    at, id = decode_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(at), UUID(id)
    except ValueError as error:
        raise bad_request("invalid_cursor", "the cursor is not one this list gave out") from error
