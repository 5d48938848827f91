"""FHIRPath's functions of one value: text, mathematics, conversions (N1, sections 5.5 to 5.7)."""

import base64
import binascii
import html
import json
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from health.fhir.fhirpath import moments, values
from health.fhir.fhirpath.nodes import Node, is_of, of_system
from health.fhir.fhirpath.parser import UNITS, FHIRPathError

_PLAIN_MAX = 1000
"""Digits that are written out; a greater or smaller number has an exponent."""
_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?")
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([A-Za-z]+))?")
_TRUTHS = {"true": True, "t": True, "yes": True, "y": True, "1": True, "1.0": True,
           "false": False, "f": False, "no": False, "n": False, "0": False, "0.0": False}  # fmt: skip

Found = Node | None


def _text(node: Found) -> str:
    if node is None or type(node.value) is not str:
        raise FHIRPathError(f"text is wanted, not a {node.type if node is not None else 'nothing'}")
    return node.value


def _whole(node: Node) -> int:
    if type(node.value) is not int:
        raise FHIRPathError(f"a whole number is wanted, not a {node.type}")
    return node.value


def _string(value: str) -> Node:
    return of_system(value, "String")


def _number(value: int | Decimal) -> Node:
    return of_system(value, "Integer" if type(value) is int else "Decimal")


def _of_text(operation: Callable[..., Any], kind: str) -> Callable[..., Found]:
    """A function of text whose arguments are text; without one of them it gives nothing."""

    def run(node: Node, *arguments: Found) -> Found:
        if any(argument is None for argument in arguments):
            return None
        return of_system(operation(_text(node), *map(_text, arguments)), kind)

    return run


@lru_cache(maxsize=256)
def _pattern(text: str) -> "re.Pattern[str]":
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise FHIRPathError(f"{text!r} is no regular expression: {error}") from error


def _replaced(text: str, pattern: str, by: str) -> str:
    if not pattern:
        return text
    # `$1` and `${name}` of FHIRPath are `\g<1>` and `\g<name>` of Python.
    form = re.sub(r"\$(?:(\d+)|\{(\w+)\})", r"\\g<\1\2>", by.replace("\\", r"\\"))
    try:
        return _pattern(pattern).sub(form, text)
    except (re.error, IndexError) as error:
        raise FHIRPathError(f"{by!r} cannot be put in its place: {error}") from error


def _substring(node: Node, start: Found, length: Found = None) -> Found:
    text = _text(node)
    if start is None or not 0 <= _whole(start) < len(text):
        return None
    end = len(text) if length is None else start.value + max(0, _whole(length))
    return _string(text[start.value : end])


def to_text(node: Node) -> str | None:
    """The value as FHIRPath writes it; None for what has no such form."""
    value = node.value
    if type(value) is bool:
        return "true" if value else "false"
    number = values.number(node)
    if number is not None:
        plain = type(number) is Decimal and abs(number.adjusted()) <= _PLAIN_MAX
        return format(number, "f") if plain else str(number)
    if type(value) is str:
        return value
    found = values.quantity(node)
    if found is not None:
        unit = value.get("code") or value.get("unit") or "1"
        return f"{value['value']} {unit}" if unit in UNITS else f"{value['value']} '{unit}'"
    return None


def _to_string(node: Node) -> Found:
    text = to_text(node)
    return None if text is None else _string(text)


def _to_integer(node: Node) -> Found:
    value = node.value
    if type(value) is bool or type(value) is int:
        return _number(int(value))
    return _number(int(value)) if type(value) is str and _INTEGER.fullmatch(value) else None


def _to_decimal(node: Node) -> Found:
    if type(node.value) is bool:
        return _number(Decimal(int(node.value)))
    number = values.number(node)
    if number is not None:
        return _number(Decimal(number))
    text = node.value
    return _number(Decimal(text)) if type(text) is str and _DECIMAL.fullmatch(text) else None


def _to_boolean(node: Node) -> Found:
    value = node.value
    if type(value) is bool:
        return of_system(value, "Boolean")
    number = values.number(node)
    if number is not None:
        return of_system(bool(number), "Boolean") if number in (0, 1) else None
    found = _TRUTHS.get(value.lower()) if type(value) is str else None
    return None if found is None else of_system(found, "Boolean")


def _to_moment(kind: str) -> Callable[[Node], Found]:
    def run(node: Node) -> Found:
        if type(node.value) is not str:
            return None
        text = node.value.partition("T")[0] if kind == "Date" else node.value
        found = of_system(text, kind)
        return None if values.moment(found) is None else found

    return run


def _to_quantity(node: Node) -> Found:
    if is_of(node, "Quantity") or node.type == "System.Quantity":
        return node
    number = values.number(node)
    if number is None and type(node.value) is str:
        found = _QUANTITY.fullmatch(node.value)
        if found is None or (found[3] is not None and found[3] not in UNITS):
            return None
        word = (found[3] or "").removesuffix("s")
        return of_system({"value": Decimal(found[1]), "code": found[2] or word or "1"}, "Quantity")
    if type(node.value) is bool:
        number = Decimal(int(node.value))
    return None if number is None else of_system({"value": number, "code": "1"}, "Quantity")


def _converts(convert: Callable[[Node], Found]) -> Callable[[Node], Found]:
    return lambda node: of_system(convert(node) is not None, "Boolean")


def _of_number(operation: Callable[..., Any]) -> Callable[..., Found]:
    def run(node: Node, *arguments: Found) -> Found:
        numbers = [values.number(one) if one is not None else None for one in (node, *arguments)]
        if any(number is None for number in numbers):
            if all(one is not None for one in arguments):
                raise FHIRPathError(f"a number is wanted, not a {node.type}")
            return None
        try:
            found = operation(*numbers)
        except (InvalidOperation, OverflowError, ValueError):
            return None
        return _number(found if type(found) is int else Decimal(str(found)))

    return run


