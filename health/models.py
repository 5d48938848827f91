"""The tables of the `health` schema, as its migrations make them, and what is asked of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Double,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
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
    redacted: str | None = Field(default=None, sa_type=Text)


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


class Deleted(Base, table=True):
    """A resource that was deleted: the version of the deletion, and whose it was. None of it is in `resource`."""

    __tablename__ = "deleted"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    type: str = Field(sa_type=Text)
    id: str = Field(sa_type=Text)
    version: int
    ts: datetime = Field(sa_type=_TIMESTAMP)
    pt: int = Field(sa_type=BigInteger)
    organisation: str | None = Field(default=None, sa_type=Text)
    client: str = Field(sa_type=Text)
    special: bool


class Tok(Base, table=True):
    """A form in which a token of a resource can be asked for."""

    __tablename__ = "tok"
    hash: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Ref(Base, table=True):
    """A reference of a resource by a search parameter, and the stored resource that it leads to."""

    __tablename__ = "ref"
    hash: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)
    key: int = Field(sa_type=BigInteger)
    target: int | None = Field(default=None, sa_type=BigInteger)


class Dat(Base, table=True):
    """An interval of a resource by a search parameter."""

    __tablename__ = "dat"
    key: int = Field(primary_key=True, sa_type=BigInteger)
    lo: int = Field(primary_key=True, sa_type=BigInteger)
    hi: int = Field(primary_key=True, sa_type=BigInteger)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


STR = Table(
    "str",
    Base.metadata,
    Column("key", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("exact", Text),
    Column("pk", BigInteger, nullable=False),
    Column("pt", BigInteger, nullable=False),
)
"""The texts of resources by search parameter: folded, and as written where that differs. Without a key."""


class Num(Base, table=True):
    """A number, or a range of them, of a resource by a search parameter."""

    __tablename__ = "num"
    key: int = Field(primary_key=True, sa_type=BigInteger)
    lo: Decimal = Field(primary_key=True, sa_type=Numeric)
    hi: Decimal = Field(primary_key=True, sa_type=Numeric)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Qty(Base, table=True):
    """A form in which an amount of a resource can be asked for: in any unit, a certain one, or base units."""

    __tablename__ = "qty"
    key: int = Field(primary_key=True, sa_type=BigInteger)
    lo: Decimal = Field(primary_key=True, sa_type=Numeric)
    hi: Decimal = Field(primary_key=True, sa_type=Numeric)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Uri(Base, table=True):
    """A URI of a resource by a search parameter."""

    __tablename__ = "uri"
    key: int = Field(primary_key=True, sa_type=BigInteger)
    value: str = Field(primary_key=True, sa_type=Text)
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(primary_key=True, sa_type=BigInteger)


class Pos(Base, table=True):
    """Where a Location is, in degrees of WGS 84."""

    __tablename__ = "pos"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    pt: int = Field(sa_type=BigInteger)
    latitude: float = Field(sa_type=Double)
    longitude: float = Field(sa_type=Double)


class SearchParameter(Base, table=True):
    """A search parameter that a SearchParameter resource makes, for one type."""

    __tablename__ = "search_parameter"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    type: str = Field(primary_key=True, sa_type=Text)
    code: str = Field(sa_type=Text)
    definition: dict[str, Any] = Field(sa_type=JSONB)
    version: int = Field(sa_type=BigInteger)
    job: UUID
    ready: bool = Field(default=False)


class Reindexing(Base, table=True):
    """How far a job is that indexes anew."""

    __tablename__ = "reindexing"
    job: UUID = Field(primary_key=True)
    after: int = Field(sa_type=BigInteger)


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


class Bulk(Base, table=True):
    """An export or import that a client asked for, and how far it is."""

    __tablename__ = "bulk"
    id: UUID = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    client: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    who: dict[str, Any] = Field(sa_type=JSONB)
    asked: dict[str, Any] = Field(sa_type=JSONB)
    job: UUID
    asked_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs={"server_default": func.now()})
    as_of: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    rank: int = Field(sa_type=SmallInteger)
    line: int = Field(sa_type=BigInteger)
    ready_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    expires_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class BulkFile(Base, table=True):
    """A file of an export or import; an upload belongs to none until an import names it."""

    __tablename__ = "bulk_file"
    id: UUID = Field(primary_key=True)
    bulk: UUID | None = None
    role: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    client: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    lines: int = Field(sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)
    crc: int = Field(sa_type=BigInteger)
    sha256: bytes | None = Field(default=None, sa_type=LargeBinary)
    expires_at: datetime = Field(sa_type=_TIMESTAMP)


class BulkPart(Base, table=True):
    """Some whole lines of a file, compressed (RFC 1951)."""

    __tablename__ = "bulk_part"
    file: UUID = Field(primary_key=True)
    n: int = Field(primary_key=True)
    first: int = Field(sa_type=BigInteger)
    lines: int
    body: bytes = Field(sa_type=LargeBinary)


class BulkProblem(Base, table=True):
    """A line of an import that was refused, with the OperationOutcome that says why."""

    __tablename__ = "bulk_problem"
    bulk: UUID = Field(primary_key=True)
    line: int = Field(primary_key=True, sa_type=BigInteger)
    outcome: str = Field(sa_type=Text)


class BulkStaged(Base, table=True):
    """A part of an import whose lines were checked. Not logged."""

    __tablename__ = "bulk_staged"
    bulk: UUID
    file: UUID = Field(primary_key=True)
    n: int = Field(primary_key=True)


class BulkLine(Base, table=True):
    """A checked line of an import on its way into the store. Not logged."""

    __tablename__ = "bulk_line"
    bulk: UUID = Field(primary_key=True)
    rank: int = Field(primary_key=True, sa_type=SmallInteger)
    line: int = Field(primary_key=True, sa_type=BigInteger)
    type: str = Field(sa_type=Text)
    local: str = Field(sa_type=Text)
    refs: list[str] = Field(sa_type=ARRAY(Text))
    entry: str = Field(sa_type=Text)
    pk: int = Field(sa_type=BigInteger)


class CodeSystem(Base, table=True):
    """A code system whose concepts are loaded: FHIR's own, a list, or what a CodeSystem resource holds."""

    __tablename__ = "code_system"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    url: str = Field(sa_type=Text)
    version: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    language: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    properties: dict[str, str] = Field(sa_type=JSONB)
    receipt: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    resource: int | None = Field(default=None, sa_type=BigInteger)
    resource_version: int | None = None
    loaded_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs={"server_default": func.now()})


