"""PostgreSQL, the only truth: a pool for each service's own role, and the transaction a request or job is.

The driver is asyncpg throughout; SQL stands in each service's `repository.py`. `jsonb` values are Python
objects on both sides. Bulk goes in through `copy_records_to_table`, or
`copy_to_table` where rows are already written in COPY's form.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import orjson

from services.kit.settings import Settings

if TYPE_CHECKING:
    from services.kit.principals import Principal

Row = asyncpg.Record
STOP_WITHIN_S = 10.0


class Connection(Protocol):
    """What a repository needs of a connection; a `Transaction` offers the same."""

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Row | None: ...
    async def fetchval(
        self, query: str, *args: Any, column: int = 0, timeout: float | None = None
    ) -> Any: ...
    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...
    async def executemany(
        self, command: str, args: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> None: ...
    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[Any]],
        columns: Sequence[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
    ) -> str: ...
    async def copy_to_table(
        self,
        table_name: str,
        *,
        source: AsyncIterable[bytes],
        columns: Sequence[str] | None = None,
        format: str | None = None,
        timeout: float | None = None,
    ) -> str: ...


def role_of(service: str, inner: str | None = None) -> str:
    return f"huimin_{inner or service}"


def password_of(settings: Settings, service: str, inner: str | None = None) -> str:
    return settings.secret_for(service, f"postgres-{inner}" if inner else "postgres").hex()


def service_url(settings: Settings, service: str, inner: str | None = None) -> str:
    """The service's own address at the database: its role, its derived password.

    Args:
        inner: as the role of a schema that the service keeps apart from its own.

    Raises:
        RuntimeError: HUIMIN_DATABASE_URL is not set.
    """
    if not settings.database_url:
        raise RuntimeError("set HUIMIN_DATABASE_URL, or start with ./run up, which brings a database along")
    parts = urlsplit(settings.database_url)
    password = quote(password_of(settings, service, inner))
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role_of(service, inner)}:{password}@{host}"))


class Transaction:
    """One commit. Carries who asked, writes access leaves and outbox events into the same commit."""

    def __init__(self, connection: Connection, service: str, principal: "Principal | None" = None) -> None:
        self.connection = connection
        self.service = service
        self.principal = principal
        self._after_commit: list[Callable[[], None]] = []
        self.fetch = connection.fetch
        self.fetchrow = connection.fetchrow
        self.fetchval = connection.fetchval
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.copy_records_to_table = connection.copy_records_to_table
        self.copy_to_table = connection.copy_to_table

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator["Transaction"]:
        """A part that may fail and be undone without losing the rest."""
        raw: Any = self.connection
        before = len(self._after_commit)
        try:
            async with raw.transaction():
                yield self
        except BaseException:
            del self._after_commit[before:]  # what was undone has nothing to say after the commit
            raise

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Runs once the commit is durable; not at all when it is rolled back."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        for callback in self._after_commit:
            callback()

    async def leaf(self, *, action: str, **about: Any) -> None:
        """One access leaf in this commit; see `services.kit.leaves.Leaf` for what may be said."""
        from services.kit import leaves

        await leaves.write(self, leaves.leaf_of(self, action=action, **about))

    async def publish(
        self, type: str, *, aggregate: str, data: dict[str, Any], area: str | None = None
    ) -> UUID:
        """One outbox event in this commit.

        Take the aggregate's row lock before publishing: events of one aggregate then carry the order of
        their commits.
        """
        from services.kit import events

        return await events.publish(self, type, aggregate=aggregate, data=data, area=area)


class Database:
    """A service's pool. `start` and `stop` belong to the app's lifespan or the job's.

    Args:
        inner: signed in as the role of a schema that the service keeps apart from its own.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        *,
        max_connections: int | None = None,
        inner: str | None = None,
    ) -> None:
        self.service = service
        self._url = service_url(settings, service, inner)
        self._settings = settings
        self._max = max_connections or settings.pool_max_connections
        self._pool: Any = None

    async def start(self) -> None:
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._max,
            max_inactive_connection_lifetime=60.0,
            init=prepare_connection,
            server_settings={
                "application_name": f"huimin-{self.service}",
                "statement_timeout": str(self._settings.statement_timeout_ms),
                "idle_in_transaction_session_timeout": "120000",
                "timezone": "UTC",
            },
        )

    async def stop(self) -> None:
        """Gives what still runs a moment, then ends it: no forgotten connection keeps a process alive."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    @asynccontextmanager
    async def transaction(self, principal: "Principal | None" = None) -> AsyncIterator[Transaction]:
        """Commits when the block ends, undoes everything when it raises."""
        async with self._acquired() as connection, connection.transaction():
            transaction = Transaction(connection, self.service, principal)
            yield transaction
        transaction.committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """One snapshot for several reads; writing is refused by the database."""
        async with (
            self._acquired() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield cast(Connection, connection)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """A bare asyncpg connection, for advisory locks that outlive a transaction."""
        async with self._acquired() as connection:
            yield connection

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise RuntimeError(f"the database pool of {self.service} is not started")
        async with self._pool.acquire(timeout=10.0) as connection:
            yield connection


def _encode_jsonb(value: Any) -> bytes:
    return b"\x01" + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def _decode_jsonb(value: bytes) -> Any:
    return orjson.loads(value[1:])


async def prepare_connection(connection: Any) -> None:
    """jsonb and json as Python objects, in binary (PostgreSQL's jsonb send format, version byte 1)."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_encode_jsonb, decoder=_decode_jsonb, format="binary"
    )
    await connection.set_type_codec(
        "json", schema="pg_catalog", encoder=orjson.dumps, decoder=orjson.loads, format="binary"
    )
