"""Zones, their windows and warnings, for apps: live, and to acknowledge."""

from collections.abc import AsyncGenerator
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.types import Info

from services.identity.client import IdentityClient
from services.kit.graphql import Page, client_of, coded, first_of, load, page
from services.notify.client import NotifyClient
from services.notify.shapes import Message
from transport import shapes
from transport.client import TransportClient

TOPIC = "crowd-warnings"
NEARBY = 20


@strawberry.enum(name="CrowdLevel", description="How full a zone is. 拥挤程度。")
class Level(Enum):
    NORMAL = "normal"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"


@strawberry.enum(
    name="ZoneQuality",
    description="Whether the figures can be trusted: a silent sensor degrades them. 数据质量。",
)
class Quality(Enum):
    GOOD = "GOOD"
    DEGRADED = "DEGRADED"
    UNKNOWN = "UNKNOWN"


@strawberry.enum(description="Where a warning stands in its episode. 预警状态。")
class WarningState(Enum):
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    LOWERED = "lowered"
    ENDED = "ended"


@strawberry.enum(name="CrowdWarningHappened", description="What happened. 事件类型。")
class Happened(Enum):
    RAISED = "raised"
    CHANGED = "changed"
    ENDED = "ended"
    ACKNOWLEDGED = "acknowledged"


@strawberry.type(description="Who came and went in one minute. 一分钟进出客流。")
class FlowWindow:
    minute: datetime
    people_in: int
    people_out: int
    readings: int
    revision: int
    final: bool


@strawberry.type(name="OccupancyAnchor", description="A known number of people at a known time. 人工校准点。")
class Anchor:
    at: datetime
    people: int
    source: str


@strawberry.type(name="WarningAcknowledgement", description="Who has taken a warning in hand. 预警确认。")
class Acknowledgement:
    at: datetime
    organisation: str | None
    by: str | None
    note: str | None


@strawberry.type(description="One level reached in one episode of a zone. 拥挤预警。")
class CrowdWarning:
    id: strawberry.ID
    zone_id: strawberry.ID
    episode: int
    level: Level
    state: WarningState
    people: int
    capacity: int
    share: float
    raised_at: datetime
    changed_at: datetime
    ended_at: datetime | None
    acknowledgement: Acknowledgement | None
    text_zh: str
    text_en: str

    @strawberry.field(description="The zone it is about. 所在区域。")
    async def zone(
        self, info: Info[Any, Any]
    ) -> Annotated["Zone", strawberry.lazy("transport.graphql")] | None:
        found = await load(info, TransportClient, TransportClient.zones, str(self.zone_id))
        return None if found is None else _zone(found)


@strawberry.type(
    description="A part of a site that has a limit of its own; not counted yet, its occupancy is null. 区域。"
)
class Zone:
    id: strawberry.ID
    name_zh: str
    name_en: str
    area: str
    site: str | None
    effective_area_m2: float | None
    occupancy: int | None
    as_of: datetime | None
    capacity: int | None
    share: float | None
    density: float | None
    level: Level
    quality: Quality
    silent_sensors: list[str]
    anchor: Anchor | None

    @strawberry.field(description="People in and out by minute, newest first. 分钟客流。")
    async def windows(
        self, info: Info[Any, Any], first: int = 60, after: str | None = None
    ) -> Page[FlowWindow] | None:
        zone, first = str(self.id), first_of(first)
        if after is None:
            found = await load(info, TransportClient, TransportClient.newest_windows, (zone, first))
        else:
            found = await (await client_of(info, TransportClient)).windows(zone, first=first, after=after)
        return None if found is None else page([_window(one) for one in found.items], found.next)

    @strawberry.field(description="Warnings, newest first. 预警。")
    async def warnings(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[CrowdWarning] | None:
        zone, first = str(self.id), first_of(first)
        if after is None:
            found = await load(info, TransportClient, TransportClient.newest_warnings, (zone, first))
        else:
            client = await client_of(info, TransportClient)
            found = await client.warnings_in(zone=zone, first=first, after=after)
        return None if found is None else page([_warning(one) for one in found.items], found.next)


@strawberry.type(description="Something that happened to a warning, told once. 预警消息。")
class CrowdWarningEvent:
    id: strawberry.ID
    cursor: str = strawberry.field(
        description="Given as `after` on coming back: nothing is missed, nothing comes twice. 续传位置。"
    )
    happened: Happened
    at: datetime
    area: str | None
    zone_id: strawberry.ID
    zone_name_zh: str
    zone_name_en: str
    warning_id: strawberry.ID
    episode: int
    revision: int | None
    level: Level
    previous: Level
    people: int
    capacity: int
    share: float
    text_zh: str
    text_en: str

    @strawberry.field(description="The zone as it stands now. 区域现状。")
    async def zone(self, info: Info[Any, Any]) -> Zone | None:
        # Not through the loader: it would remember the zone for as long as the subscription goes on.
        [found] = await (await client_of(info, TransportClient)).zones([str(self.zone_id)])
        return None if found is None else _zone(found)


@strawberry.type
class MeFields:
    @strawberry.field(description="Zones in the area where the person lives. 居住地附近区域。")
    async def nearby_zones(
        self, info: Info[Any, Any], first: int = NEARBY, after: str | None = None
    ) -> Page[Zone] | None:
        me = await load(info, IdentityClient, IdentityClient.mine, "me")
        if me is None or me.area is None:
            return None
        return await _zones(info, me.area.code, first, after)


@strawberry.type
class Query:
    @strawberry.field(description="One zone. 一个区域。")
    async def zone(self, info: Info[Any, Any], id: strawberry.ID) -> Zone | None:
        found = await load(info, TransportClient, TransportClient.zones, str(id))
        return None if found is None else _zone(found)

    @strawberry.field(description="Zones, all or of an area by its GB/T 2260 code. 区域列表。")
    async def zones(
        self, info: Info[Any, Any], area: str | None = None, first: int = 20, after: str | None = None
    ) -> Page[Zone] | None:
        return await _zones(info, area, first, after)

    @strawberry.field(description="Warnings, newest first; `open`: those whose episode goes on. 预警列表。")
    async def warnings(
        self,
        info: Info[Any, Any],
        area: str | None = None,
        open: bool = False,
        first: int = 20,
        after: str | None = None,
    ) -> Page[CrowdWarning] | None:
        client = await client_of(info, TransportClient)
        found = await client.warnings_in(area=area, open_only=open, first=first_of(first), after=after)
        return page([_warning(one) for one in found.items], found.next)


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Takes a warning in hand, by name; the first acknowledgement stands. 确认预警。"
    )
    async def acknowledge_warning(
        self, info: Info[Any, Any], id: strawberry.ID, note: str | None = None
    ) -> CrowdWarning | None:
        try:
            warning = UUID(str(id))
        except ValueError as error:
            raise coded("BAD_USER_INPUT", f"{id} is not the id of a warning") from error
        return _warning(await (await client_of(info, TransportClient)).acknowledge(warning, note))


