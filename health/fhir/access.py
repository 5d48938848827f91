"""Whose records a caller may see, and what it may do with them.

SMART App Launch 2 scopes say what kinds of resource a token is for; the access policies (health/policies) say
which ties to a patient permit it. What follows goes into every statement that reads.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from health import repository
from health.fhir import scopes
from health.fhir.outcome import Issue, Refusal, refused
from health.reaching import EVERYBODY, Granted, Reach
from health.versions import Found
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
NARROWER = "the token's scopes are for resources of another description"
RECORD = "Health::Record"
TIES = ("custodian", "consent", "treatment", "break_glass")
_TELLING = frozenset(
    {
        *("_count", "_include", "_lastUpdated", "_revinclude", "_security", "_sort", "_tag", "_total"),
        *("_type", "category", "class", "clinical-status", "code", "combo-code", "component-code", "date"),
        *("intent", "issued", "medication-code", "status", "type", "vaccine-code", "verification-status"),
    }
)
_RIGHTS = {"c": "create", "r": "read", "u": "update", "d": "delete", "s": "search"}
_ACTIONS = {"c": "fhir.write", "r": "fhir.read", "u": "fhir.write", "d": "fhir.delete", "s": "fhir.search"}


def reach(policies: Policies, principal: Principal, kind: str, right: str) -> Reach:
    """Whose resources of this type the caller may use with this right (one of c, r, u, d, s).

    A `system/` scope is an organisation's and a `user/` scope a clinician's: they reach what a tie to the
    patient opens to them. A `patient/` scope reaches the patient's own. Which types the scopes are for, and
    what narrows them (`?category=…`), goes along: what is included, chained or exported is held to it too.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 when no scope grants it, or no access policy does.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    if principal.unguarded:
        return EVERYBODY
    found = granted(principal, right)
    if found.names(kind):
        reach = tied(policies, principal, _ACTIONS[right])
        if reach.relations:
            return replace(reach, granted=found)
        decision = policies.decide(principal, _ACTIONS[right], Resource(RECORD), relations=["treatment"])
        raise refused(403, "forbidden", f"{decision.reason_en} {decision.reason_zh}")
    found = scopes.granted(principal.scopes, "patient", right)
    if principal.sector_ids and found.names(kind):
        return Reach(sector_ids=principal.sector_ids, granted=found)
    raise refused(403, "forbidden", f"the token grants no right to {_RIGHTS[right]} {kind}")


def check_whole(principal: Principal, kind: str, right: str) -> None:
    """For what is no row that a narrowed scope could describe.

    Raises:
        Problem: 401 without a token.
        Refusal: 403 unless a scope grants the whole type.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    level = "patient" if principal.kind == "person" else "user"
    found = scopes.granted(principal.scopes, level, right)
    if not found.everything and kind not in found.types:
        raise refused(403, "forbidden", f"the token grants no right to {_RIGHTS[right]} all {kind}")


def granted(principal: Principal, right: str) -> Granted:
    """What the scopes of an organisation's or its staff's token are for."""
    if principal.unguarded:
        return EVERYBODY.granted
    return scopes.granted(principal.scopes, "user" if principal.kind == "staff" else "system", right)


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
    if all(granted(principal, right) == Granted() for right in "cud"):
        raise refused(403, "forbidden", "the token grants no right to write")


def asked(path: str, pairs: Iterable[tuple[str, str]]) -> str:
    """What was searched for, as a leaf may say it to everybody it is about: values of parameters that could
    name somebody else are left out."""
    told = [(name, value if name.partition(":")[0] in _TELLING else "") for name, value in pairs]
    return f"{path}?{urlencode(told)}" if told else path


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
        about["legal_basis"] = basis(policies, principal, tie)
    if tie == "break_glass":
        about["purpose"] = EMERGENCY
    about |= {"subjects": subjects} if len(subjects) > 1 else {"subject": next(iter(subjects), None)}
    return about


@lru_cache(maxsize=4096)
def basis(policies: Policies, principal: Principal, tie: str, action: str = "fhir.read") -> str | None:
    """The law by which what is reached by this tie may be had."""
    resource = Resource(RECORD, organisation=principal.organisation if tie == "custodian" else None)
    ties = [] if tie == "consent" else [tie]
    return policies.decide(principal, action, resource, consent=tie == "consent", relations=ties).legal_basis


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
