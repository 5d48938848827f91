"""Endpoints that another service tells things of its own: FHIR Subscriptions, for one.

That service keeps what is told and its order, and asks for one attempt after the other; here are the address,
its guard and the secret. Nothing of what is told is kept. The endpoint's owner gets its secret, and takes it
away, as of every webhook (`/notify/webhooks`).
"""

import asyncio
from typing import Annotated, Any
from uuid import UUID

import aiohttp

from services.kit.app import Kit, KitDep, Router, Tx
from services.kit.principals import Principal, allowed
from services.kit.problems import not_found, unavailable
from services.notify import destinations, dispatcher
from services.notify.channels import webhooks
from services.notify.channels.attempt import Outcome, Result
from services.notify.repository import destinations as repository
from services.notify.shapes import Attempt, Attempted, Subscriber, SubscriberRequest

router = Router(prefix="/notify")
TELLS = "notify:subscribers:tell"
Tells = Annotated[Principal, allowed(TELLS, kinds=("service",))]


@router.post("/subscribers")
async def subscribe(tx: Tx, kit: KitDep, _who: Tells, asked: SubscriberRequest) -> Subscriber:
    """The endpoint by its id; registered, if it is not yet, under the organisation."""
    return Subscriber(id=await destinations.endpoint(kit, tx, asked.organisation, asked.url))


@router.post("/subscribers/{id}/attempts")
async def attempt(kit: KitDep, _who: Tells, id: UUID, said: Attempt) -> Attempted:
    """Sends once; when not to try again before, or that it is a dead letter."""
    async with kit.db.session() as db:
        row = await repository.endpoint(db, id)
    if row is None:
        raise not_found(f"there is no endpoint {id}")
    if row["state"] != "active":
        return Attempted(state="dead", reason="the endpoint was removed by its owner, or is disabled")
    result = await _sent(kit, destinations.seals(kit).opened(row["target"]), said)
    state, pause = dispatcher.following(result, said.attempt)
    return Attempted(state=state, pause_s=pause, reason=result.reason)


async def _sent(kit: Kit, target: dict[str, Any], said: Attempt) -> Result:
    outgoing = kit.parts.get("outgoing")
    if outgoing is None:
        raise unavailable("nothing is sent yet: the service is starting")
    try:
        async with asyncio.timeout(said.timeout_s):
            return await webhooks.post(outgoing, target, str(said.id), said.body.encode(), said.media_type)
    except TimeoutError:
        return Result(Outcome.AGAIN, "no answer in time")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Result(Outcome.AGAIN, dispatcher.words(error))
