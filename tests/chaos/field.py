"""Processes that are killed at random and come back at once."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import redis.asyncio as redis

from services.stack.ground import Ground
from services.stack.home import ROOT
from services.stack.postgres import Postgres
from services.stack.processes import dies_with_parent
from services.stack.program import free_port
from services.stack.valkey import Valkey
from tests.chaos.parts import SOURCE, SOURCE_SQL, TARGET, TARGET_SQL
from tests.chaos.way import Way
from tests.kit.scratch import SECRET, make_schema, settings_for
from tests.support.databases import TestServers


@dataclass
class Part:
    """One process, started again whenever it is gone."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    uid: int | None = None
    kills: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                user=self.uid,
                group=self.uid,
                extra_groups=[] if self.uid is not None else None,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    held: bool = False
    """Not started again for now."""

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.kills += 1

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def keep(self) -> None:
        """As a supervisor does; until cancelled."""
        try:
            while True:
                if not self.held and (self.process is None or self.process.poll() is not None):
                    self.start()
                await asyncio.sleep(0.1)
        finally:
            self.kill()


@dataclass
class Field:
    """What stands on the field, and what may be done to it."""

    parts: dict[str, Part]
    ports: dict[str, int]
    admin_url: str
    broker_url: str
    dice: random.Random = field(default_factory=lambda: random.Random(20261123))
    started_in_s: float = 0.0
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    broken_sessions: int = 0
    flushes: int = 0
    rounds: int = 0

    async def push(self, client: httpx.AsyncClient, things: list[str], *, within_s: float = 5.0) -> bool:
        """One push to either process of the source; whether it was acknowledged."""
        port = self.ports[self.dice.choice(["source a", "source b"])]
        try:
            answer = await client.post(
                f"http://127.0.0.1:{port}/chaos-source/pushes", json={"things": things}, timeout=within_s
            )
        except httpx.HTTPError:
            self.refused += 1
            await asyncio.sleep(0.05)
            return False
        if answer.status_code != 200:
            return False
        self.acknowledged.update(set(things))
        return True

    async def post(self, client: httpx.AsyncClient, things: list[str], **headers: str) -> httpx.Response:
        """A push whose answer matters."""
        url = f"http://127.0.0.1:{self.ports['source a']}/chaos-source/pushes"
        return await client.post(url, json={"things": things}, headers=headers, timeout=30.0)

    async def flush(self) -> None:
        broker = redis.Redis.from_url(self.broker_url)
        with suppress(redis.RedisError, OSError):
            await broker.flushall()
            self.flushes += 1
        await broker.aclose()

    async def break_a_session(self) -> None:
        """The network between a service and the database fails for one connection."""
        rows = await self.fetch(
            """select pid from pg_stat_activity
               where application_name like 'huimin-chaos%' and datname = current_database()"""
        )
        if rows:
            await self.fetch(f"select pg_terminate_backend({self.dice.choice(rows)['pid']})")
            self.broken_sessions += 1

    async def fetch(self, query: str) -> list[Any]:
        """As the database's administrator, once it answers."""
        async with asyncio.timeout(60):
            while True:
                try:
                    connection = await asyncpg.connect(self.admin_url)
                    try:
                        return list(await connection.fetch(query))
                    finally:
                        await connection.close()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(0.2)

    async def up(self) -> None:
        """Until both sources answer."""
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            for name in ("source a", "source b", "target a", "target b"):
                prefix = "chaos-source" if name.startswith("source") else "chaos-target"
                while True:
                    with suppress(httpx.HTTPError):
                        answer = await client.get(f"http://127.0.0.1:{self.ports[name]}/{prefix}/livez")
                        if answer.status_code == 200:
                            break
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def battlefield(
    servers: TestServers, folder: Path, *, through: Way | None = None
) -> AsyncIterator[Field]:
    """The run's own database stays out of it.

    Args:
        through: lies between the services and the database.
    """
    async with servers.copy() as database:
        url = servers.admin_url(database)
        services_url = await through.to(url) if through else None
        async with _laid_out(folder, url, {}, services_url=services_url) as found:
            yield found


@asynccontextmanager
async def battlefield_with_database(folder: Path, **environment: str) -> AsyncIterator[Field]:
    """With a database of its own that keeps its promises (fsync on), to be killed like the rest."""
    postgres = Postgres(Ground.of(folder), "chaos", port=None)
    await asyncio.to_thread(postgres.prepare)
    part = Part(
        "postgres", postgres.command(), postgres.environment(), folder / "postgres.log", uid=postgres.uid
    )
    part.start()
    try:
        async with asyncio.timeout(60):
            await postgres.ready()
        environment = {"HUIMIN_DISK_PATH": str(postgres.data), **environment}
        async with _laid_out(folder, postgres.url("postgres"), {"postgres": part}, **environment) as found:
            yield found
    finally:
        part.kill()


@asynccontextmanager
async def _laid_out(
    folder: Path,
    admin_url: str,
    more: dict[str, Part],
    *,
    services_url: str | None = None,
    **environment: str,
) -> AsyncIterator[Field]:
    valkey = Valkey(Ground.of(folder), "chaos", port=None)
    valkey.prepare()
    settings = settings_for(admin_url, valkey.url())
    await make_schema(settings, SOURCE, SOURCE_SQL)
    await make_schema(settings, TARGET, TARGET_SQL)
    found = _lay_out(
        folder, valkey, admin_url, {"HUIMIN_DATABASE_URL": services_url or admin_url, **environment}
    )
    found.parts |= more
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(part.keep()) for part in found.parts.values()]
        try:
            began = time.monotonic()
            await found.up()
            found.started_in_s = time.monotonic() - began
            yield found
        finally:
            for keeper in keepers:
                keeper.cancel()


def _lay_out(folder: Path, valkey: Valkey, admin_url: str, more: dict[str, str]) -> Field:
    names = {"source a": SOURCE, "source b": SOURCE, "target a": TARGET, "target b": TARGET}
    ports = {name: free_port() for name in names}
    source_url = f"http://127.0.0.1:{ports['source a']}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HUIMIN_SECRET": SECRET,
        "HUIMIN_MODE": "separate",
        "HUIMIN_REDIS_URL": valkey.url(),
        "HUIMIN_LOG_LEVEL": "WARNING",
        "HUIMIN_SERVICE_URLS": json.dumps({SOURCE: source_url, "identity": f"{source_url}/chaos-source"}),
        **more,
    }
    parts = {
        name: Part(
            name,
            [sys.executable, "-m", "tests.chaos.parts", service, str(ports[name])],
            environment,
            folder / f"{name.replace(' ', '-')}.log",
        )
        for name, service in names.items()
    }
    parts["valkey"] = Part(
        "valkey", valkey.command(), valkey.environment(), folder / "valkey.log", uid=valkey.uid
    )
    return Field(parts, ports, admin_url, valkey.url())
