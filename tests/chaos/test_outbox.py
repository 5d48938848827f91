"""The promise of services/kit/events: whatever is killed, each event takes effect once, in order."""

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path

import httpx
import pytest

from tests.chaos.field import Field, battlefield_with_database

THINGS = 40
A_PUSH = 20

pytestmark = pytest.mark.chaos


@pytest.mark.timeout(300)
async def test_every_event_takes_effect_once_and_in_order_whatever_is_killed(field: Field) -> None:
    await rage(field, events=6_000, rounds=2)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_the_same_with_sixty_thousand_events(field: Field) -> None:
    await rage(field, events=60_000, rounds=8)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_the_same_with_a_database_that_is_killed_too(public_folder: Path) -> None:
    async with battlefield_with_database(public_folder) as field:
        await rage(field, events=20_000, rounds=5)


async def rage(field: Field, *, events: int, rounds: int) -> None:
    began = time.monotonic()
    raging = asyncio.create_task(faults(field))
    await push_until(field, events, rounds)
    raging.cancel()
    await asyncio.wait([raging])
    pushed_s = time.monotonic() - began
    committed = await settled(field)
    await check(field)
    print(
        json.dumps(
            {
                "events": committed,
                "kills": {name: part.kills for name, part in field.parts.items()},
                "sessions": field.broken_sessions,
                "flushes": field.flushes,
                "refused": field.refused,
                "started_in_s": round(field.started_in_s, 1),
                "pushed_s": round(pushed_s, 1),
                "settled_s": round(time.monotonic() - began - pushed_s, 1),
            }
        )
    )
    assert committed >= events
    assert field.flushes >= 1
    for name, part in field.parts.items():
        assert part.kills >= 1, f"{name} was never killed: the test proved too little"


async def push_until(field: Field, events: int, rounds: int) -> None:
    """Pushes from four callers until so many events are committed and enough has been killed."""
    committed = 0

    async def pusher(client: httpx.AsyncClient, seed: int) -> None:
        nonlocal committed
        turn = seed
        while committed < events or field.rounds < rounds:
            turn += 1
            things = [f"thing {(turn * 7 + n * 3) % THINGS:02}" for n in range(A_PUSH)]
            if await field.push(client, things):
                committed += len(set(things))
            await asyncio.sleep(0.1)

    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group:
        for seed in range(4):
            group.create_task(pusher(client, seed * 1000))


async def faults(field: Field) -> None:
    """Kills each process, breaks a session and empties the broker, each round in an order of its own.

    How fast follows from how long a process takes to start here: they shall be hit while at work, not only
    while starting.
    """
    pause_s = max(0.4, field.started_in_s / 8)
    while True:
        names = [*field.parts, "session", "flush"]
        field.dice.shuffle(names)
        for name in names:
            await asyncio.sleep(pause_s * field.dice.uniform(0.5, 1.5))
            if name == "session":
                await field.break_a_session()
            elif name == "flush":
                await field.flush()
            else:
                field.parts[name].kill()
        field.rounds += 1


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
