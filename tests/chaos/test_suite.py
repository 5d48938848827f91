"""The suite as shipped, under kill -9: what was committed reaches every webhook and takes effect once.

Warnings are committed in transport; notify tells two webhooks of each. Meanwhile the application (with its
relays, consumers and dispatcher), the worker and Valkey are killed at random, and Valkey is emptied.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import redis.asyncio as redis
from aiohttp import web
from standardwebhooks import Webhook

from services.kit.app import Kit, open_kit
from services.kit.events import Draft, publish_many
from services.kit.jobs import Jobs, last_heartbeat
from services.kit.jobs.heartbeat import KIND as BEAT
from services.kit.settings import Settings
from services.stack.program import free_port
from tests.support.events import crowd_warning
from tests.support.suite import Suite, start_suite, stop_suite

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(3600)]

ZONES = 50
A_COMMIT = 20
JOB_EVERY = 25
"""Commits."""
KILLED = ("app", "worker", "valkey")
SETTLED_S = 900.0


@dataclass
class Receiver:
    """A partner's endpoint: believes what is signed, and counts it."""

    port: int
    verifier: Webhook | None = None
    seen: Counter[str] = field(default_factory=Counter)
    forged: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert self.verifier is not None
        try:
            event: Any = self.verifier.verify(body, dict(request.headers))
        except Exception:  # noqa: BLE001 - whatever it is, the test says so
            self.forged += 1
            return web.Response(status=400)
        if event["id"] != request.headers["webhook-id"]:
            self.forged += 1
        self.seen[event["id"]] += 1
        return web.Response(status=204)


@dataclass
class Rage:
    """Kills one after the other, for as long as it goes on."""

    suite: Suite
    redis_url: str
    dice: random.Random = field(default_factory=lambda: random.Random(20261123))
    kills: Counter[str] = field(default_factory=Counter)

    async def go_on(self, pause_s: float) -> None:
        while True:
            names = [*KILLED, "flush"]
            self.dice.shuffle(names)
            for name in names:
                await asyncio.sleep(pause_s * self.dice.uniform(0.5, 1.5))
                if name == "flush":
                    await self._flush()
                else:
                    self._kill(name)

    def _kill(self, name: str) -> None:
        with suppress(ProcessLookupError, psutil.NoSuchProcess, TypeError):  # it is not back yet
            os.kill(self.suite.child(name), signal.SIGKILL)
            self.kills[name] += 1

    async def _flush(self) -> None:
        broker = redis.Redis.from_url(self.redis_url)
        with suppress(redis.RedisError, OSError):
            await broker.flushall()
            self.kills["flush"] += 1
        await broker.aclose()


@pytest.mark.parametrize(("events", "pause_s"), [(3_000, 4.0), (60_000, 8.0)])
async def test_every_event_reaches_every_webhook_and_takes_effect_once(
    public_folder: Path, events: int, pause_s: float
) -> None:
    receivers = [Receiver(free_port()), Receiver(free_port())]
    allowed = json.dumps([f"127.0.0.1:{receiver.port}" for receiver in receivers])
    suite = start_suite(public_folder, environment={"HUIMIN_WEBHOOK_ALLOW": allowed})
    try:
        await asyncio.to_thread(suite.wait_ready)
        async with AsyncExitStack() as stack:
            for receiver in receivers:
                await stack.enter_async_context(receiver.listening())
                receiver.verifier = Webhook(await asyncio.to_thread(subscribe, suite, receiver.port))
            settings = suite.settings()
            transport = await opened(stack, "transport", settings)
            notify = await opened(stack, "notify", settings)
            assert settings.redis_url
            rage = Rage(suite, settings.redis_url)
            began = time.monotonic()
            raging = asyncio.create_task(rage.go_on(pause_s))
            ids, jobs = await published(transport, events, until=lambda: all_killed(rage))
            raging.cancel()
            await asyncio.wait([raging])
            await settled(transport, receivers, ids, jobs)
            seconds = time.monotonic() - began
            await check(notify, receivers, ids)
        told = [sum(receiver.seen.values()) for receiver in receivers]
        print(json.dumps({"events": len(ids), "kills": rage.kills, "told": told, "seconds": round(seconds)}))
    finally:
        await asyncio.to_thread(stop_suite, suite)


