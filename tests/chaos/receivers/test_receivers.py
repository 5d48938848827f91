"""Receivers at their worst: slow, failing, redirecting inside, renamed, endless, gone, greylisting."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook
from yarl import URL

from services.notify import dispatcher
from services.notify.channels import guard
from services.notify.channels.guard import Guard, Outgoing
from tests.notify.channels.conftest import Mailbox, announced, partner, person, sql, subscribed
from tests.notify.channels.receivers import LOOPBACK, Names, Receiver, event, receiving, saying
from tests.notify.channels.test_deliveries import came, listed, nothing_before, settled, until
from tests.notify.channels.test_guard import refusing, way_out
from tests.notify.channels.test_people import letters, registered, told, verified
from tests.notify.channels.test_push import Browser
from tests.support.running import RunningServices

pytestmark = pytest.mark.chaos
__all__ = ["nothing_before"]


async def test_a_failed_delivery_comes_again_under_the_same_id(
    house: RunningServices, receiver: Receiver
) -> None:
    http = await partner(house)
    hook = await subscribed(http, receiver.url)
    answers = [500, 302, 204]

    async def flaky(_: web.Request) -> web.StreamResponse:
        return web.Response(status=answers.pop(0))

    receiver.answer = flaky
    [id] = await announced(house)
    [one] = await settled(http, "delivered")
    assert [got.headers["webhook-id"] for got in receiver.got] == [str(id)] * 3
    assert (one["attempts"], one["told"]) == (3, str(id))
    for got in receiver.got:
        Webhook(hook["secret"]).verify(got.body, got.headers)


async def test_an_endpoint_that_hangs_holds_up_nobody_else(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody gives up while this goes on: it is not the deadline that lets the others through.
    monkeypatch.setattr(dispatcher, "ATTEMPT_S", 200.0)
    monkeypatch.setattr(guard, "DEADLINE_S", 200.0)

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(300)
        return web.Response()

    http = await partner(house)
    async with receiving(hang) as slow:
        await subscribed(http, slow.url)
        await announced(house, *(event() for _ in range(100)))
        await came(slow, 1)
        await subscribed(await partner(house, "partner-b"), receiver.url)
        async with asyncio.timeout(60):
            await announced(house, *(event() for _ in range(50)))
            await came(receiver, 50)
        assert len(slow.got) <= dispatcher.EACH


async def test_what_leads_inside_is_never_called(house: RunningServices) -> None:
    http = await partner(house)
    hook = await subscribed(http, "https://localhost./in")
    await announced(house)

    async def tried() -> Any:
        return [one for one in await listed(http, destination=hook["id"]) if one["reason"]]

    [one] = await until(tried)
    assert "localhost" not in one["reason"]


async def test_a_redirect_is_an_answer_and_not_followed(outgoing: Outgoing, receiver: Receiver) -> None:
    async with receiving() as inner:
        receiver.answer = saying(307, location=f"{inner.url}/admin")
        answer = await outgoing.post(receiver.url, b"{}", {})
        assert (answer.status, inner.got) == (307, [])


async def test_what_is_connected_to_is_what_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the name's second answer is private. It is asked once for a connection, which goes to the
    answer that was judged; asked again, it is judged again."""
    monkeypatch.setattr(guard, "RESOLVE_KEPT_S", 0)
    async with receiving() as inside:
        port = int(inside.url.rpartition(":")[2])
        judge = Names({"rebind.example.org": [["127.0.0.1"], ["10.0.0.1"]]}, ("127.0.0.1/32",))
        monkeypatch.setattr(judge, "checked", URL)  # this stand-in for a public address has no TLS
        async with way_out(judge) as outgoing:
            answer = await outgoing.post(f"http://rebind.example.org:{port}/", b"x", {})
            assert (answer.status, len(inside.got), judge.asked) == (204, 1, ["rebind.example.org"])
            assert inside.got[0].headers["host"] == f"rebind.example.org:{port}"
            with refusing():
                await outgoing.post(f"http://rebind.example.org:{port + 1}/", b"x", {})


async def test_two_gigabytes_are_cut_off(outgoing: Outgoing, receiver: Receiver) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"content-length": str(2 * 1024**3)})
        await answer.prepare(request)
        while sent < 2 * 1024**3:
            await answer.write(b"x" * 65536)
            sent += 65536
        return answer

    receiver.answer = flood
    answer = await outgoing.post(receiver.url, b"{}", {})
    assert (answer.status, len(answer.body)) == (200, guard.READ_BYTES)
    await asyncio.sleep(0.1)
    assert sent < 32 * 1024**2


@pytest.mark.parametrize("head_first", [True, False])
async def test_an_answer_that_drips_ends_with_the_deadline(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, head_first: bool
) -> None:
    monkeypatch.setattr(guard, "DEADLINE_S", 0.5)

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if not head_first:
            await asyncio.sleep(300)
        await answer.prepare(request)
        while True:
            await answer.write(b".")
            await asyncio.sleep(0.1)

    receiver.answer = drip
    async with way_out(Guard((LOOPBACK,))) as outgoing, asyncio.timeout(60):
        if head_first:  # the status has said it
            assert (await outgoing.post(receiver.url, b"{}", {})).status == 200
        else:
            with pytest.raises(TimeoutError):
                await outgoing.post(receiver.url, b"{}", {})


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_is_gone_is_forgotten(
    house: RunningServices, receiver: Receiver, status: int
) -> None:
    receiver.answer = saying(status)
    lin = await person(house)
    await registered(lin, **Browser(receiver).subscription)
    await told(house)
    await settled(lin, "dead")
    assert (await lin.get("/notify/destinations")).json()["items"] == []
    [row] = await sql(house, "select state, target from destination")
    assert (row["state"], row["target"]) == ("removed", "")
    await told(house)
    await asyncio.sleep(0.2)
    assert len(receiver.got) == 1


async def test_a_server_that_greylists_gets_the_same_letter_later(
    house: RunningServices, mailbox: Mailbox
) -> None:
    lin = await person(house)
    await verified(lin, mailbox)
    mailbox.says += ["451 4.7.1 Greylisted, try again later"] * 2
    id = await told(house)
    [message] = await letters(mailbox, 1)
    assert message["message-id"].startswith(f"<{id}.")

    async def noted() -> Any:
        return [one for one in await listed(lin, state="delivered") if one["told"] == str(id)]

    [one] = await until(noted)
    assert one["attempts"] == 3
