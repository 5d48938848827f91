"""Places, organisations, guardianship, and a person's own entry."""

from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity import guardianship, persons
from services.identity.guardianship import comes_of_age
from services.identity.places import ancestors, first_levels, level_of
from services.kit.check_characters import uscc_check_character
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, citizen_number, exchanged, person

HANGZHOU = [
    {"code": "330100", "name": "杭州市", "name_en": "Hangzhou"},
    {"code": "330106", "name": "西湖区", "name_en": "Xihu"},
]


def uscc(number: int, kind: str = "91") -> str:
    body = f"{kind}330106{number:09d}"
    return body + uscc_check_character(body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/identity/places", {"places": []}),
        ("/identity/organisations", {"organisations": []}),
        ("/identity/guardianships", {"guardianships": []}),
    ],
)
async def test_registers_are_written_by_who_may(identity: Identity, path: str, body: dict[str, Any]) -> None:
    assert (await identity.http.post(path, json=body)).status_code == 401
    health = await identity.as_service("health")
    assert (await health.post(path, json=body)).status_code == 403


# --- places ------------------------------------------------------------------------------------------


def test_the_first_levels_of_gb_t_2260_are_all_there() -> None:
    codes = [entry["code"] for entry in first_levels()]
    assert len(codes) == len(set(codes)) == 34
    assert all(level_of(code) == "province" for code in codes)


@pytest.mark.parametrize(
    ("code", "level", "above"),
    [
        ("330000", "province", []),
        ("330100", "prefecture", ["330000"]),
        ("330106", "county", ["330100", "330000"]),
        ("330106012", "township", ["330106", "330100", "330000"]),
        ("330106012001", "village", ["330106012", "330106", "330100", "330000"]),
    ],
)
def test_a_code_says_where_it_lies(code: str, level: str, above: list[str]) -> None:
    assert (level_of(code), ancestors(code)) == (level, above)


async def test_places_are_taken_read_and_brought_up_to_date(identity: Identity) -> None:
    async with identity.kit.db.transaction() as tx:
        await tx.execute("delete from place where code like '33%' and code <> '330000'")
    answer = await identity.admin.post("/identity/places", json={"places": HANGZHOU[::-1]})
    assert answer.json() == {"accepted": 2, "changed": 2}
    renamed = [HANGZHOU[0], {**HANGZHOU[1], "name": "西湖"}]
    answer = await identity.admin.post("/identity/places", json={"places": renamed})
    assert answer.json() == {"accepted": 2, "changed": 1}
    found = (await identity.http.get("/identity/places", params={"parent": "330100"})).json()
    assert [(one["code"], one["name"], one["parent"], one["level"]) for one in found["items"]] == [
        ("330106", "西湖", "330100", "county")
    ]
    both = await identity.http.get("/identity/places", params={"codes": ["330106", "110000", "999999"]})
    assert [one["code"] for one in both.json()["items"]] == ["110000", "330106"]


async def test_a_municipalitys_district_lies_in_the_nearest_known_area(identity: Identity) -> None:
    await identity.admin.post("/identity/places", json={"places": [{"code": "110105", "name": "朝阳区"}]})
    found = await identity.http.get("/identity/places", params={"codes": ["110105"]})
    assert found.json()["items"][0]["parent"] == "110000"


@pytest.mark.parametrize(
    ("places", "code", "path"),
    [
        ([{"code": "990100", "name": "x"}], "unknown_parent", "places.0.code"),
        ([{"code": "330200", "name": "x"}, {"code": "330200", "name": "y"}], "repeated", "places.1.code"),
        (
            [{"code": "330300", "name": "x", "valid_from": "2020-01-01", "valid_to": "2019-01-01"}],
            "empty_term",
            "places.0.valid_to",
        ),
    ],
)
async def test_a_bad_place_refuses_the_batch(
    identity: Identity, places: list[dict[str, Any]], code: str, path: str
) -> None:
    good = {"code": "330900", "name": "舟山市"}
    answer = await identity.admin.post("/identity/places", json={"places": [*places, good]})
    assert answer.status_code == 422
    assert [(fault["code"], fault["path"]) for fault in answer.json()["errors"]] == [(code, path)]
    found = await identity.http.get("/identity/places", params={"codes": ["330900"]})
    assert found.json()["items"] == []


