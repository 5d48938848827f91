"""Search expressions as plain paths through JSON, wherever they are no more than that.

`Patient.telecom.where(system = 'email')` and `(Observation.value as Quantity)` are names to follow and a
condition or two: nearly every parameter of FHIR R4 is. They need no engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from health.fhir.definitions import definitions
from health.fhir.fhirpath import FHIRPathError, Path, compiled, parser
from health.fhir.fhirpath.nodes import json_names


@dataclass(frozen=True, slots=True)
class Equals:
    """`where(name = 'value')`."""

    name: str
    value: str

    def holds(self, node: Any) -> bool:
        return type(node) is dict and node.get(self.name) == self.value


@dataclass(frozen=True, slots=True)
class LeadsTo:
    """`where(resolve() is Type)`, as the reference itself says."""

    type: str

    def holds(self, node: Any) -> bool:
        if type(node) is not dict:
            return False
        steps = str(node.get("reference", "")).partition("/_history/")[0].split("/")
        return (steps[-2] if len(steps) > 1 else node.get("type")) == self.type


Step = str | Equals | LeadsTo


@dataclass(frozen=True, slots=True)
class Way:
    """A path from a resource (or from where a composite stands): what to follow, and the data type there."""

    steps: tuple[Step, ...]
    type: str


@lru_cache(maxsize=4096)
def ways(kind: str, expression: str) -> tuple[Way | Path, ...]:
    """Where an expression leads, from a node of this type; a Path where only the engine can say.

    Raises:
        FHIRPathError: it is no FHIRPath, or names an element that the type has not.
    """
    return tuple(_alternatives(kind, parser.parsed(expression), expression))


def _alternatives(kind: str, tree: parser.Tree, expression: str) -> Iterator[Way | Path]:
    try:
        found = _united(kind, tree)
    except _NotPlain:
        yield compiled(expression)
        return
    if not found:
        raise FHIRPathError(f"{expression} leads nowhere in a {kind}")
    yield from found


class _NotPlain(Exception):
    pass


def _united(kind: str, tree: parser.Tree) -> list[Way]:
    """Without what stands twice, as a union is."""
    if isinstance(tree, parser.Binary) and tree.operator == "|":
        return list(dict.fromkeys([*_united(kind, tree.left), *_united(kind, tree.right)]))
    return _followed(tree, [Way((), kind)])


def _followed(tree: parser.Tree, at: list[Way]) -> list[Way]:
    match tree:
        case parser.Member(name):
            return _member(name, at)
        case parser.Step(left, right):
            return _followed(right, _followed(left, at))
        case parser.OfType("as", left, kind):
            return _cast(_followed(left, at), kind)
        case parser.Call("as" | "ofType", (parser.Member(kind),)):
            return _cast(at, kind)
        case parser.Call("where", (condition,)):
            step = _condition(condition)
            return [Way((*way.steps, step), way.type) for way in at]
        case _:
            raise _NotPlain


def _member(name: str, at: list[Way]) -> list[Way]:
    if name[:1].isupper() and all(not way.steps for way in at):
        return [way for way in at if name in (way.type, "Resource", "DomainResource")]
    found = [
        Way((*way.steps, json_name), kind) for way in at for json_name, kind in json_names(way.type, name)
    ]
    if any(way.type == "Resource" for way in found):
        raise _NotPlain
    return found


def _cast(found: list[Way], kind: str) -> list[Way]:
    return [way for way in found if way.type == kind]


def _condition(tree: parser.Tree) -> Step:
    match tree:
        case parser.Binary("=", parser.Member(name), parser.Literal("String", value)):
            return Equals(name, value)
        case parser.OfType("is", parser.Call("resolve", ()), kind) if kind in definitions().resources:
            return LeadsTo(kind)
        case _:
            raise _NotPlain
