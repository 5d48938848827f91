"""A partner's system is told of a crowd: from the gates' counts to a signed delivery, and when.

Everything goes through the public doors of the real suite, as the organisations and people concerned.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.journeys.test_crowd_warnings import ACKNOWLEDGE, Gates
from tests.notify.channels.receivers import LOOPBACK, Receiver, receiving
from tests.support.suite import Suite, running_suite

PARTNER, STEWARD, CITIZEN = "metro-operator", "webhook-steward", "webhook-citizen"


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own, whose settings let it call receivers on this machine."""
    folder = public_folders / "webhooks"
    folder.mkdir()
    with running_suite(folder, environment={"HUIMIN_WEBHOOK_ALLOW": f'["{LOOPBACK}"]'}) as found:
        found.account(STEWARD, kind="staff", roles=["flow_staff"], areas=["330106"], organisation="bureau")
        found.account(CITIZEN, kind="person")
        yield found


@pytest.fixture
async def gates(suite: Suite) -> AsyncIterator[Gates]:
    async with AsyncExitStack() as stack:
        site, gate = [
            await stack.enter_async_context(system(suite, kind, "scenic")) for kind in ("site", "gate")
        ]
        yield Gates(suite, site, gate, "330106001")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def system(suite: Suite, kind: str, organisation: str) -> httpx.AsyncClient:
    """A system of an organisation, with the token of its client credentials."""
    headers = {"authorization": f"Bearer {suite.token(kind, organisation)}"}
    return httpx.AsyncClient(base_url=suite.address, headers=headers, timeout=60)


