"""Organisations that say that they treat somebody: the person is told at once, and may say that it is not so.

A visit that a hospital records opens to it what other hospitals keep of the person (health.fhir.treatment).
Nobody can check each of them beforehand; so the person hears of every new one, and once they object it opens
nothing any more. What the organisation keeps itself stays, and so do consent and emergencies.
"""

import asyncio
from datetime import UTC, datetime

from health.repository import treatments as table
from health.shapes import Objection, TreatmentClaim, TreatmentClaimPage
from services.identity.client import IdentityClient
from services.kit import telemetry
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import not_found

EVENT = "health.treatment.claimed"
LOOK_EVERY_S = 1.0
TOLD_AT_ONCE = 200


async def page(
    db: Connection, sector_ids: tuple[str, ...], *, after: str | None, limit: int
) -> TreatmentClaimPage:
    """Who says that they treat the person, by organisation."""
    place = decode_cursor(after, 1)[0] if after else None
    rows = await table.claims_of(db, sector_ids, after=place, limit=limit + 1)
    items = [TreatmentClaim(**dict(row)) for row in rows[:limit]]
    following = encode_cursor(items[-1].organisation) if len(rows) > limit else None
    return TreatmentClaimPage(items=items, next=following)


async def object_to(kit: Kit, who: Principal, said: Objection) -> None:
    """The person's word on a claim: from now on it opens nothing, or does again.

    Raises:
        Problem: 403 for anybody else; 404 when the organisation says no such thing.
    """
    resource = Resource("Health::Record", id=f"treatments/{said.organisation}", owner=who.sector_id)
    decision = kit.permitted(who, "treatment.object", resource)
    async with kit.db.transaction(who) as tx:
        at = datetime.now(UTC) if said.objects else None
        if not await table.object_to(tx, who.sector_ids, said.organisation, at):
            raise not_found("this organisation does not say that it treats you", code="no_claim")
        await tx.leaf(
            action="treatment.object",
            subject=who.sector_id,
            resource=f"care/{said.organisation}",
            reason="objected" if said.objects else "objection_withdrawn",
            legal_basis=decision.legal_basis,
        )


async def watch(kit: Kit) -> None:
    """Tells people of new claims, as soon as identity can say who they are to notify."""
    while True:
        try:
            while await tell(kit) == TOLD_AT_ONCE:
                pass
        except DomainError as error:
            telemetry.logger(kit.name).warning("nobody to tell of a treatment", extra={"error": str(error)})
        await asyncio.sleep(LOOK_EVERY_S)


async def tell(kit: Kit) -> int:
    """One event for each new claim, the person sealed to notify; how many there were.

    Raises:
        DomainError: identity does not answer; they are told later.
    """
    async with kit.db.transaction() as tx:
        rows = await table.untold(tx, TOLD_AT_ONCE)
        if not rows:
            return 0
        identity = kit.calls.client(IdentityClient)
        sealed = await identity.sealed_ids([row["sector_id"] for row in rows], target="notify")
        for row, recipient in zip(rows, sealed, strict=True):
            if recipient is not None:
                await tx.publish(
                    EVENT,
                    aggregate=f"treatment/{row['seq']}",
                    data={"organisation": row["organisation"], "recipient": recipient},
                )
        await table.mark_told(tx, [row["seq"] for row in rows])
        return len(rows)
