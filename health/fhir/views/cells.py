"""One cell of a view's table: a path's value, as the type of its column says.

Dates and times are text as they were written, for their precision is part of them; a complex value is JSON.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from health.fhir.fhirpath import FHIRPathError, Node, Path
from health.fhir.fhirpath.conversions import to_text
from health.fhir.outcome import Refusal, refused
from health.fhir.text import Number

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
WHOLE = frozenset({"integer", "positiveInt", "unsignedInt"})
"""Types of 32 bits."""
TYPES = frozenset(
    {"base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant",
     "integer", "integer64", "markdown", "oid", "positiveInt", "string", "time",
     "unsignedInt", "uri", "url", "uuid"}
)  # fmt: skip
"""Primitive types a column or constant may have."""

_BOUND_32 = range(-(2**31), 2**31)
_BOUNDS = {"boolean": range(2), "integer64": range(-(2**63), 2**63)}

Names = dict[str, list[Node]]
Reader = Callable[[Node, Names], Any]


def reader(path: Path, kind: str, *, many: bool, at: str) -> Reader:
    """What reads a column's cell.

    Args:
        at: the path's place in the view, for what is refused.
    """
    if many:
        return lambda node, names: [_cell(one, kind, at) for one in asked(path, node, names, at)]

    def one(node: Node, names: Names) -> Any:
        found = asked(path, node, names, at)
        if not found:
            return None
        if len(found) > 1:
            words = "more than one value for a cell: say collection, or which of them"
            raise wrong(f"{path.text:.200}: {words}", at)
        return _cell(found[0], kind, at)

    return one


def index(i: int) -> list[Node]:
    """The value of `%rowIndex`."""
    return [Node(i, "System.Integer")]


def is_of(value: Any, kind: str) -> bool:
    """Whether a JSON value is one of the primitive type, as far as JSON tells."""
    if kind == "boolean":
        return type(value) is bool
    if kind in WHOLE or kind == "integer64":
        return type(value) is int
    return isinstance(value, int | float | Decimal) if kind == "decimal" else type(value) is str


def asked(path: Path, node: Node, names: Names, at: str) -> list[Node]:
    """What a path gives; a refusal names the path's place."""
    try:
        return path.within(node, names)
    except FHIRPathError as error:
        raise wrong(f"{path.text:.200}: {error}", at) from error


def _cell(node: Node, kind: str, at: str) -> Any:
    value = node.value
    if value is None:
        return None
    if type(value) is dict:
        if kind in TYPES and kind != "string":
            raise wrong(f"a {node.type} is no {kind}", at)
        return _json(value, at)
    if kind == "decimal" and type(value) is not bool and not isinstance(value, str):
        return float(value)
    if kind == "boolean" or kind in WHOLE or kind == "integer64":
        if not is_of(value, kind):
            raise wrong(f"a {node.type} is no {kind}", at)
        if value not in _BOUNDS.get(kind, _BOUND_32):
            raise wrong(f"a value is out of the bounds of {kind}", at)
        return value
    if kind == "decimal":
        raise wrong(f"a {node.type} is no decimal", at)
    try:
        return value if type(value) is str else to_text(node)
    except ValueError as error:  # Python writes out no number of more than 4,300 digits
        raise wrong("a value is too long to be written", at) from error


def _json(value: Any, at: str) -> str:
    try:
        return orjson.dumps(value, default=_number).decode()
    except TypeError as error:
        raise wrong("a whole number in a value has more than 64 bits", at) from error


def _number(value: Any) -> Any:
    """Decimals as they are written, of a resource or made on the way."""
    return orjson.Fragment(value.literal if isinstance(value, Number) else str(value))


def wrong(words: str, at: str) -> Refusal:
    """A refusal of the view."""
    return refused(422, "invalid", words, at)
