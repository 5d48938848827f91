"""Several who change the same rows take them in one order: they wait for each other, and never in a ring."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services.notify.repository import deliveries
from tests.notify.test_retention import OPEN, Kept, ago
from tests.notify.watch import Watch

Db = Callable[[str], Awaitable[Any]]


@pytest.mark.parametrize("who", ["outcomes", "stop", "health"])
async def test_the_lowest_is_locked_first(db: Db, who: str) -> None:
    kept = Kept(await db("notify"))
    places = sorted([await kept.destination() for _ in range(3)])
    ids = [await kept.delivery(place, await kept.told(OPEN, 1), "waiting", 1) for place in reversed(places)]
    table, rows = ("destination", places) if who == "health" else ("delivery", ids)
    async with AsyncExitStack() as stack:
        holder, other = [await Watch(kept.connection).another() for _ in range(2)]
        stack.push_async_callback(holder.close)
        stack.push_async_callback(other.close)
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(f"select from {table} where id = $1 for update", rows[0])
        # Said the other way round than their order.
        outcomes = [(id, 0, "dead", None, "x") for id in reversed(ids)]
        healths = [(place, False, 0.0) for place in reversed(places)]
        changes: dict[str, Callable[[], Awaitable[None]]] = {
            "outcomes": lambda: deliveries.note_outcomes(kept.connection, outcomes),
            "stop": lambda: deliveries.stop_deliveries(kept.connection, [OPEN], ago(0)),
            "health": lambda: deliveries.note_health(kept.connection, healths),
        }
        changing = asyncio.ensure_future(changes[who]())
        waits = "select exists (select from pg_locks where pid = $1 and not granted)"
        while not await other.fetchval(waits, kept.connection.get_server_pid()):  # noqa: ASYNC110 - a server's
            await asyncio.sleep(0.01)
        await other.fetch(f"select from {table} where id = any($1) for update nowait", rows[1:])
        await transaction.rollback()
        await changing
