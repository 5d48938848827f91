"""Windows, occupancy and anchors: exact sums, whatever the order and however often it is sent."""

import asyncio
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.transport.conftest import Transport

MINUTE = timedelta(minutes=1)


async def windows(transport: Transport, zone: str) -> dict[str, tuple[int, int]]:
    found = await transport.see(f"zones/{zone}/windows", first=1000)
    return {w["minute"]: (w["people_in"], w["people_out"]) for w in found["items"]}


async def occupancy(transport: Transport, zone: str) -> Any:
    return (await transport.see(f"zones/{zone}"))["occupancy"]


def at(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")


async def test_a_reading_counts_in_the_minute_in_which_it_ended(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(
        transport.reading("s", now, 1, seconds=5),
        transport.reading("s", now - timedelta(seconds=20), 2, seconds=5),
        transport.reading("s", now - MINUTE, 4, 3, seconds=900),
    )
    assert await windows(transport, "a") == {at(now - MINUTE): (3, 0), at(now - 2 * MINUTE): (4, 3)}


async def test_a_sensor_moves_people_from_one_zone_to_the_next(transport: Transport, now: datetime) -> None:
    for zone in ("a", "b"):
        await transport.zone(zone)
    await transport.sensor("outer", zone_to="a")
    await transport.sensor("inner", zone_from="a", zone_to="b")
    await transport.push(transport.reading("outer", now, 50, 2), transport.reading("inner", now, 30, 4))
    assert await windows(transport, "a") == {at(now - MINUTE): (54, 32)}
    assert await windows(transport, "b") == {at(now - MINUTE): (30, 4)}
    assert [await occupancy(transport, zone) for zone in ("a", "b")] == [22, 26]


async def test_a_correction_after_the_window_was_final_is_a_revision(
    transport: Transport, now: datetime
) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(transport.reading("s", now - 20 * MINUTE, 1), transport.reading("s", now, 1))
    await transport.push(
        transport.reading("s", now - 20 * MINUTE, 5), transport.reading("s", now - 2 * MINUTE, 1)
    )
    found = (await transport.see("zones/a/windows"))["items"]
    assert [(w["people_in"], w["revision"], w["final"]) for w in found] == [
        (1, 0, False),
        (1, 0, False),
        (6, 1, True),
    ]
    assert await occupancy(transport, "a") == 8


async def test_windows_page_by_page_and_by_time(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(*(transport.reading("s", now - i * MINUTE, i) for i in range(5)))
    page = await transport.see("zones/a/windows", first=3)
    rest = await transport.see("zones/a/windows", first=3, after=page["next"])
    assert [w["people_in"] for w in page["items"] + rest["items"]] == [0, 1, 2, 3, 4]
    assert rest["next"] is None
    some = await transport.see("zones/a/windows", since=at(now - 4 * MINUTE), until=at(now - 2 * MINUTE))
    assert [w["people_in"] for w in some["items"]] == [2, 3]
    newest = await transport.see("windows", zone=["a", "nowhere"], each=2)
    assert [w["people_in"] for w in newest["a"]["items"]] == [0, 1]
    assert newest["nowhere"]["items"] == []


async def test_a_count_is_where_the_sum_starts_again(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(transport.reading("s", now - 10 * MINUTE, 500))
    await transport.count("a", (now - 5 * MINUTE, 300))
    assert await occupancy(transport, "a") == 300
    # What ended before the count is in it; what ended after is not.
    await transport.push(
        transport.reading("s", now - 6 * MINUTE, 7), transport.reading("s", now - 4 * MINUTE, 11)
    )
    assert await occupancy(transport, "a") == 311


async def test_a_count_in_the_middle_of_a_minute_parts_its_readings(
    transport: Transport, now: datetime
) -> None:
    await transport.zone("a")
    await transport.zone("b")
    await transport.sensor("s", zone_to="a")
    await transport.sensor("t", zone_from="a", zone_to="b")
    cut = now - 5 * MINUTE
    await transport.push(
        transport.reading("s", cut - timedelta(seconds=10), 1, seconds=5),
        transport.reading("s", cut, 2, seconds=5),
        transport.reading("s", cut + timedelta(seconds=10), 4, seconds=5),
        transport.reading("t", cut + timedelta(seconds=50), 1, 9, seconds=5),
        transport.reading("s", cut + MINUTE, 16, seconds=5),
        transport.reading("s", now, 32, seconds=5),
    )
    for zone in ("a", "b"):
        # On the minute, and within it; the second count is the later one and stands.
        await transport.count(zone, (cut, 100))
    assert [await occupancy(transport, zone) for zone in ("a", "b")] == [100 + 4 + 8 + 16 + 32, 100 - 8]
    await transport.count("a", (cut + timedelta(seconds=30), 1000))
    assert await occupancy(transport, "a") == 1000 + 8 + 16 + 32


async def test_an_older_count_is_kept_and_changes_nothing(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    await transport.count("a", (now, 50))
    receipt = await transport.count("a", (now - 5 * MINUTE, 999))
    assert (receipt["accepted"], receipt["occupancy"]) == (1, 50)


async def test_counts_are_taken_once_and_do_not_contradict_each_other(
    transport: Transport, now: datetime
) -> None:
    await transport.zone("a")
    await transport.count("a", (now - MINUTE, 7), (now, 9))
    assert (await transport.count("a", (now, 9), (now, 9)))["duplicates"] == 2
    body = [{"time": now.isoformat(), "count": 8}]
    answer = await transport.site.post("/transport/zones/a/counts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "count_conflict")


@pytest.mark.parametrize(
    ("count", "code", "path"),
    [
        ({"time": "2014-07-01T00:00:00", "count": 1}, "invalid_time", "$.time"),
        ({"time": "2199-07-01T00:00:00Z", "count": 1}, "future_count", "$.time"),
        ({"time": "2014-07-01T00:00:00Z", "count": -1}, "negative_count", "$.count"),
        ({"time": "2014-07-01T00:00:00Z"}, "missing_member", "$.count"),
        ({"time": "2014-07-01T00:00:00Z", "count": 1, "by": "me"}, "unknown_member", "$.by"),
        (7, "not_an_object", "$"),
    ],
)
async def test_a_wrong_count_is_refused_by_path(
    transport: Transport, count: Any, code: str, path: str
) -> None:
    await transport.zone("a")
    answer = await transport.site.post("/transport/zones/a/counts", json=count)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["path"] == path


async def test_counting_is_for_those_who_run_the_zone(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    rival = await transport.house.client("transport", scopes="transport:readings:write", organisation="rival")
    body = {"time": now.isoformat(), "count": 100_000}
    answer = await rival.post("/transport/zones/a/counts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_zone")
    await transport.sensor("s", zone_to="a", operator="rival")
    assert (await rival.post("/transport/zones/a/counts", json=body)).status_code == 200


ZONES = ("a", "b", "c")
EDGES: dict[str, tuple[str | None, str | None]] = {
    "gate-1": (None, "a"),
    "gate-2": ("a", None),
    "gate-3": (None, "c"),
    "inner-1": ("a", "b"),
    "inner-2": ("c", "b"),
}


async def test_four_writers_shuffled_late_and_twice_give_exact_sums(
    transport: Transport, now: datetime
) -> None:
    """No deadlock, nothing lost, nothing doubled; and Σ zones = Σ boundary in - out."""
    for zone in ZONES:
        await transport.zone(zone)
    for sensor, (before, after) in EDGES.items():
        await transport.sensor(sensor, zone_from=before, zone_to=after)
    dice = random.Random(7)
    readings = [
        transport.reading(
            sensor,
            now - timedelta(seconds=dice.randrange(7200)),
            dice.randrange(9),
            dice.randrange(9),
            seconds=5,
        )
        for sensor in EDGES
        for _ in range(400)
    ]
    sent = readings + dice.sample(readings, len(readings) // 2)
    dice.shuffle(sent)
    pushes = [sent[i : i + 100] for i in range(0, len(sent), 100)]

    async def write(mine: list[list[dict[str, Any]]]) -> int:
        return sum([(await transport.push(*push))["accepted"] for push in mine])

    accepted = await asyncio.gather(*(write(pushes[i::4]) for i in range(4)))
    assert sum(accepted) == len(readings)

    expected: dict[str, Counter[tuple[str, str]]] = {zone: Counter() for zone in ZONES}
    for reading in readings:
        before, after = EDGES[reading["sensor"]]
        ended = datetime.fromisoformat(reading["end"]) - timedelta(microseconds=1)
        minute = at(ended.replace(second=0, microsecond=0))
        for side, came, went in ((after, "in", "out"), (before, "out", "in")):
            if side is not None:
                expected[side][minute, "in"] += reading[came]
                expected[side][minute, "out"] += reading[went]
    nets = {}
    for zone in ZONES:
        found = await windows(transport, zone)
        assert found == {m: (expected[zone][m, "in"], expected[zone][m, "out"]) for m, _ in expected[zone]}
        nets[zone] = sum(came - went for came, went in found.values())
        state = await transport.see(f"zones/{zone}")
        assert state["occupancy"] - state["debt"] == nets[zone]
    boundary = sum(
        (r["in"] - r["out"]) * (1 if EDGES[r["sensor"]][0] is None else -1)
        for r in readings
        if None in EDGES[r["sensor"]]
    )
    assert sum(nets.values()) == boundary
