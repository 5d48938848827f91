"""Valkey emptied, stopped, replaced by another, out of room: nothing that was acknowledged waits for it."""

import asyncio
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import redis.asyncio as redis

from tests.chaos.field import Field
from tests.chaos.proof import check, settled

pytestmark = pytest.mark.chaos


async def push_some(field: Field, count: int = 20) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for n in range(count):
            things = [f"thing {n % 3}", f"thing {n % 7}"]
            assert await field.push(client, things, within_s=30.0), "the broker is not asked"


async def test_emptied_again_and_again(field: Field) -> None:
    for _ in range(4):
        await push_some(field, 10)
        await field.flush()
    assert field.flushes == 4
    await settled(field)
    await check(field)


async def test_stopped_and_going_on(field: Field) -> None:
    """A broker that hangs holds up nobody's push, and no event for long."""
    valkey = field.parts["valkey"]
    valkey.signal(signal.SIGSTOP)
    try:
        await push_some(field)
        await settled(field)  # through the sources' doors
    finally:
        valkey.signal(signal.SIGCONT)
    await push_some(field)
    await settled(field)
    await check(field)


async def test_replaced_by_an_empty_one(field: Field, public_folder: Path) -> None:
    valkey = field.parts["valkey"]
    await push_some(field)
    valkey.held = True
    valkey.kill()
    await push_some(field)
    shutil.rmtree(public_folder / "valkey" / "appendonlydir")
    valkey.held = False
    await push_some(field)
    await settled(field)
    await check(field)


async def test_out_of_room(field: Field) -> None:
    """A broker that refuses to write, as it does when its disk is full or its memory used up."""
    broker = redis.Redis.from_url(field.broker_url)
    await push_some(field)
    await broker.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        await broker.set("chaos", 1)
    await push_some(field)
    await settled(field)
    await broker.config_set("maxmemory", 0)
    await push_some(field)
    await settled(field)
    await check(field)
    with suppress(redis.RedisError):
        await asyncio.wait_for(broker.aclose(), 5)
