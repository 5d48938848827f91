"""What was planted is found, what lies beside it is not, and nothing is listed that is not there."""

from collections import Counter
from typing import Any

import pytest

from city.plants import CHARGES, DEATHS, JOBLESS, PENSIONS, WIDOW
from city.simulation import City
from city.social import key
from city.truth import compute
from tests.city.conftest import Told


def evidence(truth: dict[str, Any], rule: str) -> set[str]:
    return {row for finding in truth["findings"] if finding["rule"] == rule for row in finding["evidence"]}


def test_every_plant_is_found(told: Told) -> None:
    assert told.truth["planted"]
    for plant in told.truth["planted"]:
        assert plant["rows"], plant["form"]
        assert set(plant["rows"]) <= evidence(told.truth, plant["rule"]), plant["form"]


def test_no_near_miss_is(told: Told) -> None:
    assert told.truth["near_misses"]
    for plant in told.truth["near_misses"]:
        assert plant["rows"], plant["form"]
        assert not set(plant["rows"]) & evidence(told.truth, plant["rule"]), plant["form"]


def test_what_is_listed_was_pushed(told: Told) -> None:
    pushed = {key(row) for k in ("contributions", "payments", "claim_lines") for row in told.rows(k)}
    for listed in (*told.truth["planted"], *told.truth["near_misses"]):
        assert set(listed["rows"]) <= pushed, listed["form"]
    for finding in told.truth["findings"]:
        assert set(finding["evidence"]) <= pushed


@pytest.mark.parametrize("people", [pytest.param(300, id="small"), pytest.param(2_000, id="the demo's")])
def test_two_near_misses_stand_beside_each_plant(people: int) -> None:
    city = City(people=people)
    plans = Counter(plan for plan in city.plants.plans.values())
    cases = city.plants.cases
    assert plans[DEATHS[0]] == cases
    assert plans[DEATHS[1]] + plans[WIDOW] == 2 * cases
    for plans_of_a_form in (PENSIONS, JOBLESS):
        assert [plans[plan] for plan in plans_of_a_form] == [cases] * 3
    for plant, *near in CHARGES:
        assert plans[plant] == cases / 2
        assert [plans[plan] for plan in near] == [cases / 2] * 2


def test_each_form_of_each_rule_is_there(told: Told) -> None:
    forms = {(finding["rule"], finding["form"]) for finding in told.truth["findings"] if finding["planted"]}
    assert forms == {
        ("payment_after_death", "payment_after_death"),
        ("duplicate_charge", "duplicate_charge"),
        ("incompatible_benefits", "two_pensions"),
        ("incompatible_benefits", "unemployed_and_insured"),
    }


def test_the_rules_also_find_what_nobody_planted() -> None:
    """Two visits on one day, both charged: rightly or not, the rule asks."""
    findings = compute(City(people=2_000))["findings"]
    unplanted = [finding for finding in findings if not finding["planted"]]
    assert {finding["rule"] for finding in unplanted} == {"duplicate_charge"}


def test_nobody_has_two_plants(told: Told) -> None:
    people = [plant["citizen_number"] for plant in told.truth["planted"] + told.truth["near_misses"]]
    assert len(set(people)) == len(people)


def test_plants_are_few(told: Told) -> None:
    assert len(told.city.plants.plans) < 0.05 * len(told.city.people)


def test_births_and_schooling_are_counted(told: Told) -> None:
    city, truth = told.city, told.truth
    assert sum(truth["births"].values()) == sum(p.birth >= city.population.start for p in city.people)
    schooling = truth["schooling"]
    assert schooling["compulsory_age"] == schooling["compulsory_enrolled"] + len(schooling["out_of_school"])
    assert sum(schooling["enrolled"].values()) == sum(p.seat is not None for p in city.people)


def test_guardianships_are_those_of_the_people(told: Told) -> None:
    people = {person.number: person for person in told.city.people}
    listed = {(row["guardian"], row["ward"]) for row in told.truth["guardianships"]}
    assert listed == {(told.city.people[at].number, n) for n, p in people.items() for at in p.guardians}
    assert all(people[ward].age_on(told.city.today) < 18 for _, ward in listed)
