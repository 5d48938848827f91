"""Calculating with dates and times, and how precise a value is: N1 sections 6.6.7 and 6.6.8, and the later
functions `lowBoundary`, `highBoundary` and `precision`.
"""

from calendar import monthrange
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation, localcontext

from health.fhir.fhirpath import values
from health.fhir.fhirpath.nodes import Node, of_system
from health.fhir.fhirpath.parser import FHIRPathError

_MONTHS = {"year": 12, "month": 1}
_SECONDS: dict[str, Decimal] = {
    unit: Decimal(seconds)
    for units, seconds in (
        (("week", "wk"), 604_800),
        (("day", "d"), 86_400),
        (("hour", "h"), 3_600),
        (("minute", "min"), 60),
        (("second", "s"), 1),
        (("millisecond", "ms"), "0.001"),
    )
    for unit in units
}
# What one of the last field said is worth where less was said than asked to be added (N1, section 6.6.7).
_FIELD_SECONDS = (365 * 86_400, 30 * 86_400, 86_400, 3_600, 60)
_DAY = 86_400
_DIGITS_OF_FIELDS = (4, 6, 8, 10, 12, 14)
_DECIMAL_DIGITS = 8
_DECIMAL_DIGITS_MAX = 28
_LAST = (0, 12, 0, 23, 59, 59)


def shifted(node: Node, value: Decimal, unit: str) -> Node | None:
    """A date or time so much later, as precise as it was; None past the end of the calendar.

    Raises:
        FHIRPathError: the unit is none of time, or not one a calendar knows (`'a'` and `'mo'` are means).
    """
    at = values.moment(node)
    if at is None:
        raise FHIRPathError(f"{node.value!r} is no date")
    if unit in _MONTHS and not at.clock:
        return _written(_by_months(at, int(value) * _MONTHS[unit]), node)
    if unit not in _SECONDS:
        raise FHIRPathError(f"{unit!r} cannot be added to a {node.type}")
    exact = value if _SECONDS[unit] <= 1 else Decimal(int(value))
    seconds = exact * _SECONDS[unit]
    return _written(_by_seconds_of_day(at, seconds) if at.clock else _by_seconds(at, seconds), node)


def _by_months(at: values.Moment, months: int) -> values.Moment | None:
    fields = list(at.fields)
    if len(fields) == 1:
        fields[0] += int(months / 12)
    else:
        year, month = divmod(int(fields[0]) * 12 + int(fields[1]) - 1 + months, 12)
        if not 1 <= year <= 9999:
            return None
        fields[:2] = Decimal(year), Decimal(month + 1)
        if len(fields) > 2:
            fields[2] = min(fields[2], Decimal(monthrange(year, month + 1)[1]))
    return values.Moment(tuple(fields), at.zone) if 1 <= fields[0] <= 9999 else None


