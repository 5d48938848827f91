"""Households, births, deaths, residence, and how many live where: through the registry's doors."""

from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.identity import persons
from services.identity.guardianship import comes_of_age, ends_on
from services.identity.vault import vault_of
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, citizen_number, exchanged, person

HEAD = citizen_number(date(1985, 3, 14), 1)
WIFE = citizen_number(date(1987, 6, 1), 2)
CHILD = citizen_number(date(2020, 2, 29), 3)
WRONG = HEAD[:-1] + ("1" if HEAD[-1] != "1" else "2")
OTHER = citizen_number(date(1960, 1, 1), 5)


def named(number: str) -> dict[str, str]:
    return {"system": CITIZEN_NUMBER, "value": number}


@pytest.fixture
async def registry(identity: Identity) -> httpx.AsyncClient:
    machine = await identity.registered("registry")
    token = (await machine.token(identity.http)).json()["access_token"]
    people = [
        person(str(at), (CITIZEN_NUMBER, number), name=f"人{at}", area="330106")
        for at, number in enumerate((HEAD, WIFE, CHILD, OTHER))
    ]
    http = await identity.house.client("identity", token=token)
    answer = await http.post("/identity/persons", json={"people": people})
    assert {one["outcome"] for one in answer.json()["people"]} == {"created"}
    return http


