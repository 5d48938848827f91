"""The gates of the sights: what each counts, minute by minute, over a day.

Every visitor leaves by the gate they came in by, at the latest when the site closes, so that a day begins and
ends with nobody inside.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from math import fsum
from typing import NamedTuple

from city.dice import Dice
from city.sights import BRIEF_RUSH, GATES, LAST_ENTRY, TIMES_OF_DAY, ZONES, Gate, Zone

BEIJING = timezone(timedelta(hours=8))
OPENING, CLOSING = TIMES_OF_DAY
BUSIEST_DAY = date(2026, 10, 1)
# Public holidays as the State Council announced or is expected to announce them, and working weekends.
_HOLIDAYS = (
    (date(2025, 10, 1), date(2025, 10, 8)),
    (date(2026, 1, 1), date(2026, 1, 3)),
    (date(2026, 2, 15), date(2026, 2, 23)),
    (date(2026, 4, 4), date(2026, 4, 6)),
    (date(2026, 5, 1), date(2026, 5, 5)),
    (date(2026, 6, 19), date(2026, 6, 21)),
    (date(2026, 9, 25), date(2026, 9, 27)),
    (date(2026, 10, 1), date(2026, 10, 7)),
    (date(2027, 1, 1), date(2027, 1, 3)),
)
_BUSY = {"holiday": 1.0, "weekend": 0.74, "workday": 0.36}


class Reading(NamedTuple):
    """People who passed a gate in one minute of the day."""

    gate: str
    minute: int  # of the day, when it began
    entered: int
    left: int


def kind_of(day: date) -> str:
    if any(first <= day <= last for first, last in _HOLIDAYS):
        return "holiday"
    return "weekend" if day.weekday() >= 5 else "workday"


@dataclass(slots=True)
class Day:
    """One day at the sights.

    Attributes:
        readings: in order of time, every gate once a minute.
        inside: people in each zone at the end of each minute.
    """

    day: date
    readings: list[Reading]
    inside: dict[str, list[int]]


def day_at_the_sights(day: date, *, seed: int) -> Day:
    """The same counts for the same day and seed; the first of October is as full as it gets."""
    busy = _BUSY[kind_of(day)]
    dice = Dice(seed, "sights", day.isoformat())
    counts = {gate.id: _count(gate, _zone_of(gate), busy, dice) for gate in GATES}
    minutes = range(OPENING, CLOSING + 1)
    if busy == 1.0:
        _brief_rush(counts)
    readings = [
        Reading(gate.id, minute, *counts[gate.id][minute - OPENING]) for minute in minutes for gate in GATES
    ]
    return Day(day, readings, inside_by_minute(readings))


def inside_by_minute(readings: list[Reading]) -> dict[str, list[int]]:
    """People in each zone: those who came in less those who left, gate by gate; an inner gate moves them."""
    inside = {zone.id: [0] * (CLOSING - OPENING + 1) for zone in ZONES}
    gates = {gate.id: gate for gate in GATES}
    for reading in readings:
        gate, net = gates[reading.gate], reading.entered - reading.left
        inside[gate.into][reading.minute - OPENING] += net
        if gate.out_of is not None:
            inside[gate.out_of][reading.minute - OPENING] -= net
    for changes in inside.values():
        for at in range(1, len(changes)):
            changes[at] += changes[at - 1]
    return inside


def _zone_of(gate: Gate) -> Zone:
    return next(zone for zone in ZONES if zone.id == gate.into)


def _weights(zone: Zone) -> list[float]:
    """Of those who come, the share of each minute: the hours' weights, joined by straight lines."""
    shares = []
    for minute in range(OPENING, CLOSING + 1):
        hour, part = divmod(minute - OPENING, 60)
        after = zone.rush[hour + 1] if hour + 1 < len(zone.rush) else 0.0
        now = zone.rush[hour] if hour < len(zone.rush) else 0.0
        shares.append(now + (after - now) * part / 60 if minute <= LAST_ENTRY else 0.0)
    total = fsum(shares)
    return [share / total for share in shares]


def _leaving(zone: Zone) -> list[float]:
    """How many of those who came in together leave after each minute: a triangle around the mean stay."""
    mean, spread = zone.stay
    width = spread * 2
    weights = [max(0.0, width - abs(after - mean)) for after in range(mean + width + 1)]
    total = fsum(weights)
    return [weight / total for weight in weights]


def _peak_share(zone: Zone) -> float:
    """The most that are inside at once, of all who come in a day."""
    shares, leaving = _weights(zone), _leaving(zone)
    inside, most = 0.0, 0.0
    for at, share in enumerate(shares):
        gone = fsum(shares[at - after] * part for after, part in enumerate(leaving) if part and after <= at)
        inside += share - gone
        most = max(most, inside)
    return most


def _count(gate: Gate, zone: Zone, busy: float, dice: Dice) -> list[list[int]]:
    visitors = zone.capacity * zone.peak * busy / _peak_share(zone) * gate.share
    mean, spread = zone.stay
    counts = [[0, 0] for _ in range(OPENING, CLOSING + 1)]
    for at, share in enumerate(_weights(zone)):
        entered = int(visitors * share + dice.unit())
        counts[at][0] += entered
        for _ in range(entered):
            stay = mean + round(spread * 2 * (dice.unit() + dice.unit() - 1.0))
            counts[min(at + max(stay, 5), CLOSING - OPENING)][1] += 1
    return counts


def _brief_rush(counts: dict[str, list[list[int]]]) -> None:
    """A boat load is let through the gate: in one minute in, in the next out."""
    zone_id, share, minute = BRIEF_RUSH
    gate = next(gate for gate in GATES if gate.into == zone_id)
    at = minute - OPENING
    rows = counts[gate.id]
    inside = sum(row[0] - row[1] for row in rows[: at + 1])
    boat = max(0, int(_zone_of(gate).capacity * share) - inside)
    rows[at][0] += boat
    rows[at + 1][1] += boat


def moment(day: date, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=BEIJING)


def as_sent(reading: Reading, start: datetime, end: datetime) -> dict[str, object]:
    """The reading in the door's form. Its number is when it began: never given out twice by one gate."""
    return {
        "sensor": reading.gate,
        "seq": int(start.timestamp() * 1000),
        "start": start.isoformat(),
        "end": end.isoformat(),
        "in": reading.entered,
        "out": reading.left,
    }
