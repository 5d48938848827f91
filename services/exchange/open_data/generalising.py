"""Ways to make a value coarser: a closed set, named in products and applications."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from services.kit.areas import area_prefix

UNKNOWN = ""
_CODE = re.compile(r"[0-9]{2,12}")


def _day(value: Any) -> date:
    return date.fromisoformat(str(value)[:10])


def _years(width: int) -> Callable[[Any], str]:
    def band(value: Any) -> str:
        first = _day(value).year // width * width
        return f"{first}-{first + width - 1}"

    return band


def _area(digits: int) -> Callable[[Any], str]:
    """Up to so many digits of a GB/T 2260 code, filled up with zeros to its six; UNKNOWN for what is none."""

    def wider(value: Any) -> str:
        code = str(value)
        return area_prefix(code)[:digits].ljust(6, "0") if _CODE.fullmatch(code) else UNKNOWN

    return wider


WAYS: Mapping[str, Callable[[Any], str]] = {
    "value": str,
    "month": lambda value: f"{_day(value):%Y-%m}",
    "quarter": lambda value: f"{_day(value).year}-Q{(_day(value).month + 2) // 3}",
    "year": lambda value: f"{_day(value):%Y}",
    "five_years": _years(5),
    "decade": _years(10),
    "county": _area(6),
    "prefecture": _area(4),
    "province": _area(2),
}
"""Names and functions; dates are ISO 8601, areas codes of GB/T 2260."""
FOR_TYPES: Mapping[str, frozenset[str]] = {
    "date": frozenset({"value", "month", "quarter", "year", "five_years", "decade"}),
    "datetime": frozenset({"month", "quarter", "year", "five_years", "decade"}),
}
"""Which ways an item's type allows, where they are not `value` and the areas'."""
_TEXT = frozenset({"value", "county", "prefecture", "province"})


def ways_for(type: str) -> frozenset[str]:
    return FOR_TYPES.get(type, _TEXT if type == "string" else frozenset({"value"}))


def generalised(value: Any, way: str) -> str:
    """The value as it is told; UNKNOWN for none.

    Raises:
        ValueError: it is no date where the way needs one.
    """
    return UNKNOWN if value is None or value == "" else WAYS[way](value)
