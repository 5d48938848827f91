"""Services of the tests' own: a role, a schema with the kit's tables, a Kit; nothing of the real ones."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson

from services.kit.app import Kit, open_kit
from services.kit.database import Database
from services.kit.events.door import PAGE, Page, Place, read_log
from services.kit.events.readers import note_reader
from services.kit.kit_tables import KIT_TABLES_SQL, OPERATIONS_SQL, READERS_SQL
from services.kit.settings import Settings
from tests.support.databases import TestServers

SECRET = "a secret of the tests"


def settings_for(admin_url: str, redis_url: str, **more: Any) -> Settings:
    return Settings(database_url=admin_url, redis_url=redis_url, secret=SECRET, mode="embedded", **more)


async def make_schema(settings: Settings, name: str, sql: str = "") -> None:
    """The service's role and an empty schema of its own, with the kit's tables and what `sql` adds."""
    admin = await asyncpg.connect(settings.database_url)
    password = settings.secret_for(name, "postgres").hex()
    try:
        async with admin.transaction():
            # Sessions with one file each may make roles at the same time; the catalogue takes one at a time.
            await admin.execute("select pg_advisory_xact_lock(hashtext('scratch'))")
            await admin.execute(f"drop schema if exists {name} cascade")
            if not await admin.fetchval("select 1 from pg_roles where rolname = $1", f"huimin_{name}"):
                await admin.execute(f"create role huimin_{name} login")
            await admin.execute(f"alter role huimin_{name} password '{password}'")
            await admin.execute(f"alter role huimin_{name} set search_path = {name}, public")
            database = await admin.fetchval("select quote_ident(current_database())")
            await admin.execute(f"grant connect on database {database} to huimin_{name}")
            await admin.execute(f"create schema {name} authorization huimin_{name}")
    finally:
        await admin.close()
    url = urlsplit(settings.database_url)
    host = url.netloc.rpartition("@")[2]
    own = await asyncpg.connect(urlunsplit(url._replace(netloc=f"huimin_{name}:{password}@{host}")))
    try:
        await own.execute(KIT_TABLES_SQL + OPERATIONS_SQL + READERS_SQL + sql)
    finally:
        await own.close()


@asynccontextmanager
async def opened(settings: Settings, name: str) -> AsyncIterator[Kit]:
    kit, stack = await open_kit(name, settings=settings)
    async with stack:
        yield kit


class OpenDoors:
    """The sources' logs as their doors give them, without the doors; `shut` ones do not answer."""

    def __init__(self, **sources: Database) -> None:
        self.sources = sources
        self.shut: Exception | None = None
        self.asked = 0

    async def page(self, source: str, after: Place, *, limit: int = PAGE) -> Page:
        self.asked += 1
        if self.shut is not None:
            raise self.shut
        async with self.sources[source].read() as connection:
            found = await read_log(connection, source, after, limit=limit)
        return Page.parse(orjson.loads(orjson.dumps(found)))

    async def told(self, source: str, reached: Place) -> None:
        if self.shut is not None:
            raise self.shut
        assert reached.log is not None
        async with self.sources[source].transaction() as tx:
            await note_reader(tx, "reader", reached.log, reached.position)


class Scratch:
    """A database of a test's own, and services in it."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self.settings = settings
        self._stack = stack

    async def make(self, name: str, sql: str = "") -> None:
        await make_schema(self.settings, name, sql)

    async def kit(self, name: str, sql: str = "") -> Kit:
        """A service's Kit over an empty schema of its own; `sql` adds its tables."""
        await self.make(name, sql)
        return await self._stack.enter_async_context(opened(self.settings, name))


def scratch_settings(servers: TestServers, database: str) -> Settings:
    return settings_for(servers.admin_url(database), servers.servers.redis_url)
