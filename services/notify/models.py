"""The tables of the `notify` schema, as its migrations make them."""

from datetime import date, datetime, time
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    ForeignKeyConstraint,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="notify")


_TIME: Any = DateTime(timezone=True)
_BIG: Any = BigInteger()


class Message(Base, table=True):
    """What a topic's subscribers are told, once each."""

    __table_args__ = (UniqueConstraint("event_id", "topic", "recipient", postgresql_nulls_not_distinct=True),)
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


_TEXTS: Any = ARRAY(Text)


class Destination(Base, table=True):
    """Where a recipient is told; `target` is sealed."""

    id: UUID = Field(primary_key=True)
    owner: str = Field(sa_type=Text)
    organisation: str | None = Field(default=None, sa_type=Text)
    holder: dict[str, Any] = Field(sa_type=JSONB)
    channel: str = Field(sa_type=Text)
    place: str = Field(sa_type=Text)
    target: str = Field(sa_type=Text)
    target_hash: bytes
    topic: str | None = Field(default=None, sa_type=Text)
    types: list[str] = Field(default=[], sa_type=_TEXTS)
    area: str | None = Field(default=None, sa_type=Text)
    language: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    code_until: datetime | None = Field(default=None, sa_type=_TIME)
    code_tries: int = 0
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    failing_since: datetime | None = Field(default=None, sa_type=_TIME)
    rest_until: datetime | None = Field(default=None, sa_type=_TIME)


class Told(Base, table=True):
    """What is told: one row however many are told it."""

    id: UUID = Field(primary_key=True)
    fact: str = Field(sa_type=Text)
    event: dict[str, Any] = Field(sa_type=JSONB)
    words: dict[str, Any] = Field(sa_type=JSONB)
    urgent: bool
    raised_at: datetime = Field(sa_type=_TIME)


class Delivery(Base, table=True):
    """One thing told at one destination, and when."""

    id: int = Field(sa_type=_BIG, primary_key=True)
    destination: UUID
    told: UUID
    owner: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    state: str = Field(default="waiting", sa_type=Text)
    attempts: int = 0
    next_at: datetime | None = Field(default=None, sa_type=_TIME)
    timed_at: datetime = Field(sa_type=_TIME, sa_column_kwargs={"server_default": func.now()})
    raised_at: datetime = Field(sa_type=_TIME)
    sent_at: datetime | None = Field(default=None, sa_type=_TIME)
    delivered_at: datetime | None = Field(default=None, sa_type=_TIME)
    acknowledged_at: datetime | None = Field(default=None, sa_type=_TIME)
    reason: str | None = Field(default=None, sa_type=Text)


_SMALL: Any = SmallInteger()
_SMALLS: Any = ARRAY(SmallInteger)


def _member(column: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["roster", column], ["notify.roster_member.roster", "notify.roster_member.recipient"]
    )


class Roster(Base, table=True):
    """Who is on duty for an area and its sites, from a level on."""

    id: UUID = Field(primary_key=True)
    organisation: str = Field(sa_type=Text)
    name_zh: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    area_prefix: str = Field(sa_type=Text)
    sites: list[str] | None = Field(default=None, sa_type=_TEXTS)
    from_level: int = Field(sa_type=_SMALL)
    kept_by: str = Field(sa_type=Text)
    kept_at: datetime = Field(sa_type=_TIME)
    closed_at: datetime | None = Field(default=None, sa_type=_TIME)


class RosterMember(Base, table=True):
    """Somebody who has joined a roster, and who of its leads has confirmed it."""

    __tablename__ = "roster_member"
    roster: UUID = Field(primary_key=True, foreign_key="notify.roster.id")
    recipient: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text)
    joined_at: datetime = Field(sa_type=_TIME)
    confirmed_by: str | None = Field(default=None, sa_type=Text)
    confirmed_at: datetime | None = Field(default=None, sa_type=_TIME)


class Duty(Base, table=True):
    """Weekly hours of one member in one tier."""

    __table_args__ = (_member("recipient"),)
    roster: UUID = Field(primary_key=True)
    place: int = Field(sa_type=_SMALL, primary_key=True, sa_column_kwargs={"autoincrement": False})
    recipient: str = Field(sa_type=Text)
    tier: int = Field(sa_type=_SMALL)
    weekdays: list[int] = Field(sa_type=_SMALLS)
    starts: time
    ends: time
    first_day: date
    last_day: date | None = None


class DutySwap(Base, table=True):
    """A day on which somebody else has a member's duty."""

    __tablename__ = "duty_swap"
    __table_args__ = (
        UniqueConstraint("roster", "day", "recipient"),
        _member("recipient"),
        _member("substitute"),
    )
    id: UUID = Field(primary_key=True)
    roster: UUID
    day: date
    recipient: str = Field(sa_type=Text)
    substitute: str = Field(sa_type=Text)
    asked_by: str = Field(sa_type=Text)
    asked_at: datetime = Field(sa_type=_TIME)
    accepted_at: datetime | None = Field(default=None, sa_type=_TIME)


class Notification(Base, table=True):
    """One person told of one event."""

    __table_args__ = (UniqueConstraint("event_id", "recipient"),)
    id: UUID = Field(primary_key=True)
    recipient: str = Field(sa_type=Text)
    event_id: UUID
    fact: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    tier: int | None = Field(default=None, sa_type=_SMALL)
    level: int | None = Field(default=None, sa_type=_SMALL)
    area: str | None = Field(default=None, sa_type=Text)
    urgent: bool
    words: dict[str, Any] = Field(sa_type=JSONB)
    acknowledge: str | None = Field(default=None, sa_type=Text)
    raised_at: datetime = Field(sa_type=_TIME)
    sent_at: datetime = Field(sa_type=_TIME)
    delivered_at: datetime | None = Field(default=None, sa_type=_TIME)
    read_at: datetime | None = Field(default=None, sa_type=_TIME)


class QuietHours(Base, table=True):
    """When a person is told only what is urgent, by their own clock."""

    __tablename__ = "quiet_hours"
    recipient: str = Field(sa_type=Text, primary_key=True)
    starts: time
    ends: time
    time_zone: str = Field(sa_type=Text)


class Escalation(Base, table=True):
    """A fact that somebody has to acknowledge, and how far up the ladder it is."""

    fact: str = Field(sa_type=Text, primary_key=True)
    thing: str = Field(sa_type=Text)
    event: dict[str, Any] = Field(sa_type=JSONB)
    area: str | None = Field(default=None, sa_type=Text)
    site: str | None = Field(default=None, sa_type=Text)
    level: int = Field(sa_type=_SMALL)
    since: datetime = Field(sa_type=_TIME)
    step: int = Field(sa_type=_SMALL)
    told: int
    planned_at: datetime = Field(sa_type=_TIME)
    next_at: datetime | None = Field(default=None, sa_type=_TIME)
    unattended_at: datetime | None = Field(default=None, sa_type=_TIME)
    acknowledged_at: datetime | None = Field(default=None, sa_type=_TIME)
    over_at: datetime | None = Field(default=None, sa_type=_TIME)
