"""The tables of the `health` schema, as its migrations make them, and what is asked of them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, LargeBinary, MetaData, Text, func
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

NOBODY = 0
"""The patient compartment of what belongs to no patient."""


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="health")


_TIMESTAMP: Any = DateTime(timezone=True)


class Resource(Base, table=True):
    """The current version of a resource, its body as sent but for id, meta and rewritten references."""

    __tablename__ = "resource"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    type: str = Field(sa_type=Text)
    id: str = Field(sa_type=Text)
    version: int
    ts: datetime = Field(sa_type=_TIMESTAMP)
    pt: int = Field(sa_type=BigInteger)
    occurred: int = Field(sa_type=BigInteger)
    organisation: str | None = Field(default=None, sa_type=Text)
    client: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    special: bool = Field(default=False)


class History(Base, table=True):
    """Each version accepted: who, when, and its link in the resource's hash chain. Append-only."""

    __tablename__ = "history"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    version: int = Field(primary_key=True)
    ts: datetime = Field(sa_type=_TIMESTAMP)
    method: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    client: str = Field(sa_type=Text)
    link: bytes = Field(sa_type=LargeBinary)


class Superseded(Base, table=True):
    """The body of an earlier version. Append-only."""

    __tablename__ = "superseded"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    version: int = Field(primary_key=True)
    body: str = Field(sa_type=Text)


class Tok(Base, table=True):
    """A form in which a token of a resource can be asked for."""

    __tablename__ = "tok"
    hash: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Ref(Base, table=True):
    """A reference of a resource by a search parameter."""

    __tablename__ = "ref"
    hash: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Dat(Base, table=True):
    """An interval of a resource by a search parameter."""

    __tablename__ = "dat"
    key: int = Field(primary_key=True, sa_type=BigInteger)
    lo: int = Field(primary_key=True, sa_type=BigInteger)
    hi: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class PatientPerson(Base, table=True):
    """Which person, by the health sector's id, a Patient resource is about."""

    __tablename__ = "patient_person"
    pt: int = Field(primary_key=True, sa_type=BigInteger)
    sector_id: str | None = Field(default=None, sa_type=Text)
    outcome: str = Field(sa_type=Text)
    deceased: bool
    death_date: date | None = None
    updated_at: datetime = Field(sa_type=_TIMESTAMP)
    numbered: bool = Field(default=False)


class TreatmentClaim(Base, table=True):
    """That an organisation treats a person by its own records, and what the person says to it."""

    __tablename__ = "treatment_claim"
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    sector_id: str = Field(sa_type=Text)
    organisation: str = Field(sa_type=Text)
    claimed_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs={"server_default": func.now()})
    told_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    objected_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class MergedPerson(Base, table=True):
    """By which id a person goes whose entries in the population register were decided to be one."""

    __tablename__ = "merged_person"
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    sector_id: str = Field(sa_type=Text)
    now: str = Field(sa_type=Text)
    told: int = Field(sa_type=BigInteger)


class Care(Base, table=True):
    """That an organisation treats a patient, as a visit, an episode, a request or an appointment says."""

    __tablename__ = "care"
    organisation: str = Field(primary_key=True, sa_type=Text)
    pt: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    until: datetime = Field(sa_type=_TIMESTAMP)


class EmergencyAccess(Base, table=True):
    """A record opened in an emergency by somebody who had no right to it otherwise. Append-only."""

    __tablename__ = "emergency_access"
    id: UUID = Field(primary_key=True)
    pt: int = Field(sa_type=BigInteger)
    organisation: str = Field(sa_type=Text)
    client: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    begun_at: datetime = Field(sa_type=_TIMESTAMP)
    ends_at: datetime = Field(sa_type=_TIMESTAMP)


class AccessReview(Base, table=True):
    """The review of an emergency access by the privacy officer of the organisation it was made for."""

    __tablename__ = "access_review"
    id: UUID = Field(primary_key=True)
    organisation: str = Field(sa_type=Text)
    opened_at: datetime = Field(sa_type=_TIMESTAMP)
    due_at: datetime = Field(sa_type=_TIMESTAMP)
    overdue_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    state: str = Field(sa_type=Text)
    words: str | None = Field(default=None, sa_type=Text)
    decided_by: str | None = Field(default=None, sa_type=Text)
    decided_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


Comparison = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


@dataclass(frozen=True, slots=True)
class Ids:
    """The resource has one of these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One of its token rows has one of these keys."""

    hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class References:
    """One of its reference rows has one of these keys."""

    hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class When:
    """A date asked for: `[lo, hi)` at the precision it was written in, and how to compare with it."""

    comparison: Comparison
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Dates:
    """One of its intervals under this key compares as asked with one of these."""

    key: int
    any_of: tuple[When, ...]


Clause = Ids | Tokens | References | Dates


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search: resources of the type for which every clause holds."""

    type: str
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose records a caller may see; nobody's, unless one of these says otherwise.

    Attributes:
        everybody: every record there is.
        sector_ids: one person's alone, by all ids the sector has given out for that person.
        client, organisation: who asks, where records are reached through what ties them to the patient.
        actor: the person at the keyboard, for emergency accesses.
        relations: the ties that permit it: custodian, treatment, consent, break_glass.
        special: those of them that permit what is specially protected too.
        consented: sector ids of those whose consent covers it.
    """

    everybody: bool = False
    sector_ids: tuple[str, ...] = ()
    client: str = ""
    organisation: str | None = None
    actor: str = ""
    relations: frozenset[str] = frozenset()
    special: frozenset[str] = frozenset()
    consented: tuple[str, ...] = ()


EVERYBODY = Reach(everybody=True)


@dataclass(frozen=True, slots=True)
class Found:
    """A stored resource without its body."""

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    organisation: str | None
    client: str

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class Version:
    """A version of a resource to be kept, with its index rows.

    Attributes:
        previous: the link of the version before, in the resource's hash chain.
    """

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    occurred: int
    organisation: str | None
    client: str
    body: str
    method: Literal["POST", "PUT"]
    tokens: list[int]
    references: list[int]
    dates: list[tuple[int, int, int]]
    special: bool = False
    previous: bytes | None = None


@dataclass(frozen=True, slots=True)
class Treating:
    """Who treats a patient, as a resource says.

    Attributes:
        organisation: as `Organization/id`; None where it is the one that keeps the resource.
    """

    pk: int
    pt: int
    organisation: str | None
    keeper: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Which person a Patient is about, and whether that person has died.

    Attributes:
        numbered: the Patient states the person's citizen number.
    """

    pt: int
    sector_id: str | None
    outcome: str
    deceased: bool
    death_date: date | None
    numbered: bool = False
