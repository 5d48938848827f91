"""From what a record says to the columns that are compared: one closed set of kinds of field.

The same functions serve a single pair and a table of millions, so that both are weighed alike. A value that
is missing gives columns of None, which weigh nothing.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache

from services.identity.linkage.names import NAME_COLUMNS, Columns, name_columns
from services.identity.numbers import from_15_digits
from services.kit.check_characters import citizen_check_digit

_SEXES = {"male": "male", "m": "male", "男": "male", "1": "male"} | {
    "female": "female",
    "f": "female",
    "女": "female",
    "2": "female",
}
_JULIAN_DAY_OF_ORDINAL_0 = 1_721_425
_LUNAR_YEARS = range(1850, 2100)
_NOT_DIGITS = re.compile(r"\D")
_OLD_CITIZEN = re.compile(r"[1-9][0-9]{14}")
_CITIZEN = re.compile(r"[1-9][0-9]{16}[0-9X]")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of field: the columns it gives (suffixes; "" is the value itself) and how."""

    columns: tuple[str, ...]
    of: Callable[[str], Columns]


def _text(value: str) -> Columns:
    return {"": " ".join(unicodedata.normalize("NFKC", value).casefold().split()) or None}


def _date(value: str) -> Columns:
    """A birth date as eight digits, as it reads with day and month exchanged, and in the lunar calendar.

    A lunar date kept as if it were solar is told by one record's solar date, put into the lunar calendar,
    being the other record's date.
    """
    digits = _NOT_DIGITS.sub("", value)
    if len(digits) != 8:
        return {"": digits or None, "swapped": None, "lunar": None, "year": digits[:4] or None}
    year, month, day = digits[:4], digits[4:6], digits[6:]
    swapped = year + day + month if month != day and day <= "12" else None
    return {"": digits, "swapped": swapped, "lunar": lunar(digits), "year": year}


@lru_cache(maxsize=60_000)
def lunar(digits: str) -> str | None:
    """The lunar date of a solar date, both as eight digits; a day of a leap month counts in its month."""
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    if born.year not in _LUNAR_YEARS:
        return None
    julian_day = born.toordinal() + _JULIAN_DAY_OF_ORDINAL_0
    months = _lunar_months(born.year)
    first, year, month = months[bisect_right(months, julian_day, key=lambda entry: entry[0]) - 1]
    return f"{year:04d}{month:02d}{julian_day - first + 1:02d}"


@cache
def _lunar_months(year: int) -> list[tuple[int, int, int]]:
    """(first Julian day, lunar year, month) of the months that touch a solar year."""
    from lunar_python import LunarYear

    return [
        (int(month.getFirstJulianDay()), month.getYear(), abs(month.getMonth()))
        for month in LunarYear.fromYear(year).getMonths()
    ]


def _citizen_number(value: str) -> Columns:
    """A 公民身份号码 in 18 characters, and "yes" where GB 11643's check character holds."""
    number = "".join(unicodedata.normalize("NFKC", value).upper().split())
    if _OLD_CITIZEN.fullmatch(number):
        number = from_15_digits(number)
    valid = _CITIZEN.fullmatch(number) is not None and citizen_check_digit(number[:17]) == number[17]
    return {"": number or None, "valid": "yes" if valid else None}


def _area(value: str) -> Columns:
    """A GB/T 2260 code; its county, prefecture and province where it goes so far down."""
    code = value.strip()
    return {
        "": code or None,
        "county": code[:6] if len(code) >= 6 and code[4:6] != "00" else None,
        "prefecture": code[:4] if len(code) >= 4 and code[2:4] != "00" else None,
        "province": code[:2] or None,
    }


def _sex(value: str) -> Columns:
    return {"": _SEXES.get(value.strip().casefold())}


KINDS = {
    "name": Kind(NAME_COLUMNS, name_columns),
    "date": Kind(("", "swapped", "lunar", "year"), _date),
    "citizen_number": Kind(("", "valid"), _citizen_number),
    "area": Kind(("", "county", "prefecture", "province"), _area),
    "sex": Kind(("",), _sex),
    "text": Kind(("",), _text),
}


@cache
def column_names(field: str, kind: str) -> tuple[str, ...]:
    """The columns that a field of this kind is compared by."""
    return tuple(f"{field}_{suffix}" if suffix else field for suffix in KINDS[kind].columns)


def columns_of(field: str, kind: str, value: str | None) -> Columns:
    """What is compared of one field's value."""
    names = column_names(field, kind)
    if value is None:
        return dict.fromkeys(names)
    found = KINDS[kind].of(value)
    return {name: found[suffix] for name, suffix in zip(names, KINDS[kind].columns, strict=True)}
