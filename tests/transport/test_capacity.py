"""Capacity by LB/T 034-2014, and the policies that rest on it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.transport.conftest import Transport
from transport.capacity import worked_out
from transport.shapes import CapacityPolicyIn

PRINTED: dict[str, Any] = {
    # The example the standard prints, with the figures its formulas really give.
    "spaces": [{"effective_area_m2": 233_568, "m2_per_visitor": 20}],
    "opening_hours": 12,
    "mean_stay_hours": 5.57,
}


def policy(**content: Any) -> CapacityPolicyIn:
    return CapacityPolicyIn.model_validate(content)


def test_the_standards_example_by_its_formulas() -> None:
    found = worked_out(policy(arithmetic=PRINTED))
    assert (found.instantaneous, found.daily) == (11_678, 25_159)
    english = [line.en for line in found.lines]
    assert english == [
        "Instantaneous (LB/T 034-2014) C1 = ΣXi/Yi = 233568/20 = 11678.4 → 11,678 people",
        "Daily C2 = C1 × T/t = 11678.4 × 12/5.57 = 25159.92 → 25,159 people (used)",
        "Daily C2 = C1 × Int(T/t) = 11678.4 × 2 = 23356.8 → 23,356 people",
    ]


def test_the_whole_form_of_the_turnover_is_named_where_used() -> None:
    found = worked_out(policy(arithmetic=PRINTED | {"turnover": "whole"}))
    assert found.daily == 23_356
    assert found.lines[2].zh.endswith("（采用）")


def test_spaces_add_up_before_they_are_rounded() -> None:
    spaces = [{"effective_area_m2": 10, "m2_per_visitor": 4}, {"effective_area_m2": 10, "m2_per_visitor": 4}]
    assert worked_out(policy(arithmetic={"spaces": spaces})).instantaneous == 5


@pytest.mark.parametrize(("multiplier", "people"), [(0.3, 2_999), (0.5, 4_999), (0.75, 7_499), (1, 9_999)])
def test_a_part_of_the_capacity_may_be_in_force(multiplier: float, people: int) -> None:
    assert worked_out(policy(capacity=9_999, multiplier=multiplier)).instantaneous == people


@pytest.fixture
async def site(transport: Transport) -> Transport:
    await transport.zone("bridge")
    return transport


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        pytest.param({}, "invalid_policy", "capacity", id="neither capacity nor arithmetic"),
        pytest.param({"capacity": 5, "arithmetic": PRINTED}, "invalid_policy", "capacity", id="both"),
        pytest.param(
            {"capacity": 5, "levels": {"yellow": 95}},
            "invalid_policy",
            "levels",
            id="levels that do not rise",
        ),
        pytest.param({"capacity": 5, "hysteresis": 80}, "invalid_policy", "hysteresis", id="never to end"),
        pytest.param({"capacity": 1, "multiplier": 0.5}, "invalid_policy", "capacity", id="nobody at all"),
        pytest.param({"capacity": 0}, "invalid_input", "capacity", id="no capacity"),
        pytest.param({"capacity": 5, "dwell_up": 0}, "invalid_input", "dwell_up", id="no dwell"),
        pytest.param({"capacity": 5, "color": "red"}, "invalid_input", "color", id="an unknown member"),
        pytest.param(
            {"arithmetic": {"spaces": [], "opening_hours": 1}}, "invalid_input", "spaces", id="no spaces"
        ),
        pytest.param(
            {"arithmetic": {**PRINTED, "mean_stay_hours": None}},
            "invalid_policy",
            "arithmetic",
            id="half a day",
        ),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused(
    site: Transport, content: dict[str, Any], code: str, field: str
) -> None:
    answer = await site.site.put("/transport/zones/bridge/capacity-policy", json=content)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["field"] == field
    assert (await site.citizen.get("/transport/zones/bridge/capacity-policy")).json()["code"] == "no_policy"


async def test_only_the_zones_organisation_sets_its_policy(site: Transport) -> None:
    rival = await site.house.client("transport", scopes="transport:sites:write", organisation="rival")
    answer = await rival.put("/transport/zones/bridge/capacity-policy", json={"capacity": 1})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_zone")
    gate = await site.gate.put("/transport/zones/bridge/capacity-policy", json={"capacity": 1})
    assert (gate.status_code, gate.json()["code"]) == (403, "insufficient_scope")


async def test_staff_see_from_how_many_people_each_level_counts(site: Transport) -> None:
    found = await site.policy("bridge", capacity=30_000, red_at_once=False)
    assert found["levels"] == {
        "yellow": {"percent": 80, "raise_at": 24_000, "keep_at": 21_000},
        "orange": {"percent": 90, "raise_at": 27_000, "keep_at": 24_000},
        "red": {"percent": 100, "raise_at": 30_000, "keep_at": 27_000},
    }
    assert await site.see("zones/bridge/capacity-policy") == found


async def test_the_same_policy_sent_again_is_the_one_that_stands(site: Transport) -> None:
    first = await site.policy("bridge", capacity=100)
    again = await site.site.put("/transport/zones/bridge/capacity-policy", json={"capacity": 100})
    assert (again.status_code, again.json()["id"]) == (200, first["id"])


async def test_policies_follow_each_other_in_time(site: Transport) -> None:
    now = datetime.now(UTC)
    await site.policy("bridge", capacity=100)
    await site.policy(
        "bridge", capacity=100, multiplier=0.3, **{"from": (now + timedelta(days=1)).isoformat()}
    )
    earlier = {"capacity": 7, "from": now.isoformat()}
    answer = await site.site.put("/transport/zones/bridge/capacity-policy", json=earlier)
    assert (answer.status_code, answer.json()["code"]) == (409, "policy_order")

    async def capacity(at: datetime) -> int:
        found: int = (await site.see("zones/bridge/capacity-policy", at=at.isoformat()))["capacity"]
        return found

    assert [await capacity(now + timedelta(days=d)) for d in (-5000, 0, 2)] == [100, 100, 30]
    assert (await site.see("zones/bridge"))["capacity"] == 100
