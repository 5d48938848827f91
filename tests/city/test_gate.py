"""A day at the sights: people come, stay and go; one zone fills up, its neighbours nearly."""

from datetime import UTC, date, timedelta
from typing import Any

import pytest

from city.gate import (
    BUSIEST_DAY,
    CLOSING,
    OPENING,
    as_sent,
    day_at_the_sights,
    inside_by_minute,
    kind_of,
    moment,
)
from city.sights import BRIEF_RUSH, GATES, ZONES, zone
from city.truth import warnings_of

WEEKEND, WORKDAY = date(2026, 10, 17), date(2026, 10, 14)


def levels(zone_id: str, day: date = BUSIEST_DAY) -> list[tuple[int, str]]:
    steps: list[dict[str, Any]] = warnings_of(day, seed=1)["zones"][zone_id]["steps"]
    return [(step["episode"], step["level"]) for step in steps]


@pytest.mark.parametrize("day", [BUSIEST_DAY, WEEKEND, WORKDAY])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nobody_is_inside_before_or_after_and_never_less_than_nobody(day: date, seed: int) -> None:
    for inside in day_at_the_sights(day, seed=seed).inside.values():
        assert inside[-1] == 0
        assert min(inside) >= 0
        assert len(inside) == CLOSING - OPENING + 1


def test_every_gate_reports_every_minute_in_order() -> None:
    readings = day_at_the_sights(BUSIEST_DAY, seed=1).readings
    assert [(r.minute, r.gate) for r in readings] == [
        (minute, gate.id) for minute in range(OPENING, CLOSING + 1) for gate in GATES
    ]


def test_as_many_leave_by_a_gate_as_came_in_by_it() -> None:
    readings = day_at_the_sights(BUSIEST_DAY, seed=1).readings
    for gate in GATES:
        own = [reading for reading in readings if reading.gate == gate.id]
        assert sum(reading.entered for reading in own) == sum(reading.left for reading in own) > 500


def test_an_inner_gate_moves_people_between_zones() -> None:
    """What is inside all zones together is what came in from outside less what went out."""
    day = day_at_the_sights(BUSIEST_DAY, seed=1)
    outer = {gate.id for gate in GATES if gate.out_of is None}
    assert len(outer) < len(GATES)
    inside = 0
    for minute in range(OPENING, CLOSING + 1):
        at = [r for r in day.readings[(minute - OPENING) * len(GATES) :][: len(GATES)] if r.gate in outer]
        inside += sum(reading.entered - reading.left for reading in at)
        assert inside == sum(people[minute - OPENING] for people in day.inside.values())
    assert inside_by_minute(day.readings) == day.inside


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_busiest_day_brings_every_kind_of_episode(seed: int) -> None:
    zones = warnings_of(BUSIEST_DAY, seed=seed)["zones"]
    words = {name: [step["level"] for step in found["steps"]] for name, found in zones.items()}
    assert words["mirror-lake.causeway"] == ["yellow", "orange", "red", "orange", "yellow", "normal"]
    assert words["mirror-lake.pagoda"] == ["yellow", "orange", "yellow", "normal"]
    assert words["cloud-town.street"] == ["yellow", "normal", "yellow", "normal"]
    assert words["mirror-lake.garden"] == words["mirror-lake.pier"] == []


def test_two_humps_are_two_episodes() -> None:
    assert levels("cloud-town.street") == [(1, "yellow"), (1, "normal"), (2, "yellow"), (2, "normal")]


def test_the_near_misses_come_near() -> None:
    inside = day_at_the_sights(BUSIEST_DAY, seed=1).inside
    pier, minute = zone("mirror-lake.pier"), BRIEF_RUSH[2] - OPENING
    assert inside[pier.id][minute] >= pier.capacity * 0.8
    others = [people for at, people in enumerate(inside[pier.id]) if at != minute]
    assert max(others) < pier.capacity * 0.8
    garden = zone("mirror-lake.garden")
    assert 0.74 < max(inside[garden.id]) / garden.capacity < 0.8


def test_weekends_are_fuller_than_workdays_and_holidays_fullest() -> None:
    peaks = [
        max(day_at_the_sights(day, seed=1).inside["mirror-lake.causeway"])
        for day in (WORKDAY, WEEKEND, BUSIEST_DAY)
    ]
    assert peaks[0] * 1.5 < peaks[1] < peaks[2] / 1.2
    assert not any(levels(zone.id, WORKDAY) for zone in ZONES)


def test_the_middle_of_the_day_is_fuller_than_its_edges() -> None:
    inside = day_at_the_sights(BUSIEST_DAY, seed=1).inside["mirror-lake.causeway"]
    assert inside[30] < inside[120] < inside[220] > inside[420] > inside[600]


@pytest.mark.parametrize(
    ("day", "kind"),
    [(date(2026, 10, 1), "holiday"), (date(2026, 10, 17), "weekend"), (date(2026, 10, 14), "workday")],
)
def test_kinds_of_days(day: date, kind: str) -> None:
    assert kind_of(day) == kind


def test_capacities_follow_from_area() -> None:
    assert {zone.id: zone.capacity for zone in ZONES}["mirror-lake.causeway"] == 4_000
    assert zone("mirror-lake.pier").capacity == 800


def test_a_reading_has_the_doors_form() -> None:
    reading = day_at_the_sights(BUSIEST_DAY, seed=1).readings[0]
    start = moment(BUSIEST_DAY, reading.minute)
    assert as_sent(reading, start, start + timedelta(minutes=1)) == {
        "sensor": "mirror-lake.causeway.south",
        "seq": int(start.astimezone(UTC).timestamp()) * 1000,
        "start": "2026-10-01T07:00:00+08:00",
        "end": "2026-10-01T07:01:00+08:00",
        "in": reading.entered,
        "out": reading.left,
    }
