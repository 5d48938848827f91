"""Services of the tests' own: a role, a schema with the kit's tables, a Kit; nothing of the real ones."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import orjson

from services.kit.app import Kit, open_kit
from services.kit.database import Database
from services.kit.events.door import PAGE, Page, read_log
from services.kit.events.log import Event
from services.kit.kit_tables import KIT_TABLES_SQL
from services.kit.settings import Settings

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
        await own.execute(KIT_TABLES_SQL + sql)
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

    async def page(self, source: str, *, after: int, last: UUID | None, limit: int = PAGE) -> Page:
        self.asked += 1
        if self.shut is not None:
            raise self.shut
        async with self.sources[source].read() as connection:
            found = await read_log(connection, source, after=after, last=last, limit=limit)
        plain = orjson.loads(orjson.dumps(found))
        return Page(plain["head"], plain["same"], [Event.parse(event) for event in plain["events"]])
