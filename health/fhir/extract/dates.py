"""Dates as intervals, `[from, to)` at the precision they are written in."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

ENDLESS = 2**63 - 1
BEGINLESS = -(2**63)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - offsets are taken off by hand, past the year 9999 too
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)

Interval = tuple[int, int]
"""`[from, to)` in microseconds since 1970, UTC."""


def timing(value: dict[str, Any]) -> Interval | None:
    """The outer limits of a schedule, which is what R4 searches (search.html#date)."""
    found = [interval(event) for event in value.get("event", ()) if event is not None]
    if "boundsPeriod" in value.get("repeat", ()):
        found.append(period(value["repeat"]["boundsPeriod"]))
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def period(value: dict[str, Any]) -> Interval:
    low = interval(value["start"])[0] if value.get("start") else BEGINLESS
    high = interval(value["end"])[1] if value.get("end") else ENDLESS
    return low, high


@lru_cache(maxsize=4096)
def interval(written: str) -> Interval:
    """The interval a date means at the precision it is written in; without a zone it is read as UTC.

    Raises:
        ValueError: no date of FHIR's form, or a day the calendar does not have.
    """
    found = _DATE.fullmatch(written)
    if found is None:
        raise ValueError(f"{written!r} is no date")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    start = datetime(int(year), int(month or 1), int(day or 1))  # noqa: DTZ001
    low = (start - _EPOCH) // _MICROSECOND
    if hour is None:
        return low, low + _length(start, month, day)
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
        raise ValueError(f"{written!r} is no time of day")
    low += ((int(hour) * 60 + int(minute)) * 60 + int(second or 0)) * _SECOND - _offset(zone)
    if second is None:
        return low, low + 60 * _SECOND
    if fraction is None:
        return low, low + _SECOND
    low += int(fraction[:6].ljust(6, "0"))
    return low, low + max(1, 10 ** (6 - len(fraction)) if len(fraction) <= 6 else 1)


def _length(start: datetime, month: str | None, day: str | None) -> int:
    if day is not None:
        return 86_400 * _SECOND
    if month is not None:
        next_month = (
            (start.replace(day=28) + timedelta(days=4)) if start.year < 9999 or start.month < 12 else None
        )
        days = (next_month.replace(day=1) - start).days if next_month else 31
        return days * 86_400 * _SECOND
    leap = start.year % 4 == 0 and (start.year % 100 != 0 or start.year % 400 == 0)
    return (366 if leap else 365) * 86_400 * _SECOND


def _offset(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return (minutes if zone[0] == "+" else -minutes) * 60 * _SECOND


def microseconds(at: datetime) -> int:
    return (at.astimezone(UTC).replace(tzinfo=None) - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The instant, as far as the calendar goes."""
    bounded = min(max(microseconds, -62_135_596_800 * _SECOND), 253_402_300_799 * _SECOND)
    return (_EPOCH + bounded * _MICROSECOND).replace(tzinfo=UTC)


OF: dict[str, Callable[[Any], Interval | None]] = {
    "date": interval,
    "dateTime": interval,
    "instant": interval,
    "Period": period,
    "Timing": timing,
}
"""How a value of each data type is an interval."""
