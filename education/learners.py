"""Who the pupils of a push are: their identifiers go to the population register, a sector id comes back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from education import numbers
from education.faults import Fault
from education.repository import people, staging
from education.repository.staging import Sheet
from services.identity.client import IdentityClient
from services.identity.shapes import (
    CITIZEN_NUMBER,
    RESOLVE_LIMIT,
    STUDENT_NUMBER,
    Identifier,
    PersonPush,
    Resolved,
    Sex,
)
from services.kit.app import Kit
from services.kit.database import Row, Transaction

# Identity commits a batch in tens of milliseconds; two on their way keep both services busy.
AT_ONCE = 2
NAME_LIMIT = 200
_SYSTEMS = {numbers.CITIZEN_NUMBER: CITIZEN_NUMBER, numbers.STUDENT_NUMBER: STUDENT_NUMBER}
_SEX: dict[str, Sex] = {"male": "male", "female": "female", "other": "other", "unspecified": "unknown"}
_CODES = {"conflict": "identity_conflict", "invalid": "identity_invalid"}


@dataclass
class Found:
    matched: int = 0
    created: int = 0
    refused: int = 0


async def resolve(kit: Kit, tx: Transaction, source: str, sheets: dict[str, Sheet], users_file: str) -> Found:
    """Asks identity about every learner of the push who is new or whose numbers changed.

    A child that identity cannot tell becomes a fault of its row. Asking again after a failure asks about the
    same children, and gives the same answers.

    Raises:
        DomainError: identity does not answer.
    """
    found = Found()
    total = await people.find_unresolved(tx, source, staged=frozenset(sheets))
    client = kit.calls.client(IdentityClient)
    step = RESOLVE_LIMIT * AT_ONCE
    for first in range(1, total + 1, step):
        rows = await people.unresolved(tx, first, first + step - 1)
        parts = [rows[start : start + RESOLVE_LIMIT] for start in range(0, len(rows), RESOLVE_LIMIT)]
        answers = await asyncio.gather(
            *(client.resolve([_push(row, source) for row in part], organisation=source) for part in parts)
        )
        await _take(tx, rows, [one for answer in answers for one in answer], found, users_file)
    if "account" in sheets:
        found.refused += await people.check_doubles(tx, sheets["account"])
    return found


def _push(row: Row, source: str) -> PersonPush:
    identifiers = [Identifier(system=_SYSTEMS[kind], value=value) for kind, value in row["identifiers"] or ()]
    # The sender's own id ties a child without any national number to the same person next time.
    identifiers.append(
        Identifier(system=f"urn:huimin:oneroster:{source}", value=row["sourced_id"][:NAME_LIMIT])
    )
    name = _name(row["family_name"], row["given_name"])
    return PersonPush(
        ref=str(row["n"]),
        identifiers=identifiers,
        name=name[:NAME_LIMIT] or None,
        birth_date=row["birth_date"],
        sex=_SEX.get(row["sex"] or ""),
    )


def _name(family: str, given: str) -> str:
    family, given = family.strip(), given.strip()
    return f"{given} {family}".strip() if (family + given).isascii() else family + given


async def _take(
    tx: Transaction, rows: Sequence[Row], answers: Sequence[Resolved], found: Found, users_file: str
) -> None:
    known: list[tuple[int, str]] = []
    faults: list[Fault] = []
    by_ref = {answer.ref: answer for answer in answers}
    for row in rows:
        answer = by_ref[str(row["n"])]
        if answer.sector_id is not None:
            known.append((row["n"], answer.sector_id))
            found.created += answer.outcome in ("created", "review")
            found.matched += answer.outcome == "matched"
            continue
        code = _CODES.get(answer.outcome, "identity_invalid")
        about = {"reason": answer.code or answer.outcome}
        faults.append(Fault(code, users_file, row["line"], "userIds", row["sourced_id"], None, about))
    await people.keep_resolved(tx, known)
    await staging.add_faults(tx, faults)
    found.refused += len(faults)