def _round(value: int | Decimal, places: int = 0) -> Decimal | int:
    found = Decimal(value).quantize(Decimal(1).scaleb(-int(places)), ROUND_HALF_UP)
    return found if places else int(found)


def _power(base: int | Decimal, exponent: int | Decimal) -> Any:
    if type(base) is int and type(exponent) is int and 0 <= exponent <= 1000:
        return base**exponent
    return math.pow(base, exponent)


def _absolute(node: Node) -> Found:
    if values.quantity(node) is None:
        return _magnitude(node)
    number = _magnitude(Node(node.value["value"], "decimal"))
    return Node({**node.value, "value": number.value if number is not None else None}, node.type)


_magnitude = _of_number(abs)


def _boundary(*, high: bool) -> Callable[..., Found]:
    def run(node: Node, precision: Found = None) -> Found:
        return moments.boundary(node, None if precision is None else _whole(precision), high=high)

    return run


def _precision(node: Node) -> Found:
    found = moments.precision(node)
    return None if found is None else _number(found)


def _comparable(node: Node, other: Found) -> Found:
    a, b = values.quantity(node), None if other is None else values.quantity(other)
    return None if a is None or b is None else of_system(a[1] == b[1], "Boolean")


def _escape(node: Node, form: Found) -> Found:
    match _text(form):
        case "html":
            return _string(html.escape(_text(node)))
        case "json":
            return _string(json.dumps(_text(node), ensure_ascii=False)[1:-1])
        case _:
            return None


def _unescape(node: Node, form: Found) -> Found:
    match _text(form):
        case "html":
            return _string(html.unescape(_text(node)))
        case "json":
            try:
                quoted = re.sub(r'(?<!\\)"', r"\"", _text(node))
                found = json.loads(f'"{quoted}"', strict=False)
                found.encode()  # which half a surrogate pair has no form for
                return _string(found)
            except ValueError:
                return None
        case _:
            return None


def _encode(node: Node, form: Found) -> Found:
    raw = _text(node).encode()
    match _text(form):
        case "base64":
            return _string(base64.b64encode(raw).decode())
        case "urlbase64":
            return _string(base64.urlsafe_b64encode(raw).decode())
        case "hex":
            return _string(raw.hex())
        case "url":
            return _string(quote(_text(node), safe=""))
        case _:
            return None


def _decode(node: Node, form: Found) -> Found:
    text = _text(node)
    try:
        match _text(form):
            case "base64":
                return _string(base64.b64decode(text, validate=True).decode())
            case "urlbase64":
                return _string(base64.urlsafe_b64decode(text).decode())
            case "hex":
                return _string(bytes.fromhex(text).decode())
            case "url":
                return _string(unquote(text))
            case _:
                return None
    except (binascii.Error, ValueError):
        return None


_CONVERSIONS: dict[str, Callable[[Node], Found]] = {
    "String": _to_string,
    "Integer": _to_integer,
    "Decimal": _to_decimal,
    "Boolean": _to_boolean,
    "Date": _to_moment("Date"),
    "DateTime": _to_moment("DateTime"),
    "Time": _to_moment("Time"),
    "Quantity": _to_quantity,
}
OF_ONE: dict[str, tuple[int, int, Callable[..., Found]]] = {
    **{f"to{kind}": (0, 1 if kind == "Quantity" else 0, found) for kind, found in _CONVERSIONS.items()},
    **{f"convertsTo{kind}": (0, 0, _converts(found)) for kind, found in _CONVERSIONS.items()},
    "indexOf": (1, 1, _of_text(lambda text, part: text.find(part), "Integer")),
    "lastIndexOf": (1, 1, _of_text(lambda text, part: text.rfind(part), "Integer")),
    "substring": (1, 2, _substring),
    "startsWith": (1, 1, _of_text(lambda text, part: text.startswith(part), "Boolean")),
    "endsWith": (1, 1, _of_text(lambda text, part: text.endswith(part), "Boolean")),
    "contains": (1, 1, _of_text(lambda text, part: part in text, "Boolean")),
    "upper": (0, 0, _of_text(str.upper, "String")),
    "lower": (0, 0, _of_text(str.lower, "String")),
    "trim": (0, 0, _of_text(str.strip, "String")),
    "length": (0, 0, _of_text(len, "Integer")),
    "replace": (2, 2, _of_text(str.replace, "String")),
    "matches": (1, 1, _of_text(lambda text, p: _pattern(p).search(text) is not None, "Boolean")),
    "matchesFull": (1, 1, _of_text(lambda text, p: _pattern(p).fullmatch(text) is not None, "Boolean")),
    "replaceMatches": (2, 2, _of_text(_replaced, "String")),
    "encode": (1, 1, _encode),
    "decode": (1, 1, _decode),
    "escape": (1, 1, _escape),
    "unescape": (1, 1, _unescape),
    "lowBoundary": (0, 1, _boundary(high=False)),
    "highBoundary": (0, 1, _boundary(high=True)),
    "precision": (0, 0, _precision),
    "comparable": (1, 1, _comparable),
    "abs": (0, 0, _absolute),
    "ceiling": (0, 0, _of_number(math.ceil)),
    "floor": (0, 0, _of_number(math.floor)),
    "truncate": (0, 0, _of_number(math.trunc)),
    "exp": (0, 0, _of_number(math.exp)),
    "ln": (0, 0, _of_number(math.log)),
    "log": (1, 1, _of_number(math.log)),
    "sqrt": (0, 0, _of_number(math.sqrt)),
    "power": (1, 1, _of_number(_power)),
    "round": (0, 1, _of_number(_round)),
}  # fmt: skip
