"""The values of search parameters, as keys and bounds of the index (FHIR R4 search.html#ptypes)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import cast

from health.criteria import Bounds, Comparison
from health.fhir import extract, references
from health.fhir.definitions import Component, Parameter, definitions
from health.fhir.extract import quantities

VALUES_MAX = 500
"""Values of one OR list."""
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,2})?")
_ESCAPED = re.compile(r"\\([,|$\\])")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_PLACES = 70
"""Digits that are reckoned with: all that a number may be asked with, and a tenth of it."""


def alternatives(value: str) -> Sequence[str]:
    """The values between commas that are not escaped."""
    found = parts(value, ",")
    if any(not one for one in found):
        raise ValueError("a value is missing; leave the parameter out to search for everything")
    if len(found) > VALUES_MAX:
        raise ValueError(f"more than {VALUES_MAX} values")
    return found


def parts(value: str, mark: str) -> list[str]:
    """What stands between marks that are not escaped."""
    found = re.split(rf"(?<!\\)((?:\\\\)*){re.escape(mark)}", value)
    return [a + b for a, b in zip(found[::2], [*found[1::2], ""], strict=True)]


def unescaped(value: str) -> str:
    return _ESCAPED.sub(r"\1", value)


def token(value: str) -> tuple[str | None, str]:
    """System and code: no system where none was said, an empty one for `|code`."""
    system, *rest = parts(value, "|")
    if not rest:
        return None, unescaped(system)
    code = "|".join(rest)
    if not system and not code:
        raise ValueError("'|' names neither a system nor a code")
    return unescaped(system), unescaped(code)


def identifier_of_type(value: str) -> tuple[str, str, str]:
    """System and code of an identifier's type, and its value."""
    found = [unescaped(part) for part in parts(value, "|")]
    if len(found) != 3 or not all(found):
        raise ValueError(f"{value[:80]!r} is not written as system|code|value")
    return found[0], found[1], found[2]


def targets(parameter: Parameter | Component, value: str, base: str, kind: str | None) -> Iterator[str]:
    """What a reference may say that means this value: `Type/id`, or a URL.

    Args:
        kind: of the resource referred to, where a modifier says it.
    """
    target = unescaped(value).removeprefix(base)
    if found := references.LOCAL.fullmatch(target):
        if found[1] not in definitions().resources:
            raise ValueError(f"{found[1]!r} is no resource type of FHIR R4")
        if kind is not None and found[1] != kind:
            raise ValueError(f"{target[:80]!r} is no {kind}")
        yield f"{found[1]}/{found[2]}"
    elif re.fullmatch(references.ID, target):
        for type in [kind] if kind is not None else sorted(parameter.targets):
            yield f"{type}/{target}"
    elif _URI.fullmatch(target) and kind is None:
        yield target
    else:
        raise ValueError(f"{target[:80]!r} is no reference: write id, Type/id or a URL")


def date(key: int, value: str) -> Bounds:
    """A date as an interval, at the precision it is written in."""
    # A plus sign of a zone that was not percent-encoded arrives as a space.
    comparison, written = _prefixed(unescaped(value).replace(" ", "+"))
    try:
        low, high = extract.interval(written)
    except ValueError as error:
        words = f"{value[:40]!r} is no date: write e.g. 2013, 2013-01-14 or ge2013-01-14T10:00Z"
        raise ValueError(words) from error
    if comparison == "ap":
        # A tenth of the time between now and the date (search.html#prefix) either way.
        slack = abs(extract.microseconds(datetime.now(UTC)) - low) // 10
        low, high = low - slack, high + slack
    return Bounds(key, comparison, low, high)


def instant(value: str) -> Bounds:
    """The same of `meta.lastUpdated`, within the years that a calendar has."""
    asked = date(0, value)
    first, last = (extract.microseconds(extract.moment(int(end))) for end in (asked.lo, asked.hi))
    return replace(asked, lo=first, hi=last)


def number(key: int, value: str) -> Bounds:
    comparison, written = _prefixed(unescaped(value))
    low, high = _asked(comparison, _number(written))
    return Bounds(key, comparison, low, high)


def quantity(kind: str, name: str, value: str) -> list[Bounds]:
    """What is asked of a quantity, in each unit in which it is kept that way.

    Raises:
        ValueError: not `number`, or `number|system|code`.
    """
    comparison, rest = _prefixed(value)
    written, *unit = parts(rest, "|")
    if len(unit) not in (0, 2):
        raise ValueError(f"{value[:80]!r} is not written as number, number|system|code or number||code")
    system, code = (unescaped(part) or None for part in unit) if unit else (None, None)
    low, high = _asked(comparison, _number(written))
    converted = quantities.asked(kind, name, system, code, [low, high])
    return [Bounds(key, comparison, min(ends), max(ends)) for key, ends in converted]


def position(value: str) -> tuple[float, float, float]:
    """Latitude, longitude and kilometres of `near` (location.html#search)."""
    found = [unescaped(part) for part in parts(value, "|")]
    unit = found[3] if len(found) == 4 and found[3] else "km"
    if not 2 <= len(found) <= 4 or unit not in _KILOMETRES:
        raise ValueError(f"{value[:80]!r} is not written as latitude|longitude|distance|unit (km, m, [mi_i])")
    latitude, longitude = (float(_number(part)) for part in found[:2])
    distance = float(_number(found[2])) if len(found) > 2 and found[2] else _NEAR_KM
    if abs(latitude) > 90 or abs(longitude) > 180 or distance < 0:
        raise ValueError(f"{value[:80]!r} is no place on earth")
    return latitude, longitude, distance * _KILOMETRES[unit]


_KILOMETRES = {"km": 1.0, "m": 0.001, "[mi_i]": 1.609344, "mi_us": 1.609347, "mi": 1.609344}
_NEAR_KM = 10.0
"""What is near where no distance is said."""


def _prefixed(value: str) -> tuple[Comparison, str]:
    found = _PREFIXED.fullmatch(value)
    assert found is not None, "everything has a prefix or has none"
    return cast(Comparison, found[1] or "eq"), found[2]


def _number(written: str) -> Decimal:
    if not _NUMBER.fullmatch(written):
        raise ValueError(f"{written[:40]!r} is no number: write e.g. 100, 5.40 or 1.5e3")
    return Decimal(written)


def _asked(comparison: Comparison, number: Decimal) -> tuple[Decimal, Decimal]:
    """From where to where (FHIR R4 search.html#number).

    `eq` and `ne` ask for what rounds to the number as it is written: 100 is [99.5, 100.5) and 1e2 [50, 150).
    Where order is compared the number is exact. `ap` is a tenth of it either way.
    """
    with localcontext(prec=_PLACES):
        if comparison in ("eq", "ne"):
            exponent = number.as_tuple().exponent
            half = Decimal((0, (5,), int(exponent) - 1))
            return number - half, number + half
        slack = abs(number) / 10 if comparison == "ap" else Decimal(0)
        return number - slack, number + slack
