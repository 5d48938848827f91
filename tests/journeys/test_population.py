"""The population register: from the registry that writes it to the parent who stands for a child.

Everything goes through the public doors of the real suite, with the city's people and the city's own account
of who was born, lives where and has died.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from city.numbers import CITIZEN_NUMBER, citizen_number
from city.people import Person
from city.registry import REGISTERS, persons
from city.simulation import City
from tests.support.suite import Suite, running_suite

CIVIL_TIME = ZoneInfo("Asia/Shanghai")
WARDS = "{ me { guardianOf { name birthDate until } } }"


def today() -> date:
    return datetime.now(CIVIL_TIME).date()


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: who lives here is who is counted."""
    folder = public_folders / "population"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=300, seed=4, today=today())


@pytest.fixture(scope="module")
def registry(suite: Suite, city: City) -> Iterator[httpx.Client]:
    """The registry's client, once everything the city knows has been taken."""
    with suite.client("registry") as http:
        taken = http.post("/identity/persons", json={"people": list(persons(city))})
        assert taken.status_code == 200, taken.text
        for kind, rows in REGISTERS.items():
            told = list(rows(city))
            assert told, f"this city has no {kind}"
            answer = http.post(f"/identity/{kind}", json={kind: told})
            assert answer.status_code == 200, answer.text
            assert answer.json()["accepted"] == len(told)
        yield http


def listed(http: httpx.Client, what: str, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        answer = http.get(f"/identity/{what}", params={**asked, **({"after": after} if after else {})})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        after = answer.json()["next"]
        if after is None:
            return found


def wards(suite: Suite, person: Person) -> list[dict[str, Any]]:
    username = f"citizen-{person.index}"
    suite.account(username, kind="person", identifier=named(person.number))
    answer = suite.graphql(WARDS, as_=username)
    assert "errors" not in answer, answer
    found: list[dict[str, Any]] = answer["data"]["me"]["guardianOf"]
    return found


def named(number: str) -> dict[str, str]:
    return {"system": CITIZEN_NUMBER, "value": number}


def grown(city: City) -> Person:
    """A mother who has died neither in the simulation nor here."""
    return next(p for p in city.people if p.sex == "female" and p.death is None and p.age_on(city.today) > 40)


def test_who_lives_where_is_what_the_city_knows(suite: Suite, city: City, registry: httpx.Client) -> None:
    """Counts by area, year of birth and sex on a day in the simulation, and its deaths and households."""
    day = city.population.start + timedelta(days=400)
    truth = Counter(
        (person.area, person.birth.year, person.sex)
        for person in city.people
        if person.birth <= day and (person.death is None or day < person.death)
    )
    answer = suite.as_stack("GET", "identity", f"/identity/residents?on={day}&limit=10000")
    assert {(c["area"], c["birth_year"], c["sex"]): c["residents"] for c in answer["items"]} == truth

    died = Counter(person.death.isoformat() for person in city.people if person.death is not None)
    assert Counter(death["died_on"] for death in listed(registry, "deaths")) == died

    homes = listed(registry, "households", limit=50)
    sizes = Counter(len(home["members"]) for home in homes)
    alive = [sum(city.people[at].death is None for at in home.members) for home in city.population.households]
    assert sizes == Counter(alive)


def test_a_birth_is_registered_and_the_mother_stands_for_the_child(
    suite: Suite, city: City, registry: httpx.Client
) -> None:
    mother, day = grown(city), today()
    before = wards(suite, mother)
    born = day - timedelta(days=1)
    child = named(citizen_number(mother.area, born, 777))
    row = {
        "child": [child],
        "name": "新生儿",
        "born_on": str(born),
        "sex": "male",
        "registered_on": str(day),
        "area": mother.area,
        "mother": named(mother.number),
    }
    assert registry.post("/identity/births", json={"births": [row]}).json() == {"accepted": 1, "changed": 1}
    found = [ward for ward in wards(suite, mother) if ward not in before]
    assert [(ward["name"], ward["birthDate"]) for ward in found] == [("新生儿", str(born))]
    death = {
        "person": child, "died_on": str(day), "registered_on": str(day), "area": mother.area,
    }  # fmt: skip
    assert registry.post("/identity/deaths", json={"deaths": [death]}).status_code == 200
    assert wards(suite, mother) == before


def test_a_birth_told_eighteen_years_late_makes_nobody_a_guardian(
    suite: Suite, city: City, registry: httpx.Client
) -> None:
    mother, day = grown(city), today()
    before = wards(suite, mother)
    for age, order in ((18, 779), (17, 781)):
        born = date(day.year - age, day.month, min(day.day, 28))
        row = {
            "child": [named(citizen_number(mother.area, born, order))],
            "name": f"{age} 岁",
            "born_on": str(born),
            "sex": "male",
            "registered_on": str(day),
            "area": mother.area,
            "mother": named(mother.number),
        }
        assert registry.post("/identity/births", json={"births": [row]}).status_code == 200
    found = [ward for ward in wards(suite, mother) if ward not in before]
    assert [ward["name"] for ward in found] == ["17 岁"]


def test_a_batch_with_one_death_to_come_changes_nothing(city: City, registry: httpx.Client) -> None:
    before = listed(registry, "deaths")
    alive = [person for person in city.people if person.death is None][:2]
    days = [today(), today() + timedelta(days=1)]
    rows = [
        {
            "person": named(person.number),
            "died_on": str(day),
            "registered_on": str(day),
            "area": person.area,
        }
        for person, day in zip(alive, days, strict=True)
    ]
    answer = registry.post("/identity/deaths", json={"deaths": rows})
    assert answer.status_code == 422
    assert [(fault["path"], fault["code"]) for fault in answer.json()["errors"]] == [
        ("deaths.1.registered_on", "future")
    ]
    assert alive[1].number not in answer.text
    assert listed(registry, "deaths") == before


@pytest.mark.parametrize("kind", ["hospital", "school", "auditor"])
def test_nobody_else_writes_or_reads_the_register(suite: Suite, registry: httpx.Client, kind: str) -> None:
    with suite.client(kind) as http:
        # Their tokens are not even for identity.
        assert http.post("/identity/deaths", json={"deaths": []}).status_code == 401
        for what in ("households", "births", "deaths", "residences", "residents"):
            assert http.get(f"/identity/{what}").status_code == 401, what
    assert registry.get("/identity/residents").status_code == 403, "numbers of all are for services"
