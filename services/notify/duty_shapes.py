"""Notifications and duty rosters as they go over the wire."""

from datetime import date, datetime, time
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

T = TypeVar("T")
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Given(BaseModel):
    """What is sent to us: nothing that is not understood."""

    model_config = ConfigDict(extra="forbid")


class ListOf(BaseModel, Generic[T]):
    """A page of a list by keyset cursor."""

    items: list[T]
    next: str | None


class Words(BaseModel):
    title: str
    body: str


class Notification(BaseModel):
    """One person told of one event.

    Attributes:
        fact: what it is about; several notifications may be.
        tier: of the ladder through which it came; null where somebody is told as who they are.
        acknowledge: what is to be acknowledged where the fact is kept, as `transport.warning/<id>`; null
            where nothing is.
        sent_at: when it was put before the person; `delivered_at` when it first reached a screen of theirs.
        acknowledged_at, over_at: of the fact, whoever took it in hand.
    """

    id: UUID
    fact: str
    type: str
    tier: int | None
    level: int | None
    area: str | None
    urgent: bool
    zh: Words
    en: Words
    acknowledge: str | None
    raised_at: datetime
    sent_at: datetime
    delivered_at: datetime | None
    read_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None


class QuietHours(Given):
    """By the clock of the time zone; they may go over midnight."""

    starts: time
    ends: time
    time_zone: str = "Asia/Shanghai"


class DutyIn(Given):
    """Weekly hours of one member. Times are those of Asia/Shanghai; an end before the beginning is on the
    next day, one that equals it a whole day later.

    Attributes:
        weekdays: 1 is Monday, 7 Sunday: the day on which the duty begins.
    """

    member: str
    tier: Annotated[int, Field(ge=1, le=9)] = 1
    weekdays: Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1, max_length=7)] = [
        *range(1, 8)
    ]
    starts: time = time(0)
    ends: time = time(0)
    first_day: date
    last_day: date | None = None


class RosterIn(Given):
    """A roster as its lead keeps it; the duties replace those there were.

    Attributes:
        area: GB/T 2260 code, or the beginning of one.
        sites: those it is for; null for every one of the area.
        from_level: of warnings, 1 (yellow) to 3 (red).
    """

    name_zh: Name
    name_en: Name
    area: str
    sites: Annotated[list[str], Field(min_length=1, max_length=200)] | None = None
    from_level: Annotated[int, Field(ge=1, le=3)] = 1
    duties: Annotated[list[DutyIn], Field(max_length=500)] = []


class Member(BaseModel):
    id: str
    name: str
    confirmed: bool
    joined_at: datetime


class Swap(BaseModel):
    """A day on which somebody else has a member's duty, once they have accepted."""

    id: UUID
    roster: UUID
    day: date
    member: str
    substitute: str
    accepted: bool


class Roster(BaseModel):
    """`members` are for its leads and its members alone, as are duties and swaps."""

    id: UUID
    organisation: str
    name_zh: str
    name_en: str
    area: str
    sites: list[str] | None
    from_level: int
    members: list[Member]
    duties: list[DutyIn]
    swaps: list[Swap]
    mine: bool
    """Whether the caller is a member, confirmed or not."""
    kept: bool
    """Whether the caller may change it."""


class OnDuty(BaseModel):
    """Somebody who is on duty now."""

    roster: UUID
    member: str
    name: str
    tier: int
    until: datetime


class JoinIn(Given):
    """By what name one stands in the roster."""

    name: Name


class SwapIn(Given):
    """`member` is whoever has the duty; oneself, if it is not said."""

    day: date
    substitute: str
    member: str | None = None


class Climbing(BaseModel):
    """A fact that somebody has to acknowledge, and how far up the ladder it is.

    Attributes:
        unattended_at: when a step was due and nobody at all was there to tell.
        next_at: when the next tier is told.
    """

    fact: str
    type: str
    area: str | None
    site: str | None
    level: int
    zh: Words
    en: Words
    since: datetime
    step: int
    told: int
    next_at: datetime | None
    unattended_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None