def _by_seconds(at: values.Moment, seconds: Decimal) -> values.Moment | None:
    said = len(at.fields)
    if said <= 2:
        return _by_months(at, int(seconds / _FIELD_SECONDS[said - 1]) * (12 if said == 1 else 1))
    if said <= 5:
        seconds = Decimal(int(seconds / _FIELD_SECONDS[said - 1]) * _FIELD_SECONDS[said - 1])
    whole = [int(field) for field in at.fields[:5]]
    second = (at.fields[5] if said > 5 else Decimal(0)) + seconds
    try:
        # Zones stay as they were written: clocks on walls, not instants, are added to.
        year, month, day, hour, minute = [*whole, 0, 0][:5]
        start = datetime(year, month, day, hour, minute)  # noqa: DTZ001
        moved = start + timedelta(seconds=int(second // 1))
    except (OverflowError, ValueError):
        return None
    fields = [Decimal(part) for part in (moved.year, moved.month, moved.day, moved.hour, moved.minute)]
    return values.Moment((*fields, moved.second + second % 1)[:said], at.zone)


def _by_seconds_of_day(at: values.Moment, seconds: Decimal) -> values.Moment:
    """A clock goes round."""
    hour, minute, second = (*at.fields, Decimal(0), Decimal(0))[:3]
    whole = (hour * 3600 + minute * 60 + second + seconds) % _DAY
    whole += _DAY if whole < 0 else 0
    fields = (whole // 3600, whole // 60 % 60, whole % 60)
    return values.Moment(fields[: len(at.fields)], None, clock=True)


def _written(at: values.Moment | None, like: Node) -> Node | None:
    """As text; at least as many digits after the second as before."""
    if at is None:
        return None
    fraction = like.value.partition(".")[2]
    places = next((i for i, sign in enumerate(fraction) if not sign.isdigit()), len(fraction))
    zone = like.value[-6:] if at.zone is not None and not like.value.endswith("Z") else "Z"
    return _text(at.fields, places, zone if at.zone is not None else "", _kind(like))


def _kind(node: Node) -> str:
    kind = node.type.rpartition(".")[2].lower()
    return {"date": "Date", "time": "Time"}.get(kind, "DateTime")


def _text(fields: tuple[Decimal, ...], places: int, zone: str, kind: str) -> Node:
    words = [f"{int(field):02d}" for field in fields]
    clock = words if kind == "Time" else words[3:]
    if len(clock) == 3:
        second = fields[-1]
        stated = -int(second.normalize().as_tuple().exponent)
        digits = max(places, stated)
        clock[2] = format(second.quantize(Decimal(1).scaleb(-digits), ROUND_DOWN), f"0{digits + 3}f")
        clock[2] = clock[2] if digits else words[-1]
    if kind == "Time":
        return of_system(":".join(clock), kind)
    date = "-".join((f"{int(fields[0]):04d}", *words[1:3]))
    return of_system(f"{date}T{':'.join(clock)}{zone}" if clock else date, kind)


def boundary(node: Node, precision: int | None, *, high: bool) -> Node | None:
    """The lowest or highest value that what was written can stand for, at a precision.

    Args:
        precision: digits after the point of a number, digits in all of a date or time.

    Returns:
        None where there is no such precision.
    """
    found = values.number(node)
    if found is not None:
        of_number = _of_number(Decimal(found), precision, high)
        return None if of_number is None else of_system(of_number, "Decimal")
    at = values.moment(node)
    if at is not None:
        return _of_moment(at, node, precision, high)
    if values.quantity(node) is None:
        return None
    said = values.number(Node(node.value["value"], "decimal"))
    assert said is not None
    bound = _of_number(Decimal(said), precision, high)
    return None if bound is None else Node({**node.value, "value": bound}, node.type)


def _of_number(value: Decimal, precision: int | None, high: bool) -> Decimal | None:
    digits = _DECIMAL_DIGITS if precision is None else precision
    if not 0 <= digits <= _DECIMAL_DIGITS_MAX:
        return None
    with localcontext(prec=_DECIMAL_DIGITS_MAX * 3):
        try:
            half = Decimal(5).scaleb(-places(value) - 1)
            bound = value + half if high else value - half
            # Away from zero a boundary is rounded, towards it it is cut off.
            rounding = ROUND_HALF_UP if (bound > 0) is high else ROUND_DOWN
            return bound.quantize(Decimal(1).scaleb(-digits), rounding)
        except InvalidOperation:
            return None


def _of_moment(at: values.Moment, node: Node, precision: int | None, high: bool) -> Node | None:
    kind = _kind(node)
    most = {"Date": 8, "DateTime": 17, "Time": 9}[kind]
    digits = most if precision is None else precision
    wanted = _fields_of(digits + 4 + 4 if kind == "Time" else digits)
    if digits > most or wanted is None:
        return None
    at_first = 3 if kind == "Time" else 0
    fields = [*([Decimal(1)] * at_first), *at.fields]
    for i in range(len(fields), 6):
        low = 1 if i in {1, 2} else 0
        last = monthrange(int(fields[0]), int(fields[1]))[1] if i == 2 else _LAST[i]
        fields.append(Decimal(last if high else low))
    stated = places(fields[5])
    if high and stated < 3:
        fields[5] += Decimal(1).scaleb(-stated) - Decimal("0.001")
    zone = "" if wanted <= 3 or kind == "Time" else _zone(node.value) or ("-12:00" if high else "+14:00")
    if digits in {9, 17}:
        fields[5] = fields[5].quantize(Decimal("0.001"), ROUND_DOWN)
    elif wanted == 6:
        fields[5] = Decimal(int(fields[5]))
    return _text(tuple(fields[at_first:wanted]), 3 if digits in {9, 17} else 0, zone, kind)


def _fields_of(digits: int) -> int | None:
    if digits == 17:
        return 6
    return _DIGITS_OF_FIELDS.index(digits) + 1 if digits in _DIGITS_OF_FIELDS else None


def _zone(said: str) -> str:
    clock = said.partition("T")[2]
    return "Z" if clock.endswith("Z") else clock[-6:] if clock[-6:-5] in {"+", "-"} else ""


def precision(node: Node) -> int | None:
    """Digits after the point of a number, digits in all of a date or time."""
    found = values.number(node)
    if found is not None:
        return places(Decimal(found))
    if values.moment(node) is None:
        return None
    said: str = node.value.removesuffix(_zone(node.value) or "-")
    return sum(sign.isdigit() for sign in said)


def places(value: Decimal) -> int:
    """Digits after the point, as written."""
    return max(0, -int(value.as_tuple().exponent))
