"""Web Push against RFC 8291's own example, and against a browser's end with another implementation."""

import base64
import hashlib
import json
import time
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from services.kit.client_keys import p256_key
from services.notify.channels import push
from services.notify.channels.attempt import Errand, Outcome, Result
from services.notify.channels.guard import Outgoing
from tests.notify.channels.receivers import Got, Receiver, errand, saying


class Browser:
    """What a browser keeps of its subscription."""

    def __init__(self, receiver: Receiver) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = bytes(range(16))
        point = self._key.public_key().public_bytes(*push._POINT)
        self.subscription = {
            "endpoint": f"{receiver.url}/send/abc",
            "p256dh": push.encoded(point),
            "auth": push.encoded(self._auth),
        }

    def decrypted(self, got: Got) -> dict[str, Any]:
        assert got.headers["content-encoding"] == "aes128gcm"
        plain = http_ece.decrypt(got.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        found: dict[str, Any] = json.loads(plain)
        return found


@pytest.fixture
def vapid() -> push.Vapid:
    return push.Vapid(p256_key(b"v" * 32), "mailto:ops@example.org")


async def sent(outgoing: Outgoing, one: Errand, vapid: push.Vapid) -> Result:
    return await push.send(outgoing, one, vapid=vapid)


def test_the_example_of_rfc_8291() -> None:
    """Appendix A, byte for byte."""
    own = p256_scalar("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
    found = push.encrypt(
        b"When I grow up, I want to be a watermelon",
        push.decoded(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        push.decoded("BTBZMqHH6r4Tts7J_aSIgg"),
        salt=push.decoded("DGv6ra1nlYgDCS1FRnbzlw"),
        own=own,
    )
    assert push.encoded(found) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6Tl"
        "zAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def p256_scalar(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(push.decoded(text)), ec.SECP256R1())


async def test_a_browser_reads_what_was_sent(
    outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid
) -> None:
    receiver.answer = saying(201)
    browser = Browser(receiver)
    one = errand(browser.subscription)
    assert (await sent(outgoing, one, vapid)).outcome is Outcome.DELIVERED
    [got] = receiver.got
    assert browser.decrypted(got) == {
        "id": str(one.told),
        "title": "断桥：橙色预警",
        "body": "断桥有 90 人。",
        "lang": "zh-Hans",
        "urgent": True,
    }
    assert (got.headers["ttl"], got.headers["urgency"]) == (str(push.TTL_S), "high")
    assert len(got.headers["topic"]) == 32
    assert set(got.headers["topic"]) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


async def test_the_sender_says_who_it_is(outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid) -> None:
    """RFC 8292: a token for the endpoint's origin alone, under the key the browser knows."""
    await sent(outgoing, errand(Browser(receiver).subscription), vapid)
    scheme, _, parameters = receiver.got[0].headers["authorization"].partition(" ")
    values = dict(part.strip().split("=", 1) for part in parameters.split(","))
    point = base64.urlsafe_b64decode(values["k"] + "=")
    assert (scheme, len(point)) == ("vapid", 65)
    jwk: dict[str, str | list[str]] = {
        "kty": "EC",
        "crv": "P-256",
        "x": push.encoded(point[1:33]),
        "y": push.encoded(point[33:]),
    }
    token = jwt.decode(values["t"], ECKey.import_key(jwk), algorithms=["ES256"])
    assert token.claims["aud"] == receiver.url
    assert token.claims["sub"] == "mailto:ops@example.org"
    assert time.time() < token.claims["exp"] <= time.time() + 24 * 3600


@pytest.mark.parametrize("text", ["字" * 5000, "\x01" * 5000, "🎏" * 5000, '"' * 5000])
async def test_no_message_is_larger_than_a_push_service_takes(
    outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid, text: str
) -> None:
    browser = Browser(receiver)
    one = errand(browser.subscription, words={"zh": (text, text)})
    await sent(outgoing, one, vapid)
    assert len(receiver.got[0].body) <= push.RECORD_BYTES
    assert browser.decrypted(receiver.got[0])["body"].endswith("…")


@pytest.mark.parametrize(
    ("status", "outcome", "rest_s"),
    [
        (201, "delivered", None),
        (404, "gone", None),
        (410, "gone", None),
        (413, "dead", None),
        (500, "again", None),
    ],
)
async def test_what_a_push_service_answers(
    outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid, status: int, outcome: str, rest_s: float | None
) -> None:
    receiver.answer = saying(status)
    found = await sent(outgoing, errand(Browser(receiver).subscription), vapid)
    assert (found.outcome, found.rest_s) == (outcome, rest_s)


async def test_a_push_service_that_is_asked_too_often_is_left_alone(
    outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid
) -> None:
    receiver.answer = saying(429, retry_after="120")
    found = await sent(outgoing, errand(Browser(receiver).subscription), vapid)
    assert (found.outcome, found.rest_s) == (Outcome.AGAIN, 120.0)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", ""),
        (push.encoded(b"\x04" + b"\1" * 64), push.encoded(b"a" * 16)),
        (push.public_key(p256_key(b"x" * 32)), push.encoded(b"a" * 15)),
        ("not base64!", push.encoded(b"a" * 16)),
        ("汉字", "汉字"),
    ],
)
def test_what_are_no_keys_of_a_browser_is_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
        push.checked_keys(p256dh, auth)


async def test_one_fact_has_one_topic_and_another_another(
    outgoing: Outgoing, receiver: Receiver, vapid: push.Vapid
) -> None:
    for fact in ("a", "a", "b"):
        await sent(outgoing, errand(Browser(receiver).subscription, fact=fact), vapid)
    first, again, other = (got.headers["topic"] for got in receiver.got)
    assert first == again != other
    assert first == push.encoded(hashlib.sha256(b"a").digest())[:32]
