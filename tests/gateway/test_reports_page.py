"""/console/usage-reports: what people say looks wrong, answered by the organisation, within its term."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest

from tests.gateway.visitor import Pages, pages_of
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

HERE = "/console/usage-reports"
NUMBER = citizen_number(sequence=77)
HOSPITAL, OTHER = "11330100MB0000041C", "11330100MB0000042A"
LATE_S = 60.0


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "audit", "exchange", "gateway"), servers, issuer) as found:
        people = [person("one", (CITIZEN_NUMBER, NUMBER), name="李芳", birth_date="1985-03-14")]
        answer = await found.admin.post("/identity/persons", json={"people": people})
        assert answer.status_code == 200, answer.text
        await found.account("person", identifier=NUMBER)
        for name, code in (("officer", HOSPITAL), ("other", OTHER)):
            staff = {"roles": ["privacy_officer"], "areas": ["330100"], "organisation": code}
            await found.account(name, kind="staff", **staff)
        await found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        yield found


@pytest.fixture(scope="module")
async def reported(pages: Pages) -> str:
    """A read by the hospital that the person says looks wrong; the report's id."""
    visitor = await pages.signed_in("person")
    await visitor.get("/me/usage", own="true")
    exchange = pages.house.kit("exchange")
    async with pages.house.kit("audit").db.read() as db:
        subject = await db.fetchval("select subject from exchange.leaf where subject is not null limit 1")
    token = pages.house.token("exchange", organisation=HOSPITAL, subject="hospital", purpose="treatment")
    async with exchange.db.transaction(await exchange.tokens.verify(token)) as tx:
        await tx.leaf(action="fhir.read", subject=subject, records=3, reason="treatment")
    until = time.monotonic() + LATE_S
    # The newest comes first; before it is in the tree, that is another's access.
    while "查阅一份健康档案资源" not in (page := (await visitor.get("/me/usage", lang="zh")).text):
        assert time.monotonic() < until
        await asyncio.sleep(0.3)
    found = re.search(r'name="leaf_index" value="(\d+)"', page)
    assert found is not None
    form = {"leaf_index": found[1], "words": "我没有去过<这家>医院"}
    assert (await visitor.send("/me/usage/report", form, at="/me/usage")).status_code == 303
    async with exchange.db.read() as db:
        return str(await db.fetchval("select id from usage_report"))


async def test_the_officer_sees_it_with_its_term_and_answers(pages: Pages, reported: str) -> None:
    officer, visitor = await pages.signed_in("officer"), await pages.signed_in("person")
    chinese = (await officer.get(HERE, lang="zh")).text
    assert "我没有去过&lt;这家&gt;医院" in chinese
    assert all(words in chinese for words in ("待答复", "答复期限", "查阅一份健康档案资源", "第五十条"))
    assert "已超期" not in chinese
    assert "Reports waiting for an answer" in (await officer.get("/console", lang="en")).text
    async with pages.house.kit("exchange").db.transaction() as tx:
        await tx.execute(
            "update usage_report set due_at = now() - interval '1 minute', due_by_weekdays = true"
        )
    english = (await officer.get(HERE, lang="en", state="open")).text
    assert all(words in english for words in ("Overdue", "Monday to Friday", "read a health record"))
    form = {"id": reported, "words": "已核实，属正常诊疗。"}
    assert (await officer.send(HERE, form, at=HERE)).status_code == 303
    page = (await officer.get(HERE, lang="en")).text
    assert "The answer was sent." in page
    assert "已核实，属正常诊疗。" in page
    assert 'name="words"' not in page
    await officer.send(HERE, form, at=HERE)
    assert 'role="alert"' in (await officer.get(HERE)).text  # answered before
    assert "已核实，属正常诊疗。" in (await visitor.get("/me/usage")).text
    await visitor.send("/me/usage/close", {"id": reported}, at="/me/usage")
    assert "Closed" in (await officer.get(HERE, lang="en", state="closed")).text


async def test_another_organisations_officer_neither_sees_nor_answers(pages: Pages, reported: str) -> None:
    other = await pages.signed_in("other")
    assert "There are no reports." in (await other.get(HERE, lang="en")).text
    await other.send(HERE, {"id": reported, "words": "不是我们"}, at=HERE)
    assert 'role="alert"' in (await other.get(HERE)).text
    auditor = await pages.signed_in("auditor")
    assert (await auditor.get(HERE)).status_code == 403
    nobody = await pages.visitor()
    assert (await nobody.http.get(HERE)).headers["location"].startswith("/signin")
