"""Vital events as they are registered: births, which make a person, and deaths, which end what was theirs.

Whoever is named as a parent stands for the child from its birth (民法典 第27条). That a guardianship or a
membership ends with a death follows from the date and is computed where it is asked, never stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg

from services.identity import persons
from services.identity.batches import Batch, LostRace
from services.identity.naming import civil_ids, named, not_applied, seq_of
from services.identity.population_shapes import Birth, BirthPage, BirthPush, Death, DeathPage, DeathPush
from services.identity.register import Register
from services.identity.repository import people, registers
from services.identity.repository import population as table
from services.identity.repository.population import BirthRow, DeathRow, MoveRow
from services.identity.schemes import scope_of
from services.identity.shapes import Accepted, PersonPush
from services.kit.cursors import encode_cursor
from services.kit.database import Database, Row, Transaction
from services.kit.principals import Principal
from services.kit.problems import Fault


async def register_births(
    database: Database, register: Register, *, principal: Principal, pushes: Sequence[BirthPush]
) -> Accepted:
    """Takes a batch whole or not at all: the child, its residence, its parents' guardianship, one commit.

    Raises:
        Problem: 422, naming each fault: a parent unknown, younger than the child or named twice, a child
            whose identifier cannot be right or contradicts what is known.
    """
    children = [
        PersonPush(
            ref=str(index),
            identifiers=push.child,
            name=push.name,
            birth_date=push.born_on,
            sex=push.sex,
            area=push.area,
        )
        for index, push in enumerate(pushes)
    ]
    checks = await persons.checks_of(register, children)
    for attempt in range(1, persons.TRIES + 1):
        source, scope = principal.client_id, scope_of(principal)
        batch = Batch(register, "civil", create=True, registry=True, source=source, scope=scope)
        try:
            async with database.transaction(principal) as tx:
                answers = await batch.run(tx, checks)
                owners = await people.pids_by_sector_id(
                    tx, "civil", [one.sector_id for one in answers if one.sector_id is not None]
                )
                faults = [
                    Fault(one.problem or one.outcome, path=f"births.{one.ref}.child", code=one.code)
                    for one in answers
                    if one.sector_id is None
                ]
                born = {int(one.ref): owners[one.sector_id] for one in answers if one.sector_id is not None}
                taken = await _births(tx, register, pushes, born, faults)
                data = taken.model_dump()
                await tx.publish("identity.births.registered", aggregate="births", data=data)
                return taken
        except (LostRace, asyncpg.DeadlockDetectedError):
            if attempt == persons.TRIES:
                raise
    raise AssertionError("unreachable")


async def _births(
    tx: Transaction,
    register: Register,
    pushes: Sequence[BirthPush],
    born: Mapping[int, UUID],
    faults: list[Fault],
) -> Accepted:
    mentions = {
        f"births.{index}.{role}": getattr(push, role)
        for index, push in enumerate(pushes)
        for role in ("mother", "father")
    }
    parents = await named(tx, register, mentions, faults)
    known = {row["pid"]: row for row in await people.persons(tx, list(set(parents.values())))}
    rows: dict[UUID, BirthRow] = {}
    for index, push in enumerate(pushes):
        where = f"births.{index}"
        faults += _of_days(where, push.born_on, push.registered_on)
        mother, father = (parents.get(f"{where}.{role}") for role in ("mother", "father"))
        faults += _of_parents(where, push, born.get(index), {"mother": mother, "father": father}, known)
        child = born.get(index)
        if child is not None:
            if child in rows:
                faults.append(Fault("stands twice in this batch", path=f"{where}.child", code="repeated"))
            rows[child] = BirthRow(child, push.registered_on, push.area, push.place, mother, father)
    if faults:
        raise not_applied("births", faults)
    source = tx.principal.client_id if tx.principal else ""
    changed = await table.upsert_births(tx, list(rows.values()), source)
    days = {born[index]: push.born_on for index, push in enumerate(pushes)}
    homes = [MoveRow(row.pid, days[row.pid], row.area) for row in rows.values()]
    await table.add_moves(tx, homes, source, only_first=True)
    await table.settle(tx, list(rows))
    await _open_guardianships(tx, rows.values(), days, known, source)
    await tx.leaf(
        action="births.registered",
        subjects=register.log_ids({*rows, *parents.values()}),
        records=len(pushes),
        resource="births",
        reason="registration",
    )
    return Accepted(accepted=len(pushes), changed=changed)


async def _open_guardianships(
    tx: Transaction,
    births: Iterable[BirthRow],
    days: Mapping[UUID, date],
    known: Mapping[UUID, Row],
    source: str,
) -> None:
    rows = [
        (parent, birth.pid, "parent", days[birth.pid], None)
        for birth in births
        for parent in (birth.mother, birth.father)
        if parent is not None and not _dead_before(known[parent], days[birth.pid])
    ]
    await registers.open_guardianships(tx, [[row[column] for row in rows] for column in range(5)], source)


def _dead_before(parent: Row, day: date) -> bool:
    return parent["death_date"] is not None and parent["death_date"] <= day


def _of_days(where: str, happened: date, registered: date) -> list[Fault]:
    faults = []
    if registered < happened:
        message = "registered_on lies before the day it is about"
        faults.append(Fault(message, path=f"{where}.registered_on", code="before_the_event"))
    if registered > persons.today():
        message = "registered_on lies in the future"
        faults.append(Fault(message, path=f"{where}.registered_on", code="future"))
    return faults


def _of_parents(
    where: str,
    push: BirthPush,
    child: UUID | None,
    parents: Mapping[str, UUID | None],
    known: Mapping[UUID, Row],
) -> list[Fault]:
    faults = []
    if parents["mother"] is not None and parents["mother"] == parents["father"]:
        faults.append(Fault("mother and father are the same person", path=where, code="same_person"))
    for role, parent in parents.items():
        if parent is None:
            continue
        path = f"{where}.{role}"
        if parent == child:
            faults.append(Fault("child and parent are the same person", path=path, code="same_person"))
        elif known[parent]["birth_date"] is not None and known[parent]["birth_date"] >= push.born_on:
            faults.append(Fault("younger than the child", path=path, code="parent_younger"))
    return faults


async def register_deaths(
    tx: Transaction, register: Register, *, pushes: Sequence[DeathPush], source: str
) -> Accepted:
    """Takes a batch whole or not at all; the date of death is the register's from then on.

    Raises:
        Problem: 422, naming each fault: somebody unknown, a death before the birth, a day to come.
    """
    faults: list[Fault] = []
    mentions = {f"deaths.{index}.person": push.person for index, push in enumerate(pushes)}
    pids = await named(tx, register, mentions, faults)
    born = {row["pid"]: row["birth_date"] for row in await people.persons(tx, list(set(pids.values())))}
    rows: dict[UUID, DeathRow] = {}
    for index, push in enumerate(pushes):
        where = f"deaths.{index}"
        faults += _of_days(where, push.died_on, push.registered_on)
        pid = pids.get(f"{where}.person")
        if pid is None:
            continue
        if born[pid] is not None and push.died_on < born[pid]:
            faults.append(
                Fault("died_on lies before the birth", path=f"{where}.died_on", code="before_birth")
            )
        if pid in rows:
            faults.append(Fault("stands twice in this batch", path=f"{where}.person", code="repeated"))
        rows[pid] = DeathRow(pid, push.died_on, push.registered_on, push.area, push.place)
    if faults:
        raise not_applied("deaths", faults)
    await people.lock_persons(tx, sorted(rows))
    changed = await table.upsert_deaths(tx, list(rows.values()), source)
    await tx.leaf(
        action="deaths.registered",
        subjects=register.log_ids(rows),
        records=len(pushes),
        resource="deaths",
        reason="registration",
    )
    return Accepted(accepted=len(pushes), changed=changed)


async def births(
    tx: Transaction,
    register: Register,
    *,
    areas: Sequence[str] | None,
    since: date,
    after: str | None,
    limit: int,
) -> BirthPage:
    """In the order of their registration."""
    rows = await table.births(tx, areas=areas, since=since, after=seq_of(after), limit=limit + 1)
    ids = civil_ids(register, (row[who] for row in rows for who in ("pid", "mother", "father")))
    items = [
        Birth(
            person=ids[row["pid"]],
            born_on=row["birth_date"],
            registered_on=row["registered_on"],
            area=row["area"],
            place=row["place"],
            mother=ids.get(row["mother"]),
            father=ids.get(row["father"]),
        )
        for row in rows[:limit]
    ]
    await _read(tx, register, "births", [row["pid"] for row in rows[:limit]])
    return BirthPage(items=items, next=_cursor(rows, limit))


async def deaths(
    tx: Transaction,
    register: Register,
    *,
    areas: Sequence[str] | None,
    since: date,
    after: str | None,
    limit: int,
) -> DeathPage:
    """In the order of their registration."""
    rows = await table.deaths(tx, areas=areas, since=since, after=seq_of(after), limit=limit + 1)
    ids = civil_ids(register, (row["pid"] for row in rows))
    items = [
        Death(
            person=ids[row["pid"]],
            died_on=row["died_on"],
            registered_on=row["registered_on"],
            area=row["area"],
            place=row["place"],
        )
        for row in rows[:limit]
    ]
    await _read(tx, register, "deaths", [row["pid"] for row in rows[:limit]])
    return DeathPage(items=items, next=_cursor(rows, limit))


async def _read(tx: Transaction, register: Register, what: str, pids: Sequence[UUID]) -> None:
    await tx.leaf(
        action=f"{what}.read",
        subjects=register.log_ids(pids),
        records=len(pids),
        resource=what,
        reason="registration",
    )


def _cursor(rows: Sequence[Row], limit: int) -> str | None:
    return encode_cursor(rows[limit - 1]["seq"]) if len(rows) > limit else None