async def test_lists_go_on_by_cursor_and_refuse_what_they_do_not_know(identity: Identity) -> None:
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await identity.http.get("/identity/places", params={"limit": "7", **after})).json()
        seen += [one["code"] for one in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == sorted(set(seen))
    assert {entry["code"] for entry in first_levels()} <= set(seen)
    for query in ({"area": "33"}, {"parent": "x"}, {"limit": "0"}, {"after": "nonsense!"}):
        assert (await identity.http.get("/identity/places", params=query)).status_code in {400, 422}


# --- organisations -----------------------------------------------------------------------------------


async def test_organisations_are_taken_by_credit_code(identity: Identity) -> None:
    group, clinic = uscc(1), uscc(2)
    batch = [
        {"uscc": clinic.lower(), "name": "西湖诊所", "kind": "hospital", "area": "330106", "parent": group},
        {"uscc": group, "name": "杭州医联体", "kind": "hospital", "area": "330100"},
    ]
    answer = await identity.admin.post("/identity/organisations", json={"organisations": batch})
    assert answer.json() == {"accepted": 2, "changed": 2}
    answer = await identity.admin.post("/identity/organisations", json={"organisations": batch})
    assert answer.json() == {"accepted": 2, "changed": 0}
    found = (await identity.http.get("/identity/organisations", params={"area": "330106"})).json()
    assert [(one["uscc"], one["parent"]) for one in found["items"]] == [(clinic, group)]


@pytest.mark.parametrize(
    ("organisation", "code", "where"),
    [
        ({"uscc": uscc(3)[:-1] + "?"}, "uscc_form", "organisations.0.uscc"),
        (
            {"uscc": uscc(3)[:-1] + ("0" if uscc(3)[-1] != "0" else "1")},
            "uscc_checksum",
            "organisations.0.uscc",
        ),
        ({"uscc": uscc(3), "parent": "x"}, "uscc_form", "organisations.0.parent"),
        ({"uscc": uscc(3), "parent": uscc(999)}, "unknown_parent", "parent"),
    ],
)
async def test_a_bad_organisation_refuses_the_batch(
    identity: Identity, organisation: dict[str, str], code: str, where: str
) -> None:
    good = {"uscc": uscc(4), "name": "好", "kind": "school", "area": "330106"}
    bad = {"name": "坏", "kind": "school", "area": "330106", **organisation}
    answer = await identity.admin.post("/identity/organisations", json={"organisations": [bad, good]})
    assert answer.status_code == 422
    fault = answer.json()["errors"][0]
    assert (fault["code"], fault.get("path") or fault.get("field")) == (code, where)
    found = await identity.http.get("/identity/organisations", params={"codes": [uscc(4)]})
    assert found.json()["items"] == []


# --- guardianship ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("born", "of_age"),
    [
        (date(2008, 11, 24), date(2026, 11, 24)),
        (date(2008, 2, 28), date(2026, 2, 28)),
        # No 29 February 2026: the last day of the month (民法典 第202条).
        (date(2008, 2, 29), date(2026, 2, 28)),
        (date(2000, 12, 31), date(2018, 12, 31)),
    ],
)
def test_the_day_of_coming_of_age(born: date, of_age: date) -> None:
    assert comes_of_age(born) == of_age


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2100, 1, 1)))
def test_coming_of_age_is_on_the_18th_birthday(born: date) -> None:
    found = comes_of_age(born)
    assert found.year == born.year + 18
    assert (found.month, found.day) == (born.month, born.day) or (born.month, born.day) == (2, 29)


FATHER, CHILD = citizen_number(date(1985, 3, 14), 1), citizen_number(date(2010, 6, 1), 1)


def guardianship_of(ward: str = CHILD, **changed: Any) -> dict[str, Any]:
    said = {
        "guardian": {"system": CITIZEN_NUMBER, "value": FATHER},
        "ward": {"system": CITIZEN_NUMBER, "value": ward},
        "relation": "parent",
        "valid_from": "2010-06-01",
    }
    return {**said, **changed}


async def registered(identity: Identity, *rows: dict[str, Any]) -> httpx.Response:
    return await identity.admin.post("/identity/guardianships", json={"guardianships": list(rows)})


async def with_people(identity: Identity, *numbers: str) -> None:
    people = [
        person(str(n), (CITIZEN_NUMBER, number), name=f"人{n}") for n, number in enumerate([FATHER, *numbers])
    ]
    answer = await identity.admin.post("/identity/persons", json={"people": people})
    assert {one["outcome"] for one in answer.json()["people"]} <= {"created", "matched"}


async def test_guardianship_is_taken_once_and_can_be_ended(identity: Identity) -> None:
    await with_people(identity, CHILD)
    assert (await registered(identity, guardianship_of())).json() == {"accepted": 1, "changed": 1}
    assert (await registered(identity, guardianship_of())).json() == {"accepted": 1, "changed": 0}
    ended = guardianship_of(valid_to="2020-01-01")
    assert (await registered(identity, ended)).json() == {"accepted": 1, "changed": 1}
    assert [row["valid_to"] for row in await identity.rows("select valid_to from guardianship")] == [
        date(2020, 1, 1)
    ]
    [leaf, *_] = await identity.leaves("guardianships.registered")
    assert (leaf["subjects_count"], leaf["records"]) == (2, 1)


