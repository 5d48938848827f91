"""The doors of destinations and deliveries: where one is told, and what went out there when."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.kit.app import KitDep, Read, Router, Tx, permitted
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.notify import deliveries, destinations
from services.notify.channels import push
from services.notify.destinations import PERSONAL, TOPICAL
from services.notify.repository.deliveries import Wanted
from services.notify.shapes import (
    Confirmation,
    DeliveryPage,
    DeliveryState,
    Destination,
    DestinationPage,
    EmailRequest,
    NewSecret,
    NewWebhook,
    PushKey,
    PushRequest,
    Replayed,
    WebhookRequest,
)

router = Router(prefix="/notify")

OWN = "notify:destinations:write"
WEBHOOKS = "notify:webhooks:write"
REPLAYS = "events:replay"


def _own(who: Principal) -> Resource:
    return Resource("Notify::Destination", id="destinations", owner=who.sector_id)


_EVERYBODYS = Resource("Notify::Delivery", id="deliveries")
Owns = Annotated[Principal, permitted("destinations.write", _own, OWN)]
Webhooks = Annotated[Principal, permitted("webhooks.write", _own, WEBHOOKS)]
Told = Annotated[Principal, permitted("deliveries.read", _own, OWN, WEBHOOKS)]
Operates = Annotated[Principal, permitted("deliveries.operate", _EVERYBODYS, REPLAYS)]
Limit = Annotated[int, Query(ge=1, le=100)]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
After = Annotated[str | None, Query(max_length=400)]


@router.post("/webhooks", status_code=201)
async def subscribe(tx: Tx, kit: KitDep, who: Webhooks, asked: WebhookRequest) -> NewWebhook:
    """A signed webhook (Standard Webhooks), or a group robot of WeCom or DingTalk, for a topic."""
    return await destinations.subscribe(kit, tx, who, asked)


@router.get("/webhooks")
async def webhooks(read: Read, who: Webhooks, after: After = None, limit: Limit = 50) -> DestinationPage:
    return await destinations.page(read, who, TOPICAL, after=after, limit=limit)


@router.delete("/webhooks/{id}", status_code=204)
async def remove_webhook(tx: Tx, who: Webhooks, id: UUID) -> None:
    await destinations.remove(tx, who, id, TOPICAL)


@router.post("/webhooks/{id}/secret")
async def rotate(tx: Tx, kit: KitDep, who: Webhooks, id: UUID) -> NewSecret:
    """A new secret; the old one is signed with, too, for a day."""
    return await destinations.rotate(kit, tx, who, id)


@router.post("/webhooks/{id}/activation", status_code=204)
async def activate(tx: Tx, who: Webhooks, id: UUID) -> None:
    """Has a webhook that was disabled told again."""
    await destinations.activate(tx, who, id)


@router.post("/webhooks/{id}/replay")
async def replay_webhook(tx: Tx, who: Webhooks, id: UUID) -> Replayed:
    """Sends its dead letters again, under the same ids."""
    return Replayed(deliveries=await deliveries.replay_all(tx, destinations.owners_of(who), id))


@router.get("/push-key")
async def push_key(kit: KitDep) -> PushKey:
    return PushKey(key=push.public_key(push.vapid_key(kit.settings)))


@router.post("/destinations", status_code=201)
async def register(tx: Tx, kit: KitDep, who: Owns, asked: PushRequest | EmailRequest) -> Destination:
    """A browser, or an e-mail address, at which the caller wants to be told."""
    if isinstance(asked, EmailRequest):
        return await destinations.register_email(kit, tx, who, asked)
    return await destinations.register_push(kit, tx, who, asked)


@router.get("/destinations")
async def registered(read: Read, who: Owns, after: After = None, limit: Limit = 50) -> DestinationPage:
    return await destinations.page(read, who, PERSONAL, after=after, limit=limit)


@router.delete("/destinations/{id}", status_code=204)
async def remove(tx: Tx, who: Owns, id: UUID) -> None:
    await destinations.remove(tx, who, id, PERSONAL)


@router.post("/destinations/{id}/confirmation", status_code=204)
async def confirm(kit: KitDep, who: Owns, id: UUID, given: Confirmation) -> None:
    """The code that was sent to an e-mail address."""
    async with kit.db.transaction(who) as tx:
        problem = await destinations.confirm(kit, tx, who, id, given.code)
    if problem is not None:
        raise problem


@router.get("/deliveries")
async def own_deliveries(
    read: Read,
    who: Told,
    state: DeliveryState | None = None,
    destination: UUID | None = None,
    told: Annotated[list[UUID] | None, Query(max_length=100)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> DeliveryPage:
    """The caller's own, the newest first; of these notifications alone, where they are named."""
    wanted = Wanted(destinations.owners_of(who), state, destination, told)
    return await deliveries.page(read, wanted, after=after, limit=limit)


@router.post("/deliveries/{id}/replay", status_code=204)
async def replay(tx: Tx, who: Told, id: Number) -> None:
    await deliveries.replay(tx, destinations.owners_of(who), id)


@router.get("/dead-deliveries")
async def everybodys_dead(
    read: Read, who: Operates, destination: UUID | None = None, after: After = None, limit: Limit = 50
) -> DeliveryPage:
    """Dead letters of all, for the operators: which way, to which host, of what they died."""
    return await deliveries.page(read, Wanted(None, "dead", destination), after=after, limit=limit)


@router.post("/dead-deliveries/{id}/replay", status_code=204)
async def replay_any(tx: Tx, who: Operates, id: Number) -> None:
    await deliveries.replay(tx, None, id)
