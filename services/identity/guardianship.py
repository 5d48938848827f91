"""Who stands for a child, from when, until when. Three domains ask; the answer is computed, never stored.

A child comes of age on the 18th birthday (民法典 第17条). Whoever was born on 29 February does so on the
last day of February (第202条: without a corresponding day, the month's last day).
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from services.identity.matching import Refusal
from services.identity.repository import people, registers
from services.identity.shapes import Accepted, GuardianshipPush, Ward
from services.kit.database import Connection, Transaction
from services.kit.problems import Fault, unprocessable

MAJORITY_YEARS = 18


def comes_of_age(birth_date: date) -> date:
    """The first day on which nobody stands for this person any more."""
    try:
        return birth_date.replace(year=birth_date.year + MAJORITY_YEARS)
    except ValueError:
        return date(birth_date.year + MAJORITY_YEARS, 2, 28)


def ends_on(birth_date: date, valid_to: date | None) -> date:
    majority = comes_of_age(birth_date)
    return majority if valid_to is None else min(majority, valid_to)


async def wards_of_person(db: Connection, *, guardians: Sequence[UUID], on: date) -> list[tuple[UUID, Ward]]:
    """The children this person stands for on a day; a ward whose age is unknown is not shown.

    Args:
        guardians: the person, with all who are one person with them.
    """
    found = []
    for row in await registers.wards_of(db, guardians, on):
        if row["birth_date"] is None:
            continue
        until = ends_on(row["birth_date"], row["valid_to"])
        if on < until:
            ward = Ward(name=row["name"], birth_date=row["birth_date"], relation=row["relation"], until=until)
            found.append((row["pid"], ward))
    return found


async def wards_of(db: Connection, *, guardians: Sequence[UUID], on: date) -> list[Ward]:
    """The same without saying who they are elsewhere."""
    return [ward for _, ward in await wards_of_person(db, guardians=guardians, on=on)]


async def register(
    tx: Transaction,
    *,
    pushes: Sequence[GuardianshipPush],
    pids: Sequence[UUID | Refusal | None],
    source: str,
) -> Accepted:
    """Takes a batch whole or not at all.

    Args:
        pids: for each push its guardian and its ward, one after the other.
    """
    pairs = list(zip(pids[::2], pids[1::2], strict=True))
    wards = {pid for _, pid in pairs if isinstance(pid, UUID)}
    births = {row["pid"]: row["birth_date"] for row in await people.persons(tx, list(wards))}
    rows: dict[tuple[object, ...], tuple[object, ...]] = {}
    faults: list[Fault] = []
    for place, (push, (guardian, ward)) in enumerate(zip(pushes, pairs, strict=True)):
        where = f"guardianships.{place}"
        faults += _of_person(f"{where}.guardian", guardian) + _of_person(f"{where}.ward", ward)
        if isinstance(guardian, UUID) and isinstance(ward, UUID):
            faults += _of_pair(where, push, guardian, ward, births[ward])
            rows[guardian, ward, push.relation, push.valid_from] = (
                guardian,
                ward,
                push.relation,
                push.valid_from,
                push.valid_to,
            )
    if faults:
        raise unprocessable("invalid_guardianships", f"{len(faults)} faults; nothing was applied", *faults)
    columns = [[row[column] for row in rows.values()] for column in range(5)]
    changed = await registers.upsert_guardianships(tx, columns, source)
    return Accepted(accepted=len(pushes), changed=changed)


def _of_person(where: str, pid: UUID | Refusal | None) -> list[Fault]:
    if isinstance(pid, Refusal):
        return [Fault(pid.problem, path=where, code=pid.code)]
    if pid is None:
        return [Fault("nobody is known by this identifier", path=where, code="unknown_person")]
    return []


def _of_pair(
    where: str, push: GuardianshipPush, guardian: UUID, ward: UUID, birth_date: date | None
) -> list[Fault]:
    if guardian == ward:
        return [Fault("guardian and ward are the same person", path=where, code="same_person")]
    if push.valid_to is not None and push.valid_to <= push.valid_from:
        return [Fault("valid_to must lie after valid_from", path=f"{where}.valid_to", code="empty_term")]
    if birth_date is None:
        message = "the ward's birth date is not known, so the end cannot be computed"
        return [Fault(message, path=f"{where}.ward", code="birth_date_unknown")]
    if push.valid_from >= comes_of_age(birth_date):
        return [Fault("the ward is of age on valid_from", path=f"{where}.valid_from", code="ward_of_age")]
    return []
