"""Whom a record may be about, for somebody who asks before anything is kept: nothing is made or changed."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from services.identity.known import Known
from services.identity.likeness import Lookalike
from services.identity.lookalikes import Lookalikes
from services.identity.match_shapes import Grade, PersonCandidate
from services.identity.matching import Candidate, Facts, Refusal, match
from services.identity.persons import checks_of
from services.identity.register import Register
from services.identity.repository import pairs, people, registers
from services.identity.schemes import scope_of
from services.identity.shapes import PersonPush
from services.kit.database import Transaction
from services.kit.principals import Principal
from services.kit.problems import unprocessable

GRADES: dict[str, Grade] = {"auto": "probable", "review": "possible"}
"""By the model's verdict. Only an identifier makes a match certain: likeness is no proof."""

UNPROVEN_MOST = 0.9999

Found = dict[UUID, tuple[Grade, float]]


async def candidates(
    tx: Transaction,
    register: Register,
    *,
    principal: Principal,
    sector: str,
    push: PersonPush,
    organisation: str | None,
    limit: int,
) -> list[PersonCandidate]:
    """The people it may be, the likeliest first: those alone whom the sector knows by an id already.

    Args:
        organisation: on whose behalf: whose the local identifiers are.

    Raises:
        Problem: 422, an identifier cannot be right or the push contradicts itself.
    """
    [checked] = await checks_of(register, [push])
    if not isinstance(checked, Candidate):
        raise unprocessable(checked.code or "invalid", checked.problem or "an identifier cannot be right")
    known = Known()
    lookalikes = Lookalikes(register.vault, known)
    scope = scope_of(principal, organisation)
    found = await _by_identifiers(tx, known, checked, scope=scope, sector=sector)
    newcomer = Facts(uuid4(), near=await registers.area_of_organisation(tx, scope)).with_added(checked)
    await lookalikes.find(tx, [newcomer], hold=False)
    _add(found, known, lookalikes.of(newcomer.pid))
    ids = await pairs.understood_ids(tx, sector, list(found))
    here = [one for one in found.items() if ids[one[0]]]
    best = sorted(here, key=lambda one: (-one[1][1], one[0]))[:limit]
    told = {
        pid: PersonCandidate(sector_ids=ids[pid], grade=grade, score=score) for pid, (grade, score) in best
    }
    await tx.leaf(
        action="persons.resolved",
        subjects=register.log_ids(told),
        records=1,
        resource=f"persons/{sector}",
        reason="identification",
    )
    return list(told.values())


async def _by_identifiers(
    tx: Transaction, known: Known, checked: Candidate, *, scope: str, sector: str
) -> Found:
    """Those who have one of its identifiers: for certain, where nothing else it says contradicts them."""
    national = [key.index for key in checked.keys if key.national]
    local = [key.index for key in checked.keys if not key.national]
    known.owners |= await people.pids_by_identifier(tx, national)
    known.owners |= await people.pids_by_link(tx, local, scope)
    await known.read(tx, set(known.owners.values()))
    try:
        pid, _ = match(checked, known.owners, known.facts, known.roots, sector=sector)
    except Refusal:
        return {known.root(pid): ("possible", 0.5) for pid in known.owners.values()}
    return {} if pid is None else {known.root(pid): ("certain", 1.0)}


def _add(found: Found, known: Known, alike: Sequence[Lookalike]) -> None:
    """Those whom the model takes for alike, each person once, by the likest of its sources."""
    for one in sorted(alike, key=lambda one: -one.likeness.weight.total):
        if one.likeness.verdict in GRADES:
            likely = min(round(one.likeness.weight.probability, 4), UNPROVEN_MOST)
            found.setdefault(known.root(one.pid), (GRADES[one.likeness.verdict], likely))
