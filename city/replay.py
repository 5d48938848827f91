"""Replays a day at the sights: readings sent as the simulated clock passes, in order, never from the future.

The simulated day is laid so that it ends as the replay ends. At sixty times the speed, eleven hours take
eleven minutes to send; they began eleven hours before the replay will end, and every minute keeps its length,
so that flow windows and dwell times mean what they say. Where gates have already reported part of that time,
the day is squeezed into what is left: gates do not count the same hour twice.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from city import doors, sights
from city.doors import Caller, Json
from city.gate import BUSIEST_DAY, CLOSING, OPENING, Day, Reading, as_sent, day_at_the_sights
from city.truth import warnings_of

MINUTES = CLOSING + 1 - OPENING
DAY = timedelta(minutes=MINUTES)
_TICK_SECONDS = 0.2
_READINGS_A_CALL = 5_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Where simulated minutes lie in real time.

    Attributes:
        begin: when the day's first minute begins.
        rate: real seconds for a simulated one, in the readings' own times; 1 unless squeezed.
    """

    begin: datetime
    rate: float

    @classmethod
    def laid(cls, *, now: datetime, takes: timedelta, last: datetime | None) -> "Clock":
        """Ends the day when the replay ends, and begins it after the gates' last report."""
        end = now + takes
        begin = (end - DAY).replace(second=0, microsecond=0)
        if last is None or last <= begin:
            return cls(begin, 1.0)
        return cls(last, (end - last) / DAY)

    def at(self, minute: int) -> datetime:
        """When the minute begins, counted from the day's first."""
        return self.begin + timedelta(minutes=minute) * self.rate

    @property
    def squeezed(self) -> bool:
        return self.rate < 1.0


class Replay:
    """A day's readings on their way to the suite.

    Args:
        memory: the file in which the gates remember until when they have reported.
        told: called after each send with the simulated time of day and the readings sent so far.
    """

    def __init__(
        self,
        site: Caller,
        gate: Caller,
        *,
        seed: int,
        memory: Path,
        day: date = BUSIEST_DAY,
        told: Callable[[str, int], None] | None = None,
    ) -> None:
        self.site, self.gate, self.memory = site, gate, memory
        self.day: Day = day_at_the_sights(day, seed=seed)
        self.expected = warnings_of(day, seed=seed)
        self._told = told or (lambda _time, _sent: None)
        self.sent = 0

    async def all_at_once(self) -> Json:
        """Everything in one go, as if the day had just ended. Nothing, if the gates reported meanwhile."""
        clock = Clock.laid(now=datetime.now(UTC), takes=timedelta(0), last=self._remembered())
        if clock.squeezed:
            return self._done(clock, skipped=True)
        await self._begin(clock)
        readings = [self._as_sent(clock, reading) for reading in self.day.readings]
        for first in range(0, len(readings), _READINGS_A_CALL):
            await doors.stream_readings(self.gate, readings[first : first + _READINGS_A_CALL])
        self.sent = len(readings)
        self._remember(clock.at(MINUTES))
        return self._done(clock)

    async def at_speed(self, speed: float) -> Json:
        """Minute by minute, `speed` times as fast as the day went."""
        started = datetime.now(UTC)
        clock = Clock.laid(now=started, takes=DAY / speed, last=self._remembered())
        await self._begin(clock)
        waiting = [(minute, list(group)) for minute, group in groupby(self.day.readings, lambda r: r.minute)]
        while waiting:
            passed = (datetime.now(UTC) - started).total_seconds() * speed / 60
            due = [item for item in waiting if item[0] + 1 - OPENING <= passed]
            if due:
                await self._send(clock, due)
                waiting = waiting[len(due) :]
            await asyncio.sleep(_TICK_SECONDS)
        return self._done(clock)

    async def stay(self, *, every: timedelta = timedelta(minutes=1)) -> None:
        """Goes on after closing time, until cancelled: gates of an empty site report that nobody came.

        A gate that falls silent would rightly make its zone's figures doubtful.
        """
        last = self._remembered() or datetime.now(UTC)
        while True:
            until = last + every
            await asyncio.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))
            empty = [as_sent(Reading(gate.id, 0, 0, 0), last, until) for gate in sights.GATES]
            await doors.push_readings(self.gate, empty)
            self.sent += len(empty)
            self._remember(until)
            last = until

    async def _send(self, clock: Clock, due: list[tuple[int, list[Reading]]]) -> None:
        readings = [self._as_sent(clock, reading) for _, group in due for reading in group]
        for first in range(0, len(readings), _READINGS_A_CALL):
            await doors.push_readings(self.gate, readings[first : first + _READINGS_A_CALL])
        self.sent += len(readings)
        minute = due[-1][0]
        self._remember(clock.at(minute + 1 - OPENING))
        self._told(f"{(minute + 1) // 60:02d}:{(minute + 1) % 60:02d}", self.sent)

    async def _begin(self, clock: Clock) -> None:
        """Sites stand, and a guard has looked: nobody is inside when the day begins."""
        await set_up_sights(self.site)
        for zone in sights.ZONES:
            await doors.push_count(self.gate, zone.id, clock.begin.isoformat(), 0)

    def _as_sent(self, clock: Clock, reading: Reading) -> Json:
        minute = reading.minute - OPENING
        return as_sent(reading, clock.at(minute), clock.at(minute + 1))

    def _done(self, clock: Clock, *, skipped: bool = False) -> Json:
        return {
            "day": self.day.day.isoformat(),
            "readings": self.sent,
            "skipped": skipped,
            "begin": clock.begin.isoformat(),
            "end": clock.at(MINUTES).isoformat(),
            "squeezed": clock.squeezed,
            "expected": self.expected["zones"],
        }

    def _remembered(self) -> datetime | None:
        try:
            return datetime.fromisoformat(json.loads(self.memory.read_text())["reported_until"])
        except FileNotFoundError:
            return None

    def _remember(self, until: datetime) -> None:
        self.memory.write_text(json.dumps({"reported_until": until.isoformat()}) + "\n")


