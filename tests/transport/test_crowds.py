"""Warnings through the doors: raised by readings and counts, read, acknowledged."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.transport.conftest import Transport

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def crowd(transport: Transport) -> Transport:
    await transport.zone("bridge")
    await transport.sensor("g1", zone_to="bridge")
    await transport.sensor("g2", zone_to="bridge")
    await transport.policy("bridge", capacity=100, red_at_once=False)
    return transport


def told(steps: list[dict[str, Any]]) -> list[tuple[str, str, str, int]]:
    return [(s["kind"], s["previous"], s["level"], s["people"]) for s in steps]


async def published(crowd: Transport) -> list[tuple[str, dict[str, Any]]]:
    """What this test's zone published."""
    async with crowd.house.kit("transport").db.read() as db:
        rows = await db.fetch(
            """select type, area, body from outbox where aggregate = 'zone/bridge'
                  and time >= (select created_at from zone where id = 'bridge') order by seq"""
        )
    assert {row["area"] for row in rows} <= {"330106"}
    return [(row["type"], row["body"]) for row in rows]


async def test_readings_raise_a_warning_in_their_own_commit(crowd: Transport, now: datetime) -> None:
    await crowd.push(crowd.reading("g1", now - MINUTE, 85))
    assert await crowd.steps("bridge") == []
    await crowd.push(crowd.reading("g1", now, 0))
    assert told(await crowd.steps("bridge")) == [("raised", "normal", "yellow", 85)]
    found = await crowd.see("zones/bridge")
    assert (found["level"], found["share"]) == ("yellow", 0.85)


async def test_one_push_of_many_minutes_says_the_same_as_many_pushes(crowd: Transport, now: datetime) -> None:
    await crowd.zone("other")
    await crowd.sensor("h1", zone_to="other")
    await crowd.policy("other", capacity=100, red_at_once=False)
    people = [50, 85, 86, 95, 96, 60, 60, 60, 60, 60, 60, 85, 85, 85]
    changes = [after - before for before, after in zip([0, *people], people, strict=False)]
    for sensor, at_once in (("g1", True), ("h1", False)):
        readings = [
            crowd.reading(sensor, now - (len(people) - i) * MINUTE, max(change, 0), max(-change, 0))
            for i, change in enumerate(changes)
        ]
        for push in [readings] if at_once else [[reading] for reading in readings]:
            await crowd.push(*push)
    steps = await crowd.steps("bridge")
    assert [(s["kind"], s["level"]) for s in steps] == [
        ("raised", "yellow"),
        ("changed", "orange"),
        ("ended", "normal"),
        ("raised", "yellow"),
    ]
    assert [(s["at"], *told([s])) for s in steps] == [
        (s["at"], *told([s])) for s in await crowd.steps("other")
    ]


async def test_late_readings_correct_the_number_and_not_the_past(crowd: Transport, now: datetime) -> None:
    await crowd.push(*(crowd.reading("g1", now - i * MINUTE, 0) for i in range(20)))
    # A whole forgotten crowd, five times over the level and gone again, before what is known already.
    for i in range(10, 18):
        await crowd.push(crowd.reading("g2", now - i * MINUTE, *((300, 0) if i % 2 else (0, 300))))
    assert await crowd.steps("bridge") == []
    # One that stays is in the number from the next minute on, and raises when it has lasted.
    await crowd.push(crowd.reading("g2", now - 9 * MINUTE, 82))
    await crowd.push(crowd.reading("g1", now + timedelta(seconds=20), 0), crowd.reading("g2", now, 0))
    assert await crowd.steps("bridge") == []
    await crowd.push(crowd.reading("g2", now + timedelta(seconds=20), 0))
    assert (await crowd.see("zones/bridge"))["occupancy"] == 82


async def test_a_minute_is_judged_when_all_gates_that_are_heard_have_told_of_it(
    crowd: Transport, now: datetime
) -> None:
    at = [now - (4 - i) * MINUTE for i in range(4)]
    await crowd.push(crowd.reading("g1", at[0], 0), crowd.reading("g2", at[0], 0))
    await crowd.push(crowd.reading("g1", at[1], 85), crowd.reading("g2", at[1], 0))
    # One gate's half of the minute says 95, the whole of it 75: no second observation over 80 %.
    await crowd.push(crowd.reading("g1", at[2], 10))
    await crowd.push(crowd.reading("g2", at[2], 0, 20))
    assert await crowd.steps("bridge") == []
    await crowd.push(crowd.reading("g2", at[3], 10), crowd.reading("g1", at[3], 0))
    assert await crowd.steps("bridge") == []


