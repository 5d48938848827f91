"""The tables of the `notify` schema, as its migrations make them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, MetaData, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="notify")


_TIME: Any = DateTime(timezone=True)
_BIG: Any = BigInteger()


class Message(Base, table=True):
    """What a topic's subscribers are told, once each."""

    __table_args__ = (UniqueConstraint("event_id", "topic"),)
    seq: int = Field(sa_type=_BIG, primary_key=True, sa_column_kwargs={"autoincrement": False})
    topic: str = Field(sa_type=Text)
    area: str | None = Field(default=None, sa_type=Text)
    time: datetime = Field(sa_type=_TIME)
    event_id: UUID
    data: dict[str, Any] = Field(sa_type=JSONB)
    recorded_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    recipient: str | None = Field(default=None, sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)


class MessageHead(Base, table=True):
    """The last number given."""

    __tablename__ = "message_head"
    only_row: bool = Field(default=True, primary_key=True, sa_column_kwargs={"server_default": text("true")})
    seq: int = Field(sa_type=_BIG)