async def set_up_sights(site: Caller) -> int:
    """Sites, zones, their capacity and gates, as the scenic area's own system sets them up. Repeatable."""
    calls: list[Awaitable[Any]] = []
    for place in sights.SITES:
        calls.append(
            doors.put_site(site, place.id, {"name": _name(place.name, place.name_en), "area": place.area})
        )
    areas = {place.id: place.area for place in sights.SITES}
    for zone in sights.ZONES:
        body = {
            "name": _name(zone.name, zone.name_en),
            "area": areas[zone.site],
            "site": zone.site,
            "effective_area_m2": zone.square_metres,
        }
        calls.append(doors.put_zone(site, zone.id, body))
    for zone in sights.ZONES:
        calls.append(doors.put_capacity_policy(site, zone.id, _policy(zone)))
    for gate in sights.GATES:
        edge = {"kind": "gate", "zone_from": gate.out_of, "zone_to": gate.into, "period_seconds": 60}
        calls.append(doors.put_sensor(site, gate.id, edge))
    for call in calls:
        await call
    return len(calls)


def _name(zh: str, en: str) -> Json:
    return {"zh": zh, "en": en}


def _policy(zone: sights.Zone) -> Json:
    opening_hours = (CLOSING - OPENING) // 60
    return {
        "arithmetic": {
            "spaces": [{"effective_area_m2": zone.square_metres, "m2_per_visitor": zone.per_visitor}],
            "opening_hours": opening_hours,
            "mean_stay_hours": round(zone.stay[0] / 60, 2),
        },
        "levels": sights.LEVELS,
        "dwell_up": sights.DWELL_UP,
        "dwell_down": sights.DWELL_DOWN,
        "hysteresis": sights.HYSTERESIS,
        "basis": "LB/T 034-2014",
    }
