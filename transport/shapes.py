"""What goes over the wire, as the doors, the client and GraphQL share it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Area = Annotated[str, StringConstraints(pattern=r"^(\d{6}|\d{9}|\d{12})$")]
"""A GB/T 2260 code, or one of the statistical codes below it (9 and 12 digits)."""
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Positive = Annotated[Decimal, Field(gt=0, le=10**9, max_digits=14, decimal_places=4)]
Number = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]
Percent = Annotated[Decimal, Field(gt=0, le=200, max_digits=4, decimal_places=1)]
People = Annotated[int, Field(strict=True, ge=0, le=100_000_000)]

Time = Annotated[
    AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))
]

LevelName = Literal["normal", "yellow", "orange", "red"]
Quality = Literal["GOOD", "DEGRADED", "UNKNOWN"]
WarningState = Literal["active", "superseded", "lowered", "ended"]


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A page of a list; `next` is what to ask `after` for the following one, None at the end."""

    items: list[T]
    next: str | None = None


class Strict(BaseModel):
    """What others send: a member nobody knows is refused."""

    model_config = ConfigDict(extra="forbid")


class Name(Strict):
    """What people see, in Chinese and in English."""

    zh: Label
    en: Label


class SiteIn(Strict):
    name: Name
    area: Area


Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Position = tuple[Longitude, Latitude]


def _closed(ring: list[Position]) -> list[Position]:
    if ring[0] != ring[-1]:
        raise ValueError("a ring ends where it begins (RFC 7946 section 3.1.6)")
    return ring


Ring = Annotated[list[Position], Field(min_length=4, max_length=5_000), AfterValidator(_closed)]
Rings = Annotated[list[Ring], Field(min_length=1, max_length=100)]


class Point(Strict):
    type: Literal["Point"]
    coordinates: Position


class Polygon(Strict):
    type: Literal["Polygon"]
    coordinates: Rings


class MultiPolygon(Strict):
    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Rings], Field(min_length=1, max_length=100)]


Geometry = Annotated[Point | Polygon | MultiPolygon, Field(discriminator="type")]
"""Where a zone is: GeoJSON (RFC 7946), WGS 84."""


class ZoneIn(Strict):
    name: Name
    area: Area
    site: Id | None = None
    effective_area_m2: Annotated[Decimal, Field(gt=0, lt=10**12, decimal_places=2)] | None = None
    geometry: Geometry | None = None


class SensorIn(Strict):
    """A counter on an edge. Without either zone it is known, but its readings are refused."""

    kind: Literal["gate", "camera", "loop", "ticket", "other"] = "gate"
    zone_from: Id | None = None
    zone_to: Id | None = None
    period_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 60
    operator: Label | None = None
    """The organisation whose readings count; the one that set the sensor up unless said otherwise."""


class Space(Strict):
    """One space of LB/T 034-2014's C1 = Σ Xi/Yi."""

    name: Name | None = None
    effective_area_m2: Positive
    m2_per_visitor: Positive


class Arithmetic(Strict):
    """What a capacity is computed from (LB/T 034-2014): spaces for the instantaneous one, and for the
    daily one how often a place is taken anew, T/t."""

    spaces: Annotated[list[Space], Field(min_length=1, max_length=200)]
    opening_hours: Annotated[Decimal, Field(gt=0, le=24)] | None = None
    mean_stay_hours: Annotated[Decimal, Field(gt=0, le=24)] | None = None
    turnover: Literal["ratio", "whole"] = "ratio"
    """`ratio` takes T/t as it is, `whole` its whole part, Int(T/t): both are in use, so the one is named."""


class Levels(Strict):
    """Shares of the capacity, in per cent, from which each level counts."""

    yellow: Percent = Decimal(80)
    orange: Percent = Decimal(90)
    red: Percent = Decimal(100)


