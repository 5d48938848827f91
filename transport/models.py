"""The tables of the `transport` schema, as its migrations make them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="transport")


_TIME: Any = DateTime(timezone=True)
_BIG: Any = BigInteger()
_SMALL: Any = SmallInteger()
_THREE: Any = ARRAY(SmallInteger)
_NOW: Any = {"server_default": func.now()}
_ZERO: Any = {"server_default": text("0")}
_NONE_YET: Any = {"server_default": text("'{0,0,0}'")}
_AREA_M2: Any = Numeric(14, 2)


class Site(Base, table=True):
    """A scenic area, museum, station: what visitors know by name. Holds zones."""

    id: str = Field(primary_key=True, sa_type=Text)
    name_zh: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    owner: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Zone(Base, table=True):
    """A part of a site that has a limit of its own, or a stretch of street."""

    id: str = Field(primary_key=True, sa_type=Text)
    site: str | None = Field(default=None, foreign_key="site.id", sa_type=Text)
    name_zh: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    area: str = Field(sa_type=Text)
    effective_area_m2: Decimal | None = Field(default=None, sa_type=_AREA_M2)
    geometry: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    owner: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Sensor(Base, table=True):
    """A counter on the edge between two zones; the outside is null. `in` moves people from `zone_from` to
    `zone_to`, `out` moves them back."""

    id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    zone_from: str | None = Field(default=None, foreign_key="zone.id", sa_type=Text)
    zone_to: str | None = Field(default=None, foreign_key="zone.id", sa_type=Text)
    period_seconds: int
    operator: str | None = Field(default=None, sa_type=Text)
    owner: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class SensorState(Base, table=True):
    """When a sensor was last heard and how often, apart from the sensor so that a busy row stays small."""

    __tablename__ = "sensor_state"
    sensor: str = Field(primary_key=True, foreign_key="sensor.id", sa_type=Text)
    latest_at: datetime = Field(sa_type=_TIME)
    received_at: datetime = Field(sa_type=_TIME)
    readings: int = Field(default=0, sa_type=_BIG, sa_column_kwargs=_ZERO)


_SENSOR: Any = Column("sensor", Text, nullable=False)
_SEQ: Any = Column("seq", BigInteger)
_STARTS: Any = Column("starts", _TIME, nullable=False)
_ENDS: Any = Column("ends", _TIME, nullable=False)


class Reading(Base, table=True):
    """What one sensor counted in one span, with the edge it sat on then. Unique by (sensor, seq), and by
    (sensor, starts, ends) where the sensor numbers nothing: the table has no primary key, only these two."""

    __mapper_args__: ClassVar[Any] = {"primary_key": [_SENSOR, _SEQ, _STARTS, _ENDS]}
    sensor: str = Field(sa_column=_SENSOR)
    seq: int | None = Field(default=None, sa_column=_SEQ)
    starts: datetime = Field(sa_column=_STARTS)
    ends: datetime = Field(sa_column=_ENDS)
    n_in: int
    n_out: int
    zone_from: str | None = Field(default=None, sa_type=Text)
    zone_to: str | None = Field(default=None, sa_type=Text)
    received_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class FlowWindow(Base, table=True):
    """People who came and went in one minute. A reading counts in the minute in which it ended."""

    __tablename__ = "flow_window"
    zone: str = Field(primary_key=True, foreign_key="zone.id", sa_type=Text)
    minute: datetime = Field(sa_type=_TIME, primary_key=True)
    n_in: int = Field(sa_type=_BIG)
    n_out: int = Field(sa_type=_BIG)
    readings: int
    revision: int = Field(default=0, sa_column_kwargs=_ZERO)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class OccupancyAnchor(Base, table=True):
    """A known number of people at a known time, from which the flows are added up."""

    __tablename__ = "occupancy_anchor"
    zone: str = Field(primary_key=True, foreign_key="zone.id", sa_type=Text)
    at: datetime = Field(sa_type=_TIME, primary_key=True)
    people: int
    source: str = Field(sa_type=Text)
    recorded_by: str = Field(sa_type=Text)
    recorded_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class ZoneState(Base, table=True):
    """Where a zone stands: occupancy since its anchor, and its episode. The row every writer locks first."""

    __tablename__ = "zone_state"
    zone: str = Field(primary_key=True, foreign_key="zone.id", sa_type=Text)
    anchor_at: datetime | None = Field(default=None, sa_type=_TIME)
    anchor_people: int = Field(default=0, sa_column_kwargs=_ZERO)
    net: int = Field(default=0, sa_type=_BIG, sa_column_kwargs=_ZERO)
    latest_at: datetime | None = Field(default=None, sa_type=_TIME)
    open_minute: datetime | None = Field(default=None, sa_type=_TIME)
    policy: UUID | None = None
    level: int = Field(default=0, sa_type=_SMALL, sa_column_kwargs=_ZERO)
    above: list[int] = Field(sa_type=_THREE, sa_column_kwargs=_NONE_YET)
    below: list[int] = Field(sa_type=_THREE, sa_column_kwargs=_NONE_YET)
    episode: int = Field(default=0, sa_column_kwargs=_ZERO)
    revision: int = Field(default=0, sa_column_kwargs=_ZERO)
    observed_at: datetime | None = Field(default=None, sa_type=_TIME)


class CapacityPolicy(Base, table=True):
    """What a zone may hold from a time on, and when to warn. Never changed; a later one takes its place."""

    __tablename__ = "capacity_policy"
    id: UUID = Field(primary_key=True)
    zone: str = Field(foreign_key="zone.id", sa_type=Text)
    valid_from: datetime = Field(sa_type=_TIME)
    capacity: int
    content: dict[str, Any] = Field(sa_type=JSONB)
    set_by: str = Field(sa_type=Text)
    set_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class CrowdWarning(Base, table=True):
    """One level reached in one episode of one zone; what a person acknowledges."""

    __tablename__ = "warning"
    id: UUID = Field(primary_key=True)
    zone: str = Field(foreign_key="zone.id", sa_type=Text)
    policy: UUID = Field(foreign_key="capacity_policy.id")
    episode: int
    level: int = Field(sa_type=_SMALL)
    state: str = Field(sa_type=Text)
    cause: str = Field(sa_type=Text)
    people: int
    capacity: int
    raised_at: datetime = Field(sa_type=_TIME)
    changed_at: datetime = Field(sa_type=_TIME)
    ended_at: datetime | None = Field(default=None, sa_type=_TIME)
    recorded_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    acknowledged_by: str | None = Field(default=None, sa_type=Text)
    acknowledged_for: str | None = Field(default=None, sa_type=Text)
    acknowledged_at: datetime | None = Field(default=None, sa_type=_TIME)
    note: str | None = Field(default=None, sa_type=Text)


class WarningChange(Base, table=True):
    """The steps of an episode, numbered; the key is why none is told twice."""

    __tablename__ = "warning_change"
    zone: str = Field(primary_key=True, foreign_key="zone.id", sa_type=Text)
    episode: int = Field(primary_key=True)
    revision: int = Field(primary_key=True)
    kind: str = Field(sa_type=Text)
    level: int = Field(sa_type=_SMALL)
    previous: int = Field(sa_type=_SMALL)
    people: int
    capacity: int
    at: datetime = Field(sa_type=_TIME)
    warning: UUID = Field(foreign_key="warning.id")
    event: UUID


class RefusedReading(Base, table=True):
    """A line of a stream that could not be taken, kept with its reason for whoever runs the gate."""

    __tablename__ = "refused_reading"
    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    receipt: UUID
    client: str = Field(sa_type=Text)
    line: int
    code: str = Field(sa_type=Text)
    field: str | None = Field(default=None, sa_type=Text)
    message: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
