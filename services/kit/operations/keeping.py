"""What a service does for its operators on the side: heartbeats, failed pushes, figures for Prometheus."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from services.kit.operations import figures, metrics
from services.kit.waking import wait

if TYPE_CHECKING:
    from services.kit.app import Kit

EVERY_S = 10.0
PAUSE_S = 1.0
"""Between two commits of failed pushes, however many fail."""
DATABASE_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""The figures say so; what is to be written waits for the next round."""


async def operating(kit: "Kit") -> None:
    """Runs for as long as the service does, in each of its processes."""
    try:
        while True:
            began = time.monotonic()
            kit.beats.beat("application")
            await _write(kit, beats=True)
            with suppress(*DATABASE_AWAY):
                metrics.show(await figures.read(kit))
            while (left := began + EVERY_S - time.monotonic()) > 0:
                await wait(kit.push_failures.came, left)
                if kit.push_failures.came.is_set():
                    await _write(kit)
                    await asyncio.sleep(PAUSE_S)
    except asyncio.CancelledError:
        metrics.forget(kit.name)
        await _write(kit)
        raise


async def _write(kit: "Kit", *, beats: bool = False) -> None:
    if kit.database is None:
        return
    with suppress(*DATABASE_AWAY):
        async with kit.database.transaction() as tx:
            taken = await kit.push_failures.write(tx)
        kit.push_failures.written(taken)
        if beats:
            async with kit.database.transaction() as tx:
                await kit.beats.write(tx)