class Concept(Base, table=True):
    """A concept of a code system, with all that is above it."""

    __tablename__ = "concept"
    system: int = Field(primary_key=True, sa_type=BigInteger)
    n: int
    code: str = Field(primary_key=True, sa_type=Text)
    display: str | None = Field(default=None, sa_type=Text)
    parents: list[str] = Field(sa_type=ARRAY(Text))
    ancestors: list[str] = Field(sa_type=ARRAY(Text))
    designations: list[dict[str, Any]] = Field(sa_type=JSONB)
    properties: dict[str, list[Any]] = Field(sa_type=JSONB)
    inactive: bool
    abstract: bool
    words: str = Field(sa_type=Text)


class ValueSet(Base, table=True):
    """A value set of FHIR's own."""

    __tablename__ = "value_set"
    url: str = Field(primary_key=True, sa_type=Text)
    version: str = Field(primary_key=True, sa_type=Text)
    title: str = Field(sa_type=Text)
    body: dict[str, Any] = Field(sa_type=JSONB)


Comparison = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
Span = Literal["dat", "num", "qty"]
"""The tables whose rows are intervals."""


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
class Bounds:
    """What is asked of an interval, and under which key.

    A date is `[lo, hi)` at the precision it was written in. A number's `[lo, hi)` is what rounds to it as it
    was written; where order is compared its precision says nothing, and both are the number.

    Attributes:
        end: the row's one end alone is compared; both where None.
        also: what must hold of the same row besides.
    """

    key: int
    comparison: Comparison
    lo: int | Decimal
    hi: int | Decimal
    end: Literal["lo", "hi"] | None = None
    also: "Bounds | None" = None


@dataclass(frozen=True, slots=True)
class Between:
    """One of its intervals in this table is as one of these asks."""

    table: Span
    any_of: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """It was last changed when one of these says."""

    any_of: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """What is asked of a text or URI: `starts` and `contains` compare folded texts, `exact` as written."""

    key: int
    match: Literal["starts", "contains", "exact"]
    value: str


