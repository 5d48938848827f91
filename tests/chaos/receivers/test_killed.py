"""A process that dies between sending and noting: what it had sent comes again, under the same id."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from services.kit.app import Kit, open_kit
from services.kit.principals import Principal
from services.notify import deliveries, destinations, dispatcher
from services.notify.deliveries import Announcement
from services.notify.shapes import WebhookRequest
from services.stack.home import ROOT
from tests.notify.channels.receivers import LOOPBACK, Receiver, event, fine
from tests.support.databases import TestServers

pytestmark = pytest.mark.chaos

CHILD = """
import asyncio
from services.kit.app import open_kit
from services.notify import dispatcher
async def main():
    kit, _ = await open_kit("notify")
    await dispatcher.dispatch(kit)
asyncio.run(main())
"""
PARTNER = Principal(
    kind="organisation", subject="c", organisation="partner-a", scopes=frozenset({"notify:stream:read"})
)


@pytest.fixture
async def kit(servers: TestServers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kit]:
    """Notify's own, while no process of it runs."""
    monkeypatch.setenv("HUIMIN_WEBHOOK_ALLOW", f'["{LOOPBACK}"]')
    async with servers.copy(["notify"]) as database:
        monkeypatch.setenv("HUIMIN_DATABASE_URL", servers.public_url(database))
        found, stack = await open_kit("notify")
        async with stack:
            yield found


async def test_killed_between_sending_and_noting(kit: Kit, receiver: Receiver) -> None:
    asked = WebhookRequest(url=receiver.url, topic="crowd-warnings")
    told = [event() for _ in range(60)]
    async with kit.db.transaction(PARTNER) as tx:
        hook = await destinations.subscribe(kit, tx, PARTNER, asked)
        await deliveries.announce(tx, [Announcement("crowd-warnings", None, "f", one) for one in told])
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, cwd=ROOT)

    async def deadly(_: web.Request) -> web.StreamResponse:
        if len(receiver.got) > 40:
            os.kill(child.pid, signal.SIGKILL)
        return web.Response(status=204)

    receiver.answer = deadly
    assert await child.wait() == -signal.SIGKILL
    before = [got.headers["webhook-id"] for got in receiver.got]
    async with kit.db.transaction() as tx:
        noted = await tx.fetchval("select count(*) from delivery where state = 'delivered'")
        leased = await tx.fetchval("select count(*) from delivery where next_at > now() and attempts > 0")
        assert 0 < leased <= dispatcher.EACH
        assert noted < len(before)
        # So that nobody has to wait for the leases of the dead.
        await tx.execute("update delivery set next_at = now() where state = 'waiting'")

    receiver.answer = fine
    second = asyncio.create_task(dispatcher.dispatch(kit))
    try:
        async with asyncio.timeout(60):
            while True:
                async with kit.db.read() as db:
                    if await db.fetchval("select count(*) from delivery where state = 'delivered'") == 60:
                        break
                await asyncio.sleep(0.05)
    finally:
        second.cancel()
        await asyncio.wait([second])
    times = Counter(got.headers["webhook-id"] for got in receiver.got)
    assert set(times) == {one["id"] for one in told}
    again = [id for id, number in times.items() if number > 1]
    assert 0 < len(again) <= leased
    assert set(again) <= set(before)
    for got in receiver.got:
        Webhook(hook.secret or "").verify(got.body, got.headers)
