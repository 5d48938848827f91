"""The citizen's page: what it shows of whom, and what is left of it when a service is down."""

from collections.abc import AsyncIterator
from datetime import date

import pytest

from tests.gateway.visitor import Pages, pages_of
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

MOTHER, CHILD = citizen_number(sequence=2), citizen_number(date(2015, 5, 1), sequence=3)


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    """Identity and education; health, social security and transport do not answer."""
    async with pages_of(("identity", "education", "gateway"), servers, issuer) as found:
        people = [
            person("mother", (CITIZEN_NUMBER, MOTHER), name="王<b>芳", birth_date="1985-03-14", sex="female"),
            person("child", (CITIZEN_NUMBER, CHILD), name="王小明", birth_date="2015-05-01"),
        ]
        answer = await found.admin.post("/identity/persons", json={"people": people})
        assert answer.status_code == 200, answer.text
        bond = {
            "guardian": {"system": CITIZEN_NUMBER, "value": MOTHER},
            "ward": {"system": CITIZEN_NUMBER, "value": CHILD},
            "relation": "parent",
            "valid_from": "2015-05-01",
        }
        answer = await found.admin.post("/identity/guardianships", json={"guardianships": [bond]})
        assert answer.status_code == 200, answer.text
        await found.account("mother", identifier=MOTHER)
        await found.account("nobody")
        yield found


async def test_people_see_themselves_masked_and_escaped(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    text = (await visitor.get("/me", lang="zh")).text
    assert "王&lt;b&gt;芳" in text
    assert "王<b>" not in text
    assert MOTHER not in text
    assert f"{MOTHER[0]}{'*' * 16}{MOTHER[-1]}" in text
    assert '<time datetime="1985-03-14">1985年3月14日</time>' in text
    assert "王小明" in text
    assert CHILD not in text
    english = (await visitor.get("/me", lang="en")).text
    assert '<time datetime="1985-03-14">14 Mar 1985</time>' in english
    assert "female" in english


async def test_a_service_that_is_down_leaves_only_its_own_part(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    answer = await visitor.get("/me", lang="en")
    assert answer.status_code == 200
    assert "Health: Not answering at the moment" in answer.text
    assert "Social security: Not answering at the moment" in answer.text
    # What answers is there whole: who they are, and that education keeps nothing.
    assert "Birth date" in answer.text
    assert "Nothing is kept about you here." in answer.text


async def test_somebody_the_register_does_not_know_sees_no_one_else(pages: Pages) -> None:
    answer = await (await pages.signed_in("nobody")).get("/me", lang="zh")
    assert answer.status_code == 200
    assert "没有找到" in answer.text
    assert "王" not in answer.text
