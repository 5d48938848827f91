"""The tables of the `exchange` schema, as its migrations make them."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ARRAY, DateTime, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="exchange")


_TIMESTAMP: Any = DateTime(timezone=True)
_TEXTS: Any = ARRAY(Text)
_NOW: Any = {"server_default": func.now()}


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


class Agreement(Base, table=True):
    """Which items of a dataset one service may read, what for, on what ground, and for how long."""

    __tablename__ = "agreement"
    id: str = Field(primary_key=True, sa_type=Text)
    dataset: str = Field(sa_type=Text)
    provider: str = Field(sa_type=Text)
    consumer: str = Field(sa_type=Text)
    items: list[str] = Field(sa_type=_TEXTS)
    purpose: str = Field(sa_type=Text)
    purpose_en: str = Field(sa_type=Text)
    legal_basis: str = Field(sa_type=Text)
    valid_from: datetime = Field(sa_type=_TIMESTAMP)
    valid_until: datetime = Field(sa_type=_TIMESTAMP)
    state: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class AgreementStep(Base, table=True):
    """One change of an agreement's state."""

    __tablename__ = "agreement_step"
    agreement_id: str = Field(primary_key=True, sa_type=Text, foreign_key="agreement.id")
    at: datetime = Field(primary_key=True, sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    state: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    decided_by: str = Field(sa_type=Text)
