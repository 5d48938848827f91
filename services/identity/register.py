"""The population register's secrets, opened once at start."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from services.identity.sectors import SectorKeys, load_keys
from services.identity.vault import Vault
from services.kit.database import Connection
from services.kit.settings import Settings


@dataclass(frozen=True)
class Register:
    """The population register's secrets, opened once at start."""

    vault: Vault
    sectors: SectorKeys

    @classmethod
    async def open(cls, db: Connection, settings: Settings) -> "Register":
        return cls(vault=Vault.of(settings), sectors=await load_keys(db, settings))

    def log_ids(self, pids: Iterable[UUID]) -> list[str]:
        """How people are named in this service's own access leaves."""
        return self.sectors.ids_of("identity", pids)
