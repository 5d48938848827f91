"""What the registers know of the people a batch may mean, read set-wise."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.identity.matching import BlindKey, Facts
from services.identity.repository import pairs
from services.kit.database import Connection, Row


@dataclass
class Known:
    """Sources of people, as read and as a batch goes on to change them.

    Attributes:
        owners: whose each identifier is.
        roots: of each source that is one person with others, the eldest of them.
    """

    owners: dict[BlindKey, UUID] = field(default_factory=dict)
    facts: dict[UUID, Facts] = field(default_factory=dict)
    roots: dict[UUID, UUID] = field(default_factory=dict)
    ages: dict[UUID, datetime] = field(default_factory=dict)
    _read: dict[UUID, tuple[UUID | None, bytes | None]] = field(default_factory=dict)

    def root(self, pid: UUID) -> UUID:
        return self.roots.get(pid, pid)

    def members(self, pid: UUID) -> list[UUID]:
        """Everybody who is one person with this one, as far as they were read."""
        root = self.root(pid)
        return [root, *(member for member, of in self.roots.items() if of == root != member)]

    async def read(self, db: Connection, pids: Collection[UUID]) -> None:
        """Adds these, and who is one person with them."""
        missing = [pid for pid in pids if pid not in self.facts]
        if not missing:
            return
        rows = [row for row in await pairs.clusters(db, missing) if row["pid"] not in self.facts]
        for row in rows:
            pid = row["pid"]
            self._read[pid] = row["root"], row["citizen_hmac"]
            self.ages[pid] = row["created_at"]
            if row["root"] is not None:
                self.roots[pid] = row["root"]
            self.facts[pid] = _facts(row)
        # A citizen number is the whole person's, whichever source it came with.
        numbers = {self.root(row["pid"]): n for row in rows if (n := row["citizen_hmac"]) is not None}
        for row in rows:
            number = numbers.get(self.root(row["pid"]))
            if number is not None:
                self.facts[row["pid"]] = replace(self.facts[row["pid"]], citizen_hmac=number)

    async def still_holds(self, db: Connection, pids: Collection[UUID]) -> bool:
        """Whether who these are one person with, and their citizen numbers, are as they were read."""
        rows = await pairs.clusters(db, [pid for pid in pids if pid in self._read])
        return all(self._read.get(row["pid"]) == (row["root"], row["citizen_hmac"]) for row in rows)


def _facts(row: Row) -> Facts:
    return Facts(
        row["pid"],
        row["name"],
        row["birth_date"],
        row["sex"],
        row["death_date"],
        row["area"],
        row["citizen_hmac"],
        row["phone_hmac"],
    )
