"""The receiving side of pushed changes: `service(…, subscriptions={"health.deaths": handler})`.

POST /<prefix>/exchange-inbox    a batch, signed by the exchange; applied once, however often it is sent

The service subscribes by itself, as soon as an agreement lets it, and again to what it had refused once it is
started anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.requests import Request
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict

from services.kit import signatures
from services.kit.calls import DomainError
from services.kit.idempotency import Answer, idempotent, request_hash
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import forbidden, not_found

if TYPE_CHECKING:
    from services.kit.app import Background, Kit
    from services.kit.database import Transaction

INBOX = "/exchange-inbox"
SCOPE = "exchange:batches:push"
LOOK_EVERY_S = 10.0
REFUSED_AGAIN_AFTER_S = 3600.0
_DOOR = Resource("Kit::Offer", id="exchange-inbox")


class Batch(BaseModel):
    """What changed of a dataset, under an agreement.

    Attributes:
        number: of this subscription's batches; kept until it is answered.
        first: what was told before under this agreement no longer stands.
        sector_id: the item that names the person; a row with no other value is gone.
        place: what is answered once the rows are applied; opaque.
    """

    model_config = ConfigDict(extra="forbid")
    subscription: UUID
    agreement: str
    consumer: str
    dataset: str
    number: int
    first: bool
    sector_id: str
    rows: list[dict[str, Any]]
    place: str

    def gone(self) -> list[str]:
        return [row[self.sector_id] for row in self.rows if not self._stands(row)]

    def standing(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if self._stands(row)]

    def _stands(self, row: dict[str, Any]) -> bool:
        return any(value is not None for name, value in row.items() if name != self.sector_id)


class Taken(BaseModel):
    """The answer to a batch: of the first that came under its number."""

    place: str
    rows: int


Handler = Callable[["Transaction", Batch], Awaitable[None]]
"""Applies a batch in the caller's commit."""
Subscriptions = Mapping[str, Handler]


def inbox_router(name: str, prefix: str, subscriptions: Subscriptions) -> APIRouter:
    from typing import Annotated

    from services.kit.app import KitDep, Router, permitted

    router = Router(prefix=prefix, tags=["exchange"])
    Pushes = Annotated[Principal, permitted("batches.take", _DOOR, SCOPE, kinds=("service",))]

    @router.post(INBOX)
    async def take(request: Request, kit: KitDep, who: Pushes, batch: Batch) -> Taken:
        """A batch of changes from the exchange, under an agreement."""
        await _verify(kit, request)
        if batch.consumer != name:
            raise forbidden(f"this batch is for {batch.consumer}", code="wrong_audience")
        handler = subscriptions.get(batch.dataset)
        if handler is None:
            raise not_found(f"{name} takes no changes of {batch.dataset}", code="not_subscribed")
        return await _applied(kit, who, batch, handler)

    return router


async def _applied(kit: "Kit", who: Principal, batch: Batch, handler: Handler) -> Taken:
    key = f"{batch.subscription}/{batch.number}"
    # Rows may be newer when a number is sent again; what was applied first is what is answered.
    async with (
        kit.db.transaction(who) as tx,
        idempotent(tx, who.client_id, key, request_hash(INBOX.encode(), key.encode())) as slot,
    ):
        if slot.answer is not None:
            return Taken.model_validate_json(slot.answer.body)
        await handler(tx, batch)
        await tx.leaf(
            action="batches.take",
            subjects=sorted({str(row[batch.sector_id]) for row in batch.rows}),
            records=len(batch.rows),
            resource=batch.dataset,
            agreement=batch.agreement,
        )
        taken = Taken(place=batch.place, rows=len(batch.rows))
        slot.keep(Answer(200, taken.model_dump_json().encode()))
        return taken


async def _verify(kit: "Kit", request: Request) -> None:
    """With the exchange's published keys, asked for once more when they do not fit: they may be new."""
    body = await request.body()
    for known in (kit.parts.get("exchange_keys"), None):
        keys = known or await _fetch_keys(kit)
        try:
            signatures.verify_push(keys, body, path=request.url.path, headers=request.headers)
        except signatures.BadSignature as error:
            if known is not None:
                continue
            raise forbidden("not signed as what the exchange pushes", code="bad_signature") from error
        return


async def _fetch_keys(kit: "Kit") -> KeySet:
    response = await kit.calls.request("exchange", "GET", "/exchange/keys", anonymous=True)
    keys = kit.parts["exchange_keys"] = KeySet.import_key_set(response.json())
    return keys


def subscribing(subscriptions: Subscriptions) -> "Background":
    """Has the exchange push each dataset as soon as an agreement lets it."""

    async def keep_subscribed(kit: "Kit") -> None:
        parked = True
        while True:
            try:
                await _subscribe(kit, subscriptions, parked=parked)
                parked, pause = False, LOOK_EVERY_S
            except DomainError as error:
                pause = REFUSED_AGAIN_AFTER_S if error.code == "FORBIDDEN" else LOOK_EVERY_S
            await asyncio.sleep(pause)

    return keep_subscribed


async def _subscribe(kit: "Kit", subscriptions: Subscriptions, *, parked: bool) -> None:
    """To what is not subscribed to yet; what was parked goes on too, when that is asked for."""
    path = "/exchange/subscriptions"
    own = (await kit.calls.request("exchange", "GET", path, params={"limit": 100})).json()["items"]
    for one in own if parked else ():
        if one["state"] == "parked":
            await kit.calls.request("exchange", "POST", f"{path}/{one['id']}/resumption")
    there = {one["dataset"] for one in own if one["state"] != "ended"}
    for dataset in subscriptions.keys() - there:
        await kit.calls.request("exchange", "POST", path, json={"dataset": dataset})
