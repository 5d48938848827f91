"""The clerical queue: pairs that may be one person, what speaks for it, and a clerk's decision.

A clerk is shown a pair only when both sides live in the clerk's areas. A side that does not say where it
lives counts as living where the other does; a pair that says nothing is for clerks of the whole country.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from redis.exceptions import RedisError

from services.identity import likeness, merging, queueing
from services.identity.known import Known
from services.identity.match_shapes import (
    MatchDecision,
    MatchPart,
    MatchReview,
    MatchReviewPage,
    MatchSide,
    MatchSource,
    MatchState,
)
from services.identity.numbers import masked
from services.identity.register import Register
from services.identity.repository import pairs, people
from services.identity.shapes import (
    MERGES,
    PlaceRef,
)
from services.kit.app import Kit
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Row, Transaction
from services.kit.policy import Decision, Resource
from services.kit.principals import Principal
from services.kit.problems import Problem, conflict, not_found, unprocessable

_calls: set[asyncio.Future[None]] = set()
_NUMBER = re.compile(r"\d{15}|\d{17}[\dXx]")


async def page(
    tx: Transaction, kit: Kit, who: Principal, *, state: MatchState, after: str | None, limit: int
) -> MatchReviewPage:
    """The pairs in a state, the oldest first."""
    register: Register = kit.parts["register"]
    basis = kit.permitted(who, "matches.read", Resource("Identity::Match", id="match-reviews"))
    rows = await pairs.reviews(
        tx, areas=who.area_prefixes, state=state, after=uuid_after(after), limit=limit + 1
    )
    await _leaf(tx, register, "matches.read", rows[:limit], basis)
    items = await _shown(tx, register, rows[:limit])
    return MatchReviewPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def one(tx: Transaction, kit: Kit, who: Principal, id: UUID) -> MatchReview:
    row, basis = await _asked(tx, kit, who, "matches.read", id)
    await _leaf(tx, kit.parts["register"], "matches.read", [row], basis)
    return await _seen(tx, kit, id)


async def decide(
    tx: Transaction, kit: Kit, who: Principal, id: UUID, *, decision: MatchDecision, reason: str
) -> MatchReview:
    """A clerk's word on a pair, with its reason. That they are one person another clerk has to confirm.

    Raises:
        Problem: 409 when it has been decided before, when it cannot be one person, or when whoever proposed
            it confirms it too.
    """
    await pairs.lock_partition(tx)
    row, basis = await _asked(tx, kit, who, "match.decided", id)
    if row["state"] in ("same", "different"):
        raise conflict(
            "already_decided", f"this pair has been decided ({row['state']}); a merge can be undone"
        )
    if decision == "same":
        return await _same(tx, kit, who, row, reason)
    await _note(tx, who, row, decision, reason)
    await _leaf(tx, kit.parts["register"], "match.decided", [row], basis)
    return await _seen(tx, kit, id)


async def merge(
    tx: Transaction, kit: Kit, who: Principal, *, person: str, other: str, reason: str
) -> MatchReview:
    """Two people a clerk knows to be one, whether the model found them or not.

    Raises:
        Problem: 404 when nobody has one of the ids; 409 when they cannot be one person.
    """
    await pairs.lock_partition(tx)
    found = await people.pids_by_sector_id(tx, "identity", [person, other])
    if len(found) < 2:
        raise not_found("nobody, or nobody else, is known by one of these ids", code="unknown_person")
    known = Known()
    await known.read(tx, found.values())
    facts = [known.facts[found[id]] for id in (person, other)]
    population, _ = await pairs.population(tx)
    [alike] = likeness.judged([(facts[0], facts[1])], population)
    asked = queueing.pair(facts[0].pid, facts[1].pid, "clerk", alike, source=who.subject)
    await pairs.add_reviews(tx, [asked])
    id = await pairs.review_of_pair(tx, facts[0].pid, facts[1].pid)
    assert id is not None
    row, _ = await _asked(tx, kit, who, "persons.merged", id)
    return await _seen(tx, kit, id) if row["state"] == "same" else await _same(tx, kit, who, row, reason)


async def unmerge(tx: Transaction, kit: Kit, who: Principal, id: UUID, *, reason: str) -> MatchReview:
    """Takes `same` back, the model's too: what is left is as it would be without it.

    Raises:
        Problem: 409 when the pair is not merged.
    """
    await pairs.lock_partition(tx)
    row, basis = await _asked(tx, kit, who, "persons.unmerged", id)
    if row["state"] != "same":
        raise conflict("not_merged", "this pair has not been decided to be one person")
    await _note(tx, who, row, "different", reason)
    register: Register = kit.parts["register"]
    await merging.settle(tx, register, kit.settings, id, (row["pid"], row["other"]), "unmerged")
    tx.after_commit(lambda: _call(kit))
    await _leaf(tx, register, "persons.unmerged", [row], basis)
    return await _seen(tx, kit, id)


async def _same(tx: Transaction, kit: Kit, who: Principal, row: Row, reason: str) -> MatchReview:
    """Merges the two, or proposes it to another clerk."""
    register: Register = kit.parts["register"]
    basis = kit.permitted(who, "persons.merged", Resource("Identity::Match", id=f"match-reviews/{row['id']}"))
    await merging.must_fit(tx, row["pid"], row["other"])
    if row["state"] != "proposed" and await merging.takes_two_clerks(tx, row["pid"], row["other"]):
        await _note(tx, who, row, "proposed", reason)
        await _leaf(tx, register, "match.decided", [row], basis)
        return await _seen(tx, kit, row["id"])
    if row["proposed_by"] == who.subject:
        raise conflict("own_proposal", "you proposed it yourself; another clerk has to confirm it")
    await _note(tx, who, row, "same", reason)
    await merging.settle(tx, register, kit.settings, row["id"], (row["pid"], row["other"]), "merged")
    tx.after_commit(lambda: _call(kit))
    await _leaf(tx, register, "persons.merged", [row], basis)
    return await _seen(tx, kit, row["id"])


def _call(kit: Kit) -> None:
    """Sessions show it at once where this is heard, and when their tokens end otherwise."""
    task = asyncio.ensure_future(_calling(kit))
    _calls.add(task)
    task.add_done_callback(_calls.discard)


async def _calling(kit: Kit) -> None:
    with suppress(RedisError, OSError):
        await kit.redis.publish(MERGES, "")


async def _note(tx: Transaction, who: Principal, row: Row, decision: str, reason: str) -> None:
    if _NUMBER.search(reason):
        raise unprocessable(
            "identifier_in_reason",
            "the reason stays in the log for good: write it without any number of theirs",
        )
    await pairs.decide(tx, [(row["id"], row["pid"], row["other"], decision, who.subject, reason)])


async def _asked(tx: Transaction, kit: Kit, who: Principal, action: str, id: UUID) -> tuple[Row, Decision]:
    """The pair, for somebody who may do this with it. Raises Problem 404, for who may not know of it too."""
    row = await pairs.review(tx, id, lock=action != "matches.read")
    if row is None:
        raise _no_such_pair()
    register: Register = kit.parts["register"]
    try:
        for side in ("pid", "other"):
            asked = Resource(
                "Identity::Match",
                id=f"match-reviews/{id}",
                owner=register.sectors.id_of("identity", row[side]),
                area=row[f"{side}_area"],
            )
            basis = kit.permitted(who, action, asked)
    except Problem as refusal:
        # What lies outside one's areas is not even known to be there; the log has the attempt.
        raise _no_such_pair() from refusal
    return row, basis


def _no_such_pair() -> Problem:
    return not_found("there is no such pair, or it is outside the areas you are responsible for")


async def _leaf(
    tx: Transaction, register: Register, action: str, rows: Sequence[Row], basis: Decision
) -> None:
    await tx.leaf(
        action=action,
        subjects=register.log_ids({row[side] for row in rows for side in ("pid", "other")}),
        records=len(rows),
        resource=f"match-reviews/{rows[0]['id']}" if len(rows) == 1 else "match-reviews",
        reason=basis.reason,
        legal_basis=basis.legal_basis,
    )


async def _seen(tx: Transaction, kit: Kit, id: UUID) -> MatchReview:
    row = await pairs.review(tx, id)
    assert row is not None
    [found] = await _shown(tx, kit.parts["register"], [row])
    return found


async def _shown(tx: Transaction, register: Register, rows: Sequence[Row]) -> list[MatchReview]:
    pids = sorted({row[side] for row in rows for side in ("pid", "other")})
    names = dict(zip(pids, register.log_ids(pids), strict=True))
    version = register.sectors.version("identity")
    await people.remember_sector_ids(tx, "identity", version, [(id, pid) for pid, id in names.items()])
    known_by: dict[UUID, list[MatchSource]] = defaultdict(list)
    for row in await pairs.sources(tx, pids):
        value = masked(register.vault.open(row["system"], row["sealed"]))
        known_by[row["pid"]].append(MatchSource(system=row["system"], value=value))
    sides = {
        row["pid"]: _side(row, names[row["pid"]], known_by[row["pid"]]) for row in await pairs.shown(tx, pids)
    }
    return [_review(row, [sides[row["pid"]], sides[row["other"]]]) for row in rows]


def _side(row: Row, name: str, known_by: list[MatchSource]) -> MatchSide:
    area = None
    if row["area"]:
        area = PlaceRef(code=row["area"], name=row["area_name"], name_en=row["area_name_en"])
    return MatchSide(
        person=name,
        name=row["name"],
        birth_date=row["birth_date"],
        sex=row["sex"],
        death_date=row["death_date"],
        area=area,
        registered=row["registered"],
        known_since=row["created_at"],
        identifiers=known_by,
    )


def _review(row: Row, sides: list[MatchSide]) -> MatchReview:
    return MatchReview(
        id=row["id"],
        state=row["state"],
        why=row["why"],
        model=row["model"],
        weight=row["weight"],
        prior=row["evidence"]["prior"],
        probability=row["evidence"]["probability"],
        parts=[MatchPart(**part) for part in row["evidence"]["parts"]],
        sides=sides,
        source=row["source"],
        created_at=row["created_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
        proposed_by=row["proposed_by"],
    )
