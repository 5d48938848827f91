"""The tables of the `identity` and `vault` schemas, as the migrations make them."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Double,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="identity")


_TIMESTAMP: Any = DateTime(timezone=True)
_TEXTS: Any = ARRAY(Text)
_NOW: Any = {"server_default": func.now()}
_NONE: Any = {"server_default": text("'{}'")}
_VAULT: Any = {"schema": "vault"}
"""Under the role `huimin_vault`: what ties a person to numbers and to sector ids."""


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
    phone_hmac: bytes | None = Field(default=None, sa_type=LargeBinary)
    root: UUID | None = Field(default=None, foreign_key="person.pid")
    keyed: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": text("0")})
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class RegisteredIdentifier(Base, table=True):
    """A number that names a person everywhere, encrypted, found by its blind index."""

    __tablename__ = "identifier"
    __table_args__ = _VAULT
    scheme: str = Field(primary_key=True, sa_type=Text)
    value_hmac: bytes = Field(primary_key=True, sa_type=LargeBinary)
    value_enc: bytes = Field(sa_type=LargeBinary)
    pid: UUID = Field(foreign_key="person.pid")
    source: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class Link(Base, table=True):
    """A sender's own identifier of a person: one source record, at most one person."""

    __tablename__ = "link"
    __table_args__ = _VAULT
    source_system: str = Field(primary_key=True, sa_type=Text)
    local_hmac: bytes = Field(primary_key=True, sa_type=LargeBinary)
    scope: str = Field(primary_key=True, sa_type=Text)
    local_enc: bytes = Field(sa_type=LargeBinary)
    pid: UUID = Field(foreign_key="person.pid")
    source: str = Field(sa_type=Text)
    decided_by: str = Field(
        default="exact", sa_type=Text, sa_column_kwargs={"server_default": text("'exact'")}
    )
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class SectorKey(Base, table=True):
    __tablename__ = "sector_key"
    __table_args__ = _VAULT
    sector: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    wrapped_key: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    state: str = Field(default="current", sa_type=Text)
    understood_until: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    prepared_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    overlap_days: int = 30


class SectorId(Base, table=True):
    __tablename__ = "sector_id"
    __table_args__ = _VAULT
    id: str = Field(primary_key=True, sa_type=Text)
    sector: str = Field(sa_type=Text)
    version: int
    pid: UUID = Field(foreign_key="person.pid")


class BlockKey(Base, table=True):
    """Where records that may be one person meet."""

    __tablename__ = "block_key"
    key: bytes = Field(primary_key=True, sa_type=LargeBinary)
    numbered: bool = Field(primary_key=True)
    pid: UUID = Field(primary_key=True, foreign_key="person.pid")


class MatchReview(Base, table=True):
    """A pair that may be one person, and what was decided about it."""

    __tablename__ = "match_review"
    id: UUID = Field(primary_key=True)
    pid: UUID = Field(foreign_key="person.pid")
    other: UUID = Field(foreign_key="person.pid")
    why: str = Field(sa_type=Text)
    model: str = Field(sa_type=Text)
    weight: float = Field(sa_type=Double)
    evidence: dict[str, Any] = Field(sa_type=JSONB)
    state: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    decided_by: str | None = Field(default=None, sa_type=Text)
    decided_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    reason: str | None = Field(default=None, sa_type=Text)
    proposed_by: str | None = Field(default=None, sa_type=Text)


class MatchDecision(Base, table=True):
    """Every decision about a pair, in its order. Never changed."""

    __tablename__ = "match_decision"
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    review: UUID
    pid: UUID
    other: UUID
    decision: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


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
    status: str = Field(default="active", sa_type=Text)
    representative: UUID | None = Field(default=None, foreign_key="person.pid")
    valid_from: date | None = None
    valid_to: date | None = None


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


class PlaceFormer(Base, table=True):
    """What an area was called before."""

    __tablename__ = "place_former"
    code: str = Field(primary_key=True, sa_type=Text, foreign_key="place.code")
    until: date = Field(primary_key=True)
    valid_from: date | None = None
    name: str = Field(sa_type=Text)
    name_en: str | None = Field(default=None, sa_type=Text)


class PlaceSuccessor(Base, table=True):
    """Into which areas a code went when it ended."""

    __tablename__ = "place_successor"
    code: str = Field(primary_key=True, sa_type=Text, foreign_key="place.code")
    successor: str = Field(primary_key=True, sa_type=Text, foreign_key="place.code")


class Household(Base, table=True):
    """户, under the registry's own number."""

    __tablename__ = "household"
    code: str = Field(primary_key=True, sa_type=Text)
    area: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    valid_from: date
    valid_to: date | None = None
    source: str = Field(sa_type=Text)
    updated_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class HouseholdMember(Base, table=True):
    """Who belongs to a household as what, from when until when; nobody to two on one day."""

    __tablename__ = "household_member"
    household: str = Field(primary_key=True, sa_type=Text, foreign_key="household.code")
    pid: UUID = Field(primary_key=True, foreign_key="person.pid")
    valid_from: date = Field(primary_key=True)
    relation: str = Field(sa_type=Text)
    valid_to: date | None = None
    source: str = Field(sa_type=Text)


class Birth(Base, table=True):
    """A birth as it was registered."""

    __tablename__ = "birth"
    pid: UUID = Field(primary_key=True, foreign_key="person.pid")
    registered_on: date
    area: str = Field(sa_type=Text)
    place: str | None = Field(default=None, sa_type=Text)
    mother: UUID | None = Field(default=None, foreign_key="person.pid")
    father: UUID | None = Field(default=None, foreign_key="person.pid")
    source: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    seq: int = Field(sa_type=BigInteger)


class Death(Base, table=True):
    """A death as it was registered."""

    __tablename__ = "death"
    pid: UUID = Field(primary_key=True, foreign_key="person.pid")
    died_on: date
    registered_on: date
    area: str = Field(sa_type=Text)
    place: str | None = Field(default=None, sa_type=Text)
    source: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    seq: int = Field(sa_type=BigInteger)


class Residence(Base, table=True):
    """Where somebody has lived since when; each entry holds until the next one."""

    __tablename__ = "residence"
    pid: UUID = Field(primary_key=True, foreign_key="person.pid")
    since: date = Field(primary_key=True)
    area: str | None = Field(default=None, sa_type=Text)
    source: str = Field(sa_type=Text)
    seq: int = Field(sa_type=BigInteger)


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
