"""The tables of the `exchange` schema, as its migrations make them."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, LargeBinary, MetaData, Text, false, func, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="exchange")


_TIMESTAMP: Any = DateTime(timezone=True)
_TEXTS: Any = ARRAY(Text)
_NOW: Any = {"server_default": func.now()}
_CLOCK: Any = {"server_default": func.clock_timestamp()}


class Dataset(Base, table=True):
    """An entry of the catalogue: what a service said it offers, as last heard."""

    __tablename__ = "dataset"
    id: str = Field(primary_key=True, sa_type=Text)
    provider: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    description: dict[str, Any] = Field(sa_type=JSONB)
    first_seen: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    changed_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    seen_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    withdrawn_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    number: int
    fresh_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class Department(Base, table=True):
    """The organisation that answers for a service's data and agreements."""

    __tablename__ = "department"
    service: str = Field(primary_key=True, sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    name_zh: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)


class Agreement(Base, table=True):
    """Which items of a dataset one service may read, what for, on what ground, and for how long."""

    __tablename__ = "agreement"
    id: str = Field(primary_key=True, sa_type=Text)
    dataset: str = Field(sa_type=Text)
    provider: str = Field(sa_type=Text)
    consumer: str = Field(sa_type=Text)
    items: list[str] = Field(sa_type=_TEXTS)
    filter: list[dict[str, Any]] = Field(sa_type=JSONB)
    purpose: str = Field(sa_type=Text)
    details: str = Field(sa_type=Text)
    legal_basis: str = Field(sa_type=Text)
    valid_from: datetime = Field(sa_type=_TIMESTAMP)
    valid_until: datetime = Field(sa_type=_TIMESTAMP)
    needs_consent: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    reads_per_day: int
    rows_per_day: int = Field(sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    due_at: datetime = Field(sa_type=_TIMESTAMP)
    due_by_weekdays: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    overdue_told_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    requested_by: str = Field(sa_type=Text)
    decided_by: str | None = Field(default=None, sa_type=Text)


class Consent(Base, table=True):
    """What a person lets one organisation do for one purpose; it only ends, and is never changed."""

    __tablename__ = "consent"
    id: UUID = Field(primary_key=True)
    subject: str = Field(sa_type=Text)
    given_by: str = Field(sa_type=Text)
    organisation: str = Field(sa_type=Text)
    purpose: str = Field(sa_type=Text)
    actions: list[str] = Field(sa_type=_TEXTS)
    datasets: list[str] = Field(sa_type=_TEXTS)
    language: str = Field(sa_type=Text)
    given_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)
    valid_from: datetime = Field(sa_type=_TIMESTAMP)
    valid_until: datetime = Field(sa_type=_TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    revoked_by: str | None = Field(default=None, sa_type=Text)


class UsageReport(Base, table=True):
    """What a person says about a usage of their data, and what became of it."""

    __tablename__ = "usage_report"
    id: UUID = Field(primary_key=True)
    subject: str = Field(sa_type=Text)
    reported_by: str = Field(sa_type=Text)
    leaf_index: int = Field(sa_type=BigInteger)
    usage: dict[str, Any] = Field(sa_type=JSONB)
    organisation: str | None = Field(default=None, sa_type=Text)
    words: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "open"})
    opened_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)
    due_at: datetime = Field(sa_type=_TIMESTAMP)
    due_by_weekdays: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    overdue_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    answer: str | None = Field(default=None, sa_type=Text)
    answered_by: str | None = Field(default=None, sa_type=Text)
    answered_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    closed_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class HidingRight(Base, table=True):
    """By which law an organisation keeps usages out of people's lists, until when, who decided it."""

    __tablename__ = "hiding_right"
    id: UUID = Field(primary_key=True)
    organisation: str = Field(sa_type=Text)
    legal_basis: str = Field(sa_type=Text)
    valid_from: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)
    valid_until: datetime = Field(sa_type=_TIMESTAMP)
    decided_by: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)


class AgreementStep(Base, table=True):
    """One change of an agreement's state."""

    __tablename__ = "agreement_step"
    agreement_id: str = Field(primary_key=True, sa_type=Text, foreign_key="agreement.id")
    at: datetime = Field(primary_key=True, sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    state: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    decided_by: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)


class AgreementUse(Base, table=True):
    """What was read under an agreement on one day."""

    __tablename__ = "agreement_use"
    agreement_id: str = Field(primary_key=True, sa_type=Text, foreign_key="agreement.id")
    day: date = Field(primary_key=True)
    reads: int
    rows: int = Field(sa_type=BigInteger)


class Subscription(Base, table=True):
    """Changes of a dataset pushed to a consumer, and where they go on."""

    __tablename__ = "subscription"
    id: UUID = Field(primary_key=True)
    agreement_id: str = Field(sa_type=Text, foreign_key="agreement.id")
    state: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "active"})
    place: str | None = Field(default=None, sa_type=Text)
    batches: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    rows: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    pushed_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    even_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    next_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)
    reason: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)


class OpenRelease(Base, table=True):
    """A version of an open dataset; what was published never changes."""

    __tablename__ = "open_release"
    product: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    state: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "queued"})
    job_id: UUID
    requested_by: str = Field(sa_type=Text)
    requested_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    ended_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    reason: str | None = Field(default=None, sa_type=Text)
    records: int | None = Field(default=None, sa_type=BigInteger)
    cells: int | None = None
    suppressed: int | None = None
    k: int | None = None
    csv: bytes | None = Field(default=None, sa_type=LargeBinary)
    parquet: bytes | None = Field(default=None, sa_type=LargeBinary)


class ExportApplication(Base, table=True):
    """An organisation's request for rows under pseudonyms, and what became of it."""

    __tablename__ = "export_application"
    id: UUID = Field(primary_key=True)
    client_id: str = Field(sa_type=Text)
    organisation: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    details: str = Field(sa_type=Text)
    dataset: str = Field(sa_type=Text)
    items: list[Any] = Field(sa_type=JSONB)
    k: int
    legal_basis: str = Field(sa_type=Text)
    ethics: str | None = Field(default=None, sa_type=Text)
    encryption_jwk: dict[str, Any] = Field(sa_type=JSONB)
    valid_until: date
    state: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "requested"})
    requested_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_CLOCK)
    due_at: datetime = Field(sa_type=_TIMESTAMP)
    due_by_weekdays: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    overdue_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    decided_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    decided_by: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    job_id: UUID | None = None


class ExportFile(Base, table=True):
    """The sealed file of an export; the key of its pseudonyms was never kept."""

    __tablename__ = "export_file"
    application_id: UUID = Field(primary_key=True, foreign_key="export_application.id")
    made_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    records: int = Field(sa_type=BigInteger)
    left_out: int = Field(sa_type=BigInteger)
    people: int = Field(sa_type=BigInteger)
    k: int
    sealed: bytes = Field(sa_type=LargeBinary)
