"""Search as an interaction: who may search, a page of what is found, and the Bundle around it
(FHIR R4 search.html, http.html#search)."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import asyncpg
import orjson

from health import repository
from health.criteria import Criteria, References
from health.fhir import access, search
from health.fhir.bundle import bundle_of
from health.fhir.definitions import definitions
from health.fhir.interactions import Fhir, Reply, check_type
from health.fhir.outcome import Issue, Refusal, outcome, refused
from health.fhir.paging import Pairs, links
from health.fhir.search import Handling, Include, Search, subset
from health.fhir.search.coded import settled_first
from health.keys import reference_key
from health.reaching import Reach
from health.repository import fitting
from services.kit.database import Connection, Row
from services.kit.principals import Principal

_TYPES = "_type"
SEARCH_MS = 10_000
"""A statement of a search that takes longer is given up."""
RETRY_AFTER_S = 30
INCLUDED_MAX = 1000
"""Resources that come along with one page."""
ROUNDS_MAX = 8
"""Steps that `:iterate` goes from what was found."""


async def find(
    fhir: Fhir,
    principal: Principal,
    kind: str | None,
    pairs: Pairs,
    *,
    handling: Handling,
    posted: bool,
    patient: str | None = None,
) -> Reply:
    """A page of a search, as a searchset Bundle.

    Args:
        kind: None searches all types, or those that `_type` says.
        posted: the parameters came in a body (`_search`), where a citizen number may stand.
        patient: id of the Patient in whose compartment is searched.
    """
    path = f"Patient/{patient}/{kind or '*'}" if patient is not None else kind or ""
    given = pairs
    pairs, after = fhir.pages.asked(path, given)
    opened = after is not None
    types, asked_of, reach = _types(fhir, principal, kind, pairs, patient)
    asked = search.parsed(types, asked_of, base=fhir.base, handling=handling)
    if asked.private and not posted and not opened:
        words = f"a citizen number must not stand in a URL: POST the search to {kind or ''}/_search"
        raise refused(400, "security", words, "identifier")
    if patient is not None:
        asked.criteria = _within(asked.criteria, patient)
    names = ("patient", "patient:Patient", *(["_id"] if kind == "Patient" else []))
    named = patients_in([patient] if patient is not None else [v for name, v in pairs if name in names])
    reach = await access.with_consents(fhir.kit, principal, reach, "fhir.search", named)
    found = await _found(fhir, reach, asked, after)
    action = "fhir.count" if found.counted else "fhir.search"
    told = access.asked(path or "*", [pair for pair in asked.understood if not search.holds_number(pair[1])])
    await access.leave(fhir.kit, principal, action, [*found.page, *found.along], resource=told)
    understood = [pair for pair in pairs if pair in asked.understood or pair[0] == _TYPES]
    own = given if opened else [pair for pair in understood if not search.holds_number(pair[1])]
    following = fhir.pages.token(path, understood, found.page[-1]["place"]) if found.more else None
    around = links(fhir.base, path, urlencode(own), following=following)
    return Reply(_searchset(fhir.base, asked, found, around))


# Where and for whom


def _types(
    fhir: Fhir, principal: Principal, kind: str | None, pairs: Pairs, patient: str | None
) -> tuple[tuple[str, ...], Pairs, Reach]:
    """The types that are searched, by what else, and whose resources of them the caller may see.

    Raises:
        Refusal: 404 for what is no type; 400; 403 where a type is asked for that the token is not for.
    """
    known = frozenset(definitions().compartment) if patient is not None else definitions().resources
    if kind is not None:
        check_type(kind)
        if kind not in known:
            raise refused(404, "not-supported", f"no {kind} is in the compartment of a patient")
        return (kind,), pairs, access.reach(fhir.kit.policy, principal, kind, "s")
    said = [one for name, value in pairs if name == _TYPES for one in value.split(",")]
    if unknown := [one for one in said if one not in known]:
        raise refused(400, "value", f"{unknown[0][:40]!r} is no type that can be searched here", _TYPES)
    rest = [pair for pair in pairs if pair[0] != _TYPES]
    if said:
        types = tuple(dict.fromkeys(said))
        reaches = {access.reach(fhir.kit.policy, principal, one, "s") for one in types}
        if len(reaches) > 1:
            raise refused(
                403, "forbidden", "the token is for these types in different ways: search each alone"
            )
        return types, rest, reaches.pop()
    reach = any_reach(fhir, principal, sorted(known))
    return tuple(one for one in sorted(known) if reach.granted.names(one)), rest, reach


def any_reach(fhir: Fhir, principal: Principal, types: Iterable[str]) -> Reach:
    """What the caller may see of the first type that it may see anything of; what it is granted for says of
    all the others."""
    last: Refusal | None = None
    for kind in types:
        try:
            return access.reach(fhir.kit.policy, principal, kind, "s")
        except Refusal as refusal:
            last = refusal
    assert last is not None, "there are types"
    raise last


def _within(criteria: Criteria, patient: str) -> Criteria:
    """Of these only what is in the patient's compartment."""
    hashes = tuple(
        reference_key(kind, name, f"Patient/{patient}")
        for kind in criteria.types
        for name in definitions().compartment[kind]
    )
    return replace(criteria, clauses=(References(hashes), *criteria.clauses))


