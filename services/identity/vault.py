"""What keeps an identifier unreadable in the database and yet findable.

A value is encrypted with AES-256-GCM, bound to its scheme, and indexed by an HMAC of (scheme, value): who
copies the tables without the master secret has neither the numbers nor a way to try them out.
"""

import hmac
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.kit.settings import Settings

_NONCE_BYTES = 12


class Box:
    """Authenticated encryption under one key; what is sealed for one context opens for no other."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises cryptography's InvalidTag when the value was altered or belongs elsewhere."""
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())


@dataclass(frozen=True)
class Vault:
    """The population register's two secrets: one to read an identifier with, one to find it by."""

    box: Box
    index_key: bytes

    @classmethod
    def of(cls, settings: Settings) -> "Vault":
        return cls(
            box=Box(settings.secret_for("identity", "vault")),
            index_key=settings.secret_for("identity", "blind-index"),
        )

    def blind(self, scheme: str, value: str) -> bytes:
        """The blind index of an identifier."""
        return hmac.digest(self.index_key, f"{scheme}\x1f{value}".encode(), "sha256")

    def seal(self, scheme: str, value: str) -> bytes:
        return self.box.seal(value.encode(), scheme)

    def open(self, scheme: str, sealed: bytes) -> str:
        return self.box.open(sealed, scheme).decode()
