"""One push of people, in one transaction: who is known, who is new, who may be somebody known."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import cast
from uuid import UUID, uuid4

from services.identity import queueing
from services.identity.known import Known
from services.identity.likeness import KEYS_VERSION, Lookalike, chosen
from services.identity.lookalikes import Lookalikes, numbers_differ
from services.identity.matching import Candidate, Facts, Refusal, formerly, match
from services.identity.merging import partition
from services.identity.register import Register
from services.identity.repository import pairs, people, population, registers
from services.identity.repository.people import IdentifierRow, PersonRow
from services.identity.sector_ids import given_out
from services.identity.shapes import CITIZEN_NUMBER, Outcome, PersonPush, Resolved
from services.kit.database import Transaction


class LostRace(Exception):
    """Another push claimed one of these identifiers first: look again, it is known now."""


class Batch:
    """One resolve call in one transaction. People that repeat inside it are one person.

    A newcomer that the model takes for somebody known keeps a source of its own, made one person with the
    other by a decision like a clerk's, which can be taken back like one.
    """

    def __init__(
        self, register: Register, sector: str, *, create: bool, registry: bool, source: str, scope: str
    ) -> None:
        self._register = register
        self._sector = sector
        self._create = create
        self._registry = registry
        self._source = source
        self._scope = scope
        self._known = Known()
        self._lookalikes = Lookalikes(register.vault, self._known)
        self._formerly: dict[int, UUID] = {}
        self._newcomers: dict[int, UUID] = {}
        self._created: set[UUID] = set()
        self._changed: set[UUID] = set()
        self._identifiers: list[IdentifierRow] = []
        self._links: list[IdentifierRow] = []
        self._same: dict[UUID, Lookalike] = {}
        self._doubtful: list[tuple[UUID, Lookalike]] = []
        self._conflicts: set[tuple[UUID, UUID]] = set()

    async def run(self, tx: Transaction, checks: Sequence[Candidate | Resolved]) -> list[Resolved]:
        candidates = [found for found in checks if isinstance(found, Candidate)]
        await self._look_up(tx, candidates)
        if self._create:
            await self._compare(tx, candidates)
        decided = [
            self._decided(found) if isinstance(found, Candidate) else (found, None) for found in checks
        ]
        await self._write(tx)
        roots = {pid: self._known.root(pid) for _, pid in decided if pid is not None}
        ids = await given_out(tx, self._register, self._sector, list(set(roots.values())))
        await self._leaf(tx, ids.keys(), len(checks))
        for answer, pid in decided:
            answer.sector_id = ids[roots[pid]] if pid is not None else None
        return [answer for answer, _ in decided]

    async def _look_up(self, tx: Transaction, candidates: Iterable[Candidate]) -> None:
        keys = {key.index: key for candidate in candidates for key in candidate.keys}
        national = [index for index, key in keys.items() if key.national]
        local = [index for index, key in keys.items() if not key.national]
        owners, former = self._known.owners, {}
        if national:
            owners |= await people.pids_by_identifier(tx, national)
        if local:
            owners |= await people.pids_by_link(tx, local, self._scope)
            former = await people.former_pids_by_link(tx, [k for k in local if k not in owners], self._source)
        await self._known.read(tx, {*owners.values(), *former.values()})
        for candidate in candidates if former else ():
            if (pid := formerly(candidate, former, self._known.facts)) is not None:
                self._formerly[id(candidate)] = pid

    async def _compare(self, tx: Transaction, candidates: Sequence[Candidate]) -> None:
        """Whom those may be of whose identifiers nobody is known by, nor an earlier one in this batch."""
        seen = set(self._known.owners)
        newcomers = []
        near = None
        if any(candidate.citizen_hmac is None for candidate in candidates):
            near = await registers.area_of_organisation(tx, self._scope)
        for candidate in candidates:
            keys = {key.index for key in candidate.keys}
            if keys and keys.isdisjoint(seen) and id(candidate) not in self._formerly:
                pid = self._newcomers[id(candidate)] = uuid4()
                unnumbered = Facts(pid, near=near) if candidate.citizen_hmac is None else Facts(pid)
                newcomers.append(unnumbered.with_added(candidate))
                seen |= keys
        if newcomers:
            await self._lookalikes.find(tx, newcomers)

    def _decided(self, candidate: Candidate) -> tuple[Resolved, UUID | None]:
        known = self._known
        try:
            sector = None if self._registry else self._sector
            pid, warnings = match(candidate, known.owners, known.facts, known.roots, sector=sector)
        except Refusal as refusal:
            self._conflicts.update(combinations(sorted(refusal.people)[:3], 2))
            return refused(candidate.push, refusal), None
        outcome: Outcome = "matched"
        if pid is None and (former := self._formerly.get(id(candidate))) is not None:
            return Resolved(ref=candidate.push.ref, sector_id=None, outcome="matched"), former
        if pid is None:
            if not candidate.keys:
                return _unknown(
                    candidate.push, "no_identifier", "a person needs at least one identifier"
                ), None
            if not self._create:
                return _unknown(
                    candidate.push, "unknown_person", "nobody is known by these identifiers"
                ), None
            pid = self._newcomers[id(candidate)]
            outcome = self._placed(Facts(pid).with_added(candidate))
            if outcome == "matched":
                warnings = (*warnings, "matched_by_model")
        self._take(candidate, pid)
        answer = Resolved(ref=candidate.push.ref, sector_id=None, outcome=outcome, warnings=list(warnings))
        return answer, pid

    def _placed(self, newcomer: Facts) -> Outcome:
        """Makes the newcomer: by itself, as one person with somebody known, or for a clerk to look at."""
        known, pid = self._known, newcomer.pid
        # An earlier one of the batch may have turned out to be known, or a number have come since.
        alike = [
            one
            for one in self._lookalikes.of(pid)
            if one.pid in known.facts and not numbers_differ(known.facts[one.pid], newcomer)
        ]
        sure, doubtful = chosen(alike, known.roots)
        known.facts[pid] = Facts(pid)
        self._created.add(pid)
        if sure is not None:
            known.roots[pid] = known.root(sure.pid)
            self._same[pid] = sure
            return "matched"
        self._doubtful += [(pid, one) for one in doubtful]
        return "review" if doubtful else "created"

    def _take(self, candidate: Candidate, pid: UUID) -> None:
        known = self._known
        before = known.facts[pid]
        after = known.facts[pid] = before.with_added(candidate, replacing=self._registry)
        if pid not in self._created and (self._registry or after.attributes != before.attributes):
            self._changed.add(pid)
        if after.citizen_hmac != before.citizen_hmac:
            for member in known.members(pid):
                known.facts[member] = replace(known.facts[member], citizen_hmac=after.citizen_hmac)
        for key in candidate.keys:
            if key.index not in known.owners:
                known.owners[key.index] = pid
                sealed = self._register.vault.seal(key.system, key.value)
                claims = self._identifiers if key.national else self._links
                claims.append(IdentifierRow(key.system, key.blind, sealed, pid))

    async def _write(self, tx: Transaction) -> None:
        # The order of locks is every batch's: who is one person, people, identifiers, links, each sorted.
        numbered = await self._hold(tx)
        changed = sorted(self._changed)
        if changed:
            await people.lock_persons(tx, changed)
        if self._created:
            await self._make(tx)
        claimed = 0
        if self._identifiers:
            claimed += await people.claim_identifiers(tx, self._identifiers, self._source)
        if self._links:
            claimed += await people.claim_links(tx, self._links, self._source, self._scope)
        if claimed < len(self._identifiers) + len(self._links):
            raise LostRace
        if changed:
            await people.fill_persons(tx, [self._row(pid) for pid in changed])
            if self._registry:
                await population.note_areas(tx, changed, self._source)
        again = sorted(self._changed | numbered)
        if again:
            await self._lookalikes.keep_again(tx, [self._known.facts[pid] for pid in again])
        await self._queue(tx)

    async def _hold(self, tx: Transaction) -> set[UUID]:
        """Keeps still who is one person, where this batch adds to it or a citizen number to a known one.

        Returns:
            Those who have a citizen number now and had none.
        """
        numbered = {row.pid for row in self._identifiers if row.system == CITIZEN_NUMBER} - self._created
        joined = {self._known.root(pid) for pid in self._same} - self._created
        if numbered or self._same:
            await pairs.lock_partition(tx)
            if not await self._known.still_holds(tx, numbered | joined):
                raise LostRace
        return {member for pid in numbered for member in self._known.members(pid)} - self._created

    async def _make(self, tx: Transaction) -> None:
        known, now = self._known, self._lookalikes.now
        if self._same:
            # Several newcomers that are one person have one age: the least number is the eldest then.
            same = [(pid, known.root(pid)) for pid in self._same]
            eldest = partition({pid: known.ages.get(pid, now) for pair in same for pid in pair}, same)
            known.roots.update({pid: root for pid, root in eldest.items() if pid in self._created})
        await people.add_persons(tx, [self._row(pid) for pid in sorted(self._created)])
        await self._lookalikes.keep(tx, [known.facts[pid] for pid in self._created])

    async def _queue(self, tx: Transaction) -> None:
        if self._same:
            await queueing.linked(tx, self._same, source=self._source)
        if self._doubtful:
            await queueing.doubted(tx, self._doubtful, source=self._source)
        if self._conflicts:
            await queueing.conflicted(tx, self._conflicts, self._known.facts, source=self._source)

    def _row(self, pid: UUID) -> PersonRow:
        facts, root = self._known.facts[pid], self._known.root(pid)
        return PersonRow(
            pid,
            facts.name,
            facts.birth_date,
            facts.sex,
            facts.death_date,
            facts.area,
            facts.phone_hmac,
            self._registry,
            KEYS_VERSION,
            None if root == pid else root,
            self._known.ages.get(pid) or self._lookalikes.now,
        )

    async def _leaf(self, tx: Transaction, pids: Collection[UUID], pushed: int) -> None:
        await tx.leaf(
            action="persons.registered" if self._registry else "persons.resolved",
            subjects=self._register.log_ids(pids),
            records=pushed,
            resource=f"persons/{self._sector}",
            reason="registration" if self._registry else "identification",
        )


def refused(push: PersonPush, refusal: Refusal) -> Resolved:
    return Resolved(
        ref=push.ref,
        sector_id=None,
        outcome=cast(Outcome, refusal.outcome),
        code=refusal.code,
        problem=refusal.problem,
    )


def _unknown(push: PersonPush, code: str, problem: str) -> Resolved:
    return Resolved(ref=push.ref, sector_id=None, outcome="unknown", code=code, problem=problem)
