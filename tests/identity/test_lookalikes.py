"""Pushes without a number that is known: found by likeness, put before a clerk, or nobody known."""

from typing import Any

import httpx
import pytest

from services.identity import lookalikes
from services.identity.vault import vault_of
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.identity.test_resolve import resolve

NUMBER = citizen_number()
ZHANG = {
    "name": "张伟明",
    "birth_date": "1985-03-14",
    "sex": "male",
    "area": "330106",
    "phone": "138-0000-1234",
}
DOUBTFUL = {"name": "张炜明", "area": None, "phone": None}


def mrn(n: int) -> tuple[str, str]:
    return "urn:hospital:a:mrn", str(n)


async def pushed(http: httpx.AsyncClient, *identifiers: tuple[str, str], **attributes: Any) -> dict[str, Any]:
    [answer] = await resolve(http, person("a", *identifiers, **attributes))
    return answer


async def queue(identity: Identity) -> list[dict[str, Any]]:
    return await identity.rows(
        "select state, why, pid, other, weight, decided_by from match_review order by id"
    )


async def test_one_who_is_alike_in_all_is_the_same_person(identity: Identity) -> None:
    health = await identity.as_service("health")
    known = await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    found = await pushed(health, mrn(1), **ZHANG | {"name": "張偉明", "phone": "+86 13800001234"})
    assert (found["outcome"], found["sector_id"]) == ("matched", known["sector_id"])
    assert found["warnings"] == ["matched_by_model"]
    [pair] = await queue(identity)
    assert (pair["state"], pair["why"], pair["decided_by"]) == ("same", "model", "model cn_v1")
    async with vault_of(identity.kit).read() as db:
        assert [row["decided_by"] for row in await db.fetch("select decided_by from vault.link")] == [
            "model cn_v1"
        ]
    again = await pushed(health, mrn(1), name="張偉明")
    assert (again["outcome"], again["sector_id"], again["warnings"]) == ("matched", known["sector_id"], [])
    social = await identity.as_service("social_security")
    assert (await pushed(social, mrn(1)))["sector_id"] == (await pushed(social, (CITIZEN_NUMBER, NUMBER)))[
        "sector_id"
    ]


async def test_one_in_doubt_is_somebody_new_until_a_clerk_has_looked(identity: Identity) -> None:
    health = await identity.as_service("health")
    known = await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    found = await pushed(health, mrn(1), **ZHANG | DOUBTFUL)
    assert found["outcome"] == "review"
    assert found["sector_id"] not in (None, known["sector_id"])
    [pair] = await queue(identity)
    assert (pair["state"], pair["decided_by"]) == ("open", None)
    assert (await pushed(health, mrn(1), name="张炜明"))["outcome"] == "matched"
    assert len(await queue(identity)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"birth_date": "1971-11-02", "phone": None},
        {"birth_date": None, "area": None, "phone": None},
        {"name": "李娜", "sex": "female", "phone": None},
    ],
)
async def test_nobody_is_found_by_a_name_alone(identity: Identity, other: dict[str, Any]) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    assert (await pushed(health, mrn(1), **ZHANG | other))["outcome"] == "created"
    assert await queue(identity) == []


async def test_two_numbers_are_two_people_however_alike(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    assert (await pushed(health, (CITIZEN_NUMBER, citizen_number(sequence=3)), **ZHANG))[
        "outcome"
    ] == "created"
    assert await queue(identity) == []


async def test_a_number_that_comes_later_is_the_whole_persons(identity: Identity) -> None:
    health = await identity.as_service("health")
    first = await pushed(health, mrn(1), **ZHANG)
    await pushed(health, mrn(2), **ZHANG)
    numbered = await pushed(health, mrn(2), (CITIZEN_NUMBER, NUMBER))
    assert numbered["sector_id"] == first["sector_id"]
    other = await pushed(health, mrn(1), (CITIZEN_NUMBER, citizen_number(sequence=3)))
    assert (other["outcome"], other["code"]) == ("conflict", "citizen_number_differs")


async def test_the_registry_finds_whom_a_hospital_brought_before(identity: Identity) -> None:
    health = await identity.as_service("health")
    first = await pushed(health, mrn(1), **ZHANG)
    registry = await identity.registered("registry")
    token = (await registry.token(identity.http)).json()["access_token"]
    civil = await identity.house.client("identity", token=token)
    body = {"people": [person("a", (CITIZEN_NUMBER, NUMBER), **ZHANG)]}
    answer = await civil.post("/identity/persons", json=body)
    assert answer.json()["people"][0]["outcome"] == "matched", answer.text
    assert (await pushed(health, (CITIZEN_NUMBER, NUMBER)))["sector_id"] == first["sector_id"]


async def test_those_of_one_batch_meet_each_other(identity: Identity) -> None:
    health = await identity.as_service("health")
    one, two, other = await resolve(
        health,
        person("1", mrn(1), **ZHANG),
        person("2", mrn(2), **ZHANG),
        person("3", mrn(3), **ZHANG | {"birth_date": "1960-01-02", "name": "王芳"}),
    )
    assert [one["outcome"], two["outcome"], other["outcome"]] == ["created", "matched", "created"]
    assert one["sector_id"] == two["sector_id"] != other["sector_id"]


async def test_among_several_alike_a_clerk_chooses(identity: Identity) -> None:
    health = await identity.as_service("health")
    for sequence in (1, 3):
        await pushed(health, (CITIZEN_NUMBER, citizen_number(sequence=sequence)), **ZHANG)
    assert (await pushed(health, mrn(1), **ZHANG))["outcome"] == "review"
    assert [pair["state"] for pair in await queue(identity)] == ["open", "open"]


async def test_identifiers_of_two_people_in_one_push_are_a_pair_to_look_at(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    await pushed(health, mrn(1), name="欧阳娜娜")
    refused = await pushed(health, mrn(1), (CITIZEN_NUMBER, NUMBER))
    assert (refused["outcome"], refused["code"]) == ("conflict", "several_people")
    await pushed(health, mrn(1), (CITIZEN_NUMBER, NUMBER))
    assert [(pair["state"], pair["why"]) for pair in await queue(identity)] == [("open", "identifiers")]


async def test_people_from_before_there_were_keys_get_theirs(identity: Identity) -> None:
    health = await identity.as_service("health")
    known = await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    vault = identity.kit.parts["register"].vault
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("delete from block_key")
        await tx.execute("update person set keyed = 0")
        assert await lookalikes.key_some(tx, vault, 10) == 1
        assert await lookalikes.key_some(tx, vault, 10) == 0
    assert (await pushed(health, mrn(1), **ZHANG))["sector_id"] == known["sector_id"]


async def test_keys_say_nothing_to_who_reads_them(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, NUMBER), **ZHANG)
    rows = await identity.rows("select key from block_key")
    assert len(rows) > 2
    assert {len(row["key"]) for row in rows} == {16}
    assert len({row["key"] for row in rows}) == len(rows)
