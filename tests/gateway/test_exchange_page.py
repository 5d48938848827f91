"""Exchange staff's pages: the catalogue, a request from form to decision, and who may do which step."""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.gateway.visitor import Pages, Visitor, pages_of
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

HOME = "/console/exchange"
ORGANISATIONS = {"education": "11330100MB0000021N", "health": "11330100MB0000022L"}


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    """Education and transport offer; health asks, and need not answer for that."""
    async with pages_of(
        ("identity", "exchange", "education", "transport", "gateway"), servers, issuer
    ) as found:
        admin = await found.house.client(
            "exchange", kind="service", subject="service:stack", scopes="exchange:agreements:write"
        )
        for service, organisation in ORGANISATIONS.items():
            names = {"name_zh": f"{service}局", "name_en": f"{service} <bureau>"}
            body = {"organisation": organisation, **names}
            answer = await admin.put(f"/exchange/departments/{service}", json=body)
            assert answer.status_code == 200, answer.text
            staff = {"roles": ["exchange_staff"], "areas": ["330100"], "organisation": organisation}
            await found.account(f"{service}-desk", kind="staff", **staff)
        await found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        yield found


def form(**changed: object) -> dict[str, object]:
    return {
        "dataset": "education.enrolments",
        "consumer": "health",
        "items": ["sector_id", "stage"],
        "condition_item": ["stage", "", ""],
        "condition_op": ["in", "eq", "eq"],
        "condition_value": ["1, 2", "", ""],
        "purpose": "public_health",
        "details": "入学查验<预防接种证>",
        "legal_basis": "《中华人民共和国疫苗管理法》第四十八条",
        "valid_until": "2027-12-31",
        "reads_per_day": "10",
        "rows_per_day": "1000",
        **changed,
    }


async def asked(visitor: Visitor, **changed: object) -> str:
    """Where the request ends: the page of the agreement, or the form with what was wrong."""
    answer = await visitor.send(f"{HOME}/request", form(**changed), at=HOME)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_the_catalogue_shows_terms_and_freshness_in_both_languages(pages: Pages) -> None:
    visitor = await pages.signed_in("health-desk")
    for dataset in ("education.enrolments", "transport.zone_flows"):
        await visitor.get(f"{HOME}/request", dataset=dataset)  # known from now on, if it was not yet
    chinese = (await visitor.get(f"{HOME}/catalogue", lang="zh")).text
    assert all(
        words in chinese for words in ("学籍信息", "有条件共享", "无条件共享", "含个人信息", "尚无数据")
    )
    english = (await visitor.get(f"{HOME}/catalogue", lang="en")).text
    assert all(
        words in english for words in ("Enrolments", "Conditional", "No personal data", "Update cycle")
    )
    assert "education &lt;bureau&gt;" in english


async def test_from_the_form_to_the_decision(pages: Pages) -> None:
    consumer, provider = await pages.signed_in("health-desk"), await pages.signed_in("education-desk")
    await consumer.get(HOME, lang="en")
    there = await asked(consumer)
    page = (await consumer.get(there, lang="en")).text
    assert "The request was sent." in page
    assert "Requested" in page
    assert "Stage (ISCED 2011) is one of 1, 2" in re.sub(r"\s+", " ", page)
    assert "入学查验&lt;预防接种证&gt;" in page
    # Its own department may take it back, not decide on it.
    assert 'value="end"' in page
    assert 'value="approve"' not in page
    waiting = (await provider.get("/console", lang="en")).text
    assert "Requests waiting for a decision" in waiting
    listed = (await provider.get(HOME, state="requested", lang="en")).text
    assert "education.enrolments" in listed
    assert "public health" in listed
    for step in ("approve", "suspend"):
        answer = await provider.send(there, {"step": step, "reason": "符合法定职责"}, at=there)
        assert (answer.status_code, answer.headers["location"]) == (303, there)
    page = (await provider.get(there, lang="zh")).text
    assert [words in page for words in ("已中止", "符合法定职责", "最近30天没有读取。")] == [True] * 3
    assert 'value="resume"' in page


async def test_a_step_of_another_department_is_refused_and_said(pages: Pages) -> None:
    consumer = await pages.signed_in("health-desk")
    there = await asked(consumer)
    for step in ("approve", "vanish"):
        await consumer.send(there, {"step": step, "reason": "我们自己同意"}, at=there)
        page = (await consumer.get(there, lang="zh")).text
        assert 'role="alert"' in page
        assert "待审批" in page


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "curiosity"},
        {"valid_until": "soon"},
        {"rows_per_day": "many"},
        {"items": []},
        {"condition_item": "valid_from", "condition_op": "ge", "condition_value": "soon"},
        {"consumer": "transport"},
        {"dataset": "education.secrets"},
    ],
)
async def test_what_cannot_be_asked_is_said_on_the_form(pages: Pages, changed: dict[str, object]) -> None:
    visitor = await pages.signed_in("health-desk")
    there = await asked(visitor, **changed)
    assert there.startswith(f"{HOME}/request?dataset=")
    assert 'role="alert"' in (await visitor.get(there, lang="en")).text


async def test_pushed_changes_are_shown_and_held_back_by_the_provider(pages: Pages) -> None:
    consumer, provider = await pages.signed_in("health-desk"), await pages.signed_in("education-desk")
    there = await asked(consumer)
    await provider.send(there, {"step": "approve", "reason": "符合法定职责"}, at=there)
    pushes, id = f"{HOME}/pushes", uuid4()
    async with pages.house.kit("exchange").db.transaction() as tx:
        # Education offers no changes, and nothing is pushed: what stands here stays.
        await tx.execute(
            """insert into subscription (id, agreement_id, batches, rows, pushed_at, even_at, next_at)
               values ($1, $2, 4, 1234, now(), now() - interval '2 hours', now() + interval '1 day')""",
            id,
            there.rpartition("/")[2],
        )
    assert 'value="pause"' not in (await consumer.get(pushes)).text
    page = (await provider.get(pushes, lang="en")).text
    assert all(words in page for words in ("education.enrolments", "1,234", "behind by 2:00:"))
    for step, state in (("pause", "Paused"), ("resume", "Active"), ("retell", "Active")):
        await provider.send(pushes, {"id": str(id), "step": step, "reason": "核对<数据>"}, at=pushes)
        page = (await provider.get(pushes, lang="en")).text
        assert "Done." in page
        assert re.search(r'<span class="state \w+">(\w+)</span>', page)[1] == state  # type: ignore[index]
    for visitor, step in ((consumer, "pause"), (provider, "vanish")):
        await visitor.send(pushes, {"id": str(id), "step": step, "reason": "核对"}, at=pushes)
        assert 'role="alert"' in (await visitor.get(pushes)).text


async def test_only_exchange_staff_open_these_pages(pages: Pages) -> None:
    auditor = await pages.signed_in("auditor")
    assert (await auditor.get(HOME)).status_code == 403
    nobody = await pages.visitor()
    assert (await nobody.http.get(HOME)).headers["location"].startswith("/signin")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/agreements/none", 404), ("/request", 400), ("?state=secret", 422), ("?before=1", 400)],
)
async def test_what_is_not_there_is_told_on_a_page(pages: Pages, path: str, status: int) -> None:
    visitor = await pages.signed_in("health-desk")
    answer = await visitor.get(HOME + path)
    assert answer.status_code in {status, 422}
    assert "<h1>" in answer.text
