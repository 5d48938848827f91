"""/console/identity: the queue, one pair with its weights, a decision with its reason, and taking it back."""

import itertools
import re
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from tests.gateway.visitor import Pages, pages_of
from tests.identity.parties import CITIZEN_NUMBER, Machine, citizen_number, person
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

NAMES = iter(["张<b>伟明", "欧阳<b>娜", "赵<b>国强", "诸葛<b>亮"])
YEARS = itertools.count(1980, 7)
ENTRY = re.compile(r"person=(h1_[A-Z2-7]{26})")
PAIR = re.compile(r'href="(/console/identity/[0-9a-f-]{36})"')
HERE = "/console/identity"


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "gateway"), servers, issuer) as found:
        for username, areas in (("clerk", ["330100"]), ("second", ["330100"]), ("elsewhere", ["330200"])):
            await found.account(username, kind="staff", roles=["identity_clerk"], areas=areas)
        await found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        yield found


async def a_pair(pages: Pages) -> tuple[str, str]:
    """Two who are alike but for a digit of the birth date: their page, and the number of one."""
    year = next(YEARS)
    number = citizen_number(date(year, 3, 14))
    settings = pages.house.settings
    granted = await Machine.service(settings, "health").token(pages.admin)
    health = await pages.house.client("identity", token=granted.json()["access_token"])

    async def push(ref: str, *identifiers: tuple[str, str], **said: Any) -> str:
        body = {"people": [person(ref, *identifiers, **said)]}
        answer = await health.post("/identity/resolve", json=body)
        return str(answer.json()["people"][0]["outcome"])

    said = {"name": next(NAMES), "sex": "male", "area": "330106"}
    await push("known", (CITIZEN_NUMBER, number), birth_date=f"{year}-03-14", **said)
    assert await push("new", ("urn:a:mrn", str(year)), birth_date=f"{year}-03-15", **said) == "review"
    visitor = await pages.signed_in("clerk", at=HERE)
    found = PAIR.findall((await visitor.get(HERE)).text)
    assert found
    return str(found[-1]), number


async def test_a_clerk_decides_and_takes_it_back(pages: Pages) -> None:
    path, number = await a_pair(pages)
    visitor = await pages.signed_in("clerk", at=path)
    shown = await visitor.get(path, lang="zh")
    assert shown.status_code == 200
    for words in (
        "张&lt;b&gt;伟明",
        "同一人：提议合并",
        "3月14日",
        "一位数字之差",
        f"3{'*' * 16}{number[-1]}",
    ):
        assert words in shown.text, words
    assert number not in shown.text
    assert shown.text.count("<svg") >= 5
    english = (await visitor.get(path, lang="en")).text
    assert "What speaks for one person" in english
    id = path.rpartition("/")[2]
    said = {"id": id, "decision": "same", "reason": "the same address"}
    answer = await visitor.send(f"{HERE}/decide", said, at=path)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert "Another clerk has to confirm it." in (await visitor.get(path, lang="en")).text
    again = await visitor.send(f"{HERE}/decide", said, at=path)
    assert 'class="notice bad"' in (await visitor.get(again.headers["location"], lang="en")).text
    second = await pages.signed_in("second", at=path)
    assert path in (await second.get(HERE, state="proposed")).text
    assert "One person: confirm and make them one" in (await second.get(path, lang="en")).text
    await second.send(f"{HERE}/decide", said, at=path)
    after = (await second.get(path, lang="en")).text
    assert "They are one person now." in after
    assert "Undo the merge" in after
    await visitor.send(f"{HERE}/undo", {"id": id, "reason": "another telephone"}, at=path)
    assert "The merge has been undone." in (await visitor.get(path, lang="en")).text
    assert path in (await visitor.get(HERE, state="different")).text


async def test_two_entries_are_put_together_by_their_numbers(pages: Pages) -> None:
    path, _ = await a_pair(pages)
    visitor = await pages.signed_in("clerk", at=path)
    one, other = ENTRY.findall((await visitor.get(path)).text)
    shown = (await visitor.get(f"{HERE}/merge", person=one, lang="en")).text
    assert f'value="{one}"' in shown
    said = {"person": one, "other": other, "reason": "both have shown the same passport"}
    answer = await visitor.send(f"{HERE}/merge", said, at=f"{HERE}/merge")
    assert answer.headers["location"] == path
    assert "The proposal has been recorded." in (await visitor.get(path, lang="en")).text
    nobody = await visitor.send(f"{HERE}/merge", {**said, "other": one}, at=f"{HERE}/merge")
    assert nobody.headers["location"] == f"{HERE}/merge?person={one}"
    assert 'class="notice bad"' in (await visitor.get(nobody.headers["location"])).text


async def test_the_whole_register_is_compared_at_a_clerks_word(pages: Pages) -> None:
    visitor = await pages.signed_in("clerk", at=HERE)
    assert "尚未进行过比对" in (await visitor.get(f"{HERE}/runs", lang="zh")).text
    await visitor.send(f"{HERE}/runs", at=f"{HERE}/runs")
    shown = (await visitor.get(f"{HERE}/runs", lang="en")).text
    assert "The comparison has been started." in shown
    assert "waiting" in shown


async def test_what_is_filled_in_wrongly_is_said(pages: Pages) -> None:
    path, number = await a_pair(pages)
    visitor = await pages.signed_in("clerk", at=path)
    id = path.rpartition("/")[2]
    for fields in (
        {"id": id, "decision": "same", "reason": ""},
        {"id": id, "decision": "maybe", "reason": "a good reason"},
        {"id": "x", "decision": "same", "reason": "a good reason"},
        {"id": id, "decision": "same", "reason": f"it is {number}"},
    ):
        answer = await visitor.send(f"{HERE}/decide", fields, at=path)
        assert answer.status_code == 303
        told = await visitor.get(path, lang="en")
        assert 'class="notice bad"' in told.text, fields
    assert path in (await visitor.get(HERE)).text


async def test_neither_other_areas_nor_other_roles_see_it(pages: Pages) -> None:
    path, _ = await a_pair(pages)
    elsewhere = await pages.signed_in("elsewhere", at=HERE)
    assert PAIR.findall((await elsewhere.get(HERE)).text) == []
    hidden = (await elsewhere.get(path, lang="en")).text
    assert "张" not in hidden
    assert "Not found." in hidden
    auditor = await pages.signed_in("auditor")
    assert (await auditor.get(HERE)).status_code == 403
    nobody = await pages.visitor()
    assert "password" in (await nobody.get(path)).text
