"""The concepts of a code system as rows of the table, whatever they came from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Designation = dict[str, Any]
_ABOVE = frozenset({"parent", "subsumedBy"})
_BELOW = "child"
_ABSTRACT = frozenset({"abstract", "notSelectable"})
_GONE = frozenset({"retired", "inactive"})


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
    """The concepts of a CodeSystem resource; a code that stands twice counts once, as it stands first."""
    concepts: dict[str, Mapping[str, Any]] = {}
    parents: dict[str, list[str]] = defaultdict(list)
    for concept, above in _walked(code_system.get("concept", ()), None):
        code = concept["code"]
        concepts.setdefault(code, concept)
        parents[code] += [above] if above is not None else []
        for one in concept.get("property", ()):
            if one["code"] in _ABOVE:
                parents[code].append(str(_value(one)))
            elif one["code"] == _BELOW:
                parents[str(_value(one))].append(code)
    known = {code: [p for p in dict.fromkeys(of) if p in concepts] for code, of in parents.items()}
    return [_row(n, concept, known) for n, concept in enumerate(concepts.values())]


def _walked(
    concepts: Iterable[Mapping[str, Any]], above: str | None
) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    for concept in concepts:
        yield concept, above
        yield from _walked(concept.get("concept", ()), concept["code"])


def _row(n: int, concept: Mapping[str, Any], above: Mapping[str, Sequence[str]]) -> ConceptRow:
    code, display = concept["code"], concept.get("display")
    designations = [
        {name: one[name] for name in ("language", "use", "value") if name in one}
        for one in concept.get("designation", ())
    ]
    properties: dict[str, list[Any]] = defaultdict(list)
    for one in concept.get("property", ()):
        if one["code"] not in _ABOVE and one["code"] != _BELOW:
            properties[one["code"]].append(_value(one))
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


def _value(property: Mapping[str, Any]) -> Any:
    return next(value for name, value in property.items() if name.startswith("value"))


def property_types(code_system: Mapping[str, Any]) -> dict[str, str]:
    """The type of each property that a CodeSystem resource declares."""
    return {one["code"]: one["type"] for one in code_system.get("property", ())}