def patients_in(values: Iterable[str]) -> list[str]:
    """The Patients that values of a search name, as `Patient/id`."""
    return [f"Patient/{one.rpartition('/')[2]}" for value in values for one in value.split(",")]


# What is found


@dataclass(slots=True)
class _Found:
    """
    Attributes:
        along: what is included.
        more: there are further pages.
        cut: more would have been included than goes along with a page.
        counted: nothing but the number was asked for.
    """

    page: list[Row] = field(default_factory=list)
    along: list[Row] = field(default_factory=list)
    total: int | None = None
    more: bool = False
    cut: bool = False
    counted: bool = False


@asynccontextmanager
async def bounded(fhir: Fhir) -> AsyncIterator[Connection]:
    """Reads that are given up when they take too long.

    Raises:
        Refusal: 503, they did.
    """
    try:
        async with fhir.kit.db.read() as db:
            await repository.bound(db, SEARCH_MS)
            yield db
    except asyncpg.QueryCanceledError as error:
        words = "the search takes too long; ask for less, or by a further parameter"
        raise refused(503, "too-costly", words, **{"Retry-After": str(RETRY_AFTER_S)}) from error


async def _found(fhir: Fhir, reach: Reach, asked: Search, after: Sequence[str | None] | None) -> _Found:
    found = _Found(counted=asked.count == 0 or asked.summary == "count")
    criteria = await settled_first(fhir.kit.db, reach, asked.criteria)
    async with bounded(fhir) as db:
        if found.counted or asked.total != "none":
            found.total = await repository.count(db, reach, criteria)
        if not found.counted:
            rows = await repository.search(
                db, reach, criteria, order=asked.order, after=after, limit=asked.count + 1
            )
            found.page = fitting.page(rows, asked.count)
            found.more = len(rows) > len(found.page)
            await _include(db, reach, asked.includes, found)
    return found


async def _include(db: Connection, reach: Reach, includes: Sequence[Include], found: _Found) -> None:
    """What goes along with a page, and with what goes along where that is asked for."""
    fresh = [row["pk"] for row in found.page]
    known = set(fresh)
    room = fitting.ANSWER_BYTES
    for step in range(ROUNDS_MAX):
        new: list[Row] = []
        for include in includes if step == 0 else [one for one in includes if one.again]:
            if fresh:
                rows = await _along(db, reach, include, fresh, room)
                new += [row for row in rows if row["pk"] not in known]
                known.update(row["pk"] for row in rows)
                room -= fitting.size(rows)
        found.along += new
        fresh = [row["pk"] for row in new]
        if len(found.along) > INCLUDED_MAX or any(row["beyond"] for row in new):
            found.along, found.cut = fitting.page(found.along, INCLUDED_MAX), True
            return


async def _along(db: Connection, reach: Reach, include: Include, pks: Sequence[int], room: int) -> list[Row]:
    limit = INCLUDED_MAX + 1
    if include.back:
        return await repository.revincluded(db, reach, pks, keys=include.keys or (), limit=limit, room=room)
    return await repository.included(
        db, reach, pks, keys=include.keys, types=include.types, limit=limit, room=room
    )


# The Bundle


def _searchset(base: str, asked: Search, found: _Found, around: Sequence[dict[str, str]]) -> bytes:
    """The Bundle around the bodies, which go in as they are kept."""
    entries = [_entry(base, row, asked, "match") for row in found.page]
    entries += [_entry(base, row, asked, "include") for row in found.along]
    issues = list(asked.ignored)
    if found.cut:
        words = "more would be included than goes along with a page; the rest are left out"
        issues.append(Issue("incomplete", words, "_include", severity="warning"))
    if issues:
        entries.append({"resource": orjson.Fragment(outcome(issues)), "search": {"mode": "outcome"}})
    total = {} if found.total is None else {"total": found.total}
    return bundle_of("searchset", entries, **total, link=around)


def _entry(base: str, row: Row, asked: Search, mode: str) -> dict[str, object]:
    body = subset.cut(row["type"], row["body"], asked.summary, asked.elements)
    return {
        "fullUrl": f"{base}{row['type']}/{row['id']}",
        "resource": orjson.Fragment(body),
        "search": {"mode": mode},
    }
