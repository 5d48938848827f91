"""Web Push: RFC 8030 requests, encrypted to the browser (RFC 8291, RFC 8188), signed by us (RFC 8292).

The two Python packages that do this call the push service themselves, past the address guard, and their
encryption stands on a library without releases for years; the whole of RFC 8291 is what stands here.
"""

import base64
import hashlib
import os
import time
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey
from yarl import URL

from services.kit.client_keys import p256_key
from services.kit.settings import Settings
from services.notify.channels.attempt import Errand, Outcome, Result, result_of, shortened
from services.notify.channels.guard import Outgoing

RECORD_BYTES = 4096
"""A push service need take no more (RFC 8030 section 7.2)."""
OVERHEAD_BYTES = 16 + 4 + 1 + 65 + 1 + 16
"""Salt, record size, key length, key; the padding's delimiter and the tag."""
TTL_S = 6 * 3600
TOKEN_S = 12 * 3600
"""At most a day (RFC 8292 section 2)."""
_POINT = (Encoding.X962, PublicFormat.UncompressedPoint)


def vapid_key(settings: Settings) -> ECKey:
    """The application server's key; browsers bind their subscriptions to its public half."""
    return p256_key(settings.secret_for("notify", "vapid"))


def public_key(key: ECKey) -> str:
    """As a browser takes it for `applicationServerKey`."""
    return encoded(key.public_key.public_bytes(*_POINT))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises ValueError for what is no base64url."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def checked_keys(p256dh: str, auth: str) -> None:
    """Raises ValueError unless they are a browser's keys: a point of P-256, and 16 bytes."""
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decoded(p256dh))
    if len(decoded(auth)) != 16:
        raise ValueError("auth is 16 bytes in base64url")


def encrypt(
    message: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    salt: bytes | None = None,
    own: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body for a browser: one record of aes128gcm (RFC 8291 section 3.4, RFC 8188 section 2.1).

    Args:
        salt: 16 bytes; random unless given.
        own: the sender's key; a new one unless given.
    """
    salt, own = salt or os.urandom(16), own or ec.generate_private_key(ec.SECP256R1())
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    own_point = own.public_key().public_bytes(*_POINT)
    secret = _hkdf(auth, own.exchange(ec.ECDH(), browser), b"WebPush: info\0" + p256dh + own_point, length=32)
    key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", length=12)
    head = salt + RECORD_BYTES.to_bytes(4) + bytes([len(own_point)]) + own_point
    return head + AESGCM(key).encrypt(nonce, message + b"\x02", None)


def _hkdf(salt: bytes, material: bytes, info: bytes, *, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(material)


class Vapid:
    """Who sends: one signed token for each push service, used for half its life."""

    def __init__(self, key: ECKey, contact: str) -> None:
        self._key = key
        self._contact = contact
        self._public = public_key(key)
        self._tokens: dict[str, tuple[float, str]] = {}

    def header(self, endpoint: str) -> str:
        """Authorization for the endpoint's origin (RFC 8292 section 3)."""
        origin, now = str(URL(endpoint).origin()), time.time()
        until, token = self._tokens.get(origin, (0.0, ""))
        if until < now:
            claims = {"aud": origin, "exp": int(now + TOKEN_S), "sub": self._contact}
            token = jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, self._key)
            self._tokens[origin] = now + TOKEN_S / 2, token
        return f"vapid t={token}, k={self._public}"


async def send(outgoing: Outgoing, errand: Errand, vapid: Vapid) -> Result:
    """One attempt; 404 and 410 say that the browser has let its subscription go (RFC 8030 section 7.3)."""
    target = errand.target
    body = encrypt(_payload(errand), decoded(target["p256dh"]), decoded(target["auth"]))
    headers = {
        "content-type": "application/octet-stream",
        "content-encoding": "aes128gcm",
        "authorization": vapid.header(target["endpoint"]),
        "ttl": str(TTL_S),
        "urgency": "high" if errand.urgent else "normal",
        # A later word on the same fact replaces one that has not reached the browser yet.
        "topic": encoded(hashlib.sha256(errand.fact.encode()).digest())[:32],
    }
    answer = await outgoing.post(target["endpoint"], body, headers)
    if answer.status in {404, 410}:
        return Result(Outcome.GONE, "the browser has ended its subscription")
    if answer.status == 413:
        return Result(Outcome.DEAD, "the push service finds the message too large")
    return result_of(answer)


def _payload(errand: Errand) -> bytes:
    title, body = errand.said
    message: dict[str, Any] = {
        "id": str(errand.told),
        "title": shortened(title, 300),
        "body": shortened(body, 2500),
        "lang": {"zh": "zh-Hans"}.get(errand.language, errand.language),
        "urgent": errand.urgent,
    }
    found = orjson.dumps(message)
    over = len(found) - (RECORD_BYTES - OVERHEAD_BYTES)
    if over > 0:  # escapes have made it longer than its text
        message["body"] = shortened(body, max(len(message["body"].encode()) - over, 3))
        found = orjson.dumps(message)
    return found
