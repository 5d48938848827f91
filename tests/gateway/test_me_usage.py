"""`/me/usage` and `/me/consents`: who read a person's data, what looks wrong with it, what they agreed to."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape

import httpx
import pytest

from tests.gateway.visitor import Pages, Visitor, pages_of
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

MOTHER, CHILD = citizen_number(sequence=12), citizen_number(date(2015, 5, 1), sequence=13)
STRANGER = citizen_number(date(1990, 1, 1), sequence=14)
NEXT_YEAR = (datetime.now(UTC) + timedelta(days=300)).date().isoformat()
LATE_S = 60.0


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "audit", "exchange", "gateway"), servers, issuer) as found:
        people = [
            person("mother", (CITIZEN_NUMBER, MOTHER), name="李芳", birth_date="1985-03-14"),
            person("child", (CITIZEN_NUMBER, CHILD), name="李小明", birth_date="2015-05-01"),
            person("stranger", (CITIZEN_NUMBER, STRANGER), name="陈一", birth_date="1990-01-01"),
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
        await found.account("stranger", identifier=STRANGER)
        yield found


async def shown(visitor: Visitor, path: str, when: Callable[[str], bool]) -> str:
    """The page once what was done has reached the log, which takes about a second."""
    until = time.monotonic() + LATE_S
    while True:
        text = (await visitor.get(path)).text
        if when(text) or time.monotonic() > until:
            return text
        await asyncio.sleep(0.5)


async def whole(visitor: Visitor, path: str) -> str:
    """All pages of a list, one after the other."""
    text = following = (await visitor.get(path)).text
    while found := re.search(r'<a href="([^"]*)" rel="next">', following):
        following = (await visitor.get(unescape(found[1]))).text
        text += following
    return text


def leaves_of(text: str) -> list[int]:
    return [int(index) for index in re.findall(r'href="/audit/proofs/inclusion\?index=(\d+)"', text)]


async def test_the_list_says_who_when_what_why_and_where_it_is_proven(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    await shown(visitor, "/me/usage", lambda text: bool(leaves_of(text)))
    text = await whole(visitor, "/me/usage?lang=zh")
    [row] = [row for row in re.findall(r"<tr.*?</tr>", text, re.S) if "人口登记" in row]
    assert re.search(r'<time datetime="20\d\d-[^"]+">20\d\d年', row)
    assert "条记录" in row
    [leaf] = leaves_of(row)
    audit = await pages.house.client("audit", scopes=None)
    assert (await audit.get(f"/audit/proofs/inclusion?index={leaf}")).status_code == 200
    english = (await visitor.get("/me/usage?lang=en")).text
    assert "log entry" in english
    assert "人口" not in english


async def test_ones_own_reading_is_left_out_unless_asked_for(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    await shown(visitor, "/me/usage?own=true&lang=zh", lambda text: "本人查阅" in text)
    without, own = await whole(visitor, "/me/usage"), await whole(visitor, "/me/usage?own=true")
    assert set(leaves_of(without)) < set(leaves_of(own))
    assert "本人查阅" in own
    assert "本人查阅" not in without


async def test_the_list_goes_on_page_by_page(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    text = await shown(visitor, "/me/usage?own=true", lambda text: 'rel="next"' in text)
    [following] = re.findall(r'<a href="(/me/usage\?[^"]*)" rel="next">', text)
    further = (await visitor.get(unescape(following))).text
    assert leaves_of(further)
    assert not set(leaves_of(text)) & set(leaves_of(further))
    assert "回到第一页" in further


async def test_what_looks_wrong_becomes_a_case_with_a_term(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    text = await shown(visitor, "/me/usage?lang=en", lambda text: bool(leaves_of(text)))
    leaf = str(leaves_of(text)[-1])
    answer = await visitor.send(
        "/me/usage/report", {"leaf_index": leaf, "words": "I was <i>never</i> there"}, at="/me/usage"
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/me/usage")
    text = (await visitor.get("/me/usage?lang=en")).text
    assert "Your report was sent" in text
    assert "I was &lt;i&gt;never&lt;/i&gt; there" in text
    assert re.search(r"awaiting an answer · sent <time.*· answer due <time", text)


@pytest.mark.parametrize(
    "fields", [{"words": "x"}, {"leaf_index": "999999"}, {"leaf_index": "-1"}, {"leaf_index": "a"}]
)
async def test_a_report_that_cannot_be_taken_says_why(pages: Pages, fields: dict[str, str]) -> None:
    visitor = await pages.signed_in("mother")
    text = await shown(visitor, "/me/usage?lang=en", lambda text: bool(leaves_of(text)))
    sent = {"leaf_index": str(leaves_of(text)[0]), "words": "this was not me", **fields}
    answer = await visitor.send("/me/usage/report", sent)
    assert answer.status_code == 303
    assert 'class="notice bad" role="alert"' in (await visitor.get("/me/usage?lang=en")).text


async def test_a_guardian_sees_the_childs_list_and_a_stranger_does_not(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    text = (await visitor.get("/me/usage?lang=en")).text
    [there] = re.findall(r'href="(/me/usage\?ward=h1_\w+)">The list of 李小明<', text)
    text = await shown(visitor, there, lambda text: bool(leaves_of(text)))
    assert "The child&#39;s list" in text
    assert leaves_of(text)
    text = (await (await pages.signed_in("stranger")).get(f"{there}&lang=en")).text
    assert "Not allowed" in text
    assert not leaves_of(text)


async def given(visitor: Visitor, **changed: str) -> tuple[httpx.Response, str]:
    fields = {
        "organisation": "health",
        "purpose": "research",
        "actions": "fhir.read",
        "valid_until": NEXT_YEAR,
    }
    await visitor.get("/", lang="en")
    answer = await visitor.send("/me/consents/give", fields | changed, at="/me/consents")
    return answer, (await visitor.get("/me/consents?lang=en")).text


async def test_a_consent_is_given_and_revoked_at_once(pages: Pages) -> None:
    visitor = await pages.signed_in("mother")
    answer, text = await given(visitor)
    assert answer.headers["location"] == "/me/consents"
    assert "Your consent is on record." in text
    [consent] = re.findall(r'name="id" value="([0-9a-f-]{36})"', text)
    assert "read my health record" in text
    stranger = await pages.signed_in("stranger")
    await stranger.send("/me/consents/revoke", {"id": consent})
    assert 'class="notice bad"' in (await stranger.get("/me/consents")).text
    assert consent in (await visitor.get("/me/consents")).text
    await visitor.send("/me/consents/revoke", {"id": consent})
    text = (await visitor.get("/me/consents?lang=en")).text
    assert "Your consent is revoked" in text
    assert consent not in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"organisation": "913301060000000099"}, "No such organisation is registered."),
        ({"actions": ""}, ""),
        ({"valid_until": "2001-01-01"}, "The last day has passed already."),
        ({"valid_until": "2999-01-01"}, "A consent lasts five years at most."),
        ({"valid_until": "soon"}, ""),
        ({"purpose": "curiosity"}, ""),
    ],
)
async def test_a_consent_that_cannot_stand_is_not_kept(
    pages: Pages, changed: dict[str, str], words: str
) -> None:
    visitor = await pages.signed_in("stranger")
    _, text = await given(visitor, **changed)
    assert 'class="notice bad" role="alert"' in text
    assert words in text
    assert "There is no consent." in text