@pytest.mark.parametrize(
    ("row", "code", "path"),
    [
        (
            guardianship_of(citizen_number(date(2011, 1, 1), 9)),
            "unknown_person",
            "guardianships.0.ward",
        ),
        (guardianship_of("330106201006010012"), "citizen_number_checksum", "guardianships.0.ward"),
        (guardianship_of(FATHER), "same_person", "guardianships.0"),
        (guardianship_of(valid_from="2028-06-01"), "ward_of_age", "guardianships.0.valid_from"),
        (guardianship_of(valid_to="2010-06-01"), "empty_term", "guardianships.0.valid_to"),
        (
            {**guardianship_of(), "ward": {"system": "urn:school", "value": "1"}},
            "birth_date_unknown",
            "guardianships.0.ward",
        ),
    ],
)
async def test_a_bad_guardianship_refuses_the_batch(
    identity: Identity, row: dict[str, Any], code: str, path: str
) -> None:
    await with_people(identity, CHILD)
    await identity.admin.post("/identity/persons", json={"people": [person("a", ("urn:school", "1"))]})
    answer = await registered(identity, row, guardianship_of())
    assert answer.status_code == 422
    assert [(fault["code"], fault["path"]) for fault in answer.json()["errors"]] == [(code, path)]
    assert await identity.rows("select from guardianship") == []
    assert FATHER not in answer.text


async def test_a_child_is_stood_for_until_the_eve_of_the_18th_birthday(identity: Identity) -> None:
    await with_people(identity, CHILD)
    await registered(identity, guardianship_of())
    [row] = await identity.rows("select guardian from guardianship")
    for day, stands in (
        (date(2010, 5, 31), False),
        (date(2010, 6, 1), True),
        (date(2028, 5, 31), True),
        (date(2028, 6, 1), False),
    ):
        async with identity.kit.db.read() as db:
            wards = await guardianship.wards_of(db, guardians=[row["guardian"]], on=day)
        assert ([ward.until for ward in wards] == [date(2028, 6, 1)]) is stands, day


async def test_a_guardianship_that_ends_earlier_ends_earlier(identity: Identity) -> None:
    await with_people(identity, CHILD)
    await registered(identity, guardianship_of(valid_to="2015-01-01"))
    [row] = await identity.rows("select guardian from guardianship")
    async with identity.kit.db.read() as db:
        assert [
            w.until
            for w in await guardianship.wards_of(db, guardians=[row["guardian"]], on=date(2014, 12, 31))
        ] == [date(2015, 1, 1)]
        assert await guardianship.wards_of(db, guardians=[row["guardian"]], on=date(2015, 1, 1)) == []


# --- me ----------------------------------------------------------------------------------------------


async def mine(identity: Identity, username: str) -> httpx.Response:
    session = await Browser(identity.http).session(username)
    answer = await exchanged(identity.http, identity.service("gateway"), session["access_token"], "identity")
    http = await identity.house.client("identity", token=answer.json()["access_token"])
    return await http.get("/identity/persons/me")


async def test_a_person_sees_their_own_entry(identity: Identity) -> None:
    today = persons.today()
    infant = citizen_number(today - timedelta(days=400), 2)
    grown = citizen_number(date(today.year - 18, today.month, today.day), 1)
    await identity.admin.post("/identity/places", json={"places": HANGZHOU})
    await with_people(identity, CHILD, infant, grown)
    await registered(
        identity,
        *(
            guardianship_of(ward, valid_from=str(today - timedelta(days=300)))
            for ward in (CHILD, infant, grown)
        ),
    )
    health = await identity.as_service("health")
    await health.post(
        "/identity/resolve", json={"people": [person("a", (CITIZEN_NUMBER, FATHER), area="330106")]}
    )
    await identity.account("father", identifier=FATHER)
    answer = await mine(identity, "father")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "name": "人0",
        "birth_date": "1985-03-14",
        "sex": "male",
        "area": {"code": "330106", "name": "西湖区", "name_en": "Xihu"},
        "masked_identifiers": [{"system": CITIZEN_NUMBER, "value": f"3{'*' * 16}{FATHER[-1]}"}],
        "guardian_of": [
            {"name": "人1", "birth_date": "2010-06-01", "relation": "parent", "until": "2028-06-01"},
            {
                "name": "人2",
                "birth_date": str(today - timedelta(days=400)),
                "relation": "parent",
                "until": str(comes_of_age(today - timedelta(days=400))),
            },
        ],
    }
    [leaf] = await identity.leaves("person.read")
    assert leaf["subject"].startswith("h1_")


async def test_an_account_without_a_person_has_no_entry(identity: Identity) -> None:
    await identity.account("nobody")
    answer = await mine(identity, "nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_person")


async def test_an_entry_is_for_the_person_alone(identity: Identity) -> None:
    assert (await identity.http.get("/identity/persons/me")).status_code == 401
    staff = await identity.house.client(
        "identity", scopes="identity:persons:read", kind="staff", subject="u_1"
    )
    assert (await staff.get("/identity/persons/me")).status_code == 403
