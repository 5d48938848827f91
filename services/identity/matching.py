"""Which known person a push means, if any, by identifiers that can be right. Likeness comes after.

Everything here is a pure function of the push and of what the registers know, so that every decision can be
told again. Doubt is never settled by merging: what contradicts is a conflict for somebody to look at.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from uuid import UUID

from services.identity.numbers import CitizenNumber, NumberError, parse_citizen_number
from services.identity.schemes import is_national, vouches
from services.identity.shapes import CITIZEN_NUMBER, Identifier, PersonPush
from services.identity.vault import Vault

BlindKey = tuple[str, bytes]
PHONE_DIGITS = 11


@dataclass(frozen=True, slots=True)
class Key:
    """One identifier of a push, in the form it is compared and kept."""

    system: str
    value: str
    blind: bytes

    @property
    def national(self) -> bool:
        return is_national(self.system)

    @property
    def index(self) -> BlindKey:
        return self.system, self.blind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A push whose identifiers have been checked."""

    push: PersonPush
    keys: tuple[Key, ...]
    birth_date: date | None
    sex: str | None
    citizen_hmac: bytes | None = None
    phone_hmac: bytes | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What one source says of a person; the citizen number is the whole person's.

    Attributes:
        near: where a record of somebody without papers was made: where to look, nothing that is compared.
    """

    pid: UUID
    name: str | None = None
    birth_date: date | None = None
    sex: str | None = None
    death_date: date | None = None
    area: str | None = None
    citizen_hmac: bytes | None = None
    phone_hmac: bytes | None = None
    near: str | None = None

    def with_added(self, candidate: Candidate, *, replacing: bool = False) -> "Facts":
        """The same person after this push: what was empty is filled; the registry's word replaces."""
        push = candidate.push
        said = Facts(
            self.pid,
            push.name,
            candidate.birth_date,
            candidate.sex,
            push.death_date,
            push.area,
            candidate.citizen_hmac,
            candidate.phone_hmac,
        )
        first, second = (said, self) if replacing else (self, said)
        return Facts(
            self.pid,
            first.name or second.name,
            first.birth_date or second.birth_date,
            first.sex or second.sex,
            first.death_date or second.death_date,
            first.area or second.area,
            self.citizen_hmac or said.citizen_hmac,
            first.phone_hmac or second.phone_hmac,
            self.near,
        )

    @property
    def attributes(self) -> tuple[object, ...]:
        return self.name, self.birth_date, self.sex, self.death_date, self.area, self.phone_hmac


class Refusal(Exception):
    """A push that names nobody: `invalid` in itself, or in `conflict` with what is known.

    Attributes:
        people: those among whom somebody has to decide.
    """

    def __init__(self, outcome: str, code: str, problem: str, people: frozenset[UUID] = frozenset()) -> None:
        super().__init__(problem)
        self.outcome = outcome
        self.code = code
        self.problem = problem
        self.people = people


def checked(push: PersonPush, vault: Vault, today: date) -> Candidate:
    """The push with its identifiers in comparable form and what a citizen number says filled in.

    Raises:
        Refusal: an identifier cannot be right, or the push contradicts itself.
    """
    number: CitizenNumber | None = None
    warnings: list[str] = []
    keys: dict[BlindKey, Key] = {}
    for identifier in push.identifiers:
        if identifier.system == CITIZEN_NUMBER:
            found = _citizen_number(identifier, today)
            if number is not None and number != found:
                raise Refusal(
                    "conflict", "several_citizen_numbers", "two different citizen numbers for one person"
                )
            number = found
        key = key_of(identifier, vault, number)
        keys[key.index] = key
    birth_date, sex = push.birth_date, push.sex if push.sex in {"male", "female"} else None
    if number is not None:
        if birth_date is not None and birth_date != number.birth_date:
            raise Refusal(
                "conflict", "birth_date_differs", "birth_date is not the date in the citizen number"
            )
        if sex is not None and sex != number.sex:
            warnings.append("sex_differs")
        if not number.area_is_known:
            warnings.append("unknown_area")
        birth_date, sex = number.birth_date, sex or number.sex
    if birth_date is not None and birth_date > today:
        raise Refusal("invalid", "birth_date_in_future", "birth_date lies in the future")
    if push.death_date is not None and birth_date is not None and push.death_date < birth_date:
        raise Refusal("invalid", "death_before_birth", "death_date lies before the birth date")
    citizen_hmac = next((key.blind for key in keys.values() if key.system == CITIZEN_NUMBER), None)
    return Candidate(
        push,
        tuple(keys.values()),
        birth_date,
        sex or push.sex,
        citizen_hmac,
        _phone(push.phone, vault),
        tuple(warnings),
    )


