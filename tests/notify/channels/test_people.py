"""What people are told: browsers that ring, and e-mail to addresses whose owner has shown to read them."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.kit.ids import uuid7
from services.kit.settings import Settings
from services.notify import deliveries, destinations
from services.notify.channels.email import Mailer
from services.notify.deliveries import Telling
from tests.notify.channels.conftest import Mailbox, person, sql
from tests.notify.channels.receivers import Receiver, errand, event, saying
from tests.notify.channels.test_deliveries import listed, settled, until
from tests.notify.channels.test_push import Browser
from tests.support.running import RunningServices

WORDS = {"zh": ("断桥：橙色预警", "断桥有 90 人。"), "en": ("Bridge: orange warning", "90 people on it.")}


@pytest.fixture(autouse=True)
async def nothing_before(house: RunningServices, mailbox: Mailbox) -> AsyncIterator[None]:
    mailbox.letters.clear()
    mailbox.says.clear()
    yield
    await sql(house, "delete from delivery")
    await sql(house, "delete from destination")


async def told(house: RunningServices, recipient: str = "h1_lin", **fields: Any) -> UUID:
    """One notification; its id."""
    found: dict[str, Any] = {
        "recipient": recipient,
        "notification": uuid7(),
        "fact": "transport.warning/bridge",
        "words": WORDS,
        "event": event(),
        "urgent": True,
        "not_before": None,
    }
    telling = Telling(**{**found, **fields})
    async with house.kit("notify").db.transaction() as tx:
        await deliveries.plan(tx, [telling])
    return telling.notification


async def registered(http: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    answer = await http.post("/notify/destinations", json=asked)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def letter(raw: bytes) -> EmailMessage:
    found = message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def letters(mailbox: Mailbox, number: int) -> list[EmailMessage]:
    async def enough() -> bool:
        return len(mailbox.letters) >= number

    await until(enough)
    return [letter(raw) for raw in mailbox.letters]


async def verified(http: httpx.AsyncClient, mailbox: Mailbox, address: str = "lin@example.org") -> str:
    """Registers an address and gives the code that came; the destination's id."""
    found = await registered(http, channel="email", address=address)
    [message] = await letters(mailbox, 1)
    [code] = re.findall(r"\b\d{6}\b", str(message["subject"]))[:1]
    answer = await http.post(f"/notify/destinations/{found['id']}/confirmation", json={"code": code})
    assert answer.status_code == 204, answer.text
    mailbox.letters.clear()
    return str(found["id"])


async def test_a_browser_rings_for_whoever_registered_it_last(
    house: RunningServices, receiver: Receiver
) -> None:
    receiver.answer = saying(201)
    browser = Browser(receiver)
    lin, chen = await person(house), await person(house, "h1_chen")
    await registered(lin, **browser.subscription)
    id = await told(house)
    [one] = await settled(lin, "delivered")
    assert (one["told"], browser.decrypted(receiver.got[0])["id"]) == (str(id), str(id))
    assert await listed(chen) == []

    await registered(chen, **browser.subscription)
    assert (await lin.get("/notify/destinations")).json()["items"] == []
    await told(house)
    await asyncio.sleep(0.3)
    assert len(receiver.got) == 1


async def test_the_key_to_subscribe_with_is_public(house: RunningServices) -> None:
    nobody = await house.client("notify", scopes=None)
    key = (await nobody.get("/notify/push-key")).json()["key"]
    assert len(base64.urlsafe_b64decode(key + "=")) == 65


async def test_registering_a_browser_again_renews_it(house: RunningServices, receiver: Receiver) -> None:
    lin, browser = await person(house), Browser(receiver)
    first = await registered(lin, **browser.subscription)
    renewed = Browser(receiver)
    assert (await registered(lin, **renewed.subscription))["id"] == first["id"]
    await told(house)
    await settled(lin, "delivered")
    assert renewed.decrypted(receiver.got[0])["title"] == "断桥：橙色预警"


async def test_quiet_hours_are_waited_for(house: RunningServices, receiver: Receiver) -> None:
    lin = await person(house)
    await registered(lin, **Browser(receiver).subscription)
    [row] = await sql(house, "select now() + interval '0.7 seconds' as at")
    await told(house, urgent=False, not_before=row["at"])
    [one] = await settled(lin, "delivered")
    assert one["sent_at"] >= row["at"].isoformat()[:22]


async def test_an_address_is_told_nothing_until_its_owner_gave_the_code(
    house: RunningServices, mailbox: Mailbox
) -> None:
    lin, other = await person(house), await person(house, "h1_other")
    found = await registered(lin, channel="email", address="lin@example.org")
    assert (found["state"], found["place"]) == ("unverified", "example.org")
    [message] = await letters(mailbox, 1)
    await told(house)
    await asyncio.sleep(0.2)
    assert len(mailbox.letters) == 1
    [code] = re.findall(r"\b\d{6}\b", str(message["subject"]))[:1]
    path = f"/notify/destinations/{found['id']}/confirmation"
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert (await lin.post(path, json={"code": wrong})).json()["code"] == "wrong_code"
    assert (await other.post(path, json={"code": code})).status_code == 404
    assert (await lin.post(path, json={"code": code})).status_code == 204
    assert (await lin.post(path, json={"code": code})).status_code == 404
    await told(house)
    assert text_of((await letters(mailbox, 2))[1]).startswith("断桥：橙色预警")


