"""Keys that tokens are signed with, and their rotation.

Always one `next` (published, so that verifiers know it before it signs), one `active` (signs), and the
`retired` ones (still published until every token they signed has expired). The private halves are encrypted
with a key derived from the master secret.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from joserfc.jwk import ECKey, KeySet

from services.identity.repository import access
from services.identity.shapes import SigningKey
from services.identity.vault import Box
from services.kit.database import Connection, Database, Row, Transaction
from services.kit.settings import Settings

ROTATE_AFTER = timedelta(days=30)
RETIRED_PUBLISHED = timedelta(hours=1)
"""More than the longest token's life and every cache on the way."""
CACHED_S = 15.0


@dataclass(frozen=True)
class _Ring:
    signer: ECKey
    published: KeySet
    read_at: float


class SigningKeys:
    """The ring as this process last read it; read again every quarter of a minute."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._box = Box(settings.secret_for("identity", "signing-keys"))
        self._ring: _Ring | None = None

    async def signer(self) -> ECKey:
        return (await self._read()).signer

    async def key_set(self) -> KeySet:
        return (await self._read()).published

    async def published(self) -> Mapping[str, Any]:
        """The JWK set (RFC 7517): public halves only."""
        return dict((await self.key_set()).as_dict(private=False))

    async def prepare(self) -> None:
        """Makes the first keys where there are none yet."""
        async with self._database.transaction() as tx:
            await access.lock_keys(tx)
            states = {row["state"] for row in await access.signing_keys(tx)}
            for state in ("active", "next"):
                if state not in states:
                    await self._make(tx, state)
        self._ring = None

    async def rotate(self, tx: Transaction) -> None:
        """active → retired, next → active, a new next."""
        await access.lock_keys(tx)
        await access.promote_keys(tx)
        await self._make(tx, "next")
        tx.after_commit(self._forget)

    async def rotate_when_due(self) -> bool:
        """Rotates an old key and drops what was retired long ago; safe to call from several processes."""
        now = datetime.now(UTC)
        async with self._database.transaction() as tx:
            await access.lock_keys(tx)
            await access.drop_retired_keys(tx, now - RETIRED_PUBLISHED)
            active = next(row for row in await access.signing_keys(tx) if row["state"] == "active")
            due: bool = active["activated_at"] < now - ROTATE_AFTER
            if due:
                await self.rotate(tx)
        return due

    async def listed(self, db: Connection) -> list[SigningKey]:
        rows = await access.signing_keys(db)
        return [SigningKey(**{name: row[name] for name in SigningKey.model_fields}) for row in rows]

    def _forget(self) -> None:
        self._ring = None

    async def _make(self, tx: Transaction, state: str) -> None:
        key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
        assert key.kid is not None
        sealed = self._box.seal(orjson.dumps(key.as_dict(private=True)), key.kid)
        await access.add_signing_key(tx, key.kid, state, key.as_dict(private=False), sealed)

    async def _read(self) -> _Ring:
        if self._ring is None or time.monotonic() - self._ring.read_at > CACHED_S:
            async with self._database.read() as db:
                rows = await access.signing_keys(db)
            active = next(row for row in rows if row["state"] == "active")
            published = KeySet([ECKey.import_key(row["public_jwk"]) for row in rows])
            self._ring = _Ring(self._opened(active), published, time.monotonic())
        return self._ring

    def _opened(self, row: Row) -> ECKey:
        return ECKey.import_key(orjson.loads(self._box.open(row["private_enc"], row["kid"])))
