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


def links(base: str, path: str, query: str = "", *, following: str | None = None) -> list[dict[str, str]]:
    """Where a page stands, and the one after it.

    Args:
        base: the server's base URL with a slash at its end.
        following: token of the page after it, if there is one.
    """
    found = [{"relation": "self", "url": f"{base}{path}{'?' if query else ''}{query}"}]
    if following is not None:
        found.append({"relation": "next", "url": f"{base}{path}?{PARAMETER}={following}"})
    return found


class Pages:
    """Seals and opens page tokens.

    Args:
        key: 32 bytes of this service's own.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def asked(self, kind: str, pairs: Pairs) -> tuple[Pairs, Any]:
        """What is searched for, and the place of the last one seen; None on a first page.

        Raises:
            Refusal: 400 when this server gave out no such token for this type.
        """
        if [name for name, _ in pairs] != [PARAMETER]:
            return pairs, None
        return self.opened(kind, pairs[0][1])

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
