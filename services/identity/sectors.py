"""Sector ids: the same person under unrelated names in each sector, so that two dumps do not join.

    "h1_" + base32(HMAC-SHA-256(K[sector, version], pid))[:26]

Domains store this id and nothing else of a person's identity. `civil` is the population registry's own
sector; `identity` and `exchange` name people in these services' own access leaves.

A sector's key has versions (`services.identity.rotation`): one is current and given out; while another one
comes or goes, ids of both are understood.
"""

import hmac
import os
from base64 import b32encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from services.identity.repository import sectors as table
from services.identity.vault import Box
from services.kit.database import Connection, Row
from services.kit.settings import Settings

PREFIX = "h1_"
LENGTH = 26
SECTORS = (
    "health", "social_security", "education", "transport", "tourism",
    "civil", "identity", "exchange", "notify",
)  # fmt: skip
FIRST_VERSION = 1
State = Literal["offered", "current", "leaving", "retired"]


def sector_id(key: bytes, pid: UUID) -> str:
    return PREFIX + b32encode(hmac.digest(key, pid.bytes, "sha256"))[:LENGTH].decode()


@dataclass(frozen=True, slots=True)
class SectorKey:
    """One version of a sector's key, opened."""

    version: int
    state: State
    secret: bytes
    prepared: bool

    def id_of(self, pid: UUID) -> str:
        return sector_id(self.secret, pid)


class SectorKeys:
    """Every sector's keys as last read; `take` brings them up to date when a version comes or goes."""

    def __init__(self, box: Box, rows: Iterable[Row]) -> None:
        self._box = box
        self._keys: Mapping[str, tuple[SectorKey, ...]] = {}
        self._current: Mapping[str, SectorKey] = {}
        self.take(rows)

    def take(self, rows: Iterable[Row]) -> None:
        found: dict[str, list[SectorKey]] = {}
        for row in rows:
            secret = self._box.open(row["wrapped_key"], f"{row['sector']}/{row['version']}")
            state = cast(State, row["state"])
            key = SectorKey(row["version"], state, secret, row["prepared_at"] is not None)
            found.setdefault(row["sector"], []).append(key)
        self._keys = {sector: tuple(reversed(versions)) for sector, versions in found.items()}
        self._current = {
            sector: next(key for key in versions if key.state == "current")
            for sector, versions in found.items()
        }

    def __contains__(self, sector: object) -> bool:
        return sector in self._keys

    def version(self, sector: str) -> int:
        return self._current[sector].version

    def id_of(self, sector: str, pid: UUID) -> str:
        return self._current[sector].id_of(pid)

    def ids_of(self, sector: str, pids: Iterable[UUID]) -> list[str]:
        key = self._current[sector]
        return [key.id_of(pid) for pid in pids]

    def current(self, sector: str) -> SectorKey:
        return self._current[sector]

    def offered(self, sector: str) -> SectorKey | None:
        """The version that comes next, once everybody has an id of it."""
        return next((key for key in self._keys[sector] if key.state == "offered" and key.prepared), None)

    def ever(self, sector: str) -> tuple[SectorKey, ...]:
        """The current version first, then the others from the newest: access leaves keep the id they
        were written with for ever, so a person's own usages are found under all of them."""
        current = self._current[sector]
        return current, *(key for key in self._keys[sector] if key is not current)

    def wrapped(self, sector: str, version: int) -> bytes:
        """A new random key, sealed for this sector and version."""
        return new_key(self._box, sector, version)

    def opened(self, sector: str, version: int) -> SectorKey:
        return next(key for key in self._keys[sector] if key.version == version)


def new_key(box: Box, sector: str, version: int) -> bytes:
    return box.seal(os.urandom(32), f"{sector}/{version}")


async def load_keys(db: Connection, settings: Settings) -> SectorKeys:
    """Every version of every sector's key; a sector without one gets a random one first.

    Args:
        db: a transaction of the vault's.
    """
    box = Box(settings.secret_for("identity", "sector-keys"))
    await table.add_first_keys(db, [(s, FIRST_VERSION, new_key(box, s, FIRST_VERSION)) for s in SECTORS])
    return SectorKeys(box, await table.keys(db))
