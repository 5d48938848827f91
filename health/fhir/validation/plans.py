"""What the walk of `checks` needs to know of a type, put together once: its elements, and its invariants with
what settles them without being run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from health.fhir.definitions import definitions, rules
from health.fhir.fhirpath import Path, compiled, parser

LOOKED_INTO = frozenset({"base64Binary", "xhtml", "dateTime", "instant", "time"})
"""Primitives with a form the schema cannot tell."""

Alternative = tuple[frozenset[str], tuple[tuple[str, ...], ...]]
"""JSON names that must all be absent, and groups of names of each of which one must be there."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule.

    Attributes:
        settled: whichever of these is so, it holds.
    """

    key: str
    human: str
    path: Path
    settled: tuple[Alternative, ...]

    def surely_holds(self, value: dict[str, Any]) -> bool:
        """It holds by what is there and what is not; otherwise it is to be run."""
        names = value.keys()
        for absent, present in self.settled:
            if names.isdisjoint(absent) and all(any(map(value.get, group)) for group in present):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Element:
    """An element under one of its JSON names.

    Attributes:
        name: its own, without the type that a choice's JSON name has.
        plain: a primitive of which nothing is asked.
        targets: types that a reference may lead to, where not any.
        value_set: of its required binding, where that is a closed list the schema does not have.
    """

    name: str
    kind: str
    choice: bool
    plain: bool
    resource: bool
    targets: frozenset[str] | None
    value_set: str | None
    invariants: tuple[Invariant, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A type.

    Attributes:
        elements: by JSON name.
        minimum: elements that must be there, with the name of their companion.
    """

    elements: dict[str, Element]
    minimum: tuple[tuple[str, str], ...]
    invariants: tuple[Invariant, ...]


@cache
def plan(kind: str) -> Plan | None:
    """Of a type with elements; None for a primitive and for what is no type."""
    known = definitions().elements.get(kind)
    if known is None:
        return None
    return Plan(
        {
            name: _element(kind, name, type_.rstrip("*"))
            for name, type_ in known.items()
            if not name.startswith("_")
        },
        tuple((name, f"_{name}") for name in rules().minimum.get(kind, ())),
        _invariants(kind, rules().types.get(kind, ())),
    )


def _element(owner: str, json_name: str, kind: str) -> Element:
    name = _base(json_name)
    url = rules().bindings.get(owner, {}).get(name)
    value_set = url if url in rules().codes else None
    invariants = _invariants(kind, rules().elements.get(owner, {}).get(name, ()))
    resource = kind in {"Resource", "ResourceList"}
    complex = resource or kind in definitions().elements
    return Element(
        name,
        kind,
        json_name in definitions().choices,
        not (complex or kind in LOOKED_INTO or value_set or invariants),
        resource,
        rules().targets.get(owner, {}).get(name),
        value_set,
        invariants,
    )


def _invariants(kind: str, found: Iterable[tuple[str, str, str]]) -> tuple[Invariant, ...]:
    return tuple(
        Invariant(key, human, compiled(text), settled(text, kind))
        for key, human, text in found
        if key[:4] != "txt-"
    )


# What of the focus's own elements makes a condition true: each alternative a set of (name, is it there).
_Literals = frozenset[tuple[str, bool]]
_OF_NOTHING_NOTHING = frozenset({"where", "select", "first", "last", "tail", "ofType", "as", "extension"})


def settled(text: str, kind: str) -> tuple[Alternative, ...]:
    """What is enough for an expression to come out true on a value of this type, by logic alone."""
    known = {_base(json) for json in definitions().elements.get(kind, {})}
    return tuple(
        (
            frozenset(json for name, there in found if not there for json in _json_names(kind, name)),
            tuple(_json_names(kind, name, companions=False) for name, there in sorted(found) if there),
        )
        for found in _making(parser.parsed(text), True)
        if all(name in known for name, _ in found)
    )


def _making(tree: parser.Tree, truth: bool) -> list[_Literals]:
    """What makes it come out as that truth; nothing where only running it can tell."""
    match tree:
        case parser.Binary("or" | "and" as operator, left, right):
            a, b = _making(left, truth), _making(right, truth)
            return a + b if (operator == "or") is truth else [x | y for x, y in product(a, b)]
        case parser.Binary("implies", left, right):
            a, b = _making(left, not truth), _making(right, truth)
            return a + b if truth else [x | y for x, y in product(a, b)]
        case parser.Step(left, parser.Call("not", ())):
            return _making(left, not truth)
        case parser.Step(parser.Member(name), parser.Call("empty" | "exists" as asked, ())):
            return [frozenset({(name, (asked == "exists") is truth)})]
        case parser.Step(path, parser.Call("empty" | "exists" | "hasValue" as asked, _)):
            root = _root(path)
            without = root is not None and (asked == "empty") is truth
            return [frozenset({(str(root), False)})] if without else []
        case _:
            return []


def _root(path: parser.Tree) -> str | None:
    """The element a path begins with, where without it the path leads to nothing."""
    match path:
        case parser.Member(name):
            return name
        case parser.Step(left, parser.Member()) | parser.Index(left, _):
            return _root(left)
        case parser.Step(left, parser.Call(name, _)) if name in _OF_NOTHING_NOTHING:
            return _root(left)
        case _:
            return None


def _json_names(kind: str, name: str, *, companions: bool = True) -> tuple[str, ...]:
    found = [json for json in definitions().elements[kind] if _base(json) == name and json[0] != "_"]
    return (*found, *(f"_{json}" for json in found)) if companions else tuple(found)


def _base(json_name: str) -> str:
    return definitions().choices.get(json_name, (json_name,))[0]
