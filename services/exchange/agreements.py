"""Agreements: who may read which items and rows of whose data, what for, on what ground, until when.

requested → active → suspended ⇄ active → ended; or refused; or ended before anybody decided. Staff of the
consuming department ask, staff of the providing one decide, and never the same person.
"""

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Literal

from services.exchange import catalogue, departments, grounds
from services.exchange.grounds import ITSELF
from services.exchange.repository import agreements as repository
from services.exchange.repository import subscriptions
from services.exchange.shapes import (
    Agreement,
    AgreementFile,
    AgreementPage,
    AgreementRequest,
    Dataset,
    State,
    StepTaken,
    Use,
    Verdict,
)
from services.exchange.terms import DECIDE_WITHIN_DAYS
from services.exchange.working_days import term
from services.kit import row_filters
from services.kit.app import Kit
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, conflict, not_found, unprocessable
from services.kit.purposes import PURPOSES, is_purpose

SEEDED_BY = "services/exchange/knowledge/agreements.json"
LONGEST = timedelta(days=5 * 366)
"""Longer needs are asked for anew: somebody should look at each of them now and then."""
STEPS_SHOWN = 100
USE_DAYS = 30

Change = Literal["suspend", "resume", "end"]
_CHANGES: dict[Change, tuple[frozenset[str], State]] = {
    "suspend": (frozenset({"active"}), "suspended"),
    "resume": (frozenset({"suspended"}), "active"),
    "end": (frozenset({"requested", "active", "suspended"}), "ended"),
}


