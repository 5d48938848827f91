"""What a value set says it consists of (FHIR R4, valueset.html#compositions), made ready to be asked."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from health.reaching import Reach
from health.repository import terminology as kept
from health.repository.terminology import Composed, Filter, Part
from health.terminology.concepts import TooDeep, flattened, property_types
from services.kit.database import Connection, Row

DEPTH_MAX = 20
"""Value sets inside of value sets."""
PARTS_MAX = 300
REGEX_MAX = 200
IMPLICIT = "?fhir_vs"
"""`SYSTEM?fhir_vs` is all of a code system, `SYSTEM?fhir_vs=isa/CODE` a code and what is below it
(FHIR R4, snomedct.html#implicit; here of any code system)."""
_TREE = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})
_PLAIN = frozenset({"=", "in", "not-in", "regex", "exists"})
_OPS: Mapping[str, frozenset[str]] = {
    "concept": _TREE | _PLAIN,
    "code": _TREE | _PLAIN,
    "display": _PLAIN,
    "inactive": _PLAIN,
    "abstract": _PLAIN,
    "parent": frozenset({"=", "in", "exists"}),
    "child": frozenset({"=", "in", "exists"}),
}


class TerminologyError(Exception):
    """A question that cannot be answered, in words.

    Attributes:
        status: as HTTP has it.
        code: as FHIR's issue-type has it.
    """

    status = 422
    code = "not-supported"


class NotKnown(TerminologyError):
    """There is no such value set, code system or code here."""

    status, code = 404, "not-found"


class NotLoaded(TerminologyError):
    """It rests on what is not loaded here."""

    code = "not-found"


class TooCostly(TerminologyError):
    """It comes to more than an answer can hold."""

    code = "too-costly"


class NotUnderstood(TerminologyError):
    """It says something that cannot be, or cannot be followed here."""


@dataclass(frozen=True, slots=True)
class System:
    """A code system that can be asked."""

    pk: int
    url: str
    version: str
    title: str
    language: str
    content: str
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A value set as it was found."""

    url: str
    version: str
    title: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(slots=True)
class Terminology:
    """What one caller may use of code systems and value sets, for the time of one question.

    Attributes:
        versions: which version of a code system is meant where none is said, by its URL.
    """

    db: Connection
    reach: Reach
    versions: Mapping[str, str] = field(default_factory=dict)
    _systems: dict[tuple[str, str | None], System | None] = field(default_factory=dict)
    _parts: int = 0

    async def system(self, url: str, version: str | None = None) -> System | None:
        """A code system: the caller's own resource before what is loaded for everybody, the newest first."""
        version = version or self.versions.get(url)
        if (url, version) not in self._systems:
            row = await self._stored(url, version) or await kept.loaded(self.db, url, version)
            self._systems[url, version] = System(**row) if row is not None else None
        return self._systems[url, version]

    async def known_system(self, url: str, version: str | None = None) -> System:
        """The same. Raises NotKnown."""
        found = await self.system(url, version)
        if found is None:
            of = f" of version {version}" if version else ""
            raise NotKnown(f"the code system {url}{of} is not loaded here")
        return found

    async def _stored(self, url: str, version: str | None) -> Row | None:
        resource = await kept.stored(self.db, self.reach, "CodeSystem", url, version)
        return await self._read(resource) if resource is not None else None

    async def system_of(self, resource: Row) -> System:
        """The code system that a CodeSystem resource (pk, version, body) holds. Raises NotLoaded."""
        row = await self._read(resource)
        if row is None:
            raise NotLoaded("this CodeSystem names no concepts of its own")
        return System(**row)

    async def _read(self, resource: Row) -> Row | None:
        """Its concepts are put into the table when they are asked for first."""
        pk, number = resource["pk"], resource["version"]
        found = await kept.kept_from(self.db, pk, number)
        if found is not None:
            return found
        body = orjson.loads(resource["body"])
        if not body.get("concept"):
            return None
        try:
            rows = await asyncio.to_thread(flattened, body)
        except TooDeep as error:
            raise TooCostly(f"{body.get('url', 'the code system')}: {error}") from error
        about = {
            "url": body.get("url", ""),
            "version": body.get("version", ""),
            "title": body.get("title") or body.get("name") or body.get("url", ""),
            "language": body.get("language") or "en",
            "content": body.get("content", ""),
            "properties": property_types(body),
        }
        await kept.keep_stored(self.db, pk, number, about, rows)
        return await kept.kept_from(self.db, pk, number)

    async def value_set(self, canonical: str, version: str | None = None) -> ValueSet:
        """A value set by its URL, which may carry `|version`. Raises NotKnown."""
        url, _, said = canonical.partition("|")
        version = said or version
        system, implicit, below = url.partition(IMPLICIT)
        if implicit:
            return _implicit(await self.known_system(system, version), url, below)
        resource = await kept.stored(self.db, self.reach, "ValueSet", url, version)
        if resource is not None:
            return of_resource(orjson.loads(resource["body"]))
        row = await kept.value_set(self.db, url, version)
        if row is None:
            raise NotKnown(f"there is no value set {canonical} here")
        return ValueSet(**row)

    async def composed(self, value_set: ValueSet, above: Sequence[str] = ()) -> Composed:
        """What it consists of.

        Raises:
            NotLoaded: a code system it rests on is not loaded.
            NotUnderstood: a filter that cannot be, value sets that lead round in a circle.
            TooCostly: it has too many parts.
        """
        if value_set.url and value_set.url in above:
            raise NotUnderstood(f"the value set {value_set.url} includes itself")
        if len(above) > DEPTH_MAX:
            raise TooCostly(f"value sets are nested deeper than {DEPTH_MAX} levels")
        above = (*above, value_set.url)
        compose = value_set.body.get("compose")
        if compose is None:
            return _expanded(value_set)
        return Composed(
            include=tuple([await self._part(value_set, one, above) for one in compose.get("include", ())]),
            exclude=tuple([await self._part(value_set, one, above) for one in compose.get("exclude", ())]),
            active_only=compose.get("inactive") is False,
        )

    async def _part(self, of: ValueSet, said: Mapping[str, Any], above: Sequence[str]) -> Part:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise TooCostly(f"the value set {of.url} has more than {PARTS_MAX} parts")
        within = [
            await self.composed(await self._included(of, url), above)
            for url in said.get("valueSet", ())
            if url is not None
        ]
        url = said.get("system")
        if url is None:
            if not within:
                raise NotUnderstood("an include names a code system or value sets")
            return Part("", "", None, within=tuple(within))
        system = await self.system(url, said.get("version"))
        filters = tuple(_filter(one, system) for one in said.get("filter", ()) if system is not None)
        for one in filters:
            if one.op == "regex" and not await kept.is_regex(self.db, one.value):
                raise NotUnderstood(f"the regex {one.value!r} is no regular expression that is known here")
        listed = _listed(said["concept"]) if "concept" in said else None
        if system is None and listed is None:
            version = said.get("version") or self.versions.get(url)
            of_version = f" of version {version}" if version else ""
            words = (
                f"{of.title or of.url} rests on the code system {url}{of_version}, which is not loaded here"
            )
            raise NotLoaded(words)
        return Part(
            url=url,
            version=system.version if system is not None else said.get("version", ""),
            system=system.pk if system is not None else None,
            whole=system is not None and system.content == "complete",
            listed=listed,
            filters=filters,
            within=tuple(within),
        )

    async def _included(self, of: ValueSet, url: str) -> ValueSet:
        try:
            return await self.value_set(url)
        except NotKnown as error:
            raise NotLoaded(f"{of.title or of.url} includes the value set {url}: {error}") from error


