"""Whose a local identifier is: a hospital's card numbers mean nobody at another hospital."""

import asyncio
from datetime import date
from typing import Any

import httpx
import pytest

from services.identity.vault import vault_of
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person

CARD = "urn:cards"
HERE, THERE = "hospital-a", "hospital-b"
STUDENT = "urn:huimin:id:student-number"
BORN = date(1985, 3, 14)
SAID = {"name": "张伟", "birth_date": BORN.isoformat(), "sex": "male"}


async def resolve(http: httpx.AsyncClient, organisation: str | None, *people: dict[str, Any]) -> Any:
    body = {"people": list(people)} | ({"organisation": organisation} if organisation else {})
    answer = await http.post("/identity/resolve", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["people"]


async def one(http: httpx.AsyncClient, organisation: str | None, *keys: tuple[str, str], **said: Any) -> Any:
    [found] = await resolve(http, organisation, person("a", *keys, **said))
    return found


async def test_a_foreign_card_with_a_fresh_number_poisons_nobody(identity: Identity) -> None:
    health = await identity.as_service("health")
    mine = await one(health, HERE, (CARD, "77"), **SAID)
    fresh = citizen_number(date(1999, 9, 9))
    attack = await one(health, THERE, (CARD, "77"), (CITIZEN_NUMBER, fresh))
    assert attack["sector_id"] not in (None, mine["sector_id"])
    # The hospital whose card it is has the last word on whom it means, whatever came in between.
    true = citizen_number(BORN)
    proven = await one(health, HERE, (CARD, "77"), (CITIZEN_NUMBER, true), **SAID)
    assert (proven["outcome"], proven["sector_id"]) == ("matched", mine["sector_id"])
    again = await one(health, THERE, (CARD, "77"))
    assert again["sector_id"] == attack["sector_id"]


async def test_the_organisation_of_one_service_is_the_same_at_another(identity: Identity) -> None:
    """A hospital that is an insurer's client too keeps its own numbers; who names none has none."""
    health, social = await identity.as_service("health"), await identity.as_service("social_security")
    await one(health, HERE, (CARD, "77"), **SAID)
    assert (await one(social, HERE, (CARD, "77")))["outcome"] == "matched"
    assert (await one(health, None, (CARD, "77")))["outcome"] == "created"
    assert len(await identity.rows("select from person")) == 2


@pytest.mark.parametrize("sector", ["health", "social_security"])
async def test_a_copied_national_identifier_states_no_citizen_number(identity: Identity, sector: str) -> None:
    school, other = await identity.as_service("education"), await identity.as_service(sector)
    pupil = await one(school, "school", (STUDENT, "J33010620150314001X"), name="李明")
    fresh = citizen_number(date(2015, 3, 14))
    attack = await one(other, THERE, (STUDENT, "J33010620150314001X"), (CITIZEN_NUMBER, fresh))
    assert (attack["outcome"], attack["code"], attack["sector_id"]) == (
        "conflict", "citizen_number_unproven", None,
    )  # fmt: skip
    assert await identity.rows("select from identifier where scheme = $1", CITIZEN_NUMBER) == []
    stated = await one(school, "school", (STUDENT, "J33010620150314001X"), (CITIZEN_NUMBER, fresh))
    assert (stated["outcome"], stated["sector_id"]) == ("matched", pupil["sector_id"])


async def former(identity: Identity) -> None:
    """As links stood before organisations were told apart."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("update vault.link set scope = ''")


async def test_links_from_before_hold_where_name_and_birth_date_agree(identity: Identity) -> None:
    health = await identity.as_service("health")
    known = await one(health, HERE, (CARD, "77"), **SAID)
    await former(identity)
    again = await one(health, HERE, (CARD, "77"), **SAID)
    assert (again["outcome"], again["sector_id"]) == ("matched", known["sector_id"])
    # Who only has the card's number has nobody by it, and who brings a number does not bring it to this one.
    guessed = await one(health, THERE, (CARD, "77"))
    assert (guessed["outcome"], guessed["sector_id"] != known["sector_id"]) == ("created", True)
    fresh = citizen_number(BORN, 3)
    await one(health, "hospital-c", (CARD, "77"), (CITIZEN_NUMBER, fresh), **SAID)
    owners = await identity.rows(
        "select p.created_at = (select min(created_at) from person) as eldest"
        " from vault.identifier i join person p using (pid)"
    )
    assert owners == [{"eldest": False}]


async def test_former_links_of_a_service_mean_nothing_to_another(identity: Identity) -> None:
    health, social = await identity.as_service("health"), await identity.as_service("social_security")
    await one(health, HERE, (CARD, "77"), **SAID)
    await former(identity)
    await one(social, HERE, (CARD, "77"), name="张伟", birth_date="1985-03-15")
    assert len(await identity.rows("select from person")) == 2


async def test_two_hospitals_at_once_with_the_same_card_number_make_two(identity: Identity) -> None:
    clients = [await identity.as_service("health") for _ in range(6)]
    answers = await asyncio.gather(
        *(
            one(http, organisation, (CARD, "1"), name=f"人{organisation}")
            for http, organisation in zip(clients, [HERE, THERE] * 3, strict=True)
        )
    )
    assert len({answer["sector_id"] for answer in answers}) == 2
    assert sorted(answer["outcome"] for answer in answers) == ["created"] * 2 + ["matched"] * 4


async def test_alike_newcomers_at_the_same_moment_see_each_other(identity: Identity) -> None:
    """Each hospital takes in the same person without papers; whoever comes second finds the first."""
    phone = {"phone": "13800001234"} | SAID
    for round in range(5):
        async with vault_of(identity.kit).transaction() as tx:
            await tx.execute("truncate person cascade")
        clients = [await identity.as_service("health") for _ in range(4)]
        answers = await asyncio.gather(
            *(one(http, f"hospital-{n}", (CARD, str(round)), **phone) for n, http in enumerate(clients))
        )
        assert sorted(answer["outcome"] for answer in answers) == ["created"] + ["matched"] * 3
        assert len({answer["sector_id"] for answer in answers}) == 1


async def test_unnumbered_people_are_looked_for_where_their_hospital_is(identity: Identity) -> None:
    """No area is said, and none is kept: the hospital's own is where two such records may meet."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute(
            """insert into organisation (uscc, name, kind, area, source)
               select uscc, uscc, 'hospital', '330106', 't' from unnest($1::text[]) uscc
               on conflict do nothing""",
            [HERE, THERE],
        )
    health = await identity.as_service("health")
    await one(
        health, HERE, (CARD, "1"), name="欧阳静", birth_date="2026-01-02", sex="female", phone="13900000001"
    )
    await one(
        health, THERE, (CARD, "2"), name="单静", birth_date="2026-01-02", sex="female", phone="13900000002"
    )
    keys = await identity.rows("select count(distinct pid) as people, key from block_key group by key")
    assert max(row["people"] for row in keys) == 2
    assert await identity.rows("select area from person where area is not null") == []
