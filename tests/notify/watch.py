"""A duty room with a clock of its own: the tables of notify, and nothing that runs by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from services.kit.areas import area_prefix
from services.kit.database import Transaction, prepare_connection
from services.kit.events import Event
from services.notify import escalation
from services.notify.repository import rosters

NOON = datetime(2026, 5, 1, 4, 0, tzinfo=UTC)
"""A Friday, 12:00 in China."""
MINUTE = timedelta(minutes=1)
WEEK = tuple(range(1, 8))


class Watch:
    """What is told to whom, and when, on a connection to a database of its own."""

    def __init__(self, connection: Any, now: datetime = NOON) -> None:
        self.connection = connection
        self.now = now
        self._seq = 0

    async def another(self) -> Any:
        """A second connection to the same database."""
        address = {name: getattr(self.connection._params, name) for name in ("user", "password", "database")}
        host, port = self.connection._addr
        connection = await asyncpg.connect(host=host, port=port, **address)
        await prepare_connection(connection)
        return connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self.connection.transaction():
            yield Transaction(self.connection, "notify")

    async def roster(
        self, area: str = "330106", *, sites: list[str] | None = None, from_level: int = 1
    ) -> UUID:
        id = uuid4()
        said = {"id": id, "organisation": "bureau", "name_zh": "值班", "name_en": "Duty", "area": area}
        said |= {"area_prefix": area_prefix(area), "sites": sites, "from_level": from_level}
        await rosters.insert(self.connection, said | {"kept_by": "lead", "kept_at": self.now})
        return id

    async def member(self, roster: UUID, *names: str, confirmed: bool = True) -> None:
        for name in names:
            await rosters.join(self.connection, roster, name, name, self.now)
            if confirmed:
                await rosters.confirm(self.connection, roster, name, "lead", self.now)

    async def duties(self, roster: UUID, *rows: tuple[Any, ...]) -> None:
        """Rows of (member, tier), perhaps with weekdays, beginning, end, first and last day."""
        every = (None, None, WEEK, time(0), time(0), date(2026, 1, 1), None)
        await rosters.replace_duties(self.connection, roster, [(*row, *every[len(row) :]) for row in rows])

    async def staffed(self, **tiers: int) -> UUID:
        """A roster with these on duty all the time: `anna=1, ben=2`."""
        roster = await self.roster()
        await self.member(roster, *tiers)
        await self.duties(roster, *tiers.items())
        return roster

    def event(
        self,
        what: str,
        warning: str,
        *,
        level: str = "orange",
        previous: str = "normal",
        zone: str = "bridge",
        area: str = "330106",
        site: str | None = None,
    ) -> Event:
        self._seq += 1
        data = {
            "warning": warning, "zone": zone, "zone_name": {"zh": "断桥", "en": "Broken Bridge"},
            "site": site, "episode": 1, "level": level, "previous": previous, "people": 90,
            "capacity": 100, "share": 0.9, "at": self.now.isoformat(),
        }  # fmt: skip
        return Event(
            uuid4(),
            f"transport.warning.{what}",
            "transport",
            f"zone/{zone}",
            self._seq,
            self.now,
            area,
            data,
            None,
        )

    async def take(self, *events: Event) -> None:
        async with self.transaction() as tx:
            await escalation.follow(tx, events, self.now)

    async def climb(self) -> None:
        async with self.transaction() as tx:
            await escalation.climb(tx, self.now, pace=1.0)

    async def after(self, minutes: float) -> set[str]:
        """Lets time pass, and looks; who was told meanwhile."""
        before = await self.told()
        self.now += timedelta(minutes=minutes)
        await self.climb()
        return set((await self.told())[len(before) :])

    async def told(self, what: str = "raised") -> list[str]:
        """Recipients, in the order in which they were told."""
        rows = await self.connection.fetch(
            "select recipient from message where topic = 'inbox' and data ->> 'type' = $1 order by seq",
            f"transport.warning.{what}",
        )
        return [row["recipient"] for row in rows]

    async def facts(self) -> dict[str, Any]:
        rows = await self.connection.fetch("select * from escalation")
        return {row["fact"].rpartition("/")[2]: row for row in rows}