@strawberry.type
class Subscription:
    @strawberry.subscription(
        description="Crowd warnings as they happen, of an area or of all; `after` a cursor goes on from it. "
        "实时拥挤预警。"
    )
    async def crowd_warnings(
        self, info: Info[Any, Any], area: str | None = None, after: str | None = None
    ) -> AsyncGenerator[CrowdWarningEvent, None]:
        if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise coded("BAD_USER_INPUT", "after is the cursor of an event of this subscription")
        client = await client_of(info, NotifyClient)
        position = None if after is None else int(after)
        async for message in client.stream(TOPIC, area=area, after=position):
            yield _event(message)


async def _zones(info: Info[Any, Any], area: str | None, first: int, after: str | None) -> Page[Zone]:
    client = await client_of(info, TransportClient)
    found = await client.zones_in(area=area, first=first_of(first), after=after)
    return page([_zone(one) for one in found.items], found.next)


def _zone(zone: shapes.Zone) -> Zone:
    area = zone.effective_area_m2
    return Zone(
        id=strawberry.ID(zone.id),
        name_zh=zone.name.zh,
        name_en=zone.name.en,
        area=zone.area,
        site=zone.site,
        effective_area_m2=None if area is None else float(area),
        occupancy=zone.occupancy,
        as_of=zone.as_of,
        capacity=zone.capacity,
        share=zone.share,
        density=zone.density,
        level=Level(zone.level),
        quality=Quality(zone.quality),
        silent_sensors=zone.silent_sensors,
        anchor=None if zone.anchor is None else Anchor(**zone.anchor.model_dump()),
    )


def _window(window: shapes.Window) -> FlowWindow:
    return FlowWindow(**window.model_dump())


def _warning(warning: shapes.CrowdWarning) -> CrowdWarning:
    taken = warning.acknowledgement
    return CrowdWarning(
        id=strawberry.ID(str(warning.id)),
        zone_id=strawberry.ID(warning.zone),
        episode=warning.episode,
        level=Level(warning.level),
        state=WarningState(warning.state),
        people=warning.people,
        capacity=warning.capacity,
        share=warning.share,
        raised_at=warning.raised_at,
        changed_at=warning.changed_at,
        ended_at=warning.ended_at,
        acknowledgement=None if taken is None else Acknowledgement(**taken.model_dump()),
        text_zh=warning.text.zh,
        text_en=warning.text.en,
    )


def _event(message: Message) -> CrowdWarningEvent:
    data = message.data
    return CrowdWarningEvent(
        id=strawberry.ID(str(message.id)),
        cursor=str(message.seq),
        happened=Happened(data["type"].rpartition(".")[2]),
        at=datetime.fromisoformat(data["at"]),
        area=message.area,
        zone_id=strawberry.ID(data["zone"]),
        zone_name_zh=data["zone_name"]["zh"],
        zone_name_en=data["zone_name"]["en"],
        warning_id=strawberry.ID(data["warning"]),
        episode=data["episode"],
        revision=data["revision"],
        level=Level(data["level"]),
        previous=Level(data["previous"]),
        people=data["people"],
        capacity=data["capacity"],
        share=data["share"],
        text_zh=data["text"]["zh"],
        text_en=data["text"]["en"],
    )
