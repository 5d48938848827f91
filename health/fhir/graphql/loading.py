"""What a query needs from the store, a statement or two for each level of references and searches in it."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from health import keys, repository
from health.criteria import References
from health.fhir import access, custom, references, search, text
from health.fhir.graphql.filters import as_text
from health.fhir.graphql.query import Asked, Field, too_costly, understood, wrong
from health.fhir.graphql.rendering import AtHand, Found, Resource, Wanted, rendered
from health.fhir.interactions import Fhir
from health.fhir.outcome import Refusal, refused
from health.fhir.search import Search
from health.fhir.search.coded import settled_first
from health.fhir.searching import bounded, patients_in
from health.reaching import Reach
from health.repository import fitting
from services.kit.database import Connection, Row
from services.kit.principals import Principal

LOADED_MAX = 2000
"""Resources one query may load."""
LISTED_MAX = 500
"""Resources of one list that says no `_count`."""
SEARCHES_MAX = 20
REFUSED_MAX = 20
"""So many resources that the caller may not see are put on record of one query."""
_NO_CRITERIA = frozenset({"_reference", "_cursor", "fhirpath"})
_SHAPES = frozenset({"_count", "_sort"})


async def answered(
    fhir: Fhir, who: Principal, asked: Asked, *, root: str | None, posted: bool
) -> dict[str, Any]:
    """The data a query asks for.

    Args:
        root: `Type/id` of the resource it is about.
        posted: it came in a body, where a citizen number may stand.

    Raises:
        Refusal: the query is wrong, asks for too much, or for what is not there for this caller.
    """
    query = understood(asked)
    loading = _Loading(fhir, who, query, posted=posted)
    at_hand = AtHand(reads={root} if root else set())
    if asked.root:
        access.reach(fhir.kit.policy, who, asked.root, "r")
    while True:
        await loading.load(at_hand)
        about = at_hand.read[root] if root else None
        if root and about is None:
            await loading.attempted(at_hand)
            raise refused(404, "not-found", f"there is no {root} here for this caller")
        try:
            output = await asyncio.to_thread(rendered, query, at_hand, about)
        except Refusal:
            await loading.attempted(at_hand)
            raise
        if not at_hand.reads and not at_hand.searches:
            path = f"{root}/$graphql" if root else "$graphql"
            await access.leave(fhir.kit, who, "fhir.read", list(loading.shown.values()), resource=path)
            return output


@dataclass(frozen=True, slots=True)
class _Search:
    """A search of the query.

    Attributes:
        pairs: it, as parameters.
        after: place of the last one seen before this page; `offset`, how many were.
        limit: how many are wanted; None for all there are.
    """

    asked: Search
    reach: Reach
    pairs: tuple[tuple[str, str], ...]
    limit: int | None
    after: Any = None
    offset: int = 0


class _Loading:
    """
    Attributes:
        shown: what was loaded, by key.
    """

    def __init__(self, fhir: Fhir, who: Principal, query: Sequence[Field], *, posted: bool) -> None:
        self._fhir = fhir
        self._who = who
        self._posted = posted
        self._searches: dict[int, _Search] = {}
        self.shown: dict[int, Row] = {}
        for of in _all(query):
            if of.kind == "read":
                access.reach(fhir.kit.policy, who, of.type, "r")
                if not references.LOCAL.fullmatch(f"{of.type}/{as_text(of.arguments['id'])}"):
                    raise wrong("no resource has such an id", of.where)
            elif of.kind in {"list", "connection"}:
                if len(self._searches) == SEARCHES_MAX:
                    raise too_costly(f"more than {SEARCHES_MAX} searches in one query")
                self._searches[id(of)] = self._search(of)

    def _search(self, of: Field) -> _Search:
        reach = access.reach(self._fhir.kit.policy, self._who, of.type, "s")
        if "_cursor" in of.arguments:
            return self._continued(of, reach)
        pairs = tuple(_pairs(of))
        asked = search.parsed(of.type, pairs, base=self._fhir.base)
        if asked.private and not self._posted:
            raise wrong("a citizen number must not stand in a URL: POST the query", of.where, code="security")
        if "_reference" in of.arguments:
            _reference_keys(of, "")
        counted = "_count" in of.arguments or of.kind == "connection"
        return _Search(asked, reach, pairs, asked.count if counted else None)

    def _continued(self, of: Field, reach: Reach) -> _Search:
        if of.kind != "connection" or set(of.arguments) != {"_cursor"}:
            raise wrong("_cursor stands alone, at a Connection at the top", of.where)
        pairs, (offset, after) = self._fhir.pages.opened(of.name, as_text(of.arguments["_cursor"]))
        asked = search.parsed(of.type, pairs, base=self._fhir.base)
        return _Search(asked, reach, tuple(pairs), asked.count, after, offset)

    async def load(self, at_hand: AtHand) -> None:
        """Brings what is wanted."""
        reads, searches = at_hand.reads, at_hand.searches
        at_hand.reads, at_hand.searches = set(), {}
        if reads:
            rows = await self._read(reads)
            at_hand.read |= dict.fromkeys(reads) | await asyncio.to_thread(_parsed, rows)
        of_field: dict[int, list[Wanted]] = {}
        for wanted in searches:
            of_field.setdefault(wanted[0], []).append(wanted)
        for found in of_field.values():
            at_hand.found |= await self._found(searches[found[0]], found)

    async def _read(self, locals: Iterable[str]) -> list[Row]:
        by_type: dict[str, list[str]] = {}
        for local in locals:
            by_type.setdefault(local.partition("/")[0], []).append(local)
        by_reach: dict[Reach, list[str]] = {}
        for kind, found in by_type.items():
            try:
                by_reach.setdefault(access.reach(self._fhir.kit.policy, self._who, kind, "r"), []).extend(
                    found
                )
            except Refusal:
                continue  # what the token is not for is not there
        rows: list[Row] = []
        for reach, found in by_reach.items():
            rows += await self._seen(reach, found)
        self._note(rows)
        return rows

    async def _seen(self, reach: Reach, locals: list[str]) -> list[Row]:
        async with bounded(self._fhir) as db:
            rows = await repository.resolved(db, reach, locals)
        if missing := sorted(set(locals) - {_local(row) for row in rows}):
            further = await access.with_consents(self._fhir.kit, self._who, reach, "fhir.read", missing)
            if further.consented:
                async with bounded(self._fhir) as db:
                    rows += await repository.resolved(db, further, missing)
        return rows

    async def _found(self, of: Field, wanted: Sequence[Wanted]) -> dict[Wanted, Found]:
        by = self._searches[id(of)]
        patients = [local for _, local in wanted if local.startswith("Patient/")]
        patients += patients_in(value for name, value in by.pairs if name in {"patient", "subject"})
        by = replace(
            by,
            reach=await access.with_consents(self._fhir.kit, self._who, by.reach, "fhir.search", patients),
        )
        criteria = await settled_first(self._fhir.kit.db, by.reach, by.asked.criteria)
        by = replace(by, asked=replace(by.asked, criteria=criteria))
        async with bounded(self._fhir) as db:
            if len(wanted) == 1:
                return {wanted[0]: await self._one(db, of, by, wanted[0][1])}
            return await self._many(db, of, by, wanted)

    async def _one(self, db: Connection, of: Field, by: _Search, local: str) -> Found:
        criteria, pairs = by.asked.criteria, by.pairs
        if local:
            referring = References(tuple(_reference_keys(of, local)))
            criteria = replace(criteria, clauses=(referring, *criteria.clauses))
            pairs = (*pairs, (_reference_name(of), local))
        limit = LISTED_MAX if by.limit is None else by.limit
        rows = await repository.search(
            db, by.reach, criteria, order=by.asked.order, after=by.after, limit=limit + 1
        )
        found = await self._listed(of, by, rows)
        if of.kind == "connection":
            if any(one.name == "count" for one in of.fields):
                found.total = await repository.count(db, by.reach, criteria)
            found.offset, found.page_size = by.offset, limit
            found.first = self._fhir.pages.token(of.name, pairs, [0, None])
            if len(rows) > limit:
                place = [by.offset + limit, rows[limit - 1]["place"]] if limit else [by.offset, by.after]
                found.next = self._fhir.pages.token(of.name, pairs, place)
        return found

    async def _many(
        self, db: Connection, of: Field, by: _Search, wanted: Sequence[Wanted]
    ) -> dict[Wanted, Found]:
        if of.kind == "connection" or by.asked.order:
            raise wrong("inside of several resources, ask for a List, and without _sort", of.where)
        criteria = by.asked.criteria
        hashes = [(nth, key) for nth, (_, local) in enumerate(wanted) for key in _reference_keys(of, local)]
        limit = LISTED_MAX + 1 if by.limit is None else by.limit
        # What refers to one by several keys comes as often.
        most = (LOADED_MAX + 1) * len(hashes) // len(wanted)
        rows = await repository.referring(db, by.reach, criteria, hashes, limit=limit, most=most)
        found: dict[int, dict[int, Row]] = {nth: {} for nth in range(len(wanted))}
        for row in rows:
            found[row["nth"]][row["pk"]] = row
        if sum(map(len, found.values())) > LOADED_MAX:
            raise too_costly(f"more than {LOADED_MAX} resources would be loaded")
        return {
            one: await self._listed(of, by, sorted(found[nth].values(), key=lambda row: row["pk"]))
            for nth, one in enumerate(wanted)
        }

    async def _listed(self, of: Field, by: _Search, rows: Sequence[Row]) -> Found:
        if by.limit is None and len(rows) > LISTED_MAX:
            raise too_costly(f"{of.where}: more than {LISTED_MAX} match; ask for {of.type}Connection")
        shown = rows[: by.limit]
        self._note(shown)
        return Found(list((await asyncio.to_thread(_parsed, shown)).values()))

    def _note(self, rows: Sequence[Row]) -> None:
        self.shown |= {row["pk"]: row for row in rows}
        if len(self.shown) > LOADED_MAX:
            raise too_costly(f"more than {LOADED_MAX} resources would be loaded")
        beyond = any(row["beyond"] for row in rows)
        if beyond or fitting.size(self.shown.values()) > fitting.ANSWER_BYTES:
            raise too_costly(f"more than {fitting.ANSWER_BYTES} bytes would be loaded")

    async def attempted(self, at_hand: AtHand) -> None:
        """The leaves of what was asked for and may not be seen."""
        missing = [local for local, found in at_hand.read.items() if found is None]
        for local in missing[:REFUSED_MAX]:
            kind, _, id = local.partition("/")
            await access.leave_refused(self._fhir.kit, self._who, "fhir.read", kind, id)


def _all(fields: Iterable[Field]) -> Iterator[Field]:
    for one in fields:
        yield one
        yield from _all(one.fields)


def _local(row: Row) -> str:
    return f"{row['type']}/{row['id']}"


def _parsed(rows: Iterable[Row]) -> dict[str, Resource]:
    return {_local(row): text.parsed(row["body"]) for row in rows}


def _pairs(of: Field) -> Iterator[tuple[str, str]]:
    """The arguments of a search as its parameters: names have `_` for `-`, alternatives are lists."""
    names = {name.replace("-", "_"): name for name in custom.parameters_of(of.type)}
    for name, value in of.arguments.items():
        if name in _NO_CRITERIA:
            continue
        if name in _SHAPES:
            yield name, as_text(value)
        elif name in names:
            values = value if isinstance(value, list) else [value]
            yield names[name], ",".join(as_text(one).replace(",", "\\,") for one in values)
        else:
            raise wrong(f"{of.name} has no argument {name!r}", of.where, code="not-supported")


def _reference_name(of: Field) -> str:
    return as_text(of.arguments["_reference"]).replace("_", "-")


def _reference_keys(of: Field, local: str) -> list[int]:
    """The keys under which resources stand that refer to this one by the search parameter."""
    name = _reference_name(of)
    parameter = custom.parameters_of(of.type).get(name)
    if parameter is None or parameter.kind != "reference":
        raise wrong(f"{of.type} has no reference parameter {name!r}", of.where)
    return [keys.reference_key(of.type, stored, local) for stored in parameter.stored]