async def test_a_frozen_worker_is_replaced_within_two_minutes(public_folder: Path) -> None:
    """It is up and does nothing: no heartbeat finishes, and nobody else would notice."""
    suite = start_suite(public_folder)
    try:
        await asyncio.to_thread(suite.wait_ready)
        async with AsyncExitStack() as stack:
            transport = await opened(stack, "transport", suite.settings())
            await beats(transport, within_s=60)
            frozen = suite.child("worker")
            for process in (psutil.Process(frozen), *psutil.Process(frozen).children(recursive=True)):
                process.suspend()
            async with asyncio.timeout(120):
                while suite.child("worker") == frozen:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.5)
            assert not psutil.pid_exists(frozen)
            await beats(transport, within_s=60)
    finally:
        await asyncio.to_thread(stop_suite, suite)


async def beats(kit: Kit, *, within_s: float) -> None:
    """Until a heartbeat has finished that began from now on."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while True:
            async with kit.db.read() as db:
                heard_s = await last_heartbeat(db)
            if heard_s is not None and heard_s < time.monotonic() - began:
                return
            await asyncio.sleep(0.5)


def subscribe(suite: Suite, port: int) -> str:
    """The new webhook's secret."""
    with suite.client("site") as http:
        asked = {"url": f"http://127.0.0.1:{port}/", "topic": "crowd-warnings"}
        answer = http.post("/notify/webhooks", json=asked)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret"])


async def opened(stack: AsyncExitStack, service: str, settings: Settings) -> Kit:
    kit, closing = await open_kit(service, settings=settings)
    await stack.enter_async_context(closing)
    return kit


def all_killed(rage: Rage) -> bool:
    return all(rage.kills[name] for name in (*KILLED, "flush"))


async def published(transport: Kit, events: int, *, until: Any) -> tuple[list[UUID], list[UUID]]:
    """Commits so many warnings, more while not everything has been killed; with a job now and then."""
    ids: list[UUID] = []
    jobs: list[UUID] = []
    while len(ids) < events or not until():
        numbers = range(len(ids), len(ids) + A_COMMIT)
        drafts = [
            Draft(
                "transport.warning.raised", f"zone/{n % ZONES}", crowd_warning(zone=f"{n % ZONES}", people=n)
            )
            for n in numbers
        ]
        async with transport.db.transaction() as tx:
            ids += await publish_many(tx, drafts)
            if len(ids) // A_COMMIT % JOB_EVERY == 0:
                jobs.append(await Jobs("transport").submit(tx, kind=BEAT))
        await asyncio.sleep(0.02)
    return ids, jobs


async def settled(transport: Kit, receivers: list[Receiver], ids: list[UUID], jobs: list[UUID]) -> None:
    async with asyncio.timeout(SETTLED_S):
        while True:
            async with transport.db.read() as db:
                done = await db.fetchval(
                    "select count(*) from job where id = any($1::uuid[]) and state = 'done'", jobs
                )
            if done == len(jobs) and all(len(receiver.seen) >= len(ids) for receiver in receivers):
                break
            await asyncio.sleep(0.5)
    await asyncio.sleep(3)  # a second effect would come now


async def check(notify: Kit, receivers: list[Receiver], ids: list[UUID]) -> None:
    for receiver in receivers:
        assert receiver.forged == 0
        assert set(receiver.seen) == {str(id) for id in ids}, "each at least once, under its own id"
    async with notify.db.read() as db:
        rows = await db.fetch(
            """select event_id, (data->>'people')::bigint as number from message
               where topic = 'crowd-warnings' order by seq"""
        )
        dead = await db.fetchval("select count(*) from dead_letter")
    assert dead == 0
    assert Counter(row["event_id"] for row in rows) == Counter(ids), "each effect once"
    for zone in range(ZONES):
        numbers = [row["number"] for row in rows if row["number"] % ZONES == zone]
        assert numbers == sorted(numbers), f"zone {zone} out of order"