async def push(http: httpx.AsyncClient, what: str, *rows: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(f"/identity/{what}", json={what: rows})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def faults(http: httpx.AsyncClient, what: str, *rows: dict[str, Any]) -> set[tuple[str, str]]:
    """Where and why each fault of a batch is, after making sure that it was refused whole."""
    answer = await http.post(f"/identity/{what}", json={what: rows})
    assert (answer.status_code, answer.json()["code"]) == (422, f"invalid_{what}"), answer.text
    for number in (HEAD, WIFE, CHILD, OTHER):
        assert number not in answer.text
    return {(fault["path"], fault["code"]) for fault in answer.json()["errors"]}


async def listed(http: httpx.AsyncClient, what: str, **asked: Any) -> list[dict[str, Any]]:
    """All pages, two entries each."""
    found, after = [], None
    while True:
        query = {**asked, "limit": 2} | ({"after": after} if after else {})
        answer = await http.get(f"/identity/{what}", params=query)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        after = answer.json()["next"]
        if after is None:
            return found


# --- households --------------------------------------------------------------------------------------


def member(number: str, relation: str, valid_from: str = "2012-05-20", **more: Any) -> dict[str, Any]:
    return {"person": named(number), "relation": relation, "valid_from": valid_from, **more}


def household(code: str, *members: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"code": code, "area": "330106", "valid_from": "2012-05-20", "members": members, **more}


async def test_a_household_has_a_head_and_members_with_their_time(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    home = household(
        "H-1", member(HEAD, "head"), member(WIFE, "spouse"), member(CHILD, "child", "2020-02-29")
    )
    assert await push(registry, "households", home) == {"accepted": 1, "changed": 4}
    assert await push(registry, "households", home) == {"accepted": 1, "changed": 0}
    [found] = await listed(registry, "households")
    assert [one["relation"] for one in found["members"]] == ["head", "spouse", "child"]
    assert all(one["person"].startswith("h1_") for one in found["members"])
    assert HEAD not in str(found)
    [leaf] = await identity.leaves("households.read")
    assert leaf["subjects_count"] == 3


async def test_moving_into_another_household_ends_the_first(registry: httpx.AsyncClient) -> None:
    await push(registry, "households", household("H-1", member(HEAD, "head"), member(WIFE, "spouse")))
    later = household("H-2", member(WIFE, "head", "2024-01-01"), valid_from="2024-01-01")
    assert await push(registry, "households", later) == {"accepted": 1, "changed": 3}
    first, second = await listed(registry, "households")
    assert [one["relation"] for one in first["members"]] == ["head"]
    assert [one["relation"] for one in second["members"]] == ["head"]
    # The first word said again does not open what the second has ended.
    again = household("H-1", member(HEAD, "head"), member(WIFE, "spouse"))
    assert await push(registry, "households", again) == {"accepted": 1, "changed": 0}


async def test_whoever_died_belongs_to_no_household(registry: httpx.AsyncClient) -> None:
    await push(registry, "households", household("H-1", member(HEAD, "head"), member(OTHER, "parent")))
    await push(registry, "deaths", death(OTHER))
    [found] = await listed(registry, "households")
    assert [one["relation"] for one in found["members"]] == ["head"]


async def test_bad_households_are_named_by_index_and_field(registry: httpx.AsyncClient) -> None:
    assert await faults(
        registry,
        "households",
        household("H-1", member(HEAD, "head", valid_to="2012-05-20")),
        household("H-1", member(citizen_number(sequence=999), "head")),
        household("H-2", member(WRONG, "head"), valid_to="2000-01-01"),
    ) == {
        ("households.0.members.0.valid_to", "empty_term"),
        ("households.1.code", "repeated"),
        ("households.1.members.0.person", "unknown_person"),
        ("households.2.members.0.person", "citizen_number_checksum"),
        ("households.2.valid_to", "empty_term"),
    }
    assert await faults(registry, "households", household("H-1", member(WIFE, "spouse"))) == {
        ("households.0.members", "no_head")
    }
    two = household("H-1", member(HEAD, "head"), member(WIFE, "head"))
    assert await faults(registry, "households", two) == {("households.0.members", "two_heads")}
    assert await faults(
        registry,
        "households",
        household("H-1", member(HEAD, "head", valid_to="2020-01-01")),
        household("H-2", member(HEAD, "head", "2019-12-31")),
    ) == {("households.0.members.0", "two_households"), ("households.1.members.0", "two_households")}
    assert await listed(registry, "households") == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["H-1", "H-2", "H-3"]), st.integers(0, 400), st.integers(0, 400)),
        min_size=1,
        max_size=8,
    )
)
async def test_nobody_is_in_two_households_on_one_day(
    identity: Identity, registry: httpx.AsyncClient, moves: list[tuple[str, int, int]]
) -> None:
    """Whatever is pushed in whatever order: what is taken never overlaps, and days decide, not the order."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("truncate household cascade")
    origin, taken = date(2020, 1, 1), 0
    heads = {"H-1": HEAD, "H-2": OTHER, "H-3": CHILD}
    for code, start, length in moves:
        until = {"valid_to": str(origin + timedelta(days=start + length))} if length else {}
        entry = member(WIFE, "other", str(origin + timedelta(days=start)), **until)
        head = member(heads[code], "head", "2020-03-01")
        home = household(code, head, entry)
        answer = await registry.post("/identity/households", json={"households": [home]})
        taken += answer.status_code == 200
        assert answer.status_code in {200, 422}, answer.text
    assert taken, "the first is always taken"
    rows = await identity.rows(
        """select valid_from, valid_to from household_member where relation = 'other'
           order by valid_from"""
    )
    for one, following in pairwise(rows):
        assert one["valid_to"] is not None
        assert one["valid_to"] <= following["valid_from"]


# --- births and deaths -------------------------------------------------------------------------------


def birth(number: str, born_on: str, **more: Any) -> dict[str, Any]:
    return {
        "child": [named(number)],
        "name": "新生",
        "born_on": born_on,
        "sex": "male",
        "registered_on": "2025-06-20",
        "area": "330105",
        "place": "杭州市第一人民医院",
        **more,
    }


def death(number: str, died_on: str = "2025-03-01", **more: Any) -> dict[str, Any]:
    return {
        "person": named(number), "died_on": died_on, "registered_on": "2025-03-05", "area": "330106", **more,
    }  # fmt: skip


BABY = citizen_number(date(2025, 6, 10), 7, "330105")


async def wards(identity: Identity, number: str) -> list[dict[str, Any]]:
    await identity.account("guardian", identifier=number)
    session = (await Browser(identity.http).session("guardian"))["access_token"]
    answer = await exchanged(identity.http, identity.service("gateway"), session, "identity")
    http = await identity.house.client("identity", token=answer.json()["access_token"])
    found: list[dict[str, Any]] = (await http.get("/identity/persons/me")).json()["guardian_of"]
    return found


async def test_a_birth_makes_the_child_its_home_and_its_guardians(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    row = birth(BABY, "2025-06-10", mother=named(WIFE), father=named(HEAD))
    assert await push(registry, "births", row) == {"accepted": 1, "changed": 1}
    assert await push(registry, "births", row) == {"accepted": 1, "changed": 0}
    [found] = await listed(registry, "births", area="3301")
    assert (found["born_on"], found["area"], found["registered_on"]) == ("2025-06-10", "330105", "2025-06-20")
    assert found["mother"].startswith("h1_")
    assert found["mother"] != found["father"]
    assert [(ward["name"], ward["until"]) for ward in await wards(identity, WIFE)] == [("新生", "2043-06-10")]
    [stay] = await listed(registry, "residences")
    assert (stay["person"], stay["since"], stay["area"]) == (found["person"], "2025-06-10", "330105")
    assert await identity.rows("select area from person where birth_date = '2025-06-10'") == [
        {"area": "330105"}
    ]


async def test_a_parent_dead_before_the_birth_is_no_guardian(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    await push(registry, "deaths", death(HEAD))
    await push(registry, "births", birth(BABY, "2025-06-10", mother=named(WIFE), father=named(HEAD)))
    rows = await identity.rows("select name from guardianship join person on pid = guardian")
    assert [row["name"] for row in rows] == ["人1"]


async def test_a_death_ends_guardianship_on_either_side(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    await push(registry, "births", birth(BABY, "2025-06-10", mother=named(WIFE), father=named(HEAD)))
    assert len(await wards(identity, WIFE)) == 1
    late = death(BABY, "2025-07-01", registered_on="2025-07-02")
    await push(registry, "deaths", late)
    assert await wards(identity, WIFE) == []
    assert await push(registry, "deaths", late) == {"accepted": 1, "changed": 0}
    [found] = await listed(registry, "deaths")
    assert (found["died_on"], found["area"]) == ("2025-07-01", "330106")


async def test_bad_births_are_named_by_index_and_field(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    elder = citizen_number(date(1950, 1, 1), 9)
    assert await faults(
        registry,
        "births",
        birth(BABY, "2025-06-11", mother=named(WIFE)),
        birth(elder, "1950-01-01", mother=named(WIFE), registered_on="1949-12-31"),
        birth(CHILD, "2020-02-29", mother=named(HEAD), father=named(HEAD), registered_on="2999-01-01"),
        birth(WRONG, "2025-06-10", mother=named(citizen_number(sequence=998))),
    ) == {
        ("births.0.child", "birth_date_differs"),
        ("births.1.mother", "parent_younger"),
        ("births.1.registered_on", "before_the_event"),
        ("births.2", "same_person"),
        ("births.2.registered_on", "future"),
        ("births.3.child", "citizen_number_checksum"),
        ("births.3.mother", "unknown_person"),
    }
    assert await identity.rows("select from person where birth_date = '1950-01-01'") == []
    own = birth(CHILD, "2020-02-29", mother=named(CHILD))
    assert ("births.0.mother", "same_person") in await faults(registry, "births", own)


async def test_bad_deaths_are_named_by_index_and_field(registry: httpx.AsyncClient) -> None:
    assert await faults(
        registry,
        "deaths",
        death(CHILD, "2020-02-28", registered_on="2020-02-27"),
        death(HEAD, registered_on="2999-01-01"),
        death(HEAD),
        death(citizen_number(sequence=997)),
    ) == {
        ("deaths.0.died_on", "before_birth"),
        ("deaths.0.registered_on", "before_the_event"),
        ("deaths.1.registered_on", "future"),
        ("deaths.2.person", "repeated"),
        ("deaths.3.person", "unknown_person"),
    }
    assert await listed(registry, "deaths") == []


@given(
    st.dates(date(1930, 1, 1), date(2030, 12, 31)), st.none() | st.dates(date(1930, 1, 1), date(2080, 1, 1))
)
def test_guardianship_never_outlasts_the_eighteenth_birthday(born: date, stated: date | None) -> None:
    end = ends_on(born, stated)
    majority = comes_of_age(born)
    assert end <= majority
    assert end == majority if stated is None or stated >= majority else end == stated
    assert majority.year == born.year + 18
    assert (majority.month, majority.day) == (
        (2, 28) if (born.month, born.day) == (2, 29) else (born.month, born.day)
    )


@pytest.mark.parametrize("stated", [None, "2038-02-28", "2038-03-01", "2099-12-31"])
async def test_a_leap_days_child_is_a_ward_until_its_birthday_whatever_is_stated(
    identity: Identity, registry: httpx.AsyncClient, stated: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"guardian": named(WIFE), "ward": named(CHILD), "relation": "parent", "valid_from": "2020-02-29"}
    await push(registry, "guardianships", {**row, "valid_to": stated})
    for day, stands in ((date(2038, 2, 27), True), (date(2038, 2, 28), False)):
        monkeypatch.setattr(persons, "today", lambda day=day: day)
        assert bool(await wards(identity, WIFE)) is stands, day


# --- residence ---------------------------------------------------------------------------------------


def move(number: str, since: str, area: str | None) -> dict[str, Any]:
    return {"person": named(number), "since": since, "area": area}


async def test_each_stay_lasts_until_the_next_and_the_person_lives_where_the_last_began(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    later, first = move(HEAD, "2020-01-01", "330105"), move(HEAD, "2010-01-01", "310101")
    assert await push(registry, "moves", later) == {"accepted": 1, "changed": 1}
    assert await push(registry, "moves", first) == {"accepted": 1, "changed": 1}, "told late, true before"
    assert await push(registry, "moves", first, later) == {"accepted": 2, "changed": 0}
    stays = sorted(await listed(registry, "residences"), key=lambda stay: str(stay["since"]))
    assert [(stay["since"], stay["until"], stay["area"]) for stay in stays] == [
        ("2010-01-01", "2020-01-01", "310101"),
        ("2020-01-01", None, "330105"),
    ]
    assert await areas(identity) == {"330105": 1, "330106": 3}
    await push(registry, "moves", move(HEAD, "2024-01-01", None))
    assert await areas(identity) == {None: 1, "330106": 3}


async def areas(identity: Identity) -> Counter[str | None]:
    return Counter(row["area"] for row in await identity.rows("select area from person"))


async def test_the_registrys_word_without_a_date_goes_on_the_history(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    await push(registry, "moves", move(HEAD, "2020-01-01", "330106"))
    people = [person("1", (CITIZEN_NUMBER, HEAD), area="330102")]
    assert (await registry.post("/identity/persons", json={"people": people})).status_code == 200
    stays = await listed(registry, "residences")
    assert [(stay["since"], stay["area"]) for stay in stays] == [
        ("2020-01-01", "330106"),
        (str(persons.today()), "330102"),
    ]
    assert await areas(identity) == {"330102": 1, "330106": 3}


async def test_bad_moves_are_named_by_index_and_field(registry: httpx.AsyncClient) -> None:
    assert await faults(
        registry,
        "moves",
        move(CHILD, "2020-02-28", "330106"),
        move(HEAD, "2999-01-01", "330106"),
        move(WIFE, "2020-01-01", "330106"),
        move(WIFE, "2020-01-01", "330105"),
        move(citizen_number(sequence=996), "2020-01-01", None),
    ) == {
        ("moves.0.since", "before_birth"),
        ("moves.1.since", "future"),
        ("moves.3", "repeated"),
        ("moves.4.person", "unknown_person"),
    }
    assert await listed(registry, "residences") == []


# --- how many live where -----------------------------------------------------------------------------


async def residents(identity: Identity, **asked: Any) -> dict[tuple[str, int, str], int]:
    http = await identity.as_service("education")
    found, after = [], None
    while True:
        query = {**asked, "limit": 2} | ({"after": after} if after else {})
        answer = await http.get("/identity/residents", params=query)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        after = answer.json()["next"]
        if after is None:
            return {(one["area"], one["birth_year"], one["sex"]): one["residents"] for one in found}


async def test_residents_of_a_day_are_who_lived_there_then(
    identity: Identity, registry: httpx.AsyncClient
) -> None:
    assert await residents(identity) == {
        ("330106", 1960, "male"): 1,
        ("330106", 1985, "male"): 1,
        ("330106", 1987, "female"): 1,
        ("330106", 2020, "male"): 1,
    }
    await push(registry, "moves", move(HEAD, "1985-03-14", "310101"), move(HEAD, "2020-01-01", "330105"))
    await push(registry, "deaths", death(OTHER))
    assert await residents(identity, on="2019-12-31") == {
        ("310101", 1985, "male"): 1,
        ("330106", 1960, "male"): 1,
        ("330106", 1987, "female"): 1,
    }
    assert await residents(identity, on="2025-02-28", level="province") == {
        ("330000", 1960, "male"): 1,
        ("330000", 1985, "male"): 1,
        ("330000", 1987, "female"): 1,
        ("330000", 2020, "male"): 1,
    }
    assert await residents(identity, on="2025-03-01", area="330105") == {("330105", 1985, "male"): 1}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dates(date(1990, 1, 1), date(2000, 1, 1)),
            st.integers(0, 4),
            st.lists(
                st.tuples(st.integers(0, 9000), st.sampled_from(["310101", "330105", None])), max_size=3
            ),
            st.none() | st.integers(0, 9000),
        ),
        min_size=1,
        max_size=6,
    ),
    st.dates(date(1995, 1, 1), date(2025, 1, 1)),
)
async def test_residents_are_what_a_count_by_hand_finds(
    identity: Identity,
    lives: list[tuple[date, int, list[tuple[int, str | None]], int | None]],
    on: date,
) -> None:
    """Beside a plain loop over each life."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("truncate person cascade")
    numbers, moves, deaths, expected = [], [], [], Counter[tuple[str, int, str]]()
    for at, (born, _, stays, lived) in enumerate(lives):
        number = citizen_number(born, at * 2 + 1)
        numbers.append(person(str(at), (CITIZEN_NUMBER, number), area="330106"))
        history = {born + timedelta(days=days): area for days, area in stays}
        moves += [move(number, str(day), area) for day, area in history.items()]
        died = None if lived is None else born + timedelta(days=lived)
        if died is not None:
            deaths.append(death(number, str(died), registered_on=str(died)))
        there = [area for day, area in sorted(history.items()) if day <= on] if history else ["330106"]
        if born <= on and (died is None or died > on) and there and there[-1] is not None:
            expected[there[-1], born.year, "male"] += 1
    assert (await identity.admin.post("/identity/persons", json={"people": numbers})).status_code == 200
    await push(identity.admin, "moves", *moves)
    await push(identity.admin, "deaths", *deaths)
    assert await residents(identity, on=str(on)) == expected


