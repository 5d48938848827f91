"""The population register: pushes resolved to people, people to each sector's own ids."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg

from services.identity import guardianship
from services.identity.matching import (
    BlindKey,
    Candidate,
    Facts,
    Key,
    Refusal,
    checked,
    checked_key,
    match,
)
from services.identity.numbers import masked
from services.identity.repository import people
from services.identity.repository.people import IdentifierRow, PersonRow
from services.identity.sectors import SectorKeys, load_keys
from services.identity.shapes import (
    Identifier,
    MaskedIdentifier,
    Me,
    Outcome,
    PersonPush,
    PlaceRef,
    Resolved,
    Sex,
)
from services.identity.vault import Vault
from services.kit.database import Connection, Database, Transaction
from services.kit.principals import Principal
from services.kit.problems import Fault, forbidden, not_found, unprocessable
from services.kit.settings import Settings

CIVIL_TIME = ZoneInfo("Asia/Shanghai")
"""Ages and dates of the civil register follow the law's own calendar day."""
TRIES = 5
PAUSE_EVERY = 250


@dataclass(frozen=True)
class Register:
    """The population register's secrets, opened once at start."""

    vault: Vault
    sectors: SectorKeys

    @classmethod
    async def open(cls, db: Connection, settings: Settings) -> "Register":
        return cls(vault=Vault.of(settings), sectors=await load_keys(db, settings))

    def log_ids(self, pids: Iterable[UUID]) -> list[str]:
        """How people are named in this service's own access leaves."""
        return self.sectors.ids_of("identity", pids)


class LostRace(Exception):
    """Another push claimed one of these identifiers first: look again, it is known now."""


def today() -> date:
    return datetime.now(CIVIL_TIME).date()


def sector_of(principal: Principal, register: Register) -> str:
    """The sector a service asks for: its own, never another's."""
    if principal.service is None or principal.service not in register.sectors:
        raise forbidden("people are resolved for a service that has a sector of its own", code="no_sector")
    return principal.service


async def resolve(
    database: Database,
    register: Register,
    *,
    principal: Principal,
    sector: str,
    pushes: Sequence[PersonPush],
    create: bool,
    registry: bool = False,
) -> list[Resolved]:
    """For each push the person's id in the sector, found by exact identifiers or made.

    Args:
        registry: the population registry speaks: its attributes replace what is known.
    """
    seen: set[str] = set()
    for push in pushes:
        if push.ref in seen:
            raise unprocessable("repeated_ref", f"ref {push.ref!r} stands twice; each answer needs its own")
        seen.add(push.ref)
    checks = await _checks(register, pushes)
    for attempt in range(1, TRIES + 1):
        batch = _Batch(register, sector, create=create, registry=registry, source=principal.client_id)
        try:
            async with database.transaction(principal) as tx:
                return await batch.run(tx, checks)
        except (LostRace, asyncpg.DeadlockDetectedError):
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


async def _checks(register: Register, pushes: Sequence[PersonPush]) -> list[Candidate | Resolved]:
    """Each push checked by itself, the event loop let go now and then: 2,000 take some 50 ms."""
    day = today()
    found: list[Candidate | Resolved] = []
    for place, push in enumerate(pushes, 1):
        try:
            found.append(checked(push, register.vault, day))
        except Refusal as refusal:
            found.append(_refused(push, refusal))
        if place % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    return found


