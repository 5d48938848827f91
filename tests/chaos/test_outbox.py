"""The promise of services/kit/events: whatever is killed, each event takes effect once, in order."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest

from tests.chaos.field import Field, battlefield_with_database
from tests.chaos.proof import check, settled

THINGS = 40
A_PUSH = 20

pytestmark = pytest.mark.chaos


async def test_every_event_takes_effect_once_and_in_order_whatever_is_killed(field: Field) -> None:
    await rage(field, events=2_000, rounds=1)


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

    async with httpx.AsyncClient(timeout=60) as client, asyncio.TaskGroup() as group:
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
