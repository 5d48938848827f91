"""The tables of the `health` schema, as its migrations make them, and what is asked of them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
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
    """A resource that was deleted: the version of the deletion, whose it was. None of it is in `resource`."""

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


class Subscription(Base, table=True):
    """Whom a Subscription resource has told of what, and how far that has come."""

    __tablename__ = "subscription"
    pk: int = Field(primary_key=True, sa_type=BigInteger)
    id: str = Field(sa_type=Text)
    version: int
    topic: str = Field(sa_type=Text)
    types: list[str] = Field(sa_type=ARRAY(Text))
    said: dict[str, Any] = Field(sa_type=JSONB)
    holder: dict[str, Any] = Field(sa_type=JSONB)
    destination: UUID
    state: str = Field(sa_type=Text)
    numbered: int = Field(default=0, sa_type=BigInteger)
    taken: int = Field(default=0, sa_type=BigInteger)
    attempts: int = Field(default=0)
    next_at: datetime = Field(sa_type=_TIMESTAMP)
    told_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    ends_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    error: str | None = Field(default=None, sa_type=Text)


class SubscriptionDue(Base, table=True):
    """What a push kept that no subscription has been held against yet."""

    __tablename__ = "subscription_due"
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_type=_TIMESTAMP)
    pks: list[int] = Field(sa_type=ARRAY(BigInteger))
    created: list[bool] = Field(sa_type=ARRAY(Boolean))


class SubscriptionEvent(Base, table=True):
    """One change that a subscription tells of."""

    __tablename__ = "subscription_event"
    subscription: int = Field(primary_key=True, foreign_key="subscription.pk", sa_type=BigInteger)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = Field(sa_type=_TIMESTAMP)
    pk: int = Field(sa_type=BigInteger)
    created: bool


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