class _Batch:
    """One resolve call in one transaction. People that repeat inside it are one person."""

    def __init__(self, register: Register, sector: str, *, create: bool, registry: bool, source: str) -> None:
        self._register = register
        self._sector = sector
        self._create = create
        self._registry = registry
        self._source = source
        self._owners: dict[BlindKey, UUID] = {}
        self._facts: dict[UUID, Facts] = {}
        self._created: set[UUID] = set()
        self._changed: set[UUID] = set()
        self._identifiers: list[IdentifierRow] = []
        self._links: list[IdentifierRow] = []

    async def run(self, tx: Transaction, checks: Sequence[Candidate | Resolved]) -> list[Resolved]:
        await self._look_up(tx, [found for found in checks if isinstance(found, Candidate)])
        decided = [
            self._decided(found) if isinstance(found, Candidate) else (found, None) for found in checks
        ]
        await self._write(tx)
        pids = [pid for _, pid in decided if pid is not None]
        ids = dict(zip(pids, self._register.sectors.ids_of(self._sector, pids), strict=True))
        await people.remember_sector_ids(
            tx, self._sector, self._register.sectors.version(self._sector), [(id, p) for p, id in ids.items()]
        )
        await self._leaf(tx, ids.keys(), len(checks))
        for answer, pid in decided:
            answer.sector_id = ids[pid] if pid is not None else None
        return [answer for answer, _ in decided]

    async def _look_up(self, tx: Transaction, candidates: Iterable[Candidate]) -> None:
        keys = {key.index: key for candidate in candidates for key in candidate.keys}
        strong = [index for index, key in keys.items() if key.registered]
        local = [index for index, key in keys.items() if not key.registered]
        if strong:
            self._owners.update(await people.pids_by_identifier(tx, strong))
        if local:
            self._owners.update(await people.pids_by_link(tx, local))
        if self._owners:
            for row in await people.persons(tx, list(set(self._owners.values()))):
                self._facts[row["pid"]] = Facts(
                    row["pid"],
                    row["name"],
                    row["birth_date"],
                    row["sex"],
                    row["death_date"],
                    row["area"],
                    row["citizen_hmac"],
                )

    def _decided(self, candidate: Candidate) -> tuple[Resolved, UUID | None]:
        try:
            pid, warnings = match(candidate, self._owners, self._facts)
        except Refusal as refusal:
            return _refused(candidate.push, refusal), None
        outcome: Outcome = "matched"
        if pid is None:
            if not candidate.keys:
                return _unknown(
                    candidate.push, "no_identifier", "a person needs at least one identifier"
                ), None
            if not self._create:
                return _unknown(
                    candidate.push, "unknown_person", "nobody is known by these identifiers"
                ), None
            pid, outcome = uuid4(), "created"
            self._facts[pid] = Facts(pid)
            self._created.add(pid)
        self._take(candidate, pid)
        answer = Resolved(ref=candidate.push.ref, sector_id=None, outcome=outcome, warnings=list(warnings))
        return answer, pid

    def _take(self, candidate: Candidate, pid: UUID) -> None:
        before = self._facts[pid]
        after = self._facts[pid] = before.with_added(candidate, replacing=self._registry)
        if pid not in self._created and (self._registry or after.attributes != before.attributes):
            self._changed.add(pid)
        for key in candidate.keys:
            if key.index not in self._owners:
                self._owners[key.index] = pid
                sealed = self._register.vault.seal(key.system, key.value)
                claims = self._identifiers if key.registered else self._links
                claims.append(IdentifierRow(key.system, key.blind, sealed, pid))

    async def _write(self, tx: Transaction) -> None:
        # The order of locks is the same for every batch: people, identifiers, links, each sorted.
        changed = sorted(self._changed)
        if changed:
            await people.lock_persons(tx, changed)
        if self._created:
            await people.add_persons(tx, [self._row(pid) for pid in sorted(self._created)])
        for claims, claim in (
            (self._identifiers, people.claim_identifiers),
            (self._links, people.claim_links),
        ):
            if claims and await claim(tx, claims, self._source) < len(claims):
                raise LostRace
        if changed:
            await people.fill_persons(tx, [self._row(pid) for pid in changed])

    def _row(self, pid: UUID) -> PersonRow:
        facts = self._facts[pid]
        return PersonRow(
            pid, facts.name, facts.birth_date, facts.sex, facts.death_date, facts.area, self._registry
        )

    async def _leaf(self, tx: Transaction, pids: Collection[UUID], pushed: int) -> None:
        await tx.leaf(
            action="persons.registered" if self._registry else "persons.resolved",
            subjects=self._register.log_ids(pids),
            records=pushed,
            resource=f"persons/{self._sector}",
        )


