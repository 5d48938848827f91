"""The doors of transport: set-up, readings and counts in; zones, windows and warnings out."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from services.kit.app import KitDep, Read, Router, Tx, service
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.kit.problems import Problem, bad_request, not_found
from transport import capacity, checks, counts, readings, shapes, warnings, zones
from transport.offers import OFFERS
from transport.repository import zones as repository

router = Router(prefix="/transport")

Id = Annotated[shapes.Id, Path()]
First = Annotated[int, Query(ge=1, le=1000)]
Ids = Annotated[list[str], Query(max_length=1000)]
SetsUp = Annotated[Principal, allowed("transport:sites:write")]
Pushes = Annotated[Principal, allowed("transport:readings:write")]
Sees = Annotated[Principal, allowed("transport:flows:read")]


def _named(kit: KitDep, who: Sees) -> warnings.Named:
    """Of which areas the caller may see who took a warning in hand."""

    @cache
    def may(area: str) -> bool:
        asked = Resource("Transport::Warning", id="warnings", area=area)
        return kit.policy.decide(who, "acknowledgement.read", asked).permitted

    return may


Named = Annotated[warnings.Named, Depends(_named)]
Acknowledges = Annotated[Principal, allowed("transport:warnings:acknowledge", kinds=("staff",))]

JSON_TYPES = frozenset({"application/json", ""})
NDJSON_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_READINGS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/ReadingIn"},
                        {"type": "array", "items": {"$ref": "#/components/schemas/ReadingIn"}},
                    ]
                }
            },
            "application/x-ndjson": {"schema": {"$ref": "#/components/schemas/ReadingIn"}},
        },
    }
}


@router.put("/sites/{id}")
async def put_site(id: Id, site: shapes.SiteIn, tx: Tx, who: SetsUp) -> Response:
    return _set_up(await zones.put_site(tx, id=id, site=site, who=who), {"id": id})


@router.put("/zones/{id}")
async def put_zone(id: Id, zone: shapes.ZoneIn, tx: Tx, who: SetsUp) -> Response:
    return _set_up(await zones.put_zone(tx, id=id, zone=zone, who=who), {"id": id})


@router.put("/sensors/{id}")
async def put_sensor(id: Id, sensor: shapes.SensorIn, tx: Tx, who: SetsUp) -> Response:
    return _set_up(await zones.put_sensor(tx, id=id, sensor=sensor, who=who), {"id": id})


@router.put("/zones/{id}/capacity-policy", response_model=shapes.CapacityPolicy)
async def put_policy(id: Id, policy: shapes.CapacityPolicyIn, tx: Tx, who: SetsUp) -> Response:
    await zones.check_may_set_up(tx, zone=id, who=who)
    found, new = await capacity.set_policy(tx, zone=id, policy=policy, now=datetime.now(UTC))
    return _set_up(new, found.model_dump(mode="json"))


def _set_up(new: bool, body: dict[str, Any]) -> Response:
    return JSONResponse(body, 201 if new else 200)


@router.get("/zones/{id}/capacity-policy")
async def get_policy(
    id: Id, read: Read, who: Sees, at: Annotated[shapes.Time | None, Query()] = None
) -> shapes.CapacityPolicy:
    return await capacity.policy_in_force(read, zone=id, at=at or datetime.now(UTC))


@router.post("/readings", response_model=shapes.Receipt, openapi_extra=_READINGS_BODY)
async def push_readings(request: Request, kit: KitDep, who: Pushes) -> Response:
    kind = _content_type(request)
    if kind in NDJSON_TYPES:
        receipt = await readings.take_stream(kit.db, who=who, chunks=_nonempty(request))
    elif kind in JSON_TYPES:
        body = await _bounded(request, readings.JSON_BYTES_MAX)
        receipt = await readings.take_push(kit.db, who=who, body=body, now=datetime.now(UTC))
    else:
        raise Problem(
            415, "unsupported_media_type", f"send application/json or application/x-ndjson, not {kind}"
        )
    return Response(receipt.model_dump_json(), media_type="application/json")


@router.get("/receipts/{id}/refused")
async def get_refused(
    id: UUID, read: Read, who: Pushes, first: First = 100, after: str | None = None
) -> shapes.Page[shapes.RefusedLine]:
    """The lines of a stream that could not be taken, as they were sent, for the client that sent them."""
    return await readings.refused_lines(read, receipt=id, who=who, first=first, after=after)


@router.post("/zones/{id}/counts")
async def push_counts(id: Id, request: Request, kit: KitDep, who: Pushes) -> shapes.CountReceipt:
    kind = _content_type(request)
    if kind not in JSON_TYPES:
        raise Problem(415, "unsupported_media_type", f"send application/json, not {kind}")
    document = checks.json_of(await _bounded(request, readings.JSON_BYTES_MAX))
    async with kit.db.transaction(who) as tx:
        return await counts.take_counts(tx, zone=id, document=document, who=who, now=datetime.now(UTC))


@router.get("/zones")
async def list_zones(
    read: Read,
    who: Sees,
    ids: Ids = [],  # noqa: B006 - FastAPI copies it for each request
    area: str | None = None,
    first: First = 100,
    after: str | None = None,
) -> shapes.Page[shapes.Zone]:
    if ids:
        _alone("ids", area, after)
        return shapes.Page(items=await zones.zones_by_id(read, ids=ids))
    return await zones.zones_in(read, area=area, first=first, after=after)


@router.get("/zones/{id}")
async def get_zone(id: Id, read: Read, who: Sees) -> shapes.Zone:
    found = await zones.zones_by_id(read, ids=[id])
    if not found:
        raise zones.no_zone(id)
    return found[0]


@router.get("/zones/{id}/windows")
async def list_windows(
    id: Id,
    read: Read,
    who: Sees,
    since: Annotated[shapes.Time | None, Query()] = None,
    until: Annotated[shapes.Time | None, Query()] = None,
    first: First = 100,
    after: str | None = None,
) -> shapes.Page[shapes.Window]:
    return await zones.windows(read, zone=id, since=since, until=until, first=first, after=after)


@router.get("/zones/{id}/episodes")
async def list_steps(
    id: Id, read: Read, who: Sees, episode: int | None = None, first: First = 100, after: str | None = None
) -> shapes.Page[shapes.EpisodeStep]:
    return await warnings.steps_of(read, zone=id, episode=episode, first=first, after=after)


@router.get("/windows")
async def newest_windows(
    read: Read, who: Sees, zone: Annotated[list[str], Query(min_length=1, max_length=100)], each: First = 60
) -> dict[str, shapes.Page[shapes.Window]]:
    """The newest windows of several zones at once, by zone."""
    return await zones.newest_windows(read, zones=zone, each=each)


@router.get("/warnings")
async def list_warnings(
    read: Read,
    named: Named,
    ids: Annotated[list[UUID], Query(max_length=1000)] = [],  # noqa: B006 - FastAPI copies it
    area: str | None = None,
    zone: Ids = [],  # noqa: B006 - FastAPI copies it for each request
    open: bool = False,
    first: First = 100,
    after: str | None = None,
) -> shapes.Page[shapes.CrowdWarning]:
    if ids:
        _alone("ids", area, zone, open, after)
        return shapes.Page(items=await warnings.warnings_by_id(read, ids=ids, named=named))
    return await warnings.warnings_in(
        read, area=area, zones=zone, open_only=open, first=first, after=after, named=named
    )


@router.get("/warnings/newest")
async def newest_warnings(
    read: Read,
    named: Named,
    zone: Annotated[list[str], Query(min_length=1, max_length=100)],
    each: First = 20,
) -> dict[str, shapes.Page[shapes.CrowdWarning]]:
    """The newest warnings of several zones at once, by zone."""
    return await warnings.newest_of_zones(read, zones=zone, each=each, named=named)


@router.get("/warnings/{id}")
async def get_warning(id: UUID, read: Read, named: Named) -> shapes.CrowdWarning:
    found = await warnings.warnings_by_id(read, ids=[id], named=named)
    if not found:
        raise not_found(f"there is no warning {id}", code="unknown_warning")
    return found[0]


@router.post("/warnings/{id}/acknowledgements")
async def acknowledge(
    id: UUID,
    acknowledgement: shapes.AcknowledgementIn,
    kit: KitDep,
    tx: Tx,
    who: Acknowledges,
) -> shapes.CrowdWarning:
    row = await warnings.acknowledge(kit, tx, id=id, who=who, note=acknowledgement.note)
    return warnings.shape(row, _named(kit, who))


def _alone(name: str, *others: object) -> None:
    """A filter that would not be looked at must not be taken for one that was."""
    if any(others):
        raise bad_request("conflicting_parameters", f"{name} names each one asked for; leave the filters out")


def _content_type(request: Request) -> str:
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "')
    if charset not in {"", "utf-8", "utf8"}:
        raise Problem(415, "bad_encoding", f"send UTF-8, not {charset}")
    return kind.strip()


async def _nonempty(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def _bounded(request: Request, most_bytes: int) -> bytes:
    """The body, while it is not too large: this path has no limit of its own, for the sake of streams."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise Problem(
                413,
                "body_too_large",
                f"a JSON push may have {most_bytes:,} bytes; send more as application/x-ndjson",
            )
    return bytes(body)


app = service(
    "transport",
    title="Huimin transport",
    description="Counts and flows, occupancy, capacity policies, crowd warnings. 客流、承载量与拥挤预警。",
    routers=[router],
    offers=OFFERS,
    streams=["/transport/readings"],
    counts=repository.totals,
)
