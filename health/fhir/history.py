"""`_history` of a resource, of a type and of everything (FHIR R4 http.html#history)."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from health import repository
from health.fhir import access, extract
from health.fhir.bundle import bundle_of
from health.fhir.definitions import definitions
from health.fhir.interactions import Fhir, Reply, check_type, looked_up
from health.fhir.outcome import refused
from health.fhir.paging import Pairs, links
from health.fhir.searching import any_reach, bounded
from health.fhir.text import instant
from health.reaching import Reach
from health.repository import fitting
from services.kit.database import Row
from services.kit.principals import Principal

COUNT_DEFAULT = 20
COUNT_MAX = 1000
_ACTION = "fhir.history"
_ONCE = frozenset({"_at", "_count", "_since"})


async def history(fhir: Fhir, principal: Principal, kind: str | None, id: str | None, pairs: Pairs) -> Reply:
    """A page of versions, the latest first, as a history Bundle.

    Args:
        kind, id: of a resource, or of all of a type; None for all.

    Raises:
        Refusal: 404 for what is not there, or not the caller's to see.
    """
    path = "/".join(part for part in (kind, id, "_history") if part is not None)
    own = urlencode(pairs)
    pairs, after = fhir.pages.asked(path, pairs)
    since, at, count = _asked(pairs)
    reach = await _reach(fhir, principal, kind, id)
    before = (extract.moment(after[0]), after[1], after[2]) if after is not None else None
    asked = repository.Slice(kind, id, since, at, before)
    async with bounded(fhir) as db:
        rows = await repository.versions(db, reach, asked, limit=count + 1)
    page = fitting.page(rows, count)
    await access.leave(fhir.kit, principal, _ACTION, page, resource=path)
    following = None
    if len(rows) > len(page):
        last = page[-1]
        place = (extract.microseconds(last["ts"]), last["pk"], last["version"])
        following = fhir.pages.token(path, pairs, place)
    around = links(fhir.base, path, own, following=following)
    return Reply(bundle_of("history", [_entry(fhir.base, row) for row in page], link=around))


def _asked(pairs: Pairs) -> tuple[datetime | None, tuple[datetime, datetime] | None, int]:
    given = dict(pairs)
    for name, value in pairs:
        if name not in _ONCE | {"_format"}:
            raise refused(400, "not-supported", f"unknown parameter {name}; _since, _at and _count are", name)
        if value != given[name]:
            raise refused(400, "invalid", f"{name} stands there twice", name)
    try:
        since = extract.moment(extract.interval(given["_since"])[0]) if "_since" in given else None
        at = extract.interval(given["_at"]) if "_at" in given else None
    except ValueError as error:
        raise refused(400, "value", str(error)[:200]) from error
    count = given.get("_count", str(COUNT_DEFAULT))
    if not count.isascii() or not count.isdigit() or int(count[:9]) < 1:
        raise refused(400, "value", f"_count is a number from 1 on, not {count[:40]!r}", "_count")
    moments = (extract.moment(at[0]), extract.moment(at[1])) if at is not None else None
    return since, moments, min(int(count[:9]), COUNT_MAX)


async def _reach(fhir: Fhir, principal: Principal, kind: str | None, id: str | None) -> Reach:
    if kind is None:
        return any_reach(fhir, principal, sorted(definitions().resources))
    check_type(kind)
    if id is None:
        return access.reach(fhir.kit.policy, principal, kind, "s")
    reach = access.reach(fhir.kit.policy, principal, kind, "r")
    row, _ = await looked_up(fhir, reach, kind, id)
    if row is None:
        reach = await access.with_consents(fhir.kit, principal, reach, _ACTION, [f"{kind}/{id}"])
        row, _ = await looked_up(fhir, reach, kind, id)
    if row is None:
        await access.leave_refused(fhir.kit, principal, _ACTION, kind, id)
        raise refused(404, "not-found", f"there is no {kind}/{id} here for this caller")
    return reach


def _entry(base: str, row: Row) -> dict[str, Any]:
    local, method = f"{row['type']}/{row['id']}", row["method"]
    found: dict[str, Any] = {"fullUrl": base + local}
    if row["body"] is not None:
        found["resource"] = orjson.Fragment(row["body"])
    found["request"] = {"method": method, "url": row["type"] if method == "POST" else local}
    status = "204 No Content" if method == "DELETE" else "201 Created" if row["version"] == 1 else "200 OK"
    found["response"] = {
        "status": status,
        "etag": f'W/"{row["version"]}"',
        "lastModified": instant(row["ts"]),
    }
    return found
