"""Escalation against a model: any steps of the clock, acknowledgements, ends, restarts, in any order."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.kit.database import prepare_connection, role_of
from services.kit.settings import Settings
from tests.notify.watch import NOON, Watch
from tests.support.databases import TestServers

TIERS = {"anna": 1, "ben": 2, "carl": 3}
STEPS = {"anna": 0, "ben": 2, "carl": 5, "off": 10}
"""Who is told after how many minutes."""
ZONES = ("bridge", "hill")
DATABASE: dict[str, str] = {}


@pytest.fixture
async def database(servers: TestServers) -> Any:
    async with servers.copy(["notify"]) as name:
        DATABASE["url"] = servers.admin_url(name)
        yield name


class Escalating(RuleBasedStateMachine):
    """The model knows of each open fact when its clock began; what must have been told follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.open: dict[str, str] = {}
        self.since: dict[str, datetime] = {}
        self.stopped: set[str] = set()
        self.told_when_stopped: dict[str, set[str]] = {}
        self.number = 0
        self.run(self._begin())
        self.raised("bridge", "red")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _begin(self) -> None:
        self.watch = Watch(await self._connected(), NOON)
        for table in ("notification", "escalation", "message", "duty", "roster_member", "roster"):
            await self.watch.connection.execute(f"delete from {table}")
        roster = await self.watch.roster()
        await self.watch.member(roster, *TIERS, "off")
        await self.watch.duties(roster, *TIERS.items())

    async def _connected(self) -> Any:
        password = Settings().secret_for("notify", "postgres").hex()
        connection = await asyncpg.connect(DATABASE["url"], user=role_of("notify"), password=password)
        await prepare_connection(connection)
        return connection

    # What is drawn never depends on what is in the database: a step that cannot be is none, so that a history
    # that fails is the same history when it is tried again, and can be made shorter and shown.
    @rule(zone=st.sampled_from(ZONES), level=st.sampled_from(["yellow", "orange", "red"]))
    def a_crowd_gathers(self, zone: str, level: str) -> None:
        """Where nothing goes on yet: how levels follow each other is a test of its own."""
        if zone not in self.open:
            self.raised(zone, level)

    def raised(self, zone: str, level: str) -> None:
        self.number += 1
        warning = f"w{self.number}"
        self.run(self.watch.take(self.watch.event("raised", warning, zone=zone, level=level)))
        self.open[zone], self.since[warning] = warning, self.watch.now

    @rule(zone=st.sampled_from(ZONES), what=st.sampled_from(["acknowledged", "ended"]))
    def stops(self, zone: str, what: str) -> None:
        if zone not in self.open:
            return
        warning = self.open[zone]
        self.run(self.watch.take(self.watch.event(what, warning, zone=zone)))
        if warning not in self.stopped:
            self.stopped.add(warning)
            self.told_when_stopped[warning] = self.run(self._told(warning))
        if what == "ended":
            del self.open[zone]

    @rule(seconds=st.integers(2, 7200))
    def the_clock_is_turned_back(self, seconds: int) -> None:
        """By how much cannot be known afterwards; who waited, waits at most as long again."""
        before = self.watch.now
        self.run(self.watch.climb())
        self.watch.now -= timedelta(seconds=seconds)
        self.run(self.watch.climb())
        self.since = {warning: at - (before - self.watch.now) for warning, at in self.since.items()}

    @rule(seconds=st.one_of(st.sampled_from([0, 119, 120, 180, 300, 600]), st.integers(0, 700)))
    def time_passes_and_somebody_looks(self, seconds: int) -> None:
        self.watch.now += timedelta(seconds=seconds)
        self.run(self.watch.climb())
        for zone, warning in self.open.items():
            if warning not in self.stopped:
                passed = (self.watch.now - self.since[warning]).total_seconds() / 60
                due = {name for name, minutes in STEPS.items() if minutes <= passed}
                assert self.run(self._told(warning)) == due, (zone, passed)
        for warning in self.since:
            assert self.run(self._told(warning)), f"{warning} was told to nobody"

    @rule()
    def a_process_dies_before_its_commit(self) -> None:
        async def killed() -> None:
            transaction = self.watch.connection.transaction()
            await transaction.start()
            await self.watch.climb()
            process = self.watch.connection.get_server_pid()
            await self.watch.connection.close()
            self.watch.connection = await self._connected()
            # Until the server has noticed, what it had locked is passed over: a moment later, or not at all.
            there = "select exists (select from pg_stat_activity where pid = $1)"
            while await self.watch.connection.fetchval(there, process):  # noqa: ASYNC110 - a server's
                await asyncio.sleep(0.005)

        self.run(killed())

    async def _told(self, warning: str) -> set[str]:
        rows = await self.watch.connection.fetch(
            "select recipient from notification where fact = $1 and type = 'transport.warning.raised'",
            f"transport.warning/{warning}",
        )
        assert len(rows) == len({row["recipient"] for row in rows}), "somebody was told twice"
        return {row["recipient"] for row in rows}

    @invariant()
    def what_is_stopped_climbs_no_further(self) -> None:
        for warning, before in self.told_when_stopped.items():
            # Whoever looks after it is over tells the first tier that it was, if nobody knew of it.
            assert self.run(self._told(warning)) in (before, before or {"anna"})

    def teardown(self) -> None:
        """Asks nothing: a history may be given up before its end, and is no failure then."""
        self.run(self.watch.connection.close())
        self.loop.close()


async def test_any_history_tells_everybody_in_time_once_and_nobody_after_it_stopped(database: str) -> None:
    Escalating.TestCase.settings = settings(
        max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    await asyncio.to_thread(Escalating.TestCase("runTest").runTest)
