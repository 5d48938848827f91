"""/console/flows/duties: a lead keeps a roster, staff join it, and everybody sees who is on duty."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.visitor import Pages, Visitor, pages_of
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

HERE = "/console/flows/duties"
ROSTER = re.compile(r'name="roster" value="([0-9a-f-]{36})"')
MEMBER = re.compile(r'name="member" value="([^"]+)"')


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "notify", "gateway"), servers, issuer) as found:
        for username, role in (
            ("lead", "duty_lead"),
            ("anna", "flow_staff"),
            ("ben", "flow_staff"),
            ("auditor", "auditor"),
        ):
            await found.account(username, kind="staff", roles=[role], areas=["330100"], organisation="bureau")
        yield found


async def sent(visitor: Visitor, what: str, **fields: object) -> httpx.Response:
    """A form of the page, and the page it leads back to."""
    answer = await visitor.send(f"{HERE}{what}", fields, at=HERE)
    assert answer.status_code == 303, answer.text
    return await visitor.get(answer.headers["location"])


async def test_a_roster_from_its_beginning_to_its_end(pages: Pages) -> None:
    lead, anna, ben = [await pages.signed_in(name, at=HERE) for name in ("lead", "anna", "ben")]
    new = {
        "name_zh": "西湖<b>值班",
        "name_en": "West Lake duty",
        "area": "330106",
        "sites": "",
        "from_level": "2",
    }
    assert "已保存" in (await sent(lead, "", **new)).text
    assert "西湖&lt;b&gt;值班" in (await lead.get(HERE, lang="zh")).text
    for visitor, name in ((anna, "安娜"), (ben, "本")):
        [roster] = set(ROSTER.findall((await visitor.get(HERE)).text))
        await sent(visitor, "/join", roster=roster, name=name)
    shown = (await lead.get(HERE, lang="zh")).text
    members = list(dict.fromkeys(MEMBER.findall(shown)))
    assert shown.count(">待确认<") == len(members) == 2
    for member in members:
        await sent(lead, "/confirm", roster=roster, member=member)
    duty = {"roster": roster, "tier": "1", "weekdays": [*"1234567"], "starts": "00:00", "ends": "00:00"}
    await sent(lead, "/add", **duty, member=members[0], first_day="2026-01-01", last_day="")
    await sent(lead, "/add", **duty | {"tier": "2"}, member=members[1], first_day="2026-01-01", last_day="")
    shown = (await anna.get(HERE, lang="en")).text
    assert "On duty now" in shown
    assert shown.index("安娜") < shown.index("本")
    refused = await sent(
        lead, "/add", **duty, member=members[0], first_day="2026-01-02", last_day="2026-01-01"
    )
    assert "lies before the first day" in refused.text
    await sent(lead, "/remove", roster=roster, place="1")
    asked = {"roster": roster, "member": members[0], "substitute": members[1], "day": "2040-01-01"}
    assert "本" in (await sent(anna, "/swap", **asked)).text
    swap = re.search(r'name="swap" value="([0-9a-f-]{36})"', (await ben.get(HERE)).text)
    assert swap is not None
    await sent(ben, "/accept", swap=swap[1])
    assert 'name="swap"' not in (await ben.get(HERE)).text
    await sent(lead, "/close", roster=roster)
    assert "还没有值班表" in (await lead.get(HERE, lang="zh")).text


async def test_it_is_for_those_on_duty_alone(pages: Pages) -> None:
    auditor = await pages.signed_in("auditor")
    assert (await auditor.get(HERE)).status_code == 403
    assert (await (await pages.visitor()).get(HERE)).url.path == "/oauth/authorize"


async def test_quiet_hours_are_kept_and_taken_back(pages: Pages) -> None:
    anna = await pages.signed_in("anna", at="/me/notifications")

    async def quiet(**fields: str) -> str:
        answer = await anna.send("/me/notifications/quiet", fields, at="/me/notifications")
        return (await anna.get(answer.headers["location"], lang="en")).text

    kept = await quiet(starts="22:00", ends="07:00", time_zone="Asia/Shanghai")
    assert 'name="starts" value="22:00"' in kept
    assert "no time zone" in await quiet(starts="22:00", ends="07:00", time_zone="Mars/Olympus")
    assert 'name="starts" value=""' in await quiet(starts="", ends="", time_zone="Asia/Shanghai")
