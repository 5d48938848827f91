"""Equality, equivalence and order of FHIRPath values (N1, sections 6.1 and 6.2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from health.fhir.fhirpath.nodes import Node, is_of
from health.fhir.fhirpath.parser import FHIRPathError
from health.fhir.ucum import UCUM, canonical

_DATES = frozenset({"date", "dateTime", "instant", "System.Date", "System.DateTime"})
_TIMES = frozenset({"time", "System.Time"})
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
    r"(?:T(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?(Z|[+-]\d\d:\d\d)?)?)?"
)
_TIME = re.compile(r"T?(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?")
# Years and months are of no fixed length; shorter calendar units are those of UCUM (N1, section 6.1.1).
_MONTHS = {"year": 12, "month": 1}
_OF_UCUM = {
    "week": "wk",
    "day": "d",
    "hour": "h",
    "minute": "min",
    "second": "s",
    "millisecond": "ms",
}
_MEANS = {"a": "year", "mo": "month"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date or time as precisely as it was written: as many fields as were said."""

    fields: tuple[Decimal, ...]
    zone: timedelta | None
    clock: bool = False

    def at_utc(self) -> "Moment":
        """The same instant in UTC; without a zone or hours it stays what it is."""
        if self.zone is None or len(self.fields) < 4:
            return self
        year, month, day, hour, minute = [*(int(part) for part in self.fields[:5]), 0][:5]
        # The calendar is the same every 400 years: in the middle of it no zone leads past its ends.
        here = datetime(2000 + year % 400, month, day, hour, minute) - self.zone  # noqa: DTZ001
        moved = (year - year % 400 + here.year - 2000, here.month, here.day, here.hour, here.minute)
        return Moment((*map(Decimal, moved), *self.fields[5:])[: len(self.fields)], timedelta(0))


def number(node: Node) -> int | Decimal | None:
    """The node's value where that is a number."""
    value = node.value
    if type(value) is int or type(value) is Decimal:
        return value
    if isinstance(value, float):
        return Decimal(getattr(value, "literal", None) or repr(value))
    return None


def is_text(node: Node) -> bool:
    """Its value is a text and nothing else: among such, what is equal is the same."""
    return type(node.value) is str and node.type not in _DATES and node.type not in _TIMES


def moment(node: Node) -> Moment | None:
    """The node's value where that is a date or a time."""
    if type(node.value) is not str:
        return None
    if node.type in _DATES:
        found = _DATE.fullmatch(node.value)
    elif node.type in _TIMES:
        found = _TIME.fullmatch(node.value)
        if found is not None:
            return Moment(_fields(found.groups()), None, clock=True)
    else:
        return None
    if found is None:
        return None
    *fields, zone = found.groups()
    return Moment(_fields(fields), _offset(zone))


def _fields(parts: Sequence[str | None]) -> tuple[Decimal, ...]:
    return tuple(Decimal(part) for part in parts if part is not None)


def _offset(zone: str | None) -> timedelta | None:
    if zone is None:
        return None
    if zone == "Z":
        return timedelta(0)
    sign = -1 if zone[0] == "-" else 1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))


def quantity(node: Node, *, loose: bool = False) -> tuple[Decimal, str] | None:
    """Value and unit, in the base units of UCUM or in calendar months; a unit that is neither is left alone.

    Args:
        loose: UCUM's mean years and months are taken for the calendar's.
    """
    if type(node.value) is not dict or not (is_of(node, "Quantity") or node.type == "System.Quantity"):
        return None
    said = number(Node(node.value.get("value"), "decimal"))
    if said is None:
        return None
    value, unit = Decimal(said), node.value.get("code") or node.value.get("unit") or "1"
    unit = _MEANS.get(unit, unit) if loose else unit
    if unit in _MONTHS:
        return value * _MONTHS[unit], "month"
    if node.value.get("system", UCUM) != UCUM:
        return value, unit
    return canonical(value, _OF_UCUM.get(unit, unit)) or (value, unit)


