"""A clock that jumps. No test may set the system's; a role's `now()` and this process's `time` can be."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest

from services.kit import events
from services.kit.app import Kit
from services.kit.clocks import Ending
from services.kit.database import Transaction
from services.kit.events import Draft, Event, on
from services.kit.jobs import JobLostError, Jobs
from services.kit.jobs.table import Job, claim, due, hold, note_failed
from services.kit.principals import TokenVerifier
from services.kit.problems import Problem
from tests.kit.scratch import OpenDoors, make_schema, opened, scratch_settings
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

pytestmark = pytest.mark.chaos

CLOCK = """
create schema jumped;
create table jumped.clock (ahead interval not null);
insert into jumped.clock values ('0');
create function jumped.now() returns timestamptz stable language sql
    as 'select pg_catalog.now() + (select ahead from jumped.clock)';
grant usage on schema jumped to public;
grant select on jumped.clock to public;
"""
EFFECT = "create table effect (place bigint generated always as identity, thing text, n int);"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Clockwork:
    """Two services whose database's clock can be set."""

    def __init__(self, admin: asyncpg.Connection, source: Kit, target: Kit) -> None:
        self._admin = admin
        self.source = source
        self.target = target

    async def set(self, ahead: timedelta) -> None:
        await self._admin.execute("update jumped.clock set ahead = $1", ahead)


@pytest.fixture
async def clockwork(servers: TestServers) -> AsyncIterator[Clockwork]:
    await servers.empty_broker()
    async with servers.copy() as database, AsyncExitStack() as stack:
        settings = scratch_settings(servers, database)
        admin = await asyncpg.connect(settings.database_url)
        stack.push_async_callback(admin.close)
        await admin.execute(CLOCK)
        kits = []
        for name, sql in (("source", ""), ("target", EFFECT)):
            await make_schema(settings, name, sql)
            # What is found in pg_catalog last is not found there first.
            await admin.execute(
                f"alter role huimin_{name} in database {database}"
                f" set search_path = jumped, {name}, public, pg_catalog"
            )
            kits.append(await stack.enter_async_context(opened(settings, name)))
        yield Clockwork(admin, *kits)


async def submitted(kit: Kit) -> Job:
    """A job that somebody runs."""
    async with kit.db.transaction() as tx:
        id = await Jobs(kit.name).submit(tx, kind="tests.kit.job_kinds:nothing")
    async with kit.db.transaction() as tx:
        job = await claim(tx, id)
    assert job is not None
    return job


async def refused(kit: Kit, job: Job) -> None:
    with pytest.raises(JobLostError):
        async with kit.db.transaction() as tx:
            await hold(tx, job)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 400 * DAY, -400 * DAY])
async def test_a_lease_neither_keeps_a_job_for_ever_nor_lets_two_write(
    clockwork: Clockwork, ahead: timedelta
) -> None:
    kit = clockwork.source
    first = await submitted(kit)
    await clockwork.set(ahead)
    async with kit.db.transaction() as tx:
        assert await due(tx) == [first.id], "the job of a worker that died before the jump is free"
    async with kit.db.transaction() as tx:
        second = await claim(tx, first.id)
    assert second is not None
    await refused(kit, first)
    async with kit.db.transaction() as tx:
        assert await claim(tx, first.id) is None
        await hold(tx, second)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
async def test_what_is_due_stays_due(clockwork: Clockwork, ahead: timedelta) -> None:
    kit = clockwork.source
    async with kit.db.transaction() as tx:
        id = await Jobs(kit.name).submit(tx, kind="tests.kit.job_kinds:nothing")
    await clockwork.set(ahead)
    async with kit.db.transaction() as tx:
        assert await due(tx) == [id]
    await clockwork.set(-ahead)
    async with kit.db.transaction() as tx:
        assert await due(tx) == [id], "nobody has claimed it"
        job = await claim(tx, id)
    assert job is not None
    async with kit.db.transaction() as tx:
        await note_failed(tx, job, "once", retry=True)
    await clockwork.set(-2 * HOUR)
    async with kit.db.transaction() as tx:
        assert await due(tx) == [id], "its second attempt was to come within minutes"


async def test_what_is_for_later_is_not_due_early_by_a_clock_set_back(clockwork: Clockwork) -> None:
    kit = clockwork.source
    async with kit.db.transaction() as tx:
        at = await tx.fetchval("select now()") + DAY
        await Jobs(kit.name).submit(tx, kind="tests.kit.job_kinds:nothing", due_at=at)
    await clockwork.set(-HOUR)
    async with kit.db.transaction() as tx:
        assert await due(tx) == []


async def test_events_come_once_and_in_order_whatever_the_clock_says(clockwork: Clockwork) -> None:
    failed: set[int] = set()

    async def take(tx: Transaction, event: Event) -> None:
        n = event.data["n"]
        if n % 50 == 7 and n not in failed:
            failed.add(n)
            raise LookupError("not yet")
        await tx.execute("insert into effect (thing, n) values ($1, $2)", event.aggregate, n)

    source, target = clockwork.source, clockwork.target
    doors = OpenDoors(source=source.db)
    async with asyncio.TaskGroup() as group:
        handlers = [on("source.thing.counted", take)]
        running = [
            group.create_task(events.relay(source)),
            group.create_task(events.consume(target, handlers, logs=doors)),
        ]
        for turn, ahead in enumerate([HOUR, -HOUR, DAY, -DAY, 400 * DAY, -400 * DAY, timedelta()]):
            async with source.db.transaction() as tx:
                drafts = [
                    Draft("source.thing.counted", f"thing {n % 3}", {"n": n})
                    for n in range(turn * 50, turn * 50 + 50)
                ]
                await events.publish_many(tx, drafts)
            await asyncio.sleep(0.3)
            await clockwork.set(ahead)
        await arrived(target, 350)
        for task in running:
            task.cancel()
    async with target.db.read() as db:
        rows = await db.fetch("select thing, n from effect order by place")
    for thing in range(3):
        mine = [row["n"] for row in rows if row["thing"] == f"thing {thing}"]
        assert mine == [n for n in range(350) if n % 3 == thing]
    assert len(failed) == 7


async def arrived(kit: Kit, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            async with kit.db.read() as db:
                if await db.fetchval("select count(*) from effect") >= count:
                    return
            await asyncio.sleep(0.1)


def test_what_is_good_for_a_while_ends_by_either_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, monotonic = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    ending = Ending.after(60)
    assert not ending.over
    wall += 3600
    assert ending.over, "the others take it for ended"
    wall -= 7200
    assert not ending.over
    monotonic += 61
    assert ending.over, "a clock set back keeps nothing alive"


async def test_a_token_is_not_believed_for_longer_by_a_clock_set_back(
    monkeypatch: pytest.MonkeyPatch, servers: TestServers
) -> None:
    issuer = Issuer()
    settings = scratch_settings(servers, "postgres")
    asked = 0

    async def keys() -> dict[str, object]:
        nonlocal asked
        asked += 1
        return {"keys": [issuer.public_jwk]}

    verifier = TokenVerifier(issuer=settings.issuer, audience="source", seal_key=b"x" * 32, fetch_keys=keys)
    token = issuer.mint(settings, "source", lifetime_s=60)
    await verifier.verify(token)
    wall, monotonic = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)
    wall += 3600
    with pytest.raises(Problem, match="expired"):
        await verifier.verify(token)
    wall -= 7200
    monotonic += 400
    issuer.key = Issuer().key
    with pytest.raises(Problem, match="cannot be verified"):
        await verifier.verify(token)
    assert asked > 1, "its signature was looked at again"
