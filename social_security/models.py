"""The tables of the `social_security` schema, as its migrations make them.

Contributions, payments, claims and claim lines are bitemporal: a corrected row is a new version, the old one
keeps the time it was superseded. Nothing here can stop, reduce or recover a benefit: what agencies paid is
kept as they sent it, and a finding has no state but being there or having vanished from the data.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, MetaData, Numeric, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="social_security")


_TIMESTAMP: Any = DateTime(timezone=True)
_MONEY: Any = Numeric(14, 2)
_QUANTITY: Any = Numeric(14, 4)
_TEXTS: Any = ARRAY(Text)


class Receipt(Base, table=True):
    """What was taken of one push."""

    __tablename__ = "receipt"
    id: UUID = Field(primary_key=True)
    organisation: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    digest: str = Field(sa_type=Text)
    sha256: str = Field(sa_type=Text)
    mode: str = Field(sa_type=Text)
    files: list[dict[str, Any]] = Field(sa_type=JSONB)
    refused: int
    received_at: datetime = Field(sa_type=_TIMESTAMP)


class Refusal(Base, table=True):
    """A row that was not taken, in a push taken without it; values masked, so nobody is named here."""

    __tablename__ = "refusal"
    receipt_id: UUID = Field(primary_key=True, foreign_key="receipt.id")
    kind: str = Field(primary_key=True, sa_type=Text)
    line: int = Field(primary_key=True)
    faults: list[dict[str, Any]] = Field(sa_type=JSONB)


class Version(Base):
    """What every version of a pushed row carries."""

    id: int = Field(primary_key=True, sa_type=BigInteger)
    organisation: str = Field(sa_type=Text)
    receipt_id: UUID = Field(foreign_key="receipt.id")
    recorded_at: datetime = Field(sa_type=_TIMESTAMP)
    superseded_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class Contribution(Version, table=True):
    __tablename__ = "contribution"
    person: str = Field(primary_key=True, sa_type=Text)
    contribution_id: str = Field(sa_type=Text)
    employer_uscc: str = Field(sa_type=Text)
    scheme: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    period: date
    base: Decimal = Field(sa_type=_MONEY)
    amount: Decimal = Field(sa_type=_MONEY)
    currency: str = Field(sa_type=Text)
    declared_on: date


class Payment(Version, table=True):
    """A benefit an agency says it paid."""

    __tablename__ = "payment"
    person: str = Field(primary_key=True, sa_type=Text)
    payment_id: str = Field(sa_type=Text)
    scheme: str = Field(sa_type=Text)
    benefit: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    period: date
    amount: Decimal = Field(sa_type=_MONEY)
    currency: str = Field(sa_type=Text)
    paid_on: date
    account_hash: str | None = Field(default=None, sa_type=Text)


class Claim(Version, table=True):
    __tablename__ = "claim"
    person: str = Field(primary_key=True, sa_type=Text)
    claim_id: str = Field(sa_type=Text)
    provider_uscc: str = Field(sa_type=Text)
    scheme: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    admitted_on: date | None = None
    discharged_on: date | None = None
    claimed_on: date
    diagnosis: str | None = Field(default=None, sa_type=Text)
    total: Decimal = Field(sa_type=_MONEY)
    currency: str = Field(sa_type=Text)


class ClaimLine(Version, table=True):
    """One service on a claim; whose it is, the claim says."""

    __tablename__ = "claim_line"
    claim_id: str = Field(sa_type=Text)
    line_no: int
    item_code: str = Field(sa_type=Text)
    item_name: str | None = Field(default=None, sa_type=Text)
    service_date: date
    quantity: Decimal = Field(sa_type=_QUANTITY)
    unit_price: Decimal = Field(sa_type=_MONEY)
    amount: Decimal = Field(sa_type=_MONEY)
    currency: str = Field(sa_type=Text)
    practitioner: str | None = Field(default=None, sa_type=Text)


class DataSnapshot(Base, table=True):
    """Parquet files that a run read: paths under the service's home, rows, sha256."""

    __tablename__ = "data_snapshot"
    id: UUID = Field(primary_key=True)
    as_of: datetime = Field(sa_type=_TIMESTAMP)
    files: list[dict[str, Any]] = Field(sa_type=JSONB)
    sha256: str = Field(sa_type=Text)
    removed_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class AuditRun(Base, table=True):
    """One benefit audit: over which snapshot, with which rules and engines, and what each rule came to."""

    __tablename__ = "audit_run"
    id: UUID = Field(primary_key=True)
    job_id: UUID
    requested_by: str = Field(sa_type=Text)
    requested_at: datetime = Field(sa_type=_TIMESTAMP)
    rules: list[str] = Field(sa_type=_TEXTS)
    ended: str | None = Field(default=None, sa_type=Text)
    snapshot_id: UUID | None = Field(default=None, foreign_key="data_snapshot.id")
    pack_sha256: str | None = Field(default=None, sa_type=Text)
    engines: dict[str, str] | None = Field(default=None, sa_type=JSONB)
    outcomes: list[dict[str, Any]] = Field(sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'")})


class ToldDeath(Base, table=True):
    """A death that the exchange told of under an agreement; one withdrawn is gone from here."""

    __tablename__ = "told_death"
    agreement: str = Field(primary_key=True, sa_type=Text)
    person: str = Field(primary_key=True, sa_type=Text)
    died_on: date


class Finding(Base, table=True):
    """What a rule found: keys of the rows that show it, never copies of them."""

    __tablename__ = "finding"
    finding_key: str = Field(primary_key=True, sa_type=Text)
    rule: str = Field(sa_type=Text)
    rule_version: str = Field(sa_type=Text)
    form: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    party_role: str = Field(sa_type=Text)
    result: str = Field(sa_type=Text)
    severity: str = Field(sa_type=Text)
    evidence: list[dict[str, Any]] = Field(sa_type=JSONB)
    observed: dict[str, Any] = Field(sa_type=JSONB)
    allowed_zh: str = Field(sa_type=Text)
    allowed_en: str = Field(sa_type=Text)
    explain_zh: str = Field(sa_type=Text)
    explain_en: str = Field(sa_type=Text)
    amount_at_risk: Decimal = Field(sa_type=_MONEY)
    currency: str = Field(sa_type=Text)
    areas: list[str] = Field(sa_type=_TEXTS)
    status: str = Field(sa_type=Text)
    first_run: UUID = Field(foreign_key="audit_run.id")
    last_run: UUID = Field(foreign_key="audit_run.id")
    first_seen_at: datetime = Field(sa_type=_TIMESTAMP)
    last_seen_at: datetime = Field(sa_type=_TIMESTAMP)
    vanished_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