async def test_nobody_waits_for_a_silent_gate(crowd: Transport, now: datetime) -> None:
    await crowd.push(crowd.reading("g1", now - 3 * MINUTE, 0), crowd.reading("g2", now - 3 * MINUTE, 0))
    async with crowd.house.kit("transport").db.transaction() as tx:
        await tx.execute(
            "update sensor_state set received_at = now() - interval '1 hour' where sensor = 'g2'"
        )
    await crowd.push(crowd.reading("g1", now - 2 * MINUTE, 85))
    await crowd.push(crowd.reading("g1", now - MINUTE, 0))
    assert told(await crowd.steps("bridge")) == [("raised", "normal", "yellow", 85)]


async def test_a_gate_that_lags_delays_a_minute_until_the_next_one(crowd: Transport, now: datetime) -> None:
    await crowd.push(crowd.reading("g1", now - 3 * MINUTE, 85), crowd.reading("g2", now - 4 * MINUTE, 0))
    await crowd.push(crowd.reading("g1", now - 2 * MINUTE, 0))
    assert await crowd.steps("bridge") == []
    await crowd.push(crowd.reading("g1", now - MINUTE, 0))
    assert told(await crowd.steps("bridge")) == [("raised", "normal", "yellow", 85)]


async def test_red_comes_with_the_reading_that_reaches_it(crowd: Transport, now: datetime) -> None:
    await crowd.zone("tower")
    await crowd.policy("tower", capacity=100)
    await crowd.sensor("g1", zone_to="tower")
    await crowd.sensor("g2", zone_to="tower")
    await crowd.push(crowd.reading("g1", now, 60, seconds=5))
    await crowd.push(crowd.reading("g2", now, 45, seconds=5))
    assert told(await crowd.steps("tower")) == [("raised", "normal", "red", 105)]


async def test_a_warning_is_told_once_however_often_the_reading_comes(
    crowd: Transport, now: datetime
) -> None:
    readings = [crowd.reading("g1", now - (2 - i) * MINUTE, n) for i, n in enumerate((45, 45, 0))]
    for _ in range(3):
        await crowd.push(*readings)
    [(kind, data)] = await published(crowd)
    assert kind == "transport.warning.raised"
    [warning] = (await crowd.see("warnings"))["items"]
    assert data == {
        "warning": warning["id"],
        "zone": "bridge",
        "zone_name": {"zh": "断桥", "en": "Broken Bridge"},
        "site": None,
        "policy": warning["policy"],
        "episode": 1,
        "revision": 1,
        "level": "orange",
        "previous": "normal",
        "people": 90,
        "capacity": 100,
        "share": 0.9,
        "at": now.isoformat(),
        "cause": "flow",
        "text": {
            "zh": "断桥：橙色预警，90 人，为瞬时承载量 100 人的 90.0%",
            "en": "Broken Bridge: Orange warning, 90 people, 90.0% of its capacity of 100",
        },
    }


async def test_counts_are_observations_of_any_age(crowd: Transport) -> None:
    start = datetime.fromisoformat("2014-07-01T00:00:00Z")
    people = [85, 85, 95, 95, *[10] * 5]
    await crowd.count("bridge", *((start + i * 30 * MINUTE, n) for i, n in enumerate(people)))
    steps = await crowd.steps("bridge")
    assert told(steps) == [
        ("raised", "normal", "yellow", 85),
        ("changed", "yellow", "orange", 95),
        ("ended", "orange", "normal", 10),
    ]
    assert steps[0]["at"] == "2014-07-01T00:30:00Z"


async def test_each_level_of_an_episode_is_one_warning(crowd: Transport, now: datetime) -> None:
    people = [85, 85, 95, 95, *[75] * 5, 95, 95]
    await crowd.count("bridge", *((now - (20 - i) * MINUTE, n) for i, n in enumerate(people)))
    found = (await crowd.see("warnings", zone="bridge"))["items"]
    assert {w["level"]: (w["state"], w["episode"]) for w in found} == {
        "yellow": ("superseded", 1),
        "orange": ("active", 1),
    }
    await crowd.count("bridge", *((now - (5 - i) * MINUTE, 0) for i in range(5)))
    found = (await crowd.see("warnings", zone="bridge"))["items"]
    assert {w["level"]: w["state"] for w in found} == {"yellow": "ended", "orange": "ended"}
    assert (await crowd.see("warnings", open=True))["items"] == []


async def test_a_crowd_that_thins_out_is_warned_of_at_its_lower_level(
    crowd: Transport, now: datetime
) -> None:
    await crowd.count("bridge", *((now - (20 - i) * MINUTE, n) for i, n in enumerate([100, 100, *[75] * 5])))
    found = (await crowd.see("warnings", zone="bridge", open=True))["items"]
    assert {w["level"]: w["state"] for w in found} == {"red": "lowered", "yellow": "active"}
    assert [kind for kind, _ in await published(crowd)] == [
        "transport.warning.raised",
        "transport.warning.changed",
    ]