class CapacityPolicyIn(Strict):
    """What a zone may hold, and when to warn.

    Either `capacity` as fixed by the authority, or the `arithmetic` it follows from.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    capacity: Annotated[int, Field(strict=True, ge=1, le=100_000_000)] | None = None
    arithmetic: Arithmetic | None = None
    multiplier: Annotated[Decimal, Field(gt=0, le=1, decimal_places=4)] = Decimal(1)
    """Part of the capacity that may be used, as in an epidemic: 0.3, 0.5, 0.75."""
    levels: Levels = Levels()
    dwell_up: Annotated[int, Field(strict=True, ge=1, le=1000)] = 2
    dwell_down: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    hysteresis: Annotated[Decimal, Field(ge=0, le=100, max_digits=4, decimal_places=1)] = Decimal(10)
    """Points below a level under which an observation counts towards leaving it."""
    red_at_once: bool = True
    valid_from: Annotated[Time | None, Field(alias="from")] = None
    """Absent: since ever for a zone's first policy, from now on for a later one."""
    basis: Annotated[str, StringConstraints(max_length=500)] | None = None
    """The rule or decision it rests on."""


class ReadingIn(Strict):
    """What a sensor counted in one span. The door checks readings by hand, a thousand at a time; this is
    their description."""

    sensor: Id
    seq: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    start: Time
    end: Time
    in_: Annotated[int, Field(alias="in", ge=0, le=1_000_000)]
    out: Annotated[int, Field(ge=0, le=1_000_000)]


class CountIn(Strict):
    """People in a zone at a time, counted by a person, a camera or by the tickets left: an anchor."""

    time: Time
    count: People


class AcknowledgementIn(Strict):
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] | None = None


class LineFault(BaseModel):
    line: int
    code: str
    field: str | None = None
    message: str


class RefusedLine(LineFault):
    """A refused line as it was sent, cut to its first characters."""

    body: str


class BatchReceipt(BaseModel):
    """Lines that were committed together."""

    first_line: int
    last_line: int
    accepted: int
    duplicates: int
    refused: int


class Receipt(BaseModel):
    """What became of a push of readings. `refused` lines are kept with their reasons under the receipt's id;
    `errors` shows the first of them."""

    receipt_id: UUID
    received: int
    accepted: int
    duplicates: int
    refused: int = 0
    batches: list[BatchReceipt] = []
    errors: list[LineFault] = []


class CountReceipt(BaseModel):
    zone: str
    accepted: int
    duplicates: int
    occupancy: int | None


class Anchor(BaseModel):
    at: datetime
    people: int
    source: str


class Zone(BaseModel):
    """A zone as it stands. A zone nobody has counted yet has no occupancy: that is not zero people."""

    id: str
    name: Name
    area: str
    site: str | None
    effective_area_m2: Number | None
    occupancy: int | None
    as_of: datetime | None
    capacity: int | None
    share: float | None
    density: float | None
    level: LevelName
    quality: Quality
    silent_sensors: list[str]
    anchor: Anchor | None
    debt: int
    """People who left beyond those known to be inside; kept, so that nobody is counted twice."""
    policy: UUID | None


class Window(BaseModel):
    """Who came and went in one minute. `revision` counts corrections after the window was final."""

    minute: datetime
    people_in: int
    people_out: int
    readings: int
    revision: int
    final: bool


class Acknowledgement(BaseModel):
    at: datetime
    organisation: str | None
    by: str | None
    note: str | None


class CrowdWarning(BaseModel):
    """One level reached in one episode of a zone."""

    id: UUID
    zone: str
    zone_name: Name
    area: str
    policy: UUID
    episode: int
    level: LevelName
    state: WarningState
    cause: Literal["flow", "count"]
    people: int
    capacity: int
    share: float
    raised_at: datetime
    changed_at: datetime
    ended_at: datetime | None
    recorded_at: datetime
    acknowledgement: Acknowledgement | None
    text: Name


class EpisodeStep(BaseModel):
    episode: int
    revision: int
    kind: Literal["raised", "changed", "ended"]
    level: LevelName
    previous: LevelName
    people: int
    capacity: int
    at: datetime
    warning: UUID


class Threshold(BaseModel):
    percent: Number
    raise_at: int
    keep_at: int


class CapacityPolicy(BaseModel):
    """A policy in force, with the arithmetic shown line by line."""

    id: UUID
    zone: str
    valid_from: datetime | None
    capacity: int
    daily_capacity: int | None
    multiplier: Number
    levels: dict[str, Threshold]
    dwell_up: int
    dwell_down: int
    hysteresis: Number
    red_at_once: bool
    basis: str | None
    arithmetic: list[Name]