async def subscribed(http: httpx.AsyncClient, url: str, **asked: Any) -> dict[str, Any]:
    answer = await http.post("/notify/webhooks", json={"url": url, "topic": "crowd-warnings", **asked})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def came(receiver: Receiver, number: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while len(receiver.got) < number:  # noqa: ASYNC110 - it comes from another process
            await asyncio.sleep(0.05)
    return [json.loads(got.body) for got in receiver.got]


async def crowd(gates: Gates, *people: int) -> None:
    """Counts of the last minutes."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=len(people))
    await gates.count([(start + timedelta(minutes=i), number) for i, number in enumerate(people)])


async def test_a_partner_is_told_signed_and_sees_when(suite: Suite, gates: Gates, receiver: Receiver) -> None:
    await gates.open(capacity=100)
    async with system(suite, "site", PARTNER) as partner:
        hook = await subscribed(partner, f"{receiver.url}/in", area="330106")
        await subscribed(partner, f"{receiver.url}/elsewhere", area="320500")
        await crowd(gates, 90, 90)
        [raised] = await came(receiver, 1)
        assert (raised["type"], raised["specversion"]) == ("transport.warning.raised", "1.0")
        variables = {"id": raised["data"]["warning"], "note": None}
        answer = await asyncio.to_thread(suite.graphql, ACKNOWLEDGE, variables, as_=STEWARD)
        assert "errors" not in answer, answer
        await came(receiver, 2)
        for got in receiver.got:
            Webhook(hook["secret"]).verify(got.body, got.headers)
            assert got.path == "/in"

        # What it got is what the topic's own messages say, under the same ids.
        params = {"topic": "crowd-warnings", "area": gates.area}
        truth = (await partner.get("/notify/events", params=params)).json()["items"]
        assert [got.headers["webhook-id"] for got in receiver.got] == [one["id"] for one in truth]
        types = ["transport.warning.raised", "transport.warning.acknowledged"]
        assert [one["data"]["type"] for one in truth] == types

        items = (await partner.get("/notify/deliveries")).json()["items"]
        assert [one["type"] for one in items] == types[::-1]
        first = items[-1]
        times = [first[f"{step}_at"] for step in ("raised", "sent", "delivered", "acknowledged")]
        assert times == sorted(times)


async def test_an_answer_after_the_deadline_counts_as_none(
    suite: Suite, gates: Gates, receiver: Receiver
) -> None:
    async def late_once(_: web.Request) -> web.StreamResponse:
        if len(receiver.got) == 1:
            # Far past the deadline: a sender that was busy must not find it after all.
            await asyncio.sleep(60)
        return web.Response(status=204)

    receiver.answer = late_once
    await gates.open(capacity=100)
    async with system(suite, "site", "slow-partner") as partner:
        hook = await subscribed(partner, receiver.url, types=["transport.warning.raised"])
        await crowd(gates, 90, 90)
        await came(receiver, 2)
        first, again = receiver.got
        assert first.headers["webhook-id"] == again.headers["webhook-id"]
        assert again.headers["webhook-timestamp"] > first.headers["webhook-timestamp"]
        Webhook(hook["secret"]).verify(again.body, again.headers)
        assert (await partner.delete(f"/notify/webhooks/{hook['id']}")).status_code == 204


@pytest.mark.parametrize(
    "url", ["https://10.0.0.8/in", "https://169.254.169.254/latest", "http://example.org/in"]
)
async def test_an_address_inside_is_refused(suite: Suite, url: str) -> None:
    async with system(suite, "site", PARTNER) as partner:
        answer = await partner.post("/notify/webhooks", json={"url": url, "topic": "crowd-warnings"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_destination")


async def test_only_systems_that_may_read_a_topic_subscribe_and_only_their_own_they_see(
    suite: Suite, receiver: Receiver
) -> None:
    async with AsyncExitStack() as stack:
        owner, other, school = [
            await stack.enter_async_context(system(suite, *who))
            for who in (("site", "owner-a"), ("site", "owner-b"), ("school", "school-a"))
        ]
        hook = await subscribed(owner, receiver.url)
        asked = {"url": receiver.url, "topic": "crowd-warnings"}
        assert (await school.post("/notify/webhooks", json=asked)).status_code == 401
        assert (await owner.post("/notify/webhooks", json={**asked, "topic": "privacy"})).status_code == 403
        assert (await other.get("/notify/webhooks")).json()["items"] == []
        assert (await other.delete(f"/notify/webhooks/{hook['id']}")).status_code == 404
        assert (await other.post(f"/notify/webhooks/{hook['id']}/secret")).status_code == 404
        assert (await owner.get("/notify/dead-deliveries")).status_code == 403


SUBSCRIBE = """
mutation Subscribe($webhook: WebhookInput!) {
  subscribeWebhook(webhook: $webhook) { secret webhook { id channel place state } }
}
"""
MINE = "{ webhooks { nodes { id channel place topic } } deliveries { nodes { id state type deliveredAt } } }"


async def test_staff_have_a_group_robot_told(suite: Suite, gates: Gates, receiver: Receiver) -> None:
    async def fine(_: web.Request) -> web.StreamResponse:
        return web.json_response({"errcode": 0, "errmsg": "ok"})

    receiver.answer = fine
    url = f"{receiver.url}/cgi-bin/webhook/send?key=group-robot-key"
    webhook = {"url": url, "topic": "crowd-warnings", "kind": "wecom"}

    def run(query: str, as_: str, **variables: Any) -> dict[str, Any]:
        return suite.graphql(query, variables, as_=as_)

    refused = await asyncio.to_thread(run, SUBSCRIBE, CITIZEN, webhook=webhook)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    answer = await asyncio.to_thread(run, SUBSCRIBE, STEWARD, webhook=webhook)
    assert "errors" not in answer, answer
    new = answer["data"]["subscribeWebhook"]
    assert (new["secret"], new["webhook"]["channel"]) == (None, "wecom")
    await gates.open(capacity=100)
    await crowd(gates, 90, 90)
    [said] = await came(receiver, 1)
    assert "断桥残雪" in said["markdown"]["content"]
    mine = await asyncio.to_thread(run, MINE, STEWARD)
    assert [one["id"] for one in mine["data"]["webhooks"]["nodes"]] == [new["webhook"]["id"]]
    assert "group-robot-key" not in json.dumps(mine)
