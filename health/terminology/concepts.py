"""The concepts of a code system as rows of the table, whatever they came from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Designation = dict[str, Any]
_ABOVE = frozenset({"parent", "subsumedBy"})
_BELOW = "child"
_ABSTRACT = frozenset({"abstract", "notSelectable"})
_GONE = frozenset({"retired", "inactive"})
ABOVE_MAX = 5_000_000
"""Codes that stand above those of one code system, counted for each; a chain has half its length's square."""


class TooDeep(ValueError):
    """A code system whose codes have too much above them."""


class ConceptRow(NamedTuple):
    """A concept as it is kept (FHIR R4, codesystem.html#concept).

    Attributes:
        n: its place in the code system, from 0 on.
        parents, ancestors: codes right above it, and all that are above it, the nearest first.
        designations: language, value, and use where it has one.
        properties: values by property, but for those that say what is above or below.
    """

    n: int
    code: str
    display: str | None
    parents: list[str]
    ancestors: list[str]
    designations: list[Designation]
    properties: dict[str, list[Any]]
    inactive: bool
    abstract: bool


def ancestors(code: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """All that is above a code, the nearest first; a code that is above itself leads round in a circle."""
    found: dict[str, None] = {}
    waiting = list(parents.get(code, ()))
    for one in waiting:
        if one not in found:
            found[one] = None
            waiting += parents.get(one, ())
    return list(found)


def flattened(code_system: Mapping[str, Any]) -> list[ConceptRow]:
    """The concepts of a CodeSystem resource; a code that stands twice counts once, as it stands first.

    Raises:
        TooDeep: there is more above them than `ABOVE_MAX`.
    """
    concepts: dict[str, Mapping[str, Any]] = {}
    parents: dict[str, list[str]] = defaultdict(list)
    for concept, above in _walked(code_system.get("concept", ()), None):
        code = concept["code"]
        concepts.setdefault(code, concept)
        parents[code] += [above] if above is not None else []
        for name, value in _valued(concept):
            if name in _ABOVE:
                parents[code].append(str(value))
            elif name == _BELOW:
                parents[str(value)].append(code)
    known = {code: [p for p in dict.fromkeys(of) if p in concepts] for code, of in parents.items()}
    rows: list[ConceptRow] = []
    above_all = 0
    for concept in concepts.values():
        rows.append(_row(len(rows), concept, known))
        above_all += len(rows[-1].ancestors)
        if above_all > ABOVE_MAX:
            raise TooDeep(f"more than {ABOVE_MAX:,} codes stand above others")
    return rows


def _walked(
    concepts: Iterable[Mapping[str, Any]], above: str | None
) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    for concept in concepts:
        code = concept.get("code")  # an extension may stand instead, as of every primitive
        if code is not None:
            yield concept, above
        yield from _walked(concept.get("concept", ()), code or above)


def _row(n: int, concept: Mapping[str, Any], above: Mapping[str, Sequence[str]]) -> ConceptRow:
    code, display = concept["code"], concept.get("display")
    designations = [
        {name: one[name] for name in ("language", "use", "value") if name in one}
        for one in concept.get("designation", ())
        if "value" in one
    ]
    properties: dict[str, list[Any]] = defaultdict(list)
    for name, value in _valued(concept):
        if name not in _ABOVE and name != _BELOW:
            properties[name].append(value)
    return ConceptRow(
        n=n,
        code=code,
        display=display,
        parents=list(above.get(code, ())),
        ancestors=[one for one in ancestors(code, above) if one != code],
        designations=designations,
        properties=dict(properties),
        inactive=True in properties.get("inactive", ()) or not _GONE.isdisjoint(_texts(properties, "status")),
        abstract=any(True in properties.get(name, ()) for name in _ABSTRACT),
    )


def _texts(properties: Mapping[str, Sequence[Any]], name: str) -> set[str]:
    return {value for value in properties.get(name, ()) if isinstance(value, str)}


def _valued(concept: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for one in concept.get("property", ()):
        if "code" in one:
            yield from ((one["code"], value) for name, value in one.items() if name.startswith("value"))


def property_types(code_system: Mapping[str, Any]) -> dict[str, str]:
    """The type of each property that a CodeSystem resource declares."""
    declared = code_system.get("property", ())
    return {one["code"]: one["type"] for one in declared if "code" in one and "type" in one}
