"""The people that a register's push names by their identifiers, each at its place in the push."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from services.identity import persons
from services.identity.matching import Refusal
from services.identity.register import Register
from services.identity.shapes import Identifier
from services.kit.cursors import decode_cursor, whole_number
from services.kit.database import Transaction
from services.kit.problems import Fault, Problem, unprocessable


async def named(
    tx: Transaction, register: Register, mentions: Mapping[str, Identifier | None], faults: list[Fault]
) -> dict[str, UUID]:
    """The person at each place, e.g. `deaths.3.person`; a place that names nobody known is a fault."""
    asked = {where: identifier for where, identifier in mentions.items() if identifier is not None}
    found: dict[str, UUID] = {}
    for where, pid in zip(asked, await persons.pids_of(tx, register, list(asked.values())), strict=True):
        if isinstance(pid, UUID):
            found[where] = pid
        else:
            faults.append(unnamed(where, pid))
    return found


def unnamed(where: str, pid: Refusal | None) -> Fault:
    if isinstance(pid, Refusal):
        return Fault(pid.problem, path=where, code=pid.code)
    return Fault("nobody is known by this identifier", path=where, code="unknown_person")


def civil_ids(register: Register, pids: Iterable[UUID | None]) -> dict[UUID | None, str]:
    """People by the ids of the population registry's own sector."""
    return {pid: register.sectors.id_of("civil", pid) for pid in set(pids) if pid is not None}


def not_applied(what: str, faults: list[Fault]) -> Problem:
    return unprocessable(f"invalid_{what}", f"{len(faults)} faults; nothing was applied", *faults)


def seq_of(cursor: str | None) -> int:
    """Where a list in the order of recording goes on; never a person's own number, which no cursor shows."""
    return whole_number(decode_cursor(cursor, 1)[0]) if cursor else 0