async def test_the_offer_leaves_small_cells_out(identity: Identity, registry: httpx.AsyncClient) -> None:
    crowd = [
        person(str(n), (CITIZEN_NUMBER, citizen_number(date(1970, 1, 1 + n), 2 * n + 1)), area="330106")
        for n in range(10)
    ]
    await identity.admin.post("/identity/persons", json={"people": crowd})
    exchange = await identity.as_service("exchange")
    answer = await exchange.get("/identity/offers/residents", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    cells = {row["birth_year"]: row["residents"] for row in answer.json()["rows"]}
    assert cells == {1960: None, 1970: 10, 1985: None, 1987: None, 2020: None}
    [offer] = (await exchange.get("/identity/offers")).json()["offers"]
    assert (offer["dataset"], offer["personal"], offer["sharing"]) == ("residents", False, "unconditional")
    health = await identity.as_service("health")
    assert (await health.get("/identity/offers/residents")).status_code == 403


# --- who may -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["households", "births", "deaths", "moves"])
async def test_only_the_registry_writes(identity: Identity, what: str) -> None:
    assert (await identity.http.post(f"/identity/{what}", json={what: []})).status_code == 401
    health = await identity.as_service("health")
    assert (await health.post(f"/identity/{what}", json={what: []})).status_code == 403
    assert (await identity.admin.post(f"/identity/{what}", json={what: []})).status_code == 200


@pytest.mark.parametrize("what", ["households", "births", "deaths", "residences", "residents"])
async def test_only_who_may_reads(identity: Identity, what: str) -> None:
    assert (await identity.http.get(f"/identity/{what}")).status_code == 401
    audit = await identity.as_service("audit")
    assert (await audit.get(f"/identity/{what}")).status_code == 403


@pytest.mark.parametrize("what", ["households", "births", "deaths", "residences"])
async def test_a_registry_of_one_place_sees_that_place(identity: Identity, what: str) -> None:
    await push(identity.admin, "households", household("H-1"), household("H-2", area="310101"))
    machine = await identity.registered("registry", area="330100")
    token = (await machine.token(identity.http)).json()["access_token"]
    http = await identity.house.client("identity", token=token)
    assert all(found["area"].startswith("3301") for found in await listed(http, what))
    refused = await http.get(f"/identity/{what}", params={"area": "310101"})
    assert (refused.status_code, refused.json()["code"]) == (403, "outside_area")


@pytest.mark.parametrize("what", ["households", "births", "deaths", "residences", "residents"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"after": "not-a-cursor"}, 400),
        ({"after": "eB94"}, 400),
        ({"unknown": "1"}, 400),
        ({"limit": "0"}, 422),
    ],
)
async def test_what_is_not_understood_is_refused(
    identity: Identity, what: str, asked: dict[str, str], status: int
) -> None:
    http = await identity.as_service("education") if what == "residents" else identity.admin
    answer = await http.get(f"/identity/{what}", params=asked)
    assert answer.status_code == status, answer.text
