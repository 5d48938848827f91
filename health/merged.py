"""Who is one person with whom, as far as identity has told: ties reach what is kept under any of their ids.

Each event carries the ids it is about, sealed to this service; what was decided before it listened is asked
once at every start.
"""

import asyncio

import orjson

from health.repository import reach
from services.identity.client import IdentityClient
from services.kit import events
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.database import Transaction
from services.kit.principals import unseal
from services.kit.settings import Settings

AGAIN_S = 5.0


async def take(tx: Transaction, event: events.Event) -> None:
    """Notes a merge, or one taken back: from now on these ids go by another one, or by their own again."""
    if event.data["sector"] != tx.service:
        return
    said = orjson.loads(unseal(event.data["sealed"], Settings().secret_for(tx.service, "seal")))
    await reach.note_merged(tx, dict.fromkeys(said["ids"], said["now"]), told=event.seq)


FOLLOWS = tuple(events.on(f"identity.persons.{what}", take) for what in ("merged", "unmerged"))


async def catch_up(kit: Kit) -> None:
    """What was decided before; what has been told since stands."""
    while True:
        try:
            found = await kit.calls.client(IdentityClient).merged_ids()
        except DomainError:
            await asyncio.sleep(AGAIN_S)
            continue
        async with kit.db.transaction() as tx:
            await reach.note_merged(tx, found, told=0)
        return
