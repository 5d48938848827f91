"""What must hold afterwards, whatever was done to the processes."""

import asyncio
from collections import defaultdict

from tests.chaos.field import Field


async def settled(field: Field) -> int:
    """Waits until everything that was committed has arrived; returns how many events that were."""
    async with asyncio.timeout(90):
        while True:
            [row] = await field.fetch(
                """select (select count(*) from chaos_source.outbox) as sent,
                          (select count(*) from chaos_target.effect) as taken,
                          (select count(*) from chaos_target.dead_letter) as dead"""
            )
            if row["taken"] >= row["sent"]:
                await asyncio.sleep(2.5)  # a second effect would come now
                return int(row["sent"])
            await asyncio.sleep(0.25)


async def check(field: Field) -> None:
    counted = {r["name"]: r["n"] for r in await field.fetch("select name, n from chaos_source.thing")}
    assert all(counted[name] >= n for name, n in field.acknowledged.items()), "an acknowledged push is lost"
    effects = defaultdict(list)
    for row in await field.fetch("select thing, n from chaos_target.effect order by place"):
        effects[row["thing"]].append(row["n"])
    assert effects == {name: list(range(1, n + 1)) for name, n in counted.items()}
    sums = {r["thing"]: r["n"] for r in await field.fetch("select thing, n from chaos_target.sum")}
    assert sums == {name: n * (n + 1) // 2 for name, n in counted.items()}
    [row] = await field.fetch("select count(*) as dead from chaos_target.dead_letter")
    assert row["dead"] == 0
    [log] = await field.fetch(
        """select count(*) as n, count(distinct position) as places, max(position) as last
           from chaos_source.outbox"""
    )
    assert log["n"] == log["places"] == log["last"], "the log has a hole, or a place twice"
