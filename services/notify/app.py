"""The doors of notify: messages by topic, as pages and as a live stream with replay."""

from typing import Annotated

from fastapi import Header, Path, Query
from starlette.responses import StreamingResponse

from services.kit.app import KitDep, Read, Router, service
from services.kit.areas import area_prefix
from services.kit.database import Connection
from services.kit.events import on_many
from services.kit.principals import Principal, allowed
from services.kit.problems import Fault, Problem
from services.kit.renewal import RENEWS
from services.notify import (
    deliveries,
    destination_doors,
    dispatcher,
    duty_doors,
    escalation,
    messages,
    repository,
    retention,
    streams,
    subscribers,
    taking,
)
from services.notify.repository import escalations, notifications
from services.notify.shapes import Events, Topic

router = Router(prefix="/notify")

Reads = Annotated[Principal, allowed(*duty_doors.READS)]
Position = Annotated[int, Query(ge=0, le=2**63 - 1)]


@router.get("/events")
async def list_events(
    read: Read,
    kit: KitDep,
    who: Reads,
    topic: str,
    area: str | None = None,
    after: Position = 0,
    limit: Annotated[int, Query(ge=1, le=messages.PAGE)] = 100,
) -> Events:
    audience = messages.audience(kit, who, topic)
    return await messages.page(read, audience, topic=topic, area=area, after=after, limit=limit)


@router.get("/topics/{topic}")
async def get_topic(
    read: Read, kit: KitDep, who: Reads, topic: Annotated[str, Path(max_length=100)]
) -> Topic:
    return await messages.topic_head(read, messages.audience(kit, who, topic), topic)


@router.get("/stream", response_class=StreamingResponse)
async def stream(
    kit: KitDep,
    who: Reads,
    topic: str,
    area: str | None = None,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    audience = messages.audience(kit, who, topic)
    area_prefix(area)
    position = _position(last_event_id) if last_event_id else after
    return StreamingResponse(
        streams.event_stream(kit, audience, who=who, topic=topic, area=area, after=position),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


def _position(last_event_id: str) -> int:
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19:
        return int(last_event_id)
    message = "Last-Event-ID is the id of a message of this stream"
    raise Problem(400, "invalid_position", message, faults=[Fault(message, field="Last-Event-ID")])


async def counts(db: Connection) -> dict[str, int]:
    return {
        "messages": await repository.count(db),
        "notifications": await notifications.count(db),
        **dict(await escalations.counts(db)),
    }


app = service(
    "notify",
    title="Huimin notify",
    description="Who is told what, live and with replay. 实时通知。",
    routers=[router, destination_doors.router, subscribers.router, duty_doors.router],
    handlers=[*(on_many(start, taking.take) for start in (*messages.TOPICS, *messages.NAMED)), RENEWS],
    startup=[dispatcher.check_settings],
    background=[streams.announcements, dispatcher.dispatch, escalation.climbing],
    streams=["/notify/stream"],
    counts=counts,
    contribution=deliveries.for_operators,
    over=retention.statements(),
)
