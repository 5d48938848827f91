"""Sites, zones and sensors: who may set them up, and how they are read."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.transport.conftest import NAME, Transport

LAKE = {"name": NAME, "area": "330106"}


async def test_setting_up_needs_the_scope(transport: Transport) -> None:
    answer = await transport.gate.put("/transport/zones/a", json={"name": NAME, "area": "330106"})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_a_zone_belongs_to_the_organisation_that_set_it_up(transport: Transport) -> None:
    await transport.zone("a")
    rival = await transport.house.client("transport", scopes="transport:sites:write", organisation="rival")
    for path, body in [
        ("zones/a", {"name": NAME, "area": "330106"}),
        ("sensors/s", {"zone_to": "a"}),
    ]:
        answer = await rival.put(f"/transport/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_zone")


async def test_an_organisation_sets_up_in_its_own_areas(transport: Transport) -> None:
    near = await transport.house.client("transport", scopes="transport:sites:write", areas=["330100"])
    assert (await near.put("/transport/zones/a", json={"name": NAME, "area": "330106"})).status_code == 201
    answer = await near.put("/transport/zones/b", json={"name": NAME, "area": "320500"})
    assert (answer.status_code, answer.json()["code"]) == (403, "outside_area")


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("zones/a", {"name": NAME, "area": "330106", "site": "nowhere"}, "unknown_reference", "site"),
        ("sensors/s", {"zone_to": "nowhere"}, "unknown_reference", "zone_to"),
        ("sensors/s", {"zone_from": "z", "zone_to": "z"}, "invalid_edge", "zone_to"),
        ("zones/a", {"name": {"zh": "断桥"}, "area": "330106"}, "invalid_input", "en"),
        ("zones/a", {"name": NAME, "area": "Hangzhou"}, "invalid_input", "area"),
        ("zones/a", {"name": NAME, "area": "330106", "colour": "red"}, "invalid_input", "colour"),
        ("sites/a b", {"name": NAME, "area": "330106"}, "invalid_input", "id"),
        ("sensors/s", {"period_seconds": 0}, "invalid_input", "period_seconds"),
        ("zones/a", {**LAKE, "geometry": {"type": "Circle"}}, "invalid_input", "geometry"),
        ("zones/a", {**LAKE, "geometry": {"type": "Point", "coordinates": [120, 91]}}, "invalid_input", "1"),
        (
            "zones/a",
            {**LAKE, "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [1, 0]]]}},
            "invalid_input",
            "0",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused(
    transport: Transport, path: str, body: dict[str, Any], code: str, field: str
) -> None:
    await transport.zone("z")
    answer = await transport.site.put(f"/transport/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["field"] == field


async def test_a_sensor_is_operated_by_somebody(transport: Transport) -> None:
    """Otherwise anybody's readings would count."""
    nobody = await transport.house.client("transport", scopes="transport:sites:write", organisation=None)
    answer = await nobody.put("/transport/sensors/s", json={"kind": "gate"})
    assert (answer.status_code, answer.json()["code"]) == (422, "operator_missing")
    answer = await nobody.put("/transport/sensors/s", json={"kind": "gate", "operator": "xihu"})
    assert answer.status_code == 201


async def test_a_zone_says_where_it_is(transport: Transport) -> None:
    ring = [[120.1, 30.2], [120.2, 30.2], [120.2, 30.3], [120.1, 30.2]]
    for geometry in ({"type": "Polygon", "coordinates": [ring]}, {"type": "Point", "coordinates": ring[0]}):
        await transport.zone("a", geometry=geometry)
        async with transport.house.kit("transport").db.read() as db:
            assert await db.fetchval("select geometry from zone where id = 'a'") == geometry


async def test_a_zone_nobody_has_counted_is_not_empty(transport: Transport) -> None:
    await transport.zone("a", effective_area_m2=500)
    found = await transport.see("zones/a")
    assert (found["occupancy"], found["quality"], found["share"], found["density"]) == (
        None,
        "UNKNOWN",
        None,
        None,
    )


async def test_share_and_density(transport: Transport, now: datetime) -> None:
    await transport.zone("a", effective_area_m2=500)
    await transport.policy("a", capacity=200)
    await transport.count("a", (now, 150))
    found = await transport.see("zones/a")
    assert (found["occupancy"], found["capacity"], found["share"], found["density"]) == (150, 200, 0.75, 0.3)
    assert (found["quality"], found["anchor"]["people"]) == ("GOOD", 150)


