"""The service's log for whoever finds a gap in its stream: `GET /<prefix>/outbox?after&limit`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import UUID

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from services.kit.events.log import Event, cloud_event
from services.kit.principals import Principal, allowed

if TYPE_CHECKING:
    from services.kit.calls import Calls
    from services.kit.database import Connection

PAGE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a log.

    Attributes:
        head: the log's newest position.
        same: whether the log has, at `after`, the event the reader says it read there. If not, it was
            restored to an earlier state, and positions the reader knows have been given out again.
    """

    head: int
    same: bool
    events: list[Event]


class Logs(Protocol):
    """Where a consumer gets a source's log from."""

    async def page(self, source: str, *, after: int, last: UUID | None, limit: int = PAGE) -> Page: ...


class Doors:
    """The sources' own doors, asked as this service (scope `events:read`)."""

    def __init__(self, calls: "Calls") -> None:
        self._calls = calls

    async def page(self, source: str, *, after: int, last: UUID | None, limit: int = PAGE) -> Page:
        """Raises DomainError when the source does not answer."""
        from services.kit.app import prefix_of

        params: dict[str, Any] = {"after": after, "limit": limit}
        if last is not None:
            params["last"] = str(last)
        response = await self._calls.request(source, "GET", f"{prefix_of(source)}/outbox", params=params)
        found = orjson.loads(response.content)
        return Page(found["head"], found["same"], [Event.parse(event) for event in found["events"]])


async def read_log(
    db: "Connection", service: str, *, after: int, last: UUID | None, limit: int
) -> dict[str, Any]:
    """A page of the service's own log, its events in CloudEvents form."""
    head = await db.fetchval("select position from outbox_head")
    # What is older than the log is kept cannot be compared; the reader's word is taken for it.
    kept = await db.fetchval("select id from outbox where position = $1", after)
    same = after <= head and (last is None or kept is None or kept == last)
    rows = await db.fetch(
        """select position, id, type, aggregate, area, time, body::text as body, traceparent
           from outbox where position > $1 order by position limit $2""",
        after if same else 0,
        limit,
    )
    return {
        "head": head,
        "same": same,
        "events": [orjson.Fragment(cloud_event(service, row)) for row in rows],
    }


def events_router(prefix: str) -> APIRouter:
    """The door, for services that hold `events:read`."""
    from services.kit.app import KitDep, Read, Router

    router = Router(prefix=prefix, tags=["events"])

    @router.get("/outbox")
    async def outbox(
        kit: KitDep,
        connection: Read,
        _who: Annotated[Principal, allowed("events:read", kinds=("service",))],
        after: Annotated[int, Query(ge=0)] = 0,
        last: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    ) -> Response:
        page = await read_log(connection, kit.name, after=after, last=last, limit=limit)
        return Response(orjson.dumps(page), media_type="application/json")

    return router
