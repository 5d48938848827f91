"""Sector ids: the same person under unrelated names in each sector, so that two dumps do not join.

    "h1_" + base32(HMAC-SHA-256(K[sector, version], pid))[:26]

Domains store this id and nothing else of a person's identity. `civil` is the population registry's own
sector; `identity` and `exchange` name people in these services' own access leaves.
"""

import hmac
import os
from base64 import b32encode
from collections.abc import Iterable, Mapping
from uuid import UUID

from services.identity.repository import people
from services.identity.vault import Box
from services.kit.database import Connection
from services.kit.settings import Settings

PREFIX = "h1_"
LENGTH = 26
SECTORS = ("health", "social_security", "education", "transport", "tourism", "civil", "identity", "exchange")
FIRST_VERSION = 1


def sector_id(key: bytes, pid: UUID) -> str:
    return PREFIX + b32encode(hmac.digest(key, pid.bytes, "sha256"))[:LENGTH].decode()


class SectorKeys:
    """The keys in use, one a sector, unwrapped once at start."""

    def __init__(self, keys: Mapping[str, tuple[int, bytes]]) -> None:
        self._keys = dict(keys)

    def __contains__(self, sector: object) -> bool:
        return sector in self._keys

    def version(self, sector: str) -> int:
        return self._keys[sector][0]

    def id_of(self, sector: str, pid: UUID) -> str:
        return sector_id(self._keys[sector][1], pid)

    def ids_of(self, sector: str, pids: Iterable[UUID]) -> list[str]:
        key = self._keys[sector][1]
        return [sector_id(key, pid) for pid in pids]


async def load_keys(db: Connection, settings: Settings) -> SectorKeys:
    """The newest key of every sector; a sector without one gets a random one first."""
    box = Box(settings.secret_for("identity", "sector-keys"))
    fresh = [(s, FIRST_VERSION, box.seal(os.urandom(32), f"{s}/{FIRST_VERSION}")) for s in SECTORS]
    await people.add_sector_keys(db, fresh)
    rows = await people.newest_sector_keys(db)
    return SectorKeys(
        {
            row["sector"]: (row["version"], box.open(row["wrapped_key"], f"{row['sector']}/{row['version']}"))
            for row in rows
        }
    )