def of_resource(body: Mapping[str, Any]) -> ValueSet:
    """A ValueSet resource as it was sent or stored."""
    title = body.get("title") or body.get("name") or ""
    return ValueSet(body.get("url", ""), body.get("version", ""), title, body)


def _implicit(system: System, url: str, below: str) -> ValueSet:
    part: dict[str, Any] = {"system": system.url, "version": system.version}
    if below:
        kind, _, code = below.partition("/")
        if kind != "=isa" or not code:
            raise NotKnown(f"{url}: only ?fhir_vs and ?fhir_vs=isa/CODE are known here")
        part["filter"] = [{"property": "concept", "op": "is-a", "value": code}]
    return ValueSet(url, system.version, system.title, {"compose": {"include": [part]}})


def _listed(concepts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    said = ("code", "display", "designation")
    return [{name: one[name] for name in said if name in one} for one in concepts if "code" in one]


def _expanded(value_set: ValueSet) -> Composed:
    """A value set that holds what it comes to instead of saying how."""
    contains = list(_contained(value_set.body.get("expansion", {}).get("contains", ())))
    if not contains:
        raise NotUnderstood("the value set has neither a compose nor an expansion")
    by_system: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in contains:
        by_system.setdefault((one.get("system", ""), one.get("version", "")), []).append(one)
    return Composed(
        tuple(Part(url, version, None, listed=_listed(of)) for (url, version), of in by_system.items())
    )


def _contained(items: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for one in items:
        if "code" in one and not one.get("abstract"):
            yield one
        yield from _contained(one.get("contains", ()))


def _filter(said: Mapping[str, Any], system: System) -> Filter:
    property, op, value = (str(said.get(name, "")) for name in ("property", "op", "value"))
    taken = _OPS.get(property) or (_PLAIN if property in system.properties else frozenset())
    if not taken:
        raise NotUnderstood(f"{system.url} has no property {property!r} to filter by")
    if op not in taken:
        raise NotUnderstood(f"{property} is not filtered by {op!r} here; {', '.join(sorted(taken))} are")
    if op == "regex" and len(value) > REGEX_MAX:
        raise NotUnderstood(f"a regex has at most {REGEX_MAX} characters here")
    return Filter(property, op, value)
