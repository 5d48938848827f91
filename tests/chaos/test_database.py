"""PostgreSQL slow, cut off and killed: what was acknowledged is there, and takes effect once, in order."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.field import Field, battlefield, battlefield_with_database
from tests.chaos.proof import check, settled
from tests.chaos.way import Way, a_way
from tests.support.databases import TestServers

pytestmark = pytest.mark.chaos


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    async with a_way() as found:
        yield found


@pytest.fixture
async def far(servers: TestServers, public_folder: Path, way: Way) -> AsyncIterator[Field]:
    """Services whose database is at the other end of a way."""
    async with battlefield(servers, public_folder, through=way) as found:
        yield found


async def test_a_slow_database_loses_nothing(far: Field, way: Way) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for delay_s in (0.05, 0.2):
            way.delay_s = delay_s
            for n in range(3):
                things = [f"thing {n}", f"thing {n + 1}"]
                answer = await far.post(client, things)
                assert answer.status_code == 200, "slow is not away"
                far.acknowledged.update(things)
    way.delay_s = 0.0
    await settled(far)
    await check(far)


async def test_a_database_that_does_not_answer_is_a_clear_refusal(far: Field, way: Way) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        assert await far.push(client, ["thing 1"])
        way.open.clear()
        pushing = [asyncio.create_task(far.post(client, ["thing 1", f"thing {n}"])) for n in range(12)]
        await asyncio.sleep(4)
        live = await client.get(f"http://127.0.0.1:{far.ports['source a']}/chaos-source/livez")
        assert live.status_code == 200, "the process itself answers meanwhile"
        way.open.set()
        for answer in await asyncio.gather(*pushing):
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 503:
                assert answer.json()["code"] == "unavailable"
                assert int(answer.headers["retry-after"]) > 0
            else:
                far.acknowledged.update(["thing 1"])
        assert await far.push(client, ["thing 1"])
    await settled(far)
    await check(far)


async def test_a_killed_database_has_every_acknowledged_push(public_folder: Path) -> None:
    async with battlefield_with_database(public_folder) as field, httpx.AsyncClient(timeout=60) as client:
        for turn in range(3):
            for n in range(10):
                await field.push(client, [f"thing {(turn + n) % 5}", "thing 7"])
            pushing = asyncio.create_task(field.push(client, ["thing 8"]))
            await asyncio.sleep(0.005 * turn)
            field.parts["postgres"].kill()
            await pushing
            await field.fetch("select 1")
        assert field.acknowledged["thing 7"] > 10
        await settled(field)
        await check(field)
