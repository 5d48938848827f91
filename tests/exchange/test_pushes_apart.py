"""A consumer of pushed changes is killed in the middle: after its restart it has each of them once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.identity.client import IdentityClient
from services.identity.shapes import CITIZEN_NUMBER, Identifier, PersonPush
from services.kit.calls import Calls
from services.kit.settings import Settings
from services.stack.house import HOUSE
from tests.health.support import citizen_number
from tests.support.apart import Apart
from tests.support.databases import TestServers

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(400)]
CONSUMER = "social_security"
AT_ONCE = 5
"""Deaths of one transaction."""
ROUND, KILLS = 300, 6
"""Deaths around one kill, and how many there are."""
Start = Callable[..., Awaitable[Apart]]


class Pushing:
    """Health's deaths on their way to social security, in processes of their own."""

    def __init__(self, house: Apart, db: asyncpg.Pool, folder: Path) -> None:
        self.house, self.db, self.folder = house, db, folder

    async def ids(self, service: str, people: int) -> list[str]:
        """How a service knows them."""
        settings = Settings(
            home=self.folder,
            mode="separate",
            secret=self.house.secret,
            public_url=self.house.address,
            service_urls={service.name: self.house.url(service.name) for service in HOUSE},
        )
        pushes = [
            PersonPush(ref=str(n), identifiers=[Identifier(system=CITIZEN_NUMBER, value=number_of(n))])
            for n in range(people)
        ]
        calls = Calls(settings, service)
        try:
            found = await calls.client(IdentityClient).resolve(pushes, organisation=None)
        finally:
            await calls.close()
        return [str(one.sector_id) for one in found]

    async def die(self, first: int, ids: list[str]) -> None:
        """One transaction after the other, each of a few; in all longer than the exchange looks away."""
        for start in range(0, len(ids), AT_ONCE):
            rows = [
                (first + start + n, id, day_of(first + start + n))
                for n, id in enumerate(ids[start : start + AT_ONCE])
            ]
            await self.db.executemany(
                """insert into patient_person (pt, sector_id, outcome, deceased, death_date, updated_at)
                   values ($1, $2, 'matched', true, $3, now())""",
                rows,
            )
            await asyncio.sleep(0.1)

    async def told(self) -> dict[str, date]:
        rows = await self.db.fetch("select person, died_on from social_security.told_death")
        return {row["person"]: row["died_on"] for row in rows}

    async def taken(self) -> tuple[int, int]:
        """Batches that were applied, and rows in them."""
        row = await self.db.fetchrow(
            """select count(*), coalesce(sum((body::jsonb ->> 'records')::int), 0)::int
               from social_security.leaf where body::jsonb ->> 'action' = 'batches.take'"""
        )
        assert row is not None
        return row[0], row[1]

    async def until(self, holds: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 - other processes' work
                await asyncio.sleep(0.05)


def number_of(n: int) -> str:
    return citizen_number(n % 1000, born=f"19{50 + n // 1000}0101")


def day_of(n: int) -> date:
    return date(2020, 1, 1) + timedelta(days=n)


async def test_after_kill_9_each_change_is_there_once(
    apart: Start, public_folder: Path, servers: TestServers
) -> None:
    people = 1 + ROUND * KILLS
    house = await apart("identity", "exchange", "health", CONSUMER)
    name = urlsplit(house.environment["HUIMIN_DATABASE_URL"]).path[1:]
    db = await asyncpg.create_pool(
        servers.admin_url(name), min_size=1, max_size=2, server_settings={"search_path": "health"}
    )
    pushing = Pushing(house, db, public_folder)
    theirs, ours = await pushing.ids("health", people), await pushing.ids(CONSUMER, people)
    # The first one tells that the subscription is there.
    await pushing.die(0, theirs[:1])
    await pushing.until(lambda: arrived(pushing, 1))
    chance = random.Random(7)
    for first in range(1, people, ROUND):
        dying = asyncio.create_task(pushing.die(first, theirs[first : first + ROUND]))
        enough = first + chance.randint(5, 40)
        await pushing.until(lambda: arrived(pushing, enough))  # noqa: B023 - awaited at once
        assert not dying.done(), "all was told before the kill"
        house.kill(CONSUMER)
        await asyncio.to_thread(house.start, CONSUMER)
        await dying
    await pushing.until(lambda: arrived(pushing, people))
    assert await pushing.told() == {id: day_of(n) for n, id in enumerate(ours)}
    batches = await db.fetchval("select sum(batches)::int from exchange.subscription")
    assert await pushing.taken() == (batches, people)
    await db.close()


async def arrived(pushing: Pushing, rows: int) -> bool:
    return len(await pushing.told()) >= rows
