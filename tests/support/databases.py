"""One embedded PostgreSQL and Valkey for the whole run; a fresh copy of a migrated database for each test."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import redis.asyncio as redis

from services.kit.settings import Settings
from services.stack.home import Home
from services.stack.house import HOUSE, Service, named
from services.stack.provision import provision
from services.stack.suite import Servers, start_servers
from services.stack.supervisor import Supervisor

TEMPLATE = "huimin"


@dataclass
class TestServers:
    """The run's servers. `template` holds the schemas of the services that tests asked for so far."""

    __test__ = False

    home: Home
    servers: Servers
    migrated: set[str] = field(default_factory=set)
    _copies: int = 0

    def admin_url(self, database: str) -> str:
        return urlunsplit(urlsplit(self.servers.admin_url)._replace(path=f"/{database}"))

    def public_url(self, database: str) -> str:
        """Without the administrator's name: what a service is given."""
        return urlunsplit(urlsplit(self.servers.public_database_url)._replace(path=f"/{database}"))

    async def migrate(self, services: Iterable[Service]) -> None:
        """Brings these services' schemas into the template, once."""
        missing = tuple(s for s in services if s.stores and s.name not in self.migrated)
        if missing or not self.migrated:
            settings = Settings(database_url=self.servers.admin_url)
            await provision(settings, missing, create_database=True)
            self.migrated |= {"", *(service.name for service in missing)}

    @asynccontextmanager
    async def copy(self, names: Iterable[str] = ()) -> AsyncIterator[str]:
        """The name of a fresh database with the schemas of these services (and of those migrated before)."""
        await self.migrate(named(name) for name in names)
        self._copies += 1
        database = f"test_{self._copies}"
        await self.execute(f"create database {database} template {TEMPLATE} strategy file_copy")
        try:
            await self.execute(f"grant connect on database {database} to public")
            yield database
        finally:
            await self.execute(f"drop database {database} with (force)")

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.admin_url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def empty_broker(self) -> None:
        client = redis.Redis.from_url(self.servers.redis_url)
        await client.flushall()
        await client.aclose()


@asynccontextmanager
async def test_servers(folder: Path) -> AsyncIterator[TestServers]:
    """Starts both servers in a home of their own and points HUIMIN_* of this process at them."""
    for variable in [name for name in os.environ if name.startswith("HUIMIN_")]:
        if variable not in ("HUIMIN_ROOT", "HUIMIN_NODE_MODULES"):
            del os.environ[variable]
    home = Home(folder)
    supervisor = Supervisor(home, quiet=True)
    await supervisor.claim()
    try:
        found = TestServers(home, await start_servers(supervisor, disposable=True))
        os.environ.update(
            HUIMIN_HOME=str(home.path),
            HUIMIN_SECRET=home.secret(),
            HUIMIN_DATABASE_URL=found.public_url(TEMPLATE),
            HUIMIN_REDIS_URL=found.servers.redis_url,
        )
        await found.migrate(())
        yield found
    finally:
        await supervisor.stop()


test_servers.__test__ = False  # type: ignore[attr-defined]  # pytest: a helper, not a test

STORING_NAMES = tuple(service.name for service in HOUSE if service.stores)
