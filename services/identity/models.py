"""The tables of the `identity` schema, as its migrations make them."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, LargeBinary, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="identity")


_TIMESTAMP: Any = DateTime(timezone=True)
_TEXTS: Any = ARRAY(Text)
_NOW: Any = {"server_default": func.now()}
_NONE: Any = {"server_default": text("'{}'")}


class Person(Base, table=True):
    """A person under the number only this service knows."""

    __tablename__ = "person"
    pid: UUID = Field(primary_key=True)
    name: str | None = Field(default=None, sa_type=Text)
    birth_date: date | None = None
    sex: str | None = Field(default=None, sa_type=Text)
    death_date: date | None = None
    area: str | None = Field(default=None, sa_type=Text)
    registered: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class RegisteredIdentifier(Base, table=True):
    """A number that names a person everywhere, encrypted, found by its blind index."""

    __tablename__ = "identifier"
    scheme: str = Field(primary_key=True, sa_type=Text)
    value_hmac: bytes = Field(primary_key=True, sa_type=LargeBinary)
    value_enc: bytes = Field(sa_type=LargeBinary)
    pid: UUID = Field(foreign_key="person.pid")
    source: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class Link(Base, table=True):
    """A sender's own identifier of a person: one source record, at most one person."""

    __tablename__ = "link"
    source_system: str = Field(primary_key=True, sa_type=Text)
    local_hmac: bytes = Field(primary_key=True, sa_type=LargeBinary)
    local_enc: bytes = Field(sa_type=LargeBinary)
    pid: UUID = Field(foreign_key="person.pid")
    source: str = Field(sa_type=Text)
    decided_by: str = Field(
        default="exact", sa_type=Text, sa_column_kwargs={"server_default": text("'exact'")}
    )
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class SectorKey(Base, table=True):
    __tablename__ = "sector_key"
    sector: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    wrapped_key: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class SectorId(Base, table=True):
    __tablename__ = "sector_id"
    id: str = Field(primary_key=True, sa_type=Text)
    sector: str = Field(sa_type=Text)
    version: int
    pid: UUID = Field(foreign_key="person.pid")


class Guardianship(Base, table=True):
    __tablename__ = "guardianship"
    guardian: UUID = Field(primary_key=True, foreign_key="person.pid")
    ward: UUID = Field(primary_key=True, foreign_key="person.pid")
    relation: str = Field(primary_key=True, sa_type=Text)
    valid_from: date = Field(primary_key=True)
    valid_to: date | None = None
    source: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class Organisation(Base, table=True):
    __tablename__ = "organisation"
    uscc: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    name_en: str | None = Field(default=None, sa_type=Text)
    kind: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    parent: str | None = Field(default=None, sa_type=Text, foreign_key="organisation.uscc")
    source: str = Field(sa_type=Text)
    updated_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class Place(Base, table=True):
    __tablename__ = "place"
    code: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    name_en: str | None = Field(default=None, sa_type=Text)
    parent: str | None = Field(default=None, sa_type=Text, foreign_key="place.code")
    level: str = Field(sa_type=Text)
    valid_from: date | None = None
    valid_to: date | None = None
    source: str = Field(sa_type=Text)
    updated_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class SigningKey(Base, table=True):
    __tablename__ = "signing_key"
    kid: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(sa_type=Text)
    public_jwk: dict[str, Any] = Field(sa_type=JSONB)
    private_enc: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    activated_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    retired_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class Client(Base, table=True):
    __tablename__ = "client"
    client_id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    area: str | None = Field(default=None, sa_type=Text)
    jwk: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    redirect_uris: list[str] = Field(sa_type=_TEXTS, sa_column_kwargs=_NONE)
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    revoked_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class UsedAssertion(Base, table=True):
    """Client assertions seen, until they would have expired anyway: each is good once."""

    __tablename__ = "used_assertion"
    client_id: str = Field(primary_key=True, sa_type=Text)
    jti: str = Field(primary_key=True, sa_type=Text)
    expires_at: datetime = Field(sa_type=_TIMESTAMP)


class Account(Base, table=True):
    __tablename__ = "account"
    id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    username: str | None = Field(default=None, sa_type=Text, unique=True)
    password_hash: str | None = Field(default=None, sa_type=Text)
    roles: list[str] = Field(sa_type=_TEXTS, sa_column_kwargs=_NONE)
    areas: list[str] = Field(sa_type=_TEXTS, sa_column_kwargs=_NONE)
    organisation: str | None = Field(default=None, sa_type=Text)
    pid: UUID | None = Field(default=None, foreign_key="person.pid")
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    disabled_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class ExternalIdentity(Base, table=True):
    __tablename__ = "external_identity"
    issuer: str = Field(primary_key=True, sa_type=Text)
    subject: str = Field(primary_key=True, sa_type=Text)
    account_id: str = Field(sa_type=Text, foreign_key="account.id")
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class SigninFailure(Base, table=True):
    __tablename__ = "signin_failure"
    key: bytes = Field(primary_key=True, sa_type=LargeBinary)
    failures: int
    last_at: datetime = Field(sa_type=_TIMESTAMP)
    locked_until: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class Session(Base, table=True):
    __tablename__ = "session"
    id: UUID = Field(primary_key=True)
    account_id: str = Field(sa_type=Text, foreign_key="account.id")
    client_id: str = Field(sa_type=Text)
    scope: str = Field(sa_type=Text)
    auth_time: datetime = Field(sa_type=_TIMESTAMP)
    expires_at: datetime = Field(sa_type=_TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class AuthorizationCode(Base, table=True):
    __tablename__ = "authorization_code"
    code_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    session_id: UUID = Field(foreign_key="session.id", ondelete="CASCADE")
    redirect_uri: str = Field(sa_type=Text)
    code_challenge: str = Field(sa_type=Text)
    nonce: str | None = Field(default=None, sa_type=Text)
    expires_at: datetime = Field(sa_type=_TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class RefreshToken(Base, table=True):
    __tablename__ = "refresh_token"
    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    session_id: UUID = Field(foreign_key="session.id", ondelete="CASCADE")
    expires_at: datetime = Field(sa_type=_TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)


class RevokedToken(Base, table=True):
    __tablename__ = "revoked_token"
    jti: str = Field(primary_key=True, sa_type=Text)
    expires_at: datetime = Field(sa_type=_TIMESTAMP)
