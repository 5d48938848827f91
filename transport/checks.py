"""What readings and counts must look like before anything is done with them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from services.kit.problems import Fault, bad_request
from transport.flows import Reading

FUTURE_SKEW = timedelta(seconds=60)
"""How far a sensor's clock may be ahead of ours."""
LATEST_ARRIVAL = timedelta(hours=24)
LONGEST_SPAN = timedelta(hours=24)
YEARS = range(1900, 2200)
"""Near the ends of what a clock can say, a change of zone has no answer."""
COUNT_MAX = 1_000_000
SEQ_MAX = 2**63 - 1
SENSOR_MAX_CHARS = 64

MEMBERS = frozenset({"sensor", "seq", "start", "end", "in", "out"})
_REQUIRED = ("sensor", "start", "end", "in", "out")


class Refused(Exception):
    """A reading that cannot be taken: the code, the member at fault, and words for who sent it."""

    def __init__(self, code: str, message: str, member: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.member = member


def check(value: Any, line: int, now: datetime) -> Reading:
    """A reading as sent, checked by itself.

    Raises:
        Refused: it is no reading, or not of a time that is still taken.
    """
    value = members_of(value, _REQUIRED, MEMBERS, "reading")
    sensor = value["sensor"]
    if type(sensor) is not str or not 0 < len(sensor) <= SENSOR_MAX_CHARS or not sensor.isprintable():
        raise Refused("invalid_sensor", f"sensor is a text of 1 to {SENSOR_MAX_CHARS} characters", "sensor")
    seq = value.get("seq")
    if seq is not None and (type(seq) is not int or not 0 <= seq <= SEQ_MAX):
        raise Refused("invalid_seq", f"seq is a whole number from 0 to {SEQ_MAX}", "seq")
    starts, ends = time_of(value["start"], "start"), time_of(value["end"], "end")
    _check_span(starts, ends, now)
    return Reading(
        sensor, seq, starts, ends, count_of(value["in"], "in"), count_of(value["out"], "out"), line
    )


def time_of(value: Any, name: str) -> datetime:
    """Raises Refused unless it is an RFC 3339 time with a zone."""
    # fromisoformat also takes dates, weeks and times without a zone, which RFC 3339 does not have.
    if type(value) is str and 20 <= len(value) <= 40 and value[4] == value[7] == "-" and value[10] in "Tt ":
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is not None and found.tzinfo is not None and found.year in YEARS:
            return found
    raise Refused(
        "invalid_time", f"{name} is an RFC 3339 time with its zone, as 2026-05-01T08:00:00+08:00", name
    )


def _check_span(starts: datetime, ends: datetime, now: datetime) -> None:
    if ends <= starts:
        raise Refused("end_before_start", "end must be later than start", "end")
    if ends > now + FUTURE_SKEW:
        ahead = int((ends - now).total_seconds())
        raise Refused(
            "future_reading", f"the reading ends {ahead} s from now; check the sensor's clock", "end"
        )
    if ends < now - LATEST_ARRIVAL:
        raise Refused("too_late", "the reading ended more than 24 hours ago", "end")
    if ends - starts > LONGEST_SPAN:
        raise Refused("span_too_long", "the reading spans more than 24 hours", "start")


def count_of(value: Any, name: str, most: int = COUNT_MAX) -> int:
    """Raises Refused unless it is a whole number of people."""
    if type(value) is int and 0 <= value <= most:
        return value
    if type(value) is int and value < 0:
        raise Refused("negative_count", f"{name} is negative; people are counted from 0", name)
    raise Refused("invalid_count", f"{name} is a whole number from 0 to {most:,}", name)


def members_of(value: Any, required: Sequence[str], known: frozenset[str], what: str) -> dict[str, Any]:
    """Raises Refused unless it is an object with these members and no others."""
    if type(value) is not dict:
        raise Refused("not_an_object", f"a {what} is a JSON object, not {_kind(value)}")
    if not value.keys() <= known:
        name = min(value.keys() - known)
        raise Refused("unknown_member", f"a {what} has no member {name!r}", str(name))
    for name in required:
        if name not in value:
            raise Refused("missing_member", f"{name} is missing", name)
    return value


def _kind(value: Any) -> str:
    return {list: "an array", str: "a text", type(None): "null", bool: "a boolean"}.get(
        type(value), "a number"
    )


def json_of(body: bytes) -> Any:
    """Raises Problem 400 saying where the body stops being JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(
            "malformed_json",
            f"the body is not JSON in UTF-8: {error.msg} at line {error.lineno}, column {error.colno}",
            Fault(error.msg, line=error.lineno, path=f"$[{error.pos}]", code="malformed_json"),
        ) from error
