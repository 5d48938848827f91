"""Subscriptions: a service has a dataset's changes pushed to it, under an agreement in force."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from services.exchange import agreements, catalogue, reads
from services.exchange.reads import PUSH
from services.exchange.repository import subscriptions as table
from services.exchange.shapes import (
    Push,
    PushPage,
    Standing,
    Subscription,
    SubscriptionPage,
    SubscriptionRequest,
)
from services.kit.app import Kit, prefix_of
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.events import Event
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import Problem, conflict, forbidden, not_found
from services.kit.waking import wake

Change = Literal["pause", "resume", "retell"]
_ALLOWED_BY: Mapping[Change, str] = {
    "pause": "agreements.suspend", "resume": "agreements.resume", "retell": "agreements.resume",
}  # fmt: skip
"""Who may do this to an agreement may do that to what is pushed under it."""
TOLD_AGAIN_AFTER_S = 60.0
"""Decisions about who is one person come one after the other; all is told again once for several of them."""


async def subscribe(kit: Kit, who: Principal, asked: SubscriptionRequest) -> Subscription:
    """The agreement's one subscription; asked for again, the same.

    Raises:
        Problem: 403 `no_agreement`; 409 `not_pushed` when the agreement's items cannot carry changes.
    """
    consumer = _service(who)
    agreement = await reads.agreement_for(kit, who, consumer, asked.dataset, asked.agreement, action=PUSH)
    dataset = await catalogue.find(kit, agreement.dataset)
    if dataset.sector_id not in agreement.items or len(agreement.items) < 2:
        detail = "changes are told by person: the agreement needs the item that names them, and one beside it"
        raise conflict("not_pushed", detail)
    async with kit.db.transaction(who) as tx:
        row = await table.add(tx, uuid7(), agreement.id)
        tx.after_commit(lambda: wake(PUSH))
        return _shape(row)


async def page(db: Connection, who: Principal, *, after: str | None, limit: int) -> SubscriptionPage:
    """The caller's own, newest first."""
    rows = await table.of(db, _service(who), before=uuid_after(after), limit=limit + 1)
    items = [_shape(row) for row in rows[:limit]]
    return SubscriptionPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def resume(tx: Transaction, who: Principal, id: UUID) -> Subscription:
    """One that was parked goes on where it stopped; what staff paused waits for them."""
    await _own(tx, who, id)
    await table.resume(tx, id, "parked")
    tx.after_commit(lambda: wake(PUSH))
    return _shape(await _own(tx, who, id))


async def end(tx: Transaction, who: Principal, id: UUID) -> Subscription:
    await _own(tx, who, id)
    await table.end(tx, id)
    return _shape(await _own(tx, who, id))


async def every(db: Connection, *, after: str | None, limit: int) -> PushPage:
    """All there are, newest first."""
    rows = await table.every(db, before=uuid_after(after), limit=limit + 1)
    items = [_push(row) for row in rows[:limit]]
    return PushPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def change(kit: Kit, tx: Transaction, id: UUID, *, change: Change, reason: str) -> Push:
    """Holds a subscription back, lets it go on, or has all of it told again.

    Raises:
        Problem: 404; 403 for anybody but the provider's staff; 409 `wrong_state`.
    """
    row = await table.one(tx, id)
    if row is None:
        raise _unknown()
    agreement = await agreements.locked(tx, row["agreement_id"])
    await agreements.permit_on(kit, tx, _ALLOWED_BY[change], agreement)
    if change == "pause":
        done = await table.pause(tx, id, reason)
    elif change == "resume":
        done = await table.resume(tx, id, "paused", "parked")
    else:
        done = row["standing"] != "ended"
        await table.begin_anew(tx, id=id)
    if not done:
        raise conflict("wrong_state", f"the subscription is {row['standing']}")
    about = {"resource": row["dataset"], "agreement": row["agreement_id"], "reason": reason}
    await tx.leaf(action=f"subscriptions.{change}", records=0, **about)
    tx.after_commit(lambda: wake(PUSH))
    changed = await table.one(tx, id)
    assert changed is not None
    return _push(changed)


async def standing(kit: Kit, who: Principal, id: UUID) -> Standing:
    """Whether the consumer was told everything there is, as the provider says now.

    Under an agreement that asks for consent it never was: consent given later brings back older rows, which
    only reading shows.
    """
    async with kit.db.read() as db:
        row = await _own(db, who, id)
    if row["standing"] != "active" or not row["in_force"] or row["needs_consent"] or row["place"] is None:
        return Standing(agreement=row["agreement_id"], settled=False)
    provider, _, name = str(row["dataset"]).partition(".")
    response = await kit.calls.request(
        provider,
        "GET",
        f"{prefix_of(provider)}/offers/{name}/changes",
        params={"limit": 1, "after": row["place"]},
    )
    answer = response.json()
    return Standing(agreement=row["agreement_id"], settled=answer["next"] is None and answer["settled"])


async def tell_again(tx: Transaction, event: Event) -> None:
    """Who is one person was decided anew, or a sector's ids are others now: what was told under the old ids
    is told again."""
    await table.begin_anew(tx, sector=str(event.data["sector"]), seconds=TOLD_AGAIN_AFTER_S)


async def _own(db: Connection, who: Principal, id: UUID) -> Row:
    row = await table.one(db, id, _service(who))
    if row is None:
        raise _unknown()
    return row


def _unknown() -> Problem:
    return not_found("there is no such subscription of yours", code="unknown_subscription")


def _service(who: Principal) -> str:
    if who.service is None:
        raise forbidden("changes are pushed to services, under their own name", code="not_a_service")
    return who.service


def _shape(row: Row) -> Subscription:
    return Subscription(agreement=row["agreement_id"], state=row["standing"], **_said(row, Subscription))


def _push(row: Row) -> Push:
    return Push(agreement=row["agreement_id"], state=row["standing"], **_said(row, Push))


def _said(row: Row, shape: type[Subscription]) -> dict[str, Any]:
    return {name: row[name] for name in shape.model_fields if name not in {"agreement", "state"}}
