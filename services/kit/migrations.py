"""Alembic's steps of each service, run as the service's own role in its own schema."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from services.kit.database import role_of, service_url
from services.kit.kit_tables import (
    CHANGES_SQL,
    KIT_TABLES_SQL,
    MEMBER_RIGHTS_SQL,
    OPERATIONS_SQL,
    READERS_SQL,
    RENEWAL_SQL,
    changes_sql,
    renewable_sql,
)
from services.kit.settings import Settings


def kit_tables() -> None:
    """Makes the kit's tables (leaf, outbox, inbox, dead_letter, job, idempotency) in the service's schema.

    To be called first in a service's `0001_first.py`.
    """
    run_script(KIT_TABLES_SQL)


def let_audit_read_members() -> None:
    """Lets services/audit find the bulk reads a person was in (`leaf_member`), in each service's `0002`."""
    run_script(MEMBER_RIGHTS_SQL)


def operations_tables() -> None:
    """Makes the tables behind a service's operations door: `heartbeat`, `push_failure`."""
    run_script(OPERATIONS_SQL)


def reader_table() -> None:
    """Makes the table of who reads the service's log, and how far each is: `outbox_reader`."""
    run_script(READERS_SQL)


def change_log() -> None:
    """Makes the table of whose rows of offered datasets changed, in which order: `offer_change`."""
    run_script(CHANGES_SQL)


def changes_of(
    dataset: str,
    table: str,
    *,
    person: str,
    said: Mapping[str, str],
    shown: Sequence[str],
    when: str = "true",
) -> None:
    """Declares that a dataset is made of a table's rows (kit_tables.changes_sql says of what)."""
    run_script(changes_sql(dataset, table, person=person, said=said, shown=shown, when=when))


def renewal_tables() -> None:
    """Makes what a service needs to follow its sector's key: `renewal`, `renewed_id`."""
    run_script(RENEWAL_SQL)


def renewable(table: str, column: str) -> None:
    """Declares that a column holds ids of the service's sector, to be renewed with the sector's key.

    To be called for every such column, in the order in which pushes write to the tables.
    """
    run_script(renewable_sql(table, column))


def run_script(sql: str) -> None:
    """Several statements at once, inside a migration (a prepared statement may hold only one)."""
    raw: Any = op.get_bind().connection.dbapi_connection
    raw.run_async(lambda connection: connection.execute(sql))


async def migrate(settings: Settings, service: str, package: str, inner: str | None = None) -> list[str]:
    """Brings the service's schema to its newest step; safe to call at every start and from several places.

    Args:
        package: where the service lives, e.g. "services.identity" or "health"; its `migrations` folder
            holds the steps.
        inner: the schema it keeps apart from its own, if it has one: the steps run signed in as that
            one's role, as the service's until they say `reset role`.

    Returns:
        The revisions that were applied, oldest first.
    """
    folder = Path(str(import_module(f"{package}.migrations").__path__[0]))
    url = service_url(settings, service, inner).replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, service, folder)
    finally:
        await engine.dispose()


def _upgrade(connection: SyncConnection, service: str, folder: Path) -> list[str]:
    connection.execute(text("select pg_advisory_xact_lock(hashtext('huimin migrate'))"))
    connection.execute(text(f"set local role {role_of(service)}"))
    config = Config()
    config.set_main_option("script_location", str(folder))
    script = ScriptDirectory(str(folder), version_locations=[str(folder)])
    applied: list[str] = []

    def steps(revision: Any, _context: Any) -> Any:
        found = script._upgrade_revs("head", revision)
        applied.extend(step.revision.revision for step in found)
        return found

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=connection, version_table_schema=service, transactional_ddl=True)
        environment.run_migrations()
    return applied
