"""The tables of the `audit` schema, as its migrations make them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Double,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="audit")


_TIMESTAMP: Any = DateTime(timezone=True)
_ZERO: Any = {"server_default": text("0")}


class Source(Base, table=True):
    """A service's leaf table, and how far it is in the tree."""

    __tablename__ = "source"
    name: str = Field(primary_key=True, sa_type=Text)
    system: int = Field(sa_type=BigInteger)
    done: str = Field(sa_type=Text)
    target: str | None = Field(default=None, sa_type=Text)
    xid: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_ZERO)
    seq: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=_ZERO)


class TreeLeaf(Base, table=True):
    """Where an access leaf stands in the tree, with its hash as it came in."""

    __tablename__ = "tree_leaf"
    __table_args__ = (UniqueConstraint("source", "source_seq"),)
    index: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    source: str = Field(sa_type=Text)
    source_seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=_TIMESTAMP)
    sequenced_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs={"server_default": func.now()})


class TileRow(Base, table=True):
    """Roots of complete subtrees, 256 together (services/audit/tree.py)."""

    __tablename__ = "tile"
    level: int = Field(primary_key=True, sa_type=SmallInteger, sa_column_kwargs={"autoincrement": False})
    number: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    hashes: bytes = Field(sa_type=LargeBinary)


class Head(Base, table=True):
    """The tree's size and root at a time, signed."""

    __tablename__ = "head"
    size: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    root: bytes = Field(sa_type=LargeBinary)
    at: datetime = Field(sa_type=_TIMESTAMP)
    jws: str = Field(sa_type=Text)


class Outcome(Base, table=True):
    """What became of a backup, a drill, a restore, a promotion."""

    __tablename__ = "outcome"
    id: UUID = Field(primary_key=True)
    at: datetime = Field(sa_type=_TIMESTAMP)
    kind: str = Field(sa_type=Text)
    ok: bool
    seconds: float | None = Field(default=None, sa_type=Double)
    rpo_s: float | None = Field(default=None, sa_type=Double)
    rto_s: float | None = Field(default=None, sa_type=Double)
    bytes: int | None = Field(default=None, sa_type=BigInteger)
    detail: str = Field(sa_type=Text)
