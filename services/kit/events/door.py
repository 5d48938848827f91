"""The doors of a service's events.

GET  /<prefix>/outbox?after&limit          its log, for whoever finds a gap in its stream
POST /<prefix>/outbox/readers              a reader tells how far it is
GET  /<prefix>/asyncapi.json               its types of event (AsyncAPI 3)
GET  /<prefix>/dead-letters?after&limit    events it could not take in, for operators
POST /<prefix>/dead-letters/{id}/replay    has one tried again
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.kit import telemetry
from services.kit.events.asyncapi import document
from services.kit.events.dead_letters import replay, waiting_letters
from services.kit.events.log import Event, cloud_event
from services.kit.events.readers import note_reader
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.kit.problems import forbidden, not_found

if TYPE_CHECKING:
    from services.kit.calls import Calls
    from services.kit.database import Connection

PAGE = 500
LETTERS = Resource("Kit::DeadLetters", id="dead-letters")


@dataclass(frozen=True, slots=True)
class Place:
    """How far a reader is in a log: nowhere, to begin with.

    Attributes:
        log: which log it is; a source whose database was made anew has another.
        event_id: the event that stood at the position.
    """

    log: UUID | None = None
    position: int = 0
    event_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a log.

    Attributes:
        head: the log's newest position.
        same: whether the reader's place means here what it thinks it does. If not, the source was restored
            to an earlier state or made anew; positions were given out again, and the page is the log's first.
    """

    log: UUID
    head: int
    same: bool
    events: list[Event]

    @classmethod
    def parse(cls, found: dict[str, Any]) -> "Page":
        events = [Event.parse(event) for event in found["events"]]
        return cls(UUID(found["log"]), found["head"], found["same"], events)


class Logs(Protocol):
    """Where a consumer gets a source's log from."""

    async def page(self, source: str, after: Place, *, limit: int = PAGE) -> Page: ...

    async def told(self, source: str, reached: Place) -> None: ...


class Doors:
    """The sources' own doors, asked as this service (scope `events:read`)."""

    def __init__(self, calls: "Calls") -> None:
        self._calls = calls

    async def page(self, source: str, after: Place, *, limit: int = PAGE) -> Page:
        """Raises DomainError when the source does not answer."""
        from services.kit.app import prefix_of

        params: dict[str, Any] = {"after": after.position, "limit": limit}
        if after.log is not None:
            params["log"] = str(after.log)
        if after.event_id is not None:
            params["last"] = str(after.event_id)
        response = await self._calls.request(source, "GET", f"{prefix_of(source)}/outbox", params=params)
        return Page.parse(orjson.loads(response.content))

    async def told(self, source: str, reached: Place) -> None:
        """Tells the source how far we are. Raises DomainError when it does not answer."""
        from services.kit.app import prefix_of

        body = {"log": str(reached.log), "position": reached.position}
        await self._calls.request(source, "POST", f"{prefix_of(source)}/outbox/readers", json=body)


async def read_log(db: "Connection", service: str, after: Place, *, limit: int) -> dict[str, Any]:
    """A page of the service's own log, its events in CloudEvents form."""
    own = await db.fetchrow("select log, position from outbox_head")
    assert own is not None, "the kit's tables come with this row"
    # What is older than the log is kept cannot be compared; the reader's word is taken for it.
    kept = await db.fetchval("select id from outbox where position = $1", after.position)
    same = (
        after.log in (None, own["log"])
        and after.position <= own["position"]
        and (after.event_id is None or kept in (None, after.event_id))
    )
    rows = await db.fetch(
        """select position, id, type, aggregate, area, time, body::text as body, traceparent
           from outbox where position > $1 order by position limit $2""",
        after.position if same else 0,
        limit,
    )
    events = [orjson.Fragment(cloud_event(service, row)) for row in rows]
    return {"log": str(own["log"]), "head": own["position"], "same": same, "events": events}


class Reached(BaseModel):
    """Up to where a reader has taken in a log."""

    model_config = ConfigDict(extra="forbid")
    log: UUID
    position: Annotated[int, Field(ge=0, le=2**62)]


def events_router(prefix: str) -> APIRouter:
    """The doors: the log for services that hold `events:read`, dead letters for `events:replay`."""
    from services.kit.app import KitDep, Read, Router, Tx, permitted

    router = Router(prefix=prefix, tags=["events"])
    Reader = Annotated[Principal, allowed("events:read", kinds=("service",))]

    @router.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi(kit: KitDep) -> dict[str, Any]:
        return document(kit.settings, (kit.name,))

    @router.get("/outbox")
    async def outbox(
        kit: KitDep,
        connection: Read,
        _who: Reader,
        after: Annotated[int, Query(ge=0)] = 0,
        last: Annotated[UUID | None, Query(description="The event read at `after`")] = None,
        log: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
    ) -> Response:
        page = await read_log(connection, kit.name, Place(log, after, last), limit=limit)
        return Response(orjson.dumps(page), media_type="application/json")

    @router.post("/outbox/readers", status_code=204)
    async def note_reached(tx: Tx, who: Reader, reached: Reached) -> None:
        if who.service is None:  # everybody is let in while the suite runs with --no-auth
            raise forbidden("a reader of the log is one of the suite's services")
        await note_reader(tx, who.service, reached.log, reached.position)

    @router.get("/dead-letters")
    async def dead_letters(
        connection: Read,
        _who: Annotated[Principal, permitted("dead_letters.read", LETTERS, "events:replay")],
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """What waits, without the events' data: an operator needs the reason, not the person."""
        letters = await waiting_letters(connection, after=after, limit=limit + 1)
        items = [
            {
                "id": letter.id,
                "event": str(letter.event.id),
                "type": letter.event.type,
                "source": letter.event.source,
                "aggregate": telemetry.without_people(letter.event.aggregate),
                "attempts": letter.attempts,
                "reason": telemetry.without_people(letter.reason),
                "first_at": letter.first_at,
                "next_at": letter.next_at,
            }
            for letter in letters[:limit]
        ]
        return {"items": items, "next": items[-1]["id"] if len(letters) > limit else None}

    @router.post("/dead-letters/{id}/replay", status_code=202)
    async def replay_letter(
        tx: Tx,
        _who: Annotated[Principal, permitted("dead_letters.replay", LETTERS, "events:replay")],
        id: Annotated[int, Path(ge=1, le=2**62)],
    ) -> dict[str, int]:
        if not await replay(tx, id):
            raise not_found(f"no dead letter {id} waits here")
        await tx.leaf(action="event.replay", resource=f"dead-letter/{id}")
        return {"id": id}

    return router
