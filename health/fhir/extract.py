"""What a resource is found by: its tokens, references and dates, as rows of the index tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from health.fhir.definitions import ElementPath, definitions
from health.keys import date_key, token_keys

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


@dataclass(slots=True)
class Rows:
    """A resource's index rows.

    Attributes:
        tokens: hashes, each form a token can be asked in (`code`, `system|code`, `system|`, `|code`).
        references: parameter and target (`Type/id`, or an absolute URL).
        dates: parameter key and interval.
    """

    tokens: set[int] = field(default_factory=set)
    references: set[tuple[str, str]] = field(default_factory=set)
    dates: set[tuple[int, int, int]] = field(default_factory=set)


def rows_of(resource: dict[str, Any]) -> Rows:
    """The index rows of a resource whose references are already rewritten."""
    kind = resource["resourceType"]
    rows = Rows()
    for name, parameter in definitions().parameters.get(kind, {}).items():
        for path in parameter.paths:
            for value in values_at(resource, path.names):
                _index(rows, kind, name, parameter.kind, path, value)
    return rows


def _index(rows: Rows, kind: str, name: str, search: str, path: ElementPath, value: Any) -> None:
    if search == "token":
        for system, code in tokens_of(path.type, value):
            rows.tokens.update(token_keys(kind, name, system, code))
    elif search == "date":
        for interval in intervals_of(path.type, value):
            rows.dates.add((date_key(kind, name), *interval))
    else:
        target = target_of(value)
        if target is not None and (path.target is None or _names(target, value) == path.target):
            rows.references.add((name, target))


def values_at(node: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The values a path leads to, through whatever repeats."""
    if isinstance(node, list):
        for item in node:
            yield from values_at(item, names)
    elif not names:
        if node is not None:
            yield node
    elif isinstance(node, dict) and names[0] in node:
        yield from values_at(node[names[0]], names[1:])


def tokens_of(kind: str, value: Any) -> Iterator[tuple[str | None, str | None]]:
    match kind:
        case "CodeableConcept":
            for coding in value.get("coding", ()):
                yield coding.get("system"), coding.get("code")
        case "Coding":
            yield value.get("system"), value.get("code")
        case "Identifier":
            yield value.get("system"), value.get("value")
        case "code":
            yield None, value


def intervals_of(kind: str, value: Any) -> Iterator[Interval]:
    match kind:
        case "Period":
            yield period(value)
        case "Timing":
            for event in value.get("event", ()):
                yield interval(event)
            if "boundsPeriod" in value.get("repeat", {}):
                yield period(value["repeat"]["boundsPeriod"])
        case "date" | "dateTime" | "instant":
            yield interval(value)


def period(value: dict[str, Any]) -> Interval:
    low = interval(value["start"])[0] if value.get("start") else BEGINLESS
    high = interval(value["end"])[1] if value.get("end") else ENDLESS
    return low, high


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


def target_of(reference: Any) -> str | None:
    """What a Reference points to, without a version; None for one by identifier only, or into itself."""
    written = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(written, str) or written.startswith("#"):
        return None
    return written.partition("/_history/")[0]


def _names(target: str, reference: dict[str, Any]) -> str | None:
    steps = target.split("/")
    return steps[-2] if len(steps) > 1 else reference.get("type")


def patient_of(resource: dict[str, Any]) -> str | None:
    """The patient whose compartment the resource is in, as `Patient/id`.

    A resource that names several patients (a mother as performer of a measurement on her child) is kept
    under the one it is about.
    """
    for path in definitions().compartment.get(resource["resourceType"], ()):
        for reference in values_at(resource, path):
            target = target_of(reference)
            if target is not None and target.startswith("Patient/"):
                return target
    return None