def _seeds() -> list[dict[str, Any]]:
    text = files("services.exchange").joinpath("knowledge/agreements.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["agreements"]
    for seed in found:
        for name in ("valid_from", "valid_until"):
            seed[name] = datetime.fromisoformat(seed[name])
    return found


async def seed(tx: Transaction) -> None:
    """The agreements that ship with the suite, at every start; one that was suspended stays so."""
    now = datetime.now(UTC)
    for agreement in _seeds():
        by = {"requested_by": ITSELF, "decided_by": SEEDED_BY}
        decided = {"state": "active", "due_at": now, "due_by_weekdays": False}
        if await repository.add(tx, {**agreement, **by, **decided}):
            reason = "随系统提供 · shipped with the suite"
            await repository.add_step(
                tx, agreement["id"], state="active", reason=reason, decided_by=SEEDED_BY
            )


def shape_of(row: Row) -> Agreement:
    return Agreement(**{name: row[name] for name in Agreement.model_fields})


async def page(db: Connection, *, state: State | None, after: str | None, limit: int) -> AgreementPage:
    """Newest first."""
    rows = await repository.agreements(db, state=state, before=_place(after), limit=limit + 1)
    items = [shape_of(row) for row in rows[:limit]]
    more = encode_cursor(items[-1].requested_at.isoformat(), items[-1].id) if len(rows) > limit else None
    return AgreementPage(items=items, next=more)


def _place(after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    at, id = decode_cursor(after, 2)
    try:
        found = datetime.fromisoformat(at)
    except ValueError as error:
        raise bad_cursor() from error
    if found.tzinfo is None or "\0" in id:
        raise bad_cursor()
    return found, id


async def find(db: Connection, id: str) -> Agreement:
    row = await repository.agreement(db, id)
    if row is None:
        raise _unknown(id)
    return shape_of(row)


async def whole(db: Connection, id: str) -> AgreementFile:
    """An agreement with its steps and its use by day."""
    found = await find(db, id)
    steps = await repository.steps(db, id, limit=STEPS_SHOWN)
    use = await repository.use_by_day(db, id, days=USE_DAYS)
    return AgreementFile(
        agreement=found,
        steps=[StepTaken(**dict(row)) for row in steps],
        use=[Use(**dict(row)) for row in use],
    )


async def request(kit: Kit, who: Principal, asked: AgreementRequest) -> Agreement:
    """Asks the provider for items and rows of a dataset.

    What is shared unconditionally and names nobody is agreed at once (国发〔2016〕51号 第十二条); all else
    waits for the provider's decision.

    Raises:
        Problem: 403 for staff of another department than the consumer; 404 `unknown_dataset`; 409 for data
            that are not shared; 400 and 422 for what cannot be agreed.
    """
    dataset = await catalogue.find(kit, asked.dataset)
    async with kit.db.read() as db:
        await _permit(kit, db, who, "agreements.request", dataset.id, dataset.provider, asked.consumer)
    _check(asked, dataset)
    at_once = dataset.sharing == "unconditional" and not dataset.personal
    now = datetime.now(UTC)
    due = term(now, DECIDE_WITHIN_DAYS)
    row = asked.model_dump() | {
        "id": str(uuid7()),
        "provider": dataset.provider,
        "valid_from": asked.valid_from or now,
        "state": "active" if at_once else "requested",
        "due_at": due.ends,
        "due_by_weekdays": due.by_weekdays,
        "requested_by": who.subject,
        "decided_by": ITSELF if at_once else None,
    }
    async with kit.db.transaction(who) as tx:
        await repository.add(tx, row)
        await _step(tx, row, "requested", asked.details, action="agreements.request")
        if at_once:
            reason = "无条件共享 · shared unconditionally"
            await repository.add_step(tx, row["id"], state="active", reason=reason, decided_by=ITSELF)
        return await find(tx, row["id"])


def _check(asked: AgreementRequest, dataset: Dataset) -> None:
    if dataset.sharing == "none":
        raise conflict("not_shared", f"{dataset.id} is not shared 不予共享: {dataset.legal_basis}")
    faults = []
    if asked.consumer == dataset.provider:
        faults.append(Fault("provider and consumer are the same", field="consumer"))
    known = [item.name for item in dataset.items]
    faults += [
        Fault(f"{dataset.id} has no item {name}; it has {', '.join(known)}", field="items")
        for name in asked.items
        if name not in known
    ]
    if len(set(asked.items)) < len(asked.items):
        faults.append(Fault("an item is named more than once", field="items"))
    if not is_purpose(asked.purpose):
        faults.append(Fault(f"purpose must be one of {', '.join(PURPOSES)}", field="purpose"))
    if asked.needs_consent and dataset.sector_id is None:
        faults.append(Fault(f"{dataset.id} names nobody who could consent", field="needs_consent"))
    now = datetime.now(UTC)
    begins = asked.valid_from or now
    # By lengths: a sum may lie after the last year there is.
    too_long = max(begins - now, asked.valid_until - begins) > LONGEST
    if asked.valid_until <= max(begins, now) or too_long:
        words = "must lie after the beginning and now, at most five years on"
        faults.append(Fault(f"valid_until {words}", field="valid_until"))
    if faults:
        words = "; ".join(fault.message for fault in faults)
        raise unprocessable("cannot_be_agreed", words, *faults)
    row_filters.check(asked.filter, catalogue.filterable(dataset))


async def decide(kit: Kit, who: Principal, id: str, verdict: Verdict) -> Agreement:
    """The provider's yes or no.

    Raises:
        Problem: 403 for anybody but the provider's staff, and for whoever asked; 404; 409 when it was decided
            before, its validity has passed, or the dataset does not carry it any more.
    """
    async with kit.db.transaction(who) as tx:
        row = await locked(tx, id)
        await permit_on(kit, tx, "agreements.decide", row)
        if row["state"] != "requested":
            raise conflict("wrong_state", f"the agreement is {row['state']}; only a request is decided")
        if verdict.approve and row["valid_until"] <= datetime.now(UTC):
            raise conflict("validity_passed", "its validity has passed; it would have to be asked for anew")
        if verdict.approve:
            grounds.require(row)
        to: State = "active" if verdict.approve else "refused"
        await repository.decide(tx, id, to, decided_by=who.subject)
        await _step(tx, row, to, verdict.reason, action="agreements.decide")
        return await find(tx, id)


async def change(kit: Kit, who: Principal, id: str, *, change: Change, reason: str) -> Agreement:
    """Suspends, resumes or ends an agreement; reads that have not been answered yet already obey it.

    Raises:
        Problem: 403, 404; 409 `wrong_state`, or to resume what the dataset does not carry any more.
    """
    async with kit.db.transaction(who) as tx:
        row = await locked(tx, id)
        await permit_on(kit, tx, f"agreements.{change}", row)
        before, to = _CHANGES[change]
        if row["state"] not in before:
            wanted = " or ".join(sorted(before))
            detail = f"the agreement is {row['state']}; to {change} it, it must be {wanted}"
            raise conflict("wrong_state", detail)
        if to == "active":
            grounds.require(row)
        await repository.set_state(tx, id, to)
        if to == "active":
            await subscriptions.at_once(tx, id)
        await _step(tx, row, to, reason, action=f"agreements.{change}")
        return await find(tx, id)


async def locked(tx: Transaction, id: str) -> Row:
    row = await repository.lock(tx, id)
    if row is None:
        raise _unknown(id)
    return row


async def permit_on(kit: Kit, tx: Transaction, action: str, row: Row) -> None:
    assert tx.principal is not None
    who, requester = tx.principal, tx.principal.subject == row["requested_by"]
    places = (row["dataset"], row["provider"], row["consumer"])
    await _permit(kit, tx, who, action, *places, requester=requester)


async def _permit(
    kit: Kit,
    db: Connection,
    who: Principal,
    action: str,
    dataset: str,
    provider: str,
    consumer: str,
    *,
    requester: bool = False,
) -> None:
    """Asks the access policies, which know the departments by their organisations."""
    providing = await departments.organisation(db, provider)
    consuming = await departments.organisation(db, consumer)
    relations = {"requester"} if requester else set()
    if consuming is not None and consuming == who.organisation:
        relations.add("consumer")
    resource = Resource("Exchange::Agreement", id=dataset, organisation=providing)
    try:
        kit.policy.require(who, action, resource, relations=relations)
    except Problem as problem:
        assert kit.leaves is not None
        kit.leaves.add(
            who, action=action, records=0, resource=dataset, reason=problem.code, outcome="refused"
        )
        raise


async def _step(tx: Transaction, row: Any, to: State, reason: str, *, action: str) -> None:
    assert tx.principal is not None
    who = tx.principal
    await repository.add_step(
        tx, row["id"], state=to, reason=reason, decided_by=who.subject, organisation=who.organisation
    )
    await tx.leaf(action=action, records=0, resource=row["dataset"], agreement=row["id"], reason=reason)
    await tx.publish(
        f"exchange.agreement.{to}",
        aggregate=f"agreement/{row['id']}",
        data={"agreement": row["id"], **{name: row[name] for name in ("dataset", "provider", "consumer")}},
    )


def _unknown(id: str) -> Problem:
    return not_found(f"there is no agreement {id}", code="unknown_agreement")
