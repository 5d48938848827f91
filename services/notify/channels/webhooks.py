"""Signed webhooks (Standard Webhooks 1.0.0): a CloudEvents body, HMAC-SHA-256 over id, time and body."""

import base64
import hashlib
import hmac
import secrets
import time
from typing import Any

import orjson

from services.notify.channels.attempt import Errand, Outcome, Result, result_of
from services.notify.channels.guard import Outgoing

SECRET_BYTES = 32
PREFIX = "whsec_"


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64 (section "Signature scheme")."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA-256 of `id.timestamp.body` under the secret's bytes."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def send(outgoing: Outgoing, errand: Errand) -> Result:
    """One attempt to tell an event."""
    body = orjson.dumps(errand.event)
    return await post(outgoing, errand.target, str(errand.told), body, "application/cloudevents+json")


async def post(outgoing: Outgoing, target: dict[str, Any], id: str, body: bytes, media_type: str) -> Result:
    """One attempt; while a secret is being replaced, signed under both. 410 says that the endpoint wants
    nothing more, and is to be disabled."""
    now = int(time.time())
    live = [one["secret"] for one in target["secrets"] if one["until"] is None or one["until"] > now]
    headers = {
        "content-type": media_type,
        "webhook-id": id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(signature(secret, id, now, body) for secret in live),
    }
    answer = await outgoing.post(target["url"], body, headers)
    return Result(Outcome.CLOSED, "answered 410") if answer.status == 410 else result_of(answer)
