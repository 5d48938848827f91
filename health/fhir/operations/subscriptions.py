"""`$status` and `$events` of Subscriptions (Subscriptions R5 Backport 1.1)."""

from fastapi import APIRouter, Request, Response

from health import repository
from health.criteria import Criteria, Ids
from health.fhir import access
from health.fhir.bundle import bundle_of
from health.fhir.interactions import Fhir, Reply
from health.fhir.operations.parameters import given, whole
from health.fhir.outcome import refused
from health.fhir.routing import FhirDep, ParameterRoute, response
from health.fhir.subscriptions import bundles, telling
from health.fhir.subscriptions.asked import CONTENTS, EVENTS_MAX
from health.reaching import Reach
from health.repository import fitting, subscriptions
from services.kit.database import Row
from services.kit.principals import Anyone, Principal

router = APIRouter(route_class=ParameterRoute, tags=["FHIR R4"])
MOST = 100
_ASKED = {"eventsSinceNumber": "string", "eventsUntilNumber": "string", "content": "code"}


@router.get("/Subscription/$status")
@router.post("/Subscription/$status")
async def statuses(request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """How the caller's Subscriptions stand, or those of them that are named; a hundred at most."""
    reach = _reach(fhir, who)
    asked = await given(request, {"id": "id*", "status": "code*"})
    rows = await _own(fhir, who, reach, asked["id"])
    return _statuses(fhir, [row for row in rows if not asked["status"] or row["state"] in asked["status"]])


@router.get("/Subscription/{id}/$status")
@router.post("/Subscription/{id}/$status")
async def status(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """How one Subscription stands."""
    reach = _reach(fhir, who)
    await given(request, {})
    return _statuses(fhir, [await _one(fhir, who, reach, id)])


@router.get("/Subscription/{id}/$events")
@router.post("/Subscription/{id}/$events")
async def events(id: str, request: Request, fhir: FhirDep, who: Anyone) -> Response:
    """Events again by their numbers, both inclusive, as far as they may be seen now; a hundred at most."""
    reach = _reach(fhir, who)
    asked = await given(request, _ASKED)
    row = await _one(fhir, who, reach, id)
    since, until = (whole(asked[name], name) for name in list(_ASKED)[:2])
    [content] = asked["content"] or [row["said"]["content"]]
    if content not in CONTENTS:
        raise refused(400, "value", f"content is one of {', '.join(CONTENTS)}", "content")
    about = telling.reach_of(fhir.kit, who, row)
    async with fhir.kit.db.read() as db:
        until = row["numbered"] if until is None else until
        found = await subscriptions.events(
            db, about, row["pk"], since=(since or 1) - 1, until=until, limit=EVENTS_MAX
        )
    if content != "empty":
        seen = [one for one in found if one["id"] is not None]
        await access.leave(fhir.kit, who, "fhir.read", seen, resource=f"Subscription/{id}/$events")
    first = bundles.status(
        row, "query-event", base=fhir.base, upto=row["numbered"], state=row["state"], events=found
    )
    shown = found if content != "empty" else []
    return response(Reply(bundles.notification(row, first, base=fhir.base, events=shown, content=content)))


def _reach(fhir: Fhir, who: Principal) -> Reach:
    return access.reach(fhir.kit.policy, who, "Subscription", "r")


async def _one(fhir: Fhir, who: Principal, reach: Reach, id: str) -> Row:
    rows = await _own(fhir, who, reach, [id])
    if not rows:
        raise refused(404, "not-found", f"there is no Subscription/{id} here for this caller")
    return rows[0]


async def _own(fhir: Fhir, who: Principal, reach: Reach, ids: list[str]) -> list[Row]:
    criteria = Criteria(("Subscription",), (Ids(tuple(ids)),) if ids else ())
    async with fhir.kit.db.read() as db:
        found = await repository.search(db, reach, criteria, limit=MOST + 1)
        if len(fitting.page(found, MOST)) < len(found):
            words = f"more than {MOST} Subscriptions; search for them, and name those that are meant by id"
            raise refused(422, "too-costly", words, "id")
        standing = await subscriptions.standing(db, [row["pk"] for row in found])
    await access.leave(fhir.kit, who, "fhir.read", found, resource="Subscription/$status")
    return list(standing.values())


def _statuses(fhir: Fhir, rows: list[Row]) -> Response:
    found = [
        bundles.status(row, "query-status", base=fhir.base, upto=row["numbered"], state=row["state"])
        for row in rows
    ]
    entries = [
        {"fullUrl": f"urn:uuid:{one['id']}", "resource": one, "search": {"mode": "match"}} for one in found
    ]
    return response(Reply(bundle_of("searchset", entries, total=len(found))))
