"""Whose records a caller may see, and what it may do with them.

SMART App Launch 2 scopes say what kinds of resource a token is for; the access policies (health/policies) say
which ties to a patient permit it. What follows goes into every statement that reads.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

from health import repository
from health.fhir.outcome import Issue, Refusal, refused
from health.models import EVERYBODY, Found, Reach
from services.exchange.client import ExchangeClient
from services.kit import telemetry
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.database import Row
from services.kit.policy import Policies, Resource
from services.kit.principals import Principal
from services.kit.problems import unauthenticated
from services.kit.purposes import EMERGENCY

NO_TIE = "no_treatment_relation"
SPECIAL = "specially_protected"
RECORD = "Health::Record"
TIES = ("custodian", "consent", "treatment", "break_glass")
_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?)")
_RIGHTS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}
_ACTIONS = {"c": "fhir.write", "r": "fhir.read", "u": "fhir.write", "d": "fhir.delete", "s": "fhir.search"}


def reach(policies: Policies, principal: Principal, kind: str, right: str) -> Reach:
    """Whose resources of this type the caller may use with this right (one of c, r, u, d, s).

    A `system/` scope is an organisation's and a `user/` scope a clinician's: they reach what a tie to the
    patient opens to them. A `patient/` scope reaches the patient's own. A scope narrowed by a search
    (`?category=…`) is not understood here and grants nothing, rather than too much.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 when no scope grants it, or no access policy does.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    if principal.unguarded:
        return EVERYBODY
    level = "user" if principal.kind == "staff" else "system"
    if _granted(principal, level, kind, right):
        found = tied(policies, principal, _ACTIONS[right])
        if found.relations:
            return found
        decision = policies.decide(principal, _ACTIONS[right], Resource(RECORD), relations=["treatment"])
        raise refused(403, "forbidden", f"{decision.reason_en} {decision.reason_zh}")
    if principal.sector_ids and _granted(principal, "patient", kind, right):
        return Reach(sector_ids=principal.sector_ids)
    raise refused(403, "forbidden", f"the token grants no right to {_RIGHTS[right]} {kind}")


@lru_cache(maxsize=4096)
def tied(policies: Policies, principal: Principal, action: str) -> Reach:
    """What the access policies let an organisation or its staff do by each tie to a patient."""
    if principal.unguarded:
        return EVERYBODY

    def permitted(tie: str, *, special: bool) -> bool:
        kept_by = principal.organisation if tie == "custodian" else None
        return policies.decide(
            principal,
            action,
            Resource(RECORD, organisation=kept_by, special=special),
            consent=tie == "consent",
            relations=[] if tie == "consent" else [tie],
        ).permitted

    relations = frozenset(tie for tie in TIES if permitted(tie, special=False))
    return Reach(
        client=principal.client_id,
        organisation=principal.organisation,
        actor=principal.subject,
        relations=relations,
        special=frozenset(tie for tie in relations if permitted(tie, special=True)),
    )


async def with_consents(
    kit: Kit, principal: Principal, reach: Reach, action: str, locals: Sequence[str]
) -> Reach:
    """The reach, and the records of those among the named whose consent covers this access now.

    Args:
        locals: the resources (`Type/id`) that are asked for, or whose patient's records are.
    """
    organisation, purpose = principal.organisation, principal.purpose
    if "consent" not in reach.relations or organisation is None or purpose is None or not locals:
        return reach
    async with kit.db.session() as db:
        ids = await repository.untied(db, reach, locals)
    if not ids:
        return reach
    exchange = kit.calls.client(ExchangeClient)
    try:
        given = await exchange.consents(organisation=organisation, purpose=purpose, ids=ids, action=action)
    except DomainError as error:
        telemetry.logger(kit.name).warning("no consent to rest on", extra={"error": str(error)})
        return reach
    return replace(reach, consented=tuple(id for id, one in zip(ids, given, strict=True) if one))


def check_writes(principal: Principal) -> None:
    """Before a bundle is looked at: whether the caller may write anything at all.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 when no scope grants it.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    found = [_SCOPE.fullmatch(scope) for scope in principal.scopes]
    writes = any(f and f[1] == "system" and {"c", "u"} & set(f[3]) for f in found)
    if not principal.unguarded and not writes:
        raise refused(403, "forbidden", "the token grants no right to write")


async def leave(kit: Kit, principal: Principal, action: str, rows: Sequence[Row], *, resource: str) -> None:
    """The leaves of what is shown, one for each tie by which it is, naming everybody it is about.

    They are committed before the answer where something is specially protected or was opened in an emergency.
    """
    assert kit.leaves is not None
    reasons: dict[int, str] = {}
    if any(row["tie"] == "break_glass" for row in rows):
        async with kit.db.session() as db:
            reasons = await repository.open_reasons(db, principal.subject)
    groups: dict[tuple[str | None, str | None], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["tie"], reasons.get(row["pt"])), []).append(row)
    for (tie, reason), shown in (groups or {(None, None): []}).items():
        about = _about(kit.policy, principal, tie, reason, shown)
        kit.leaves.add(principal, action=action, resource=resource, records=len(shown), **about)
    if any(row["special"] or row["tie"] == "break_glass" for row in rows):
        await kit.leaves.flush()


def _about(
    policies: Policies, principal: Principal, tie: str | None, reason: str | None, rows: Sequence[Row]
) -> dict[str, Any]:
    subjects = sorted({row["sector_id"] for row in rows} - {None})
    about: dict[str, Any] = {"relation": tie, "reason": reason}
    if tie is not None:
        about["legal_basis"] = _basis(policies, principal, tie)
    if tie == "break_glass":
        about["purpose"] = EMERGENCY
    about |= {"subjects": subjects} if len(subjects) > 1 else {"subject": next(iter(subjects), None)}
    return about


@lru_cache(maxsize=4096)
def _basis(policies: Policies, principal: Principal, tie: str) -> str | None:
    resource = Resource(RECORD, organisation=principal.organisation if tie == "custodian" else None)
    ties = [] if tie == "consent" else [tie]
    return policies.decide(
        principal, "fhir.read", resource, consent=tie == "consent", relations=ties
    ).legal_basis


async def leave_refused(kit: Kit, principal: Principal, action: str, kind: str, id: str) -> None:
    """The leaf of somebody's attempt at a record that the caller may not see, if there is one."""
    assert kit.leaves is not None
    async with kit.db.session() as db:
        row = await repository.whose(db, kind, id)
    if row is not None:
        kit.leaves.add(
            principal,
            action=action,
            subject=row["sector_id"],
            resource=f"{kind}/{id}",
            records=0,
            reason=SPECIAL if row["special"] else NO_TIE,
            outcome="refused",
        )


class NotYoursError(Refusal):
    """A write to what another organisation keeps."""

    def __init__(self, stored: Found, path: str) -> None:
        words = f"{stored.local} belongs to another organisation"
        super().__init__(403, [Issue("forbidden", words, path)])
        self.stored = stored


@asynccontextmanager
async def told(kit: Kit, principal: Principal, action: str) -> AsyncIterator[None]:
    """Whatever is undone inside, the attempt to change another organisation's record is on record."""
    try:
        yield
    except NotYoursError as refusal:
        await leave_refused(kit, principal, action, refusal.stored.type, refusal.stored.id)
        raise


def _granted(principal: Principal, level: str, kind: str, right: str) -> bool:
    for scope in principal.scopes:
        found = _SCOPE.fullmatch(scope)
        if found and found[1] == level and found[2] in {"*", kind} and right in found[3]:
            return True
    return False
