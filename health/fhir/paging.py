"""Links to further pages of a search: sealed, so that no value searched for stands in a URL, and none can be
changed on the way.
"""

import base64
import os
from collections.abc import Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from health.fhir.outcome import refused

PARAMETER = "_page"
_NONCE_BYTES = 12

Pairs = Sequence[tuple[str, str]]


class Pages:
    """Seals and opens page tokens.

    Args:
        key: 32 bytes of this service's own.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def token(self, kind: str, pairs: Pairs, after: Any) -> str:
        """
        Args:
            kind: what is listed; the token is good for nothing else.
            after: the place of the last one seen, as JSON.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, orjson.dumps([list(map(list, pairs)), after]), kind.encode())
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def opened(self, kind: str, token: str) -> tuple[list[tuple[str, str]], Any]:
        """What was searched for, and the place of the last one seen.

        Raises:
            Refusal: 400 when this server gave out no such token for this type.
        """
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], kind.encode())
        except (ValueError, InvalidTag) as error:
            words = "this is no page link of this server; search again"
            raise refused(400, "value", words, PARAMETER) from error
        pairs, after = orjson.loads(plain)
        return [(name, value) for name, value in pairs], after