async def test_a_code_cannot_be_guessed(house: RunningServices, mailbox: Mailbox) -> None:
    lin = await person(house)
    found = await registered(lin, channel="email", address="lin@example.org")
    [message] = await letters(mailbox, 1)
    [code] = re.findall(r"\b\d{6}\b", str(message["subject"]))[:1]
    path = f"/notify/destinations/{found['id']}/confirmation"
    for number in range(destinations.CODE_TRIES):
        await lin.post(path, json={"code": f"x{number}"})
    assert (await lin.post(path, json={"code": code})).json()["code"] == "code_expired"
    again = await lin.post("/notify/destinations", json={"channel": "email", "address": "lin@example.org"})
    assert (again.status_code, again.json()["code"]) == (429, "code_sent")


async def test_a_letter_says_it_in_both_languages_and_what_it_is(
    house: RunningServices, mailbox: Mailbox
) -> None:
    lin = await person(house)
    await verified(lin, mailbox)
    id = await told(house)
    [message] = await letters(mailbox, 1)
    assert message["to"] == "lin@example.org"
    assert message["subject"] == "断桥：橙色预警 / Bridge: orange warning"
    assert message["auto-submitted"] == "auto-generated"
    assert message["message-id"].startswith(f"<{id}.")
    assert message["date"]
    assert message.get_content_type() == "multipart/alternative"
    for part in message.iter_parts():
        content = part.get_content()
        assert "断桥有 90 人。" in content
        assert "90 people on it." in content
    one = (await settled(lin, "delivered", 2))[0]
    assert (one["channel"], one["place"]) == ("email", "example.org")


async def test_a_mailbox_that_does_not_exist_is_a_dead_letter_at_once(
    house: RunningServices, mailbox: Mailbox
) -> None:
    lin = await person(house)
    await verified(lin, mailbox)
    mailbox.says.append("550 5.1.1 no such user")
    await told(house)
    [dead] = await settled(lin, "dead")
    assert (dead["reason"], dead["attempts"]) == ("the mail server answered 550", 1)


@pytest.mark.parametrize(
    "address",
    [
        *("", "lin", "lin@", "@example.org", "lin@example", "a b@example.org", "林@example.org"),
        *("lin@example.org\nBcc: x@y.org", "lin@example.org, x@y.org", "<lin@example.org>", "lin@[10.0.0.1]"),
        "a" * 65 + "@example.org",
    ],
)
async def test_what_is_no_address_is_refused(house: RunningServices, address: str) -> None:
    answer = await (await person(house)).post(
        "/notify/destinations", json={"channel": "email", "address": address}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_destination")


async def test_words_bring_no_headers_with_them(house: RunningServices, mailbox: Mailbox) -> None:
    lin = await person(house)
    await verified(lin, mailbox)
    evil = "hello\r\nBcc: victim@example.net\r\n\r\n<script>alert(1)</script>\u2028x"
    await told(house, words={"zh": (evil, evil), "en": (evil, evil)})
    [message] = await letters(mailbox, 1)
    assert message["bcc"] is None
    assert message["to"] == "lin@example.org"
    html = message.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("smtp://mail.example.org", "starttls"),
        ("smtps://mail.example.org", "implicit"),
        ("smtp://127.0.0.1:2525", "plain"),
    ],
)
def test_only_this_machine_is_spoken_to_in_clear(url: str, encrypted: str) -> None:
    mailer = Mailer(Settings(smtp_url=url, mail_from="huimin@example.org"))
    found = "implicit" if mailer._implicit else "starttls" if mailer._start_tls else "plain"
    assert found == encrypted


async def test_a_server_without_starttls_gets_nothing(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another machine would be: the server of the tests offers no encryption."""
    mailer = Mailer(Settings(mail_from="huimin@example.org"))
    mailer._start_tls = True
    result = await mailer.send(errand({"address": "lin@example.org"}))
    assert (result.outcome, mailbox.letters) == ("again", [])


async def test_without_a_mail_server_nobody_can_register_an_address(
    house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = house.kit("notify")
    monkeypatch.setattr(kit, "settings", kit.settings.model_copy(update={"smtp_url": None}))
    answer = await (await person(house)).post(
        "/notify/destinations", json={"channel": "email", "address": "lin@example.org"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "no_mail_server")


async def test_nobody_has_more_than_so_many(
    house: RunningServices, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    monkeypatch.setattr(destinations, "AT_MOST", 1)
    lin = await person(house)
    await registered(lin, **Browser(receiver).subscription)
    other = {**Browser(receiver).subscription, "endpoint": f"{receiver.url}/send/other"}
    assert (await lin.post("/notify/destinations", json=other)).json()["code"] == "too_many"
