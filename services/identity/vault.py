"""What keeps an identifier unreadable in the database and yet findable, and the vault it is kept in.

A value is encrypted with AES-256-GCM, bound to its scheme, and indexed by an HMAC of (scheme, value): who
copies the tables without the master secret has neither the numbers nor a way to try them out.

The tables that tie a person to numbers and to sector ids stand in the schema `vault`, under a login role of
their own (`huimin_vault`). That role is a member of `huimin_identity`, never the reverse: a push that writes
people, identifiers, leaf and event is one transaction on the vault's connections, and whoever holds only
identity's own role (sign-in, pages, exports, a leaked password) can neither read the vault nor `set role`.
"""

import hmac
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends

from services.kit.app import Kit, KitDep
from services.kit.database import Database, Transaction
from services.kit.principals import current_principal
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


async def open_vault(kit: Kit) -> Database:
    """The pool that signs in as the vault's role; it ends with the service, or with the job."""
    database = Database(kit.settings, "identity", inner="vault")
    await database.start()
    kit.stack.push_async_callback(database.stop)
    return database


def vault_of(kit: Kit) -> Database:
    """Where every transaction that touches numbers or sector ids is opened."""
    found: Database = kit.parts["vault"]
    return found


async def _transaction(
    kit: KitDep, principal: Annotated[Any, Depends(current_principal)]
) -> AsyncIterator[Transaction]:
    async with vault_of(kit).transaction(principal) as transaction:
        yield transaction


VaultTx = Annotated[Transaction, Depends(_transaction, scope="function")]
