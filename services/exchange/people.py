"""Whose data: the person who asks, or a child they stand for, and nobody else."""

from datetime import date
from typing import Any

from services.exchange.person_shapes import Ward, Wards
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.policy import Decision, Resource
from services.kit.principals import Principal
from services.kit.problems import forbidden
from services.kit.purposes import OWN_RECORDS

SECTOR = "exchange"
SERVICES = ("health", "social_security", "education", "transport", "identity", "exchange", "notify")
"""Those that know people, each by ids of its own sector, and keep leaves under them."""


def own_code(who: Principal) -> str:
    """How the exchange knows the person signed in.

    Raises:
        Problem: 403 for an account that belongs to nobody in the population register.
    """
    if who.sector_id is None:
        raise forbidden("no person of the population register belongs to this account", code="no_person")
    return who.sector_id


async def wards(kit: Kit, who: Principal) -> Wards:
    """The children the caller stands for today."""
    found = await kit.calls.client(IdentityClient).wards(own_code(who))
    return Wards(
        items=[
            Ward(code=ward.id, name=ward.name, birth_date=_day(ward.birth_date), until=ward.until.isoformat())
            for ward in found
        ]
    )


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


async def admit(
    kit: Kit, who: Principal, action: str, kind: str, *, code: str, acting: str | None = None
) -> Decision:
    """Lets the person pass, or the guardian of the person; anybody else is refused, and that is a leaf.

    Args:
        kind: type of the resource, e.g. `Exchange::Usage`.
        code: whose data.
        acting: who acts, where that is not what the token says: a portal names its user.

    Raises:
        Problem: 403 with the deciding policy's reason.
    """
    acting = acting or own_code(who)
    own = acting == code or {acting, code} <= set(who.sector_ids)
    relations = ["self"] if own else []
    if not own and await _stands_for(kit, acting, code):
        relations = ["guardian"]
    decision = kit.policy.decide(
        who, action, Resource(kind, owner=code), relations=relations, purpose=OWN_RECORDS
    )
    if not decision.permitted:
        await refused(kit, who, action, decision, subject=code, resource=kind)
    return decision


async def _stands_for(kit: Kit, guardian: str, code: str) -> bool:
    """By any id the child has had: an app may have kept one from before the sector's key was renewed."""
    wards = {ward.id for ward in await kit.calls.client(IdentityClient).wards(guardian)}
    if not wards or code in wards:
        return bool(wards)
    return not wards.isdisjoint((await ids_of(kit, code, SECTOR)).get(SECTOR, []))


async def refused(kit: Kit, who: Principal, action: str, decision: Decision, **about: Any) -> None:
    """The leaf of a refusal, then the refusal.

    Raises:
        Problem: 403, always.
    """
    assert kit.leaves is not None
    await kit.leaves.write(
        who,
        action=action,
        records=0,
        legal_basis=decision.legal_basis,
        reason=decision.reason,
        outcome="refused",
        **about,
    )
    raise decision.refusal()


async def ids_of(kit: Kit, code: str, *services: str) -> dict[str, list[str]]:
    """All ids the person has had at these services; empty when nobody has the code."""
    [found] = await kit.calls.client(IdentityClient).sector_ids(
        [code], to=services or SERVICES, purpose=OWN_RECORDS
    )
    return found or {}