async def test_a_silent_sensor_degrades_its_zones_and_never_empties_them(
    transport: Transport, now: datetime
) -> None:
    await transport.zone("a")
    await transport.zone("b")
    await transport.sensor("s", zone_from="a", zone_to="b", period_seconds=60)
    await transport.sensor("door", zone_to="a", period_seconds=60)
    await transport.push(transport.reading("door", now, 40), transport.reading("s", now, 15))
    found = await transport.see("zones", ids=["a", "b"])
    assert {z["id"]: (z["occupancy"], z["quality"]) for z in found["items"]} == {
        "a": (25, "GOOD"),
        "b": (15, "GOOD"),
    }

    async with transport.house.kit("transport").db.transaction() as tx:
        await tx.execute(
            "update sensor_state set received_at = now() - interval '181 seconds' where sensor = 's'"
        )
    found = await transport.see("zones", ids=["b", "a"])
    assert {z["id"]: (z["occupancy"], z["quality"], z["silent_sensors"]) for z in found["items"]} == {
        "a": (25, "DEGRADED", ["s"]),
        "b": (15, "DEGRADED", ["s"]),
    }


async def test_more_people_out_than_in_are_a_debt_and_not_forgotten(
    transport: Transport, now: datetime
) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(transport.reading("s", now - timedelta(minutes=2), 0, 7))
    found = await transport.see("zones/a")
    assert (found["occupancy"], found["debt"], found["quality"]) == (0, 7, "DEGRADED")
    await transport.push(transport.reading("s", now, 10))
    found = await transport.see("zones/a")
    assert (found["occupancy"], found["debt"], found["quality"]) == (3, 0, "GOOD")


async def test_zones_by_area_page_by_page(transport: Transport) -> None:
    for id, area in [("a", "330106"), ("b", "330106001"), ("c", "330102"), ("d", "320500"), ("e", "330100")]:
        await transport.zone(id, area=area)

    async def ids(**params: Any) -> list[str]:
        return [zone["id"] for zone in (await transport.see("zones", **params))["items"]]

    assert await ids() == ["a", "b", "c", "d", "e"]
    assert await ids(area="330100") == ["a", "b", "c", "e"]
    assert await ids(area="330000") == ["a", "b", "c", "e"]
    assert await ids(area="330106") == ["a", "b"]
    page = await transport.see("zones", area="33", first=3)
    assert [zone["id"] for zone in page["items"]] == ["a", "b", "c"]
    assert await ids(area="33", first=3, after=page["next"]) == ["e"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"area": "Hangzhou"}, "invalid_area"),
        ({"after": "elsewhere"}, "invalid_cursor"),
        ({"ids": "a", "area": "33"}, "conflicting_parameters"),
        ({"near": "me"}, "unknown_parameter"),
    ],
)
async def test_a_filter_that_is_not_understood_is_refused(
    transport: Transport, params: dict[str, str], code: str
) -> None:
    answer = await transport.citizen.get("/transport/zones", params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-05-01"])
async def test_a_time_that_cannot_be_is_refused(transport: Transport, since: str) -> None:
    await transport.zone("a")
    answer = await transport.citizen.get("/transport/zones/a/windows", params={"since": since})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "since")


async def test_no_such_zone(transport: Transport) -> None:
    for path in ("zones/a", "zones/a/windows"):
        answer = await transport.citizen.get(f"/transport/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_zone")
    counts = await transport.site.post(
        "/transport/zones/a/counts", json={"time": "2026-01-01T00:00:00Z", "count": 1}
    )
    assert (counts.status_code, counts.json()["code"]) == (404, "unknown_zone")


async def test_totals_are_for_services(transport: Transport, now: datetime) -> None:
    await transport.zone("a")
    await transport.sensor("s", zone_to="a")
    await transport.push(transport.reading("s", now, 4), transport.reading("s", now, 4))
    gateway = await transport.house.client("transport", kind="service", subject="service:gateway")
    assert (await gateway.get("/transport/counts")).json() == {
        "zones": 1, "sensors": 1, "readings": 2, "counts": 0, "warnings": 0
    }  # fmt: skip
    assert (await transport.citizen.get("/transport/counts")).status_code == 403