def _refused(push: PersonPush, refusal: Refusal) -> Resolved:
    return Resolved(
        ref=push.ref,
        sector_id=None,
        outcome=cast(Outcome, refusal.outcome),
        code=refusal.code,
        problem=refusal.problem,
    )


def _unknown(push: PersonPush, code: str, problem: str) -> Resolved:
    return Resolved(ref=push.ref, sector_id=None, outcome="unknown", code=code, problem=problem)


async def translate(
    tx: Transaction, register: Register, *, source: str, target: str, ids: Sequence[str]
) -> list[str | None]:
    """Each sector id as the target sector knows the same person; None for one that nobody has."""
    for sector in (source, target):
        if sector not in register.sectors:
            raise unprocessable("unknown_sector", f"there is no sector {sector}")
    found = await people.pids_by_sector_id(tx, source, list(set(ids)))
    pids = list(set(found.values()))
    translated = dict(zip(pids, register.sectors.ids_of(target, pids), strict=True))
    await people.remember_sector_ids(
        tx, target, register.sectors.version(target), [(id, pid) for pid, id in translated.items()]
    )
    await tx.leaf(
        action="sector_ids.translated",
        subjects=register.log_ids(pids),
        records=len(ids),
        resource=f"{source} to {target}",
    )
    return [translated[found[id]] if id in found else None for id in ids]


async def sector_id_of(tx: Transaction, register: Register, *, sector: str, pid: UUID) -> str:
    """The one person's id in a sector, its way back kept."""
    id = register.sectors.id_of(sector, pid)
    await people.remember_sector_ids(tx, sector, register.sectors.version(sector), [(id, pid)])
    return id


async def pids_of(
    tx: Transaction, register: Register, identifiers: Sequence[Identifier]
) -> list[UUID | Refusal | None]:
    """For each identifier the person it names, what is wrong with it, or None."""
    day = today()
    keys: list[Key | Refusal] = []
    for identifier in identifiers:
        try:
            keys.append(checked_key(identifier, register.vault, day))
        except Refusal as refusal:
            keys.append(refusal)
    good = [key for key in keys if isinstance(key, Key)]
    owners = await people.pids_by_identifier(tx, [key.index for key in good if key.registered])
    owners |= await people.pids_by_link(tx, [key.index for key in good if not key.registered])
    return [key if isinstance(key, Refusal) else owners.get(key.index) for key in keys]


async def person_of(tx: Transaction, register: Register, *, identifier: Identifier, source: str) -> UUID:
    """The person an account is for, made when nobody has the identifier yet."""
    push = PersonPush(ref="account", identifiers=[identifier])
    batch = _Batch(register, "identity", create=True, registry=False, source=source)
    [answer] = await batch.run(tx, await _checks(register, [push]))
    if answer.sector_id is None:
        message = answer.problem or "the identifier names nobody"
        raise unprocessable(
            "invalid_identifier", message, Fault(message, field="identifier", code=answer.code)
        )
    found = await people.pids_by_sector_id(tx, "identity", [answer.sector_id])
    return found[answer.sector_id]


async def me(tx: Transaction, register: Register, *, pid: UUID | None) -> Me:
    """A person's own entry, with the children the person stands for today."""
    row = await people.person(tx, pid) if pid is not None else None
    if row is None or pid is None:
        raise not_found("no person belongs to this account", code="no_person")
    identifiers = [
        MaskedIdentifier(
            system=entry["scheme"], value=masked(register.vault.open(entry["scheme"], entry["value_enc"]))
        )
        for entry in await people.identifiers_of(tx, pid)
    ]
    wards = await guardianship.wards_of(tx, guardian=pid, on=today())
    await tx.leaf(
        action="person.read", subject=register.sectors.id_of("identity", pid), resource="persons/me"
    )
    area = (
        PlaceRef(code=row["area"], name=row["area_name"], name_en=row["area_name_en"])
        if row["area"]
        else None
    )
    return Me(
        name=row["name"],
        birth_date=row["birth_date"],
        sex=cast("Sex | None", row["sex"]),
        area=area,
        masked_identifiers=identifiers,
        guardian_of=wards,
    )