def equal(left: Sequence[Node], right: Sequence[Node]) -> bool | None:
    """`=`: None where nothing can be said."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    answers = [_equal(a, b) for a, b in zip(left, right, strict=True)]
    return None if None in answers else all(answers)


def _equal(a: Node, b: Node) -> bool | None:
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return x == y
    p, q = quantity(a), quantity(b)
    if p is not None and q is not None:
        return p == q if p[1] == q[1] else None
    m, n = _moments(a, b)
    if m is not None and n is not None:
        if m.clock != n.clock:
            return False
        found = _ordered(m, n)
        return None if found is None else found == 0
    return same(a.value, b.value)


def _moments(a: Node, b: Node) -> tuple[Moment | None, Moment | None]:
    """A string next to a date is read as one: JSON has no type for dates."""
    m, n = moment(a), moment(b)
    if m is None and n is not None and a.type in {"string", "System.String"}:
        m = moment(Node(a.value, b.type))
    if n is None and m is not None and b.type in {"string", "System.String"}:
        n = moment(Node(b.value, a.type))
    return m, n


def same(a: Any, b: Any) -> bool:
    """Deep equality of JSON values; true is not 1."""
    if type(a) is bool or type(b) is bool:
        return a is b
    if type(a) is dict and type(b) is dict:
        return a.keys() == b.keys() and all(same(value, b[name]) for name, value in a.items())
    if type(a) is list and type(b) is list:
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def equivalent(left: Sequence[Node], right: Sequence[Node]) -> bool:
    """`~`: in any order, text without regard to case and spaces, numbers to the lesser precision."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for a in left:
        for i, b in enumerate(rest):
            if _equivalent(a, b):
                del rest[i]
                break
        else:
            return False
    return True


def _equivalent(a: Node, b: Node) -> bool:
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return _close(Decimal(x), Decimal(y))
    p, q = quantity(a, loose=True), quantity(b, loose=True)
    if p is not None and q is not None:
        return p == q or (p[1] == q[1] and _alike(p[0], q[0], a))
    m, n = moment(a), moment(b)
    if m is not None and n is not None:
        return len(m.fields) == len(n.fields) and _ordered(m, n) == 0
    if type(a.value) is str and type(b.value) is str:
        return " ".join(a.value.casefold().split()) == " ".join(b.value.casefold().split())
    if type(a.value) is dict and type(b.value) is dict:
        names = (a.value.keys() | b.value.keys()) - {"id"}
        return all(equivalent(a.member(name), b.member(name)) for name in names)
    return same(a.value, b.value)


def _alike(x: Decimal, y: Decimal, a: Node) -> bool:
    """Two amounts of one base unit, compared in the unit of the first."""
    said = number(Node(a.value["value"], "decimal"))
    return bool(said and x and y) and _close(Decimal(said or 0), y * Decimal(said or 0) / x)


def _close(x: Decimal, y: Decimal) -> bool:
    places = min(_places(x), _places(y))
    try:
        return round(x, places) == round(y, places)
    except InvalidOperation:  # more digits than are rounded
        return x == y


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def compared(a: Node, b: Node) -> int | None:
    """-1, 0 or 1; None where the precision, zone or unit does not allow an answer.

    Raises:
        FHIRPathError: they are of kinds that have no order between them.
    """
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return (x > y) - (x < y)
    p, q = quantity(a), quantity(b)
    if p is not None and q is not None:
        return (p[0] > q[0]) - (p[0] < q[0]) if p[1] == q[1] else None
    m, n = _moments(a, b)
    if m is not None and n is not None:
        return _ordered(m, n)
    if type(a.value) is str and type(b.value) is str:
        return (a.value > b.value) - (a.value < b.value)
    if a.value is None or b.value is None:
        return None
    raise FHIRPathError(f"there is no order between a {a.type} and a {b.type}")


def _ordered(m: Moment, n: Moment) -> int | None:
    if m.clock != n.clock:
        return None
    if len(m.fields) > 3 and len(n.fields) > 3 and not m.clock:
        if (m.zone is None) != (n.zone is None):
            return None
        m, n = m.at_utc(), n.at_utc()
    for x, y in zip(m.fields, n.fields, strict=False):
        if x != y:
            return 1 if x > y else -1
    # Seconds and their fractions are one precision; anything else left unsaid leaves the answer open.
    return 0 if len(m.fields) == len(n.fields) else None
