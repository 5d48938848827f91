"""The way out to receivers on loopback, which the settings name as they would an internal network."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.notify import deliveries, dispatcher
from services.notify.channels.guard import Guard, Outgoing
from services.notify.deliveries import Announcement
from tests.notify.channels.receivers import LOOPBACK, Receiver, event, receiving
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    found = Outgoing(Guard((LOOPBACK,)), connections=8)
    yield found
    await found.close()


@dataclass
class Mailbox:
    """What a mail server took, and what it says to each recipient (250 unless told otherwise)."""

    letters: list[bytes] = field(default_factory=list)
    says: list[str] = field(default_factory=list)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.says:
            return self.says.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.letters.append(envelope.content)
        return "250 taken"


@pytest.fixture(scope="module")
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mail server, and the setting that names it."""
    found = Mailbox()
    server = await asyncio.get_running_loop().create_server(partial(SMTP, found), "127.0.0.1", 0)
    os.environ["HUIMIN_SMTP_URL"] = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    del os.environ["HUIMIN_SMTP_URL"]
    server.close()


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer, mailbox: Mailbox) -> AsyncIterator[RunningServices]:
    os.environ["HUIMIN_WEBHOOK_ALLOW"] = f'["{LOOPBACK}"]'
    try:
        async with running_services(("notify",), servers, issuer) as found:
            yield found
    finally:
        del os.environ["HUIMIN_WEBHOOK_ALLOW"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(dispatcher, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(dispatcher, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(dispatcher, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(dispatcher, "CLOCK_CHECKED_EVERY_S", 0.2)


async def partner(house: RunningServices, organisation: str = "partner-a", **who: Any) -> httpx.AsyncClient:
    """A partner's system."""
    scopes = who.pop("scopes", "notify:stream:read notify:webhooks:write")
    return await house.client(
        "notify", kind="organisation", subject=f"client-{organisation}", organisation=organisation,
        scopes=scopes, **who,
    )  # fmt: skip


async def person(house: RunningServices, sector_id: str = "h1_lin") -> httpx.AsyncClient:
    return await house.client(
        "notify",
        kind="person",
        subject=f"account-{sector_id}",
        organisation=None,
        sector_id=sector_id,
        scopes="notify:stream:read notify:destinations:write",
    )


async def operator(house: RunningServices) -> httpx.AsyncClient:
    return await house.client(
        "notify", kind="staff", subject="op", roles=["operator"], scopes="events:replay"
    )


async def subscribed(http: httpx.AsyncClient, url: str, **asked: Any) -> dict[str, Any]:
    answer = await http.post("/notify/webhooks", json={"url": url, "topic": "crowd-warnings", **asked})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def announced(house: RunningServices, *events: dict[str, Any], **fields: Any) -> list[UUID]:
    """What transport would have said; the ids."""
    found = {"topic": "crowd-warnings", "organisation": None, "fact": "transport.warning/bridge", **fields}
    told = events or (event(),)
    async with house.kit("notify").db.transaction() as tx:
        await deliveries.announce(tx, [Announcement(event=one, **found) for one in told])
    return [UUID(one["id"]) for one in told]


async def sql(house: RunningServices, statement: str, *values: Any) -> Any:
    """As the service's own role."""
    async with house.kit("notify").db.transaction() as tx:
        return await tx.fetch(statement, *values)
