"""Areas and legal entities as they were on a day."""

from datetime import date
from typing import Any

import pytest

from services.identity.places import ancestors
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.identity.test_registers import uscc

ENDED = "2021-04-09"
"""Hangzhou's districts were drawn anew (国函〔2021〕30号)."""
BEFORE = [
    {"code": "330100", "name": "杭州市", "name_en": "Hangzhou"},
    {"code": "330103", "name": "下城区", "name_en": "Xiacheng"},
    {"code": "330104", "name": "江干区", "name_en": "Jianggan"},
    {"code": "330105", "name": "拱墅区", "name_en": "Gongshu"},
]
AFTER = [
    {"code": "330102", "name": "上城区", "name_en": "Shangcheng"},
    {"code": "330114", "name": "钱塘区", "name_en": "Qiantang", "valid_from": ENDED},
    {**BEFORE[1], "valid_to": ENDED, "successors": ["330105"]},
    {**BEFORE[2], "valid_to": ENDED, "successors": ["330102", "330114"]},
]


@pytest.fixture
async def hangzhou(identity: Identity) -> Identity:
    async with identity.kit.db.transaction() as tx:
        await tx.execute("delete from place_successor; delete from place_former")
        await tx.execute("delete from place where code like '33%' and code <> '330000'")
    for batch in (BEFORE, AFTER):
        answer = await identity.admin.post("/identity/places", json={"places": batch})
        assert answer.status_code == 200, answer.text
    return identity


async def places(identity: Identity, **asked: Any) -> dict[str, dict[str, Any]]:
    answer = await identity.admin.get("/identity/places", params=asked)
    assert answer.status_code == 200, answer.text
    return {place["code"]: place for place in answer.json()["items"]}


async def test_a_code_is_looked_up_as_of_a_day(hangzhou: Identity) -> None:
    asked = ["330103", "330104", "330114"]
    assert set(await places(hangzhou, codes=asked, on="2021-04-08")) == {"330103", "330104"}
    assert set(await places(hangzhou, codes=asked, on=ENDED)) == {"330114"}
    assert set(await places(hangzhou, codes=asked)) == set(asked), "without a day, whatever there was"


async def test_an_ended_code_says_into_which_it_went(hangzhou: Identity) -> None:
    found = await places(hangzhou, codes=["330103", "330104", "330105"])
    assert [found[code]["successors"] for code in sorted(found)] == [["330105"], ["330102", "330114"], []]
    again = await hangzhou.admin.post("/identity/places", json={"places": AFTER})
    assert again.json() == {"accepted": 4, "changed": 0}


async def test_an_area_has_the_name_of_the_day(hangzhou: Identity) -> None:
    """襄樊市 became 襄阳市 on 9 December 2010 under the same code (国函〔2010〕124号)."""
    names = [
        {"code": "420600", "name": "襄樊市", "name_en": "Xiangfan", "valid_from": "1983-08-19"},
        {"code": "420600", "name": "襄阳市", "name_en": "Xiangyang", "valid_from": "2010-12-09"},
    ]
    for name in (*names, names[1]):
        await hangzhou.admin.post("/identity/places", json={"places": [name]})

    async def on(day: str) -> list[str]:
        return [place["name"] for place in (await places(hangzhou, codes=["420600"], on=day)).values()]

    assert [await on(day) for day in ("1983-08-18", "1983-08-19", "2010-12-08", "2010-12-09")] == [
        [], ["襄樊市"], ["襄樊市"], ["襄阳市"],
    ]  # fmt: skip


async def test_bad_histories_are_named_by_index_and_field(hangzhou: Identity) -> None:
    body = {
        "places": [
            {"code": "330106", "name": "西湖区", "successors": ["330105"]},
            {"code": "330107", "name": "某区", "valid_to": ENDED, "successors": ["330107", "330199"]},
        ]
    }
    answer = await hangzhou.admin.post("/identity/places", json=body)
    assert answer.status_code == 422
    assert {(fault["path"], fault["code"]) for fault in answer.json()["errors"]} == {
        ("places.0.valid_to", "no_end"),
        ("places.1.successors", "own_successor"),
        ("places.1.successors.1", "unknown_successor"),
    }
    assert ancestors("330106")[0] == "330100"


# --- legal entities ----------------------------------------------------------------------------------


async def entity(identity: Identity, code: str) -> dict[str, Any]:
    answer = await identity.admin.get("/identity/organisations", params={"codes": code})
    [found] = answer.json()["items"]
    return dict(found)


async def test_a_legal_entity_has_status_term_and_a_representative_nobody_sees(identity: Identity) -> None:
    number = citizen_number(date(1970, 1, 1))
    people = [person("1", (CITIZEN_NUMBER, number), name="法人代表")]
    await identity.admin.post("/identity/persons", json={"people": people})
    code = uscc(4711)
    row = {
        "uscc": code,
        "name": "某某有限公司",
        "kind": "company",
        "area": "330106",
        "status": "active",
        "valid_from": "2010-01-01",
        "representative": {"system": CITIZEN_NUMBER, "value": number},
    }
    body: dict[str, Any] = {"organisations": [row]}
    for changed in (1, 0):
        answer = await identity.admin.post("/identity/organisations", json=body)
        assert answer.json() == {"accepted": 1, "changed": changed}
    found = await entity(identity, code)
    assert (found["status"], found["valid_from"], found["valid_to"]) == ("active", "2010-01-01", None)
    assert "representative" not in found
    kept = "select name from organisation o join person on pid = representative where uscc = $1"
    kept = kept.replace("select name", "select person.name")
    assert await identity.rows(kept, code) == [{"name": "法人代表"}]
    [leaf, _] = await identity.leaves("representatives.registered")
    assert leaf["subjects_count"] == 1

    less = {name: row[name] for name in ("uscc", "name", "kind", "area")}
    ended = {**less, "status": "dissolved", "valid_to": "2024-06-30"}
    await identity.admin.post("/identity/organisations", json={"organisations": [ended]})
    found = await entity(identity, code)
    assert (found["status"], found["valid_from"], found["valid_to"]) == (
        "dissolved", "2010-01-01", "2024-06-30",
    )  # fmt: skip
    assert await identity.rows(kept, code) == [{"name": "法人代表"}], "what is not said stays"


async def test_bad_legal_entities_are_named_by_index_and_field(identity: Identity) -> None:
    row = {"uscc": uscc(1), "name": "甲", "kind": "company", "area": "330106"}
    wrong = uscc(2)[:-1] + ("0" if uscc(2)[-1] != "0" else "1")
    body = {
        "organisations": [
            {**row, "valid_from": "2020-01-01", "valid_to": "2020-01-01"},
            {**row, "uscc": wrong},
            {**row, "uscc": uscc(3), "representative": {"system": CITIZEN_NUMBER, "value": citizen_number()}},
        ]
    }
    answer = await identity.admin.post("/identity/organisations", json=body)
    assert answer.status_code == 422
    assert {(fault["path"], fault["code"]) for fault in answer.json()["errors"]} == {
        ("organisations.0.valid_to", "empty_term"),
        ("organisations.1.uscc", "uscc_checksum"),
        ("organisations.2.representative", "unknown_person"),
    }
    unknown = await identity.admin.post(
        "/identity/organisations", json={"organisations": [{**row, "status": "bankrupt"}]}
    )
    assert (unknown.status_code, unknown.json()["errors"][0]["path"]) == (422, "body.organisations.0.status")
