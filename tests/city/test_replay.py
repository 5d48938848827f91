"""A replayed day ends with the present, never runs ahead of it, and never counts an hour twice."""

import asyncio
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.doors import Caller, Credentials
from city.gate import CLOSING, OPENING
from city.replay import DAY, MINUTES, Clock, Replay
from city.roster import GATE, SITE, roster_of
from city.sights import GATES, ZONES
from city.simulation import City
from tests.city.parties import Doors

NOW = datetime(2026, 11, 23, 8, 30, 17, tzinfo=UTC)
moments = st.integers(0, 365 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(moments, st.floats(1, 10_000), st.integers(0, 2_000_000) | st.none())
def test_no_reading_is_of_the_future(now: datetime, speed: float, seconds_ago: int | None) -> None:
    last = None if seconds_ago is None else now - timedelta(seconds=seconds_ago)
    clock = Clock.laid(now=now, takes=DAY / speed, last=last)
    for minute in range(0, MINUTES + 1, 20):
        sent_at = now + timedelta(minutes=minute) / speed
        assert clock.at(minute) <= sent_at + timedelta(milliseconds=1)
        assert clock.at(minute) > now - timedelta(hours=24)
    if last is not None:
        assert clock.at(0) >= last - timedelta(0) or not clock.squeezed


def test_minutes_are_whole_and_keep_their_length() -> None:
    clock = Clock.laid(now=NOW, takes=DAY / 60, last=None)
    assert not clock.squeezed
    assert (clock.begin.second, clock.begin.microsecond) == (0, 0)
    assert clock.at(1) - clock.at(0) == timedelta(minutes=1)
    end = NOW + DAY / 60
    assert timedelta(0) <= end - clock.at(MINUTES) < timedelta(minutes=1)


def test_at_the_speed_of_life_it_begins_now() -> None:
    clock = Clock.laid(now=NOW, takes=DAY, last=None)
    assert timedelta(0) <= NOW - clock.begin < timedelta(minutes=1)


def test_what_the_gates_reported_is_not_counted_again() -> None:
    last = NOW - timedelta(minutes=30)
    clock = Clock.laid(now=NOW, takes=DAY / 60, last=last)
    assert clock.squeezed
    assert clock.begin == last
    assert clock.at(MINUTES) == NOW + DAY / 60


def test_an_old_report_does_not_matter() -> None:
    assert not Clock.laid(now=NOW, takes=DAY / 60, last=NOW - timedelta(hours=20)).squeezed


@pytest.fixture
def suite(tmp_path: Path) -> Doors:
    found = Doors()
    found.write_clients(roster_of(City(people=50)), tmp_path)
    return found


async def replayed(suite: Doors, folder: Path, *, speed: float) -> dict[str, object]:
    async with suite.client() as http:
        callers = [Caller(http, Credentials.read(folder / f"{name}.json")) for name in (SITE, GATE)]
        replay = Replay(*callers, seed=1, memory=folder / ".gates")
        return await (replay.all_at_once() if math.isinf(speed) else replay.at_speed(speed))


@pytest.mark.parametrize("speed", [40_000.0, math.inf])
async def test_a_day_is_sent_whole_and_in_order(suite: Doors, tmp_path: Path, speed: float) -> None:
    done = await replayed(suite, tmp_path, speed=speed)
    sent: list[dict[str, Any]] = []
    for call in suite.of("/transport/readings"):
        text = call.content.decode()
        streamed = "ndjson" in call.headers["content-type"]
        sent += [json.loads(line) for line in text.splitlines()] if streamed else call.json()
    assert len(sent) == done["readings"] == MINUTES * len(GATES)
    starts = [datetime.fromisoformat(reading["start"]) for reading in sent]
    assert starts == sorted(starts)
    assert all(datetime.fromisoformat(reading["end"]) <= datetime.now(UTC) for reading in sent)
    assert len({(reading["sensor"], reading["seq"]) for reading in sent}) == len(sent)
    assert sum(reading["in"] - reading["out"] for reading in sent) == 0


async def test_zones_stand_and_are_empty_before_the_first_reading(suite: Doors, tmp_path: Path) -> None:
    done = await replayed(suite, tmp_path, speed=math.inf)
    paths = [call.path for call in suite.calls]
    first = paths.index("/transport/readings")
    for zone in ZONES:
        assert paths.index(f"/transport/zones/{zone.id}") < paths.index(
            f"/transport/zones/{zone.id}/capacity-policy"
        )
        assert paths.index(f"/transport/zones/{zone.id}/counts") < first
        [count] = suite.of(f"/transport/zones/{zone.id}/counts")
        assert count.json() == {"time": done["begin"], "count": 0}
    for gate in GATES:
        assert (
            paths.index(f"/transport/zones/{gate.into}")
            < paths.index(f"/transport/sensors/{gate.id}")
            < first
        )


async def test_gates_remember_until_when_they_reported(suite: Doors, tmp_path: Path) -> None:
    first = await replayed(suite, tmp_path, speed=math.inf)
    suite.calls.clear()
    again = await replayed(suite, tmp_path, speed=math.inf)
    assert again["skipped"]
    assert not suite.of("/transport/readings")
    live = await replayed(suite, tmp_path, speed=40_000.0)
    assert live["squeezed"]
    assert live["begin"] == first["end"]


async def test_the_expected_warnings_come_with_it(suite: Doors, tmp_path: Path) -> None:
    done = await replayed(suite, tmp_path, speed=math.inf)
    expected = done["expected"]
    assert isinstance(expected, dict)
    assert [step["level"] for step in expected["mirror-lake.causeway"]["steps"]][:3] == [
        "yellow",
        "orange",
        "red",
    ]
    assert MINUTES == CLOSING - OPENING + 1


async def test_an_empty_site_goes_on_reporting(suite: Doors, tmp_path: Path) -> None:
    done = await replayed(suite, tmp_path, speed=math.inf)
    suite.calls.clear()
    async with suite.client() as http:
        callers = [Caller(http, Credentials.read(tmp_path / f"{name}.json")) for name in (SITE, GATE)]
        replay = Replay(*callers, seed=1, memory=tmp_path / ".gates")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(replay.stay(every=timedelta(milliseconds=50)), 0.5)
    sent = [reading for call in suite.of("/transport/readings") for reading in call.json()]
    assert len(sent) >= 2 * len(GATES)
    assert {(reading["in"], reading["out"]) for reading in sent} == {(0, 0)}
    assert sent[0]["start"] == done["end"]
    assert all(datetime.fromisoformat(reading["end"]) <= datetime.now(UTC) for reading in sent)
