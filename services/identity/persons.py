"""The population register: pushes resolved to people, people to each sector's own ids."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from services.identity import guardianship
from services.identity.batches import Batch, LostRace, refused
from services.identity.matching import Candidate, Key, Refusal, checked, checked_key
from services.identity.numbers import masked
from services.identity.register import Register
from services.identity.repository import pairs, people
from services.identity.schemes import scope_of
from services.identity.sector_ids import given_out
from services.identity.shapes import (
    Identifier,
    KnownWard,
    MaskedIdentifier,
    Me,
    PersonPush,
    PlaceRef,
    Resolved,
    Sex,
)
from services.kit.database import Connection, Database, Transaction
from services.kit.principals import Principal
from services.kit.problems import Fault, forbidden, not_found, unprocessable
from services.kit.purposes import OWN_RECORDS

CIVIL_TIME = ZoneInfo("Asia/Shanghai")
"""Ages and dates of the civil register follow the law's own calendar day."""
TRIES = 5
PAUSE_EVERY = 250


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
    organisation: str | None = None,
) -> list[Resolved]:
    """For each push the person's id in the sector, found by exact identifiers or made.

    Args:
        organisation: on whose behalf: whose the local identifiers are.
        registry: the population registry speaks: its attributes replace what is known.
    """
    seen: set[str] = set()
    for push in pushes:
        if push.ref in seen:
            raise unprocessable("repeated_ref", f"ref {push.ref!r} stands twice; each answer needs its own")
        seen.add(push.ref)
    checks = await checks_of(register, pushes)
    for attempt in range(1, TRIES + 1):
        batch = Batch(
            register,
            sector,
            create=create,
            registry=registry,
            source=principal.client_id,
            scope=scope_of(principal, organisation),
        )
        try:
            async with database.transaction(principal) as tx:
                return await batch.run(tx, checks)
        except (LostRace, asyncpg.DeadlockDetectedError):
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


async def checks_of(register: Register, pushes: Sequence[PersonPush]) -> list[Candidate | Resolved]:
    """Each push checked by itself, the event loop let go now and then: 2,000 take some 50 ms."""
    day = today()
    found: list[Candidate | Resolved] = []
    for place, push in enumerate(pushes, 1):
        try:
            found.append(checked(push, register.vault, day))
        except Refusal as refusal:
            found.append(refused(push, refusal))
        if place % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    return found


async def root_of(db: Connection, pid: UUID) -> UUID:
    """What a person goes by: the eldest of those who are one person with this one, or this one."""
    return (await pairs.roots(db, [pid])).get(pid, pid)


async def sector_id_of(tx: Transaction, register: Register, *, sector: str, pid: UUID) -> str:
    """The one person's id in a sector, its way back kept; the eldest's where several are one person."""
    pid = await root_of(tx, pid)
    return (await given_out(tx, register, sector, [pid]))[pid]


async def sector_ids_of(tx: Transaction, register: Register, *, sector: str, pid: UUID) -> list[str]:
    """All ids by which a sector may have stored the one person: the one given out now, then those that were
    given out for entries decided to be the same person, and in other key versions that are understood."""
    id = await sector_id_of(tx, register, sector=sector, pid=pid)
    understood = (await pairs.understood_ids(tx, sector, [pid]))[pid]
    return [id, *(other for other in understood if other != id)]


async def wards(tx: Transaction, register: Register, *, sector: str, guardian: str) -> list[KnownWard]:
    """The children a person stands for today, by their ids in a sector; none where nobody has the id."""
    pid = (await people.pids_by_sector_id(tx, sector, [guardian])).get(guardian)
    if pid is None:
        return []
    members = await pairs.members(tx, await root_of(tx, pid))
    known = await guardianship.wards_of_person(tx, guardians=members, on=today())
    await tx.leaf(
        action="guardianships.read",
        subjects=register.log_ids([pid, *(ward for ward, _ in known)]),
        records=len(known),
        resource=f"wards/{sector}",
        purpose=OWN_RECORDS,
        reason="guardian",
    )
    return [
        KnownWard(id=await sector_id_of(tx, register, sector=sector, pid=ward), **found.model_dump())
        for ward, found in known
    ]


async def pids_of(
    tx: Transaction, register: Register, identifiers: Sequence[Identifier]
) -> list[UUID | Refusal | None]:
    """For each identifier (a local one is the caller's own) whom it names, what is wrong with it, or None."""
    assert tx.principal is not None
    day = today()
    keys: list[Key | Refusal] = []
    for identifier in identifiers:
        try:
            keys.append(checked_key(identifier, register.vault, day))
        except Refusal as refusal:
            keys.append(refusal)
    good = [key for key in keys if isinstance(key, Key)]
    owners = await people.pids_by_identifier(tx, [key.index for key in good if key.national])
    local = [key.index for key in good if not key.national]
    owners |= await people.pids_by_link(tx, local, scope_of(tx.principal))
    return [key if isinstance(key, Refusal) else owners.get(key.index) for key in keys]


async def person_of(
    tx: Transaction, register: Register, *, identifier: Identifier, principal: Principal
) -> UUID:
    """The person an account is for, made when nobody has the identifier yet."""
    push = PersonPush(ref="account", identifiers=[identifier])
    source, scope = principal.client_id, scope_of(principal)
    batch = Batch(register, "identity", create=True, registry=False, source=source, scope=scope)
    [answer] = await batch.run(tx, await checks_of(register, [push]))
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
    members = await pairs.members(tx, await root_of(tx, pid))
    identifiers = [
        MaskedIdentifier(
            system=entry["scheme"], value=masked(register.vault.open(entry["scheme"], entry["value_enc"]))
        )
        for entry in await people.identifiers_of(tx, members)
    ]
    wards = await guardianship.wards_of(tx, guardians=members, on=today())
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
