"""Who is one person with whom, as follows from the pairs decided to be the same.

Nothing is moved when people are merged: identifiers, links and attributes stay with the source they came
with, and the eldest source's id is what the person goes by. So a decision that is taken back leaves exactly
what would be there without it, and the decisions alone say all (`replayed`).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, Literal, NamedTuple
from uuid import UUID

from services.identity.known import Known
from services.identity.lookalikes import numbers_differ
from services.identity.register import Register
from services.identity.repository import pairs, people
from services.identity.sector_ids import given_out
from services.kit.database import Transaction
from services.kit.principals import seal
from services.kit.problems import conflict
from services.kit.settings import Settings

TOLD = ("health", "social_security", "education", "transport", "exchange")
"""Services that store ids of a sector of their own."""
Age = tuple[datetime, UUID]


class Decision(NamedTuple):
    """One decision of the log."""

    review: UUID
    pid: UUID
    other: UUID
    decision: str


def partition(ages: Mapping[UUID, datetime], same: Iterable[tuple[UUID, UUID]]) -> dict[UUID, UUID]:
    """Of each source the eldest of its person, which may be itself. Pairs with others do not count."""
    roots = {pid: pid for pid in ages}

    def root(pid: UUID) -> UUID:
        while roots[pid] != pid:
            roots[pid] = pid = roots[roots[pid]]
        return pid

    def age(pid: UUID) -> Age:
        return ages[pid], pid

    for pid, other in same:
        if pid in ages and other in ages:
            elder, younger = sorted((root(pid), root(other)), key=age)
            roots[younger] = elder
    return {pid: root(pid) for pid in ages}


def replayed(ages: Mapping[UUID, datetime], log: Iterable[Decision]) -> dict[UUID, UUID]:
    """The same from nothing but the decisions in their order: the last one on a pair holds."""
    last = {entry.review: entry for entry in log}
    return partition(ages, ((e.pid, e.other) for e in last.values() if e.decision == "same"))


async def must_fit(tx: Transaction, pid: UUID, other: UUID) -> None:
    """Raises Problem 409 when the two cannot be one person."""
    known = Known()
    await known.read(tx, [pid, other])
    if known.root(pid) == known.root(other):
        return
    if numbers_differ(known.facts[pid], known.facts[other]):
        raise conflict(
            "two_citizen_numbers", "each of them has a citizen number of its own: that is two people"
        )
    one, two = known.members(pid), known.members(other)
    apart = {frozenset(found) for found in await pairs.decided_pairs(tx, one, "different")}
    if any(frozenset(found) in apart for found in product(one, two) if set(found) != {pid, other}):
        raise conflict(
            "decided_different",
            "somebody who is one person with one of them has been decided to be another than the other; "
            "decide that pair anew first",
        )


@cache
def rules() -> dict[str, Any]:
    text = files("services.identity").joinpath("knowledge/merging.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


async def takes_two_clerks(tx: Transaction, pid: UUID, other: UUID) -> bool:
    """Whether a clerk's word that the two are one waits for another clerk's (`knowledge/merging.json`)."""
    if rules()["two_clerks"] != "sensitive":
        return bool(rules()["two_clerks"] == "always")
    sensitive = set(rules()["sensitive_sectors"])
    known = [{row["sector"] for row in await pairs.sector_ids(tx, [side])} for side in (pid, other)]
    return all(sensitive & sectors for sectors in known)


async def settle(
    tx: Transaction,
    register: Register,
    settings: Settings,
    review: UUID,
    pair: tuple[UUID, UUID],
    what: Literal["merged", "unmerged"],
) -> None:
    """Works out anew who is one person among all whom a decision concerns, and tells whose ids it changed.

    The partition's lock is held from before the decision.
    """
    rows = await pairs.clusters(tx, pair)
    before = {row["pid"]: row["root"] or row["pid"] for row in rows}
    ages = {row["pid"]: row["created_at"] for row in rows}
    after = partition(ages, await pairs.decided_pairs(tx, list(ages), "same"))
    changed = {pid: root for pid, root in after.items() if before[pid] != root}
    if changed:
        await people.lock_persons(tx, sorted(changed))
        await pairs.set_roots(tx, [(pid, None if pid == root else root) for pid, root in changed.items()])
        await _tell(tx, register, settings, review, changed, what)


async def _tell(
    tx: Transaction,
    register: Register,
    settings: Settings,
    review: UUID,
    changed: Mapping[UUID, UUID],
    what: str,
) -> None:
    """One event for each sector that knows these people, readable by its own service alone."""
    [root] = set(changed.values())
    known: dict[str, set[UUID]] = {}
    for row in await pairs.sector_ids(tx, list(changed)):
        known.setdefault(row["sector"], set()).add(row["pid"])
    for sector in TOLD:
        if sector in known:
            ids = await given_out(tx, register, sector, sorted({root} | known[sector]))
            body = json.dumps({"ids": [ids[pid] for pid in sorted(known[sector])], "now": ids[root]})
            await tx.publish(
                f"identity.persons.{what}",
                aggregate=f"match/{review}",
                data={"sector": sector, "sealed": seal(body, settings.secret_for(sector, "seal"))},
            )
