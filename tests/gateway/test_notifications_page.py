"""The page of notifications: what one was told, and where one wants to be told."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy

import pytest

from services.kit.client_keys import p256_key
from services.kit.ids import uuid7
from services.notify import deliveries
from services.notify.channels import push
from services.notify.deliveries import Telling
from tests.gateway.visitor import Pages, pages_of
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person
from tests.notify.channels.conftest import Mailbox, mailbox
from tests.notify.channels.receivers import LOOPBACK, event
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

__all__ = ["mailbox"]
HERE = "/me/notifications"
NUMBER = citizen_number(sequence=6)
KEYS = {
    "endpoint": "http://127.0.0.1:9/send/secret-of-the-browser",
    "p256dh": push.public_key(p256_key(b"b" * 32)),
    "auth": push.encoded(bytes(16)),
}


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer, mailbox: Mailbox) -> AsyncIterator[Pages]:
    environment = {"HUIMIN_WEBHOOK_ALLOW": f'["{LOOPBACK}"]'}
    assert os.environ["HUIMIN_SMTP_URL"]
    async with pages_of(("identity", "notify", "gateway"), servers, issuer, **environment) as found:
        people = [person("lin", (CITIZEN_NUMBER, NUMBER), name="林珊", birth_date="1985-03-14", sex="female")]
        answer = await found.admin.post("/identity/persons", json={"people": people})
        assert answer.status_code == 200, answer.text
        await found.account("lin", identifier=NUMBER)
        await found.account("duty", kind="staff", roles=["flow_staff"], areas=["330106"])
        yield found


@pytest.mark.parametrize("who", ["lin", "duty"])
async def test_a_browser_is_registered_shown_and_removed(pages: Pages, who: str) -> None:
    visitor = await pages.signed_in(who)
    page = (await visitor.get(HERE, lang="en")).text
    assert "Nothing is registered" in page
    key = re.search(r'data-key="([\w-]{87})"', page)
    assert key
    keys = KEYS | {"endpoint": f"{KEYS['endpoint']}-{who}"}
    assert (await visitor.send(f"{HERE}/browser", keys, at=HERE)).status_code == 303
    page = (await visitor.get(HERE, lang="en")).text
    assert "This browser will ring." in page
    assert "127.0.0.1:9" in page
    assert "secret-of-the-browser" not in page
    found = re.search(r'name="id" value="([0-9a-f-]{36})"', page)
    assert found
    await visitor.send(f"{HERE}/remove", {"id": found[1]}, at=HERE)
    assert "Nothing is registered" in (await visitor.get(HERE, lang="en")).text


async def test_an_address_is_confirmed_by_its_code(pages: Pages, mailbox: Mailbox) -> None:
    visitor = await pages.signed_in("lin")
    await visitor.send(f"{HERE}/address", {"address": "lin@example.org"}, at=HERE)
    page = (await visitor.get(HERE, lang="zh")).text
    assert "验证码已发送" in page
    found = re.search(r'name="id" value="([0-9a-f-]{36})"', page)
    assert found
    [code] = re.findall(r"\b\d{6}\b", await first_letter(mailbox))[:1]
    await visitor.send(f"{HERE}/confirm", {"id": found[1], "code": "x"}, at=HERE)
    assert 'role="alert"' in (await visitor.get(HERE, lang="zh")).text
    await visitor.send(f"{HERE}/confirm", {"id": found[1], "code": code}, at=HERE)
    assert "邮箱已验证" in (await visitor.get(HERE, lang="zh")).text


async def first_letter(mailbox: Mailbox) -> str:
    """Its subject."""
    async with asyncio.timeout(60):
        while not mailbox.letters:  # noqa: ASYNC110 - another part of the process takes it
            await asyncio.sleep(0.05)
    return str(message_from_bytes(mailbox.letters[0], policy=policy.default)["subject"])


async def test_what_one_was_told_says_how_it_went_out(pages: Pages) -> None:
    visitor = await pages.signed_in("lin")
    kit = pages.house.kit("notify")
    await visitor.send(f"{HERE}/browser", KEYS, at=HERE)
    async with kit.db.transaction() as tx:
        owner = await tx.fetchval("select owner from destination where channel = 'push' and state = 'active'")
        id = uuid7()
        await tx.execute(
            """insert into notification
                   (id, recipient, event_id, fact, type, urgent, words, raised_at, sent_at)
               values ($1, $2, $3, 'f', 'transport.warning.raised', true, $4, now(), now())""",
            id,
            owner,
            uuid7(),
            {"zh": ["断桥<b>预警", "九十人"], "en": ["Bridge <b>warning", "ninety"]},
        )
        words = {"zh": ("断桥", "九十人"), "en": ("Bridge", "ninety")}
        await deliveries.plan(tx, [Telling(owner, id, "f", words, event(), True, None)])
    page = (await visitor.get(HERE, lang="en")).text
    assert "Bridge &lt;b&gt;warning" in page
    assert "Browser 127.0.0.1:9: waiting" in " ".join(page.split())


async def test_what_a_browser_would_not_send_is_said(pages: Pages) -> None:
    visitor = await pages.signed_in("lin")
    await visitor.send(f"{HERE}/browser", KEYS | {"p256dh": "nonsense"}, at=HERE)
    assert 'role="alert"' in (await visitor.get(HERE, lang="en")).text