async def test_warnings_by_area_page_by_page(crowd: Transport, now: datetime) -> None:
    await crowd.zone("canal", area="320500")
    await crowd.policy("canal", capacity=10, red_at_once=False)
    await crowd.count("canal", (now - 2 * MINUTE, 9), (now - MINUTE, 9))
    people = [85, 85, 95, 95, 105, 105]
    await crowd.count("bridge", *((now - (20 - i) * MINUTE, n) for i, n in enumerate(people)))

    async def levels(**params: Any) -> list[str]:
        return [w["level"] for w in (await crowd.see("warnings", **params))["items"]]

    assert await levels() == ["orange", "red", "orange", "yellow"]
    assert await levels(area="330000") == ["red", "orange", "yellow"]
    page = await crowd.see("warnings", area="33", first=2)
    assert await levels(area="33", first=2, after=page["next"]) == ["yellow"]
    newest = await crowd.see("warnings/newest", zone=["bridge", "canal"], each=1)
    assert {zone: [w["level"] for w in found["items"]] for zone, found in newest.items()} == {
        "bridge": ["red"],
        "canal": ["orange"],
    }
    one = page["items"][0]
    assert await crowd.see(f"warnings/{one['id']}") == one
    assert (await crowd.see("warnings", ids=[one["id"]]))["items"] == [one]


@pytest.fixture
async def warning(crowd: Transport, now: datetime) -> str:
    await crowd.count("bridge", (now - 2 * MINUTE, 90), (now - MINUTE, 90))
    [found] = (await crowd.see("warnings"))["items"]
    return str(found["id"])


async def test_only_flow_staff_acknowledge(crowd: Transport, warning: str) -> None:
    path = f"/transport/warnings/{warning}/acknowledgements"
    assert (await crowd.citizen.post(path, json={})).status_code == 403
    machine = await crowd.house.client("transport", scopes="transport:warnings:acknowledge")
    assert (await machine.post(path, json={})).status_code == 403
    staff: dict[str, Any] = {"kind": "staff", "scopes": "transport:warnings:acknowledge"}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"roles": ["flow_staff"], "areas": ["320000"]}, "outside_area"),
        ({"roles": ["flow_staff"], "areas": []}, "outside_area"),
        ({"roles": ["auditor"], "areas": ["330100"]}, "not_on_duty"),
    ]
    for who, reason in refused:
        other = await crowd.house.client("transport", **staff, **who)
        answer = await other.post(path, json={})
        assert (answer.status_code, answer.json()["code"]) == (403, reason)
    assert (await crowd.see(f"warnings/{warning}"))["acknowledgement"] is None


async def test_an_acknowledgement_has_a_name_and_stands(crowd: Transport, warning: str) -> None:
    path = f"/transport/warnings/{warning}/acknowledgements"
    first = await crowd.staff.post(path, json={"note": "  two more stewards  "})
    assert first.status_code == 200
    taken = first.json()["acknowledgement"]
    assert (taken["by"], taken["organisation"], taken["note"]) == ("staff-1", "bureau", "two more stewards")
    colleague = await crowd.house.client(
        "transport",
        kind="staff",
        subject="staff-2",
        scopes="transport:warnings:acknowledge",
        roles=["flow_staff"],
        areas=["000000"],
    )
    assert (await colleague.post(path, json={"note": "me too"})).json()["acknowledgement"] == taken
    told = await published(crowd)
    assert [kind for kind, _ in told] == ["transport.warning.raised", "transport.warning.acknowledged"]
    # It goes to every subscriber: for which organisation, but neither who nor with what words.
    assert told[1][1]["organisation"] == "bureau"
    assert "staff-1" not in str(told[1][1])
    assert "stewards" not in str(told[1][1])


async def test_staff_of_another_area_see_no_more_than_citizens(crowd: Transport, warning: str) -> None:
    await crowd.staff.post(f"/transport/warnings/{warning}/acknowledgements", json={"note": "on my way"})
    elsewhere = await crowd.house.client(
        "transport",
        kind="staff",
        scopes="transport:flows:read transport:warnings:acknowledge",
        roles=["flow_staff"],
        areas=["320000"],
    )
    taken = (await elsewhere.get(f"/transport/warnings/{warning}")).json()["acknowledgement"]
    assert (taken["by"], taken["note"]) == (None, None)


async def test_citizens_see_that_it_is_in_hand_and_not_in_whose(crowd: Transport, warning: str) -> None:
    await crowd.staff.post(f"/transport/warnings/{warning}/acknowledgements", json={"note": "on my way"})
    taken = (await crowd.see(f"warnings/{warning}"))["acknowledgement"]
    assert (taken["organisation"], taken["by"], taken["note"]) == ("bureau", None, None)


async def test_no_such_warning(crowd: Transport) -> None:
    answer = await crowd.staff.post(f"/transport/warnings/{uuid4()}/acknowledgements", json={})
    assert answer.status_code == 404
    answer = await crowd.citizen.get(f"/transport/warnings/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_warning")
    answer = await crowd.citizen.get("/transport/warnings/tomorrow")
    assert answer.status_code == 422