@dataclass(frozen=True, slots=True)
class Texts:
    """One of its texts or URIs is as one of these asks."""

    table: Literal["str", "uri"]
    any_of: tuple[Wording, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """It is within so many kilometres of one of these places: latitude, longitude, distance."""

    places: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Present:
    """It has a row under one of these keys: table and key."""

    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Not:
    clause: "Clause"


@dataclass(frozen=True, slots=True)
class AnyOf:
    clauses: tuple["Clause", ...]


@dataclass(frozen=True, slots=True)
class Chained:
    """A reference of its under one of these keys leads to a resource that is as `to` asks."""

    keys: tuple[int, ...]
    to: "Criteria"


@dataclass(frozen=True, slots=True)
class Pointed:
    """A resource that is as `by` asks refers to it under one of these keys."""

    keys: tuple[int, ...]
    by: "Criteria"


@dataclass(frozen=True, slots=True)
class Coded:
    """A token of it is in a value set, or stands at, above or below a code. Terminology says which codes that
    are before a statement is made of it.

    Attributes:
        asked: URL of the value set; system and code.
        names: type and parameter, as the token index has them.
    """

    relation: Literal["in", "above", "below"]
    asked: tuple[str, ...]
    names: tuple[tuple[str, str], ...]


Clause = (
    Ids
    | Tokens
    | References
    | Between
    | Updated
    | Texts
    | Near
    | Present
    | Not
    | AnyOf
    | Chained
    | Pointed
    | Coded
)


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search: resources of one of the types for which every clause holds."""

    types: tuple[str, ...]
    clauses: tuple[Clause, ...] = ()

    @property
    def type(self) -> str:
        """The type, where one alone is searched."""
        [found] = self.types
        return found


@dataclass(frozen=True, slots=True)
class Order:
    """What a search is sorted by.

    Attributes:
        of: `ts` and `id` of the resource, an element of its body, or an index table.
        keys: under which the rows of the table stand.
        path: SQL/JSON path of the element.
    """

    of: Literal["ts", "id", "body", "dat", "str", "num", "qty", "uri"]
    keys: tuple[int, ...] = ()
    path: str = ""
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """Which resources a token's scopes are for, whoever they are about.

    Attributes:
        everything: no scope limits it.
        types: all resources of these types.
        narrowed: of a type those that have, of each group of keys of the token index, one.
    """

    everything: bool = False
    types: frozenset[str] = frozenset()
    narrowed: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = ()

    def names(self, type: str) -> bool:
        """Whether any resource of the type can be among them."""
        return self.everything or type in self.types or any(type == kind for kind, _ in self.narrowed)

    def includes(self, type: str, tokens: Iterable[int]) -> bool:
        """Whether a resource with these keys of the token index is among them."""
        if self.everything or type in self.types:
            return True
        has = set(tokens)
        return any(
            type == kind and all(not has.isdisjoint(hashes) for hashes in clauses)
            for kind, clauses in self.narrowed
        )


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
        granted: which of all that the token's scopes are for.
    """

    everybody: bool = False
    sector_ids: tuple[str, ...] = ()
    client: str = ""
    organisation: str | None = None
    actor: str = ""
    relations: frozenset[str] = frozenset()
    special: frozenset[str] = frozenset()
    consented: tuple[str, ...] = ()
    granted: Granted = Granted(everything=True)


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
class Index:
    """What a resource is found by, as rows of the index tables without its pk and pt.

    Attributes:
        references: hash, key, and pk of the stored resource that it leads to.
        dates: key and both ends.
        strings: key, folded text, and the text as written where that differs.
        numbers, quantities: key and both ends, as decimals are written.
        uris: key and URI.
        position: latitude and longitude.
    """

    tokens: list[int]
    references: list[tuple[int, int, int | None]]
    dates: list[list[int]]
    strings: list[list[Any]]
    numbers: list[list[Any]]
    quantities: list[list[Any]]
    uris: list[list[Any]]
    position: list[float] | None


@dataclass(slots=True)
class Version:
    """A version of a resource to be kept, with its index rows.

    Attributes:
        previous: the link of the version before, in the resource's hash chain.
        again: the version before was a deletion.
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
    method: str
    index: Index
    special: bool = False
    redacted: str | None = None
    previous: bytes | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """The version of a resource that says that it was deleted.

    Attributes:
        previous: as of a Version.
    """

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    organisation: str | None
    client: str
    body: str
    previous: bytes

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"


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