def _phone(phone: str | None, vault: Vault) -> bytes | None:
    """By its last eleven digits: a number of the mainland, with or without +86."""
    digits = "".join(filter(str.isdecimal, unicodedata.normalize("NFKC", phone or "")))[-PHONE_DIGITS:]
    return vault.blind("phone", digits) if len(digits) == PHONE_DIGITS else None


def key_of(identifier: Identifier, vault: Vault, number: CitizenNumber | None = None) -> Key:
    """The identifier as it is compared: the 18-digit form of a citizen number, others as sent."""
    value = number.value if number is not None and identifier.system == CITIZEN_NUMBER else identifier.value
    return Key(identifier.system, value, vault.blind(identifier.system, value))


def checked_key(identifier: Identifier, vault: Vault, today: date) -> Key:
    """Raises Refusal when it is a citizen number that cannot be right."""
    number = _citizen_number(identifier, today) if identifier.system == CITIZEN_NUMBER else None
    return key_of(identifier, vault, number)


def _citizen_number(identifier: Identifier, today: date) -> CitizenNumber:
    try:
        return parse_citizen_number(identifier.value, today=today)
    except NumberError as error:
        raise Refusal("invalid", error.code, str(error)) from error


def match(
    candidate: Candidate,
    owners: Mapping[BlindKey, UUID],
    facts: Mapping[UUID, Facts],
    roots: Mapping[UUID, UUID] = MappingProxyType({}),
    *,
    sector: str | None = None,
) -> tuple[UUID | None, tuple[str, ...]]:
    """The person this push means, with what is odd about it; None when nobody known has its identifiers.

    Args:
        roots: of each who is one person with others, the eldest of them.
        sector: whose word it is; None for the population registry's own.

    Raises:
        Refusal: its identifiers belong to several people, or contradict what is known of the one.
    """
    found = {owners[key.index] for key in candidate.keys if key.index in owners}
    if not found:
        return None, candidate.warnings
    people = frozenset(roots.get(pid, pid) for pid in found)
    if len(people) > 1:
        raise Refusal("conflict", "several_people", "the identifiers belong to different people", people)
    [pid] = found if len(found) == 1 else people
    known = facts[pid]
    if _differ(known.citizen_hmac, candidate.citizen_hmac):
        raise Refusal("conflict", "citizen_number_differs", "the person is known with another citizen number")
    if _differ(known.birth_date, candidate.birth_date):
        raise Refusal("conflict", "birth_date_differs", "the person is known with another birth date")
    if known.citizen_hmac is None and candidate.citizen_hmac is not None and sector is not None:
        by = [key.system for key in candidate.keys if key.index in owners]
        if not any(vouches(system, sector) for system in by):
            raise Refusal(
                "conflict",
                "citizen_number_unproven",
                "the person is known without a citizen number, and only by an identifier of somebody else's: "
                "the registry has to state the number, or whoever keeps a record of this person",
            )
    return pid, (*candidate.warnings, *_oddities(known, candidate))


def formerly(
    candidate: Candidate, former: Mapping[BlindKey, UUID], facts: Mapping[UUID, Facts]
) -> UUID | None:
    """The one whom a local identifier named before organisations were told apart, if the push says the same
    name and birth date and no citizen number: whose identifier it was is not known any more."""
    found = {former[key.index] for key in candidate.keys if key.index in former}
    if len(found) != 1 or candidate.citizen_hmac is not None:
        return None
    [pid] = found
    said, known = candidate.push.name, facts[pid]
    alike = None not in (said, candidate.birth_date) and candidate.birth_date == known.birth_date
    return pid if alike and _folded(said) == _folded(known.name) else None


def _oddities(known: Facts, candidate: Candidate) -> list[str]:
    found = []
    if _differ(_folded(known.name), _folded(candidate.push.name)):
        found.append("name_differs")
    stated = candidate.push.sex
    if known.sex in {"male", "female"} and stated in {"male", "female"} and known.sex != stated:
        found.append("sex_differs")
    if _differ(known.death_date, candidate.push.death_date):
        found.append("death_date_differs")
    return [code for code in found if code not in candidate.warnings]


def _folded(name: str | None) -> str | None:
    return None if name is None else "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _differ(known: object, said: object) -> bool:
    return known is not None and said is not None and known != said
