"""Every service's `models.py` says what its migrations make: columns, their types, what may be null, keys."""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy.dialects import registry

from services.stack.house import STORING

COLUMNS = """
    select c.relnamespace::regnamespace::text as schema, c.relname as table, a.attname as column,
           format_type(a.atttypid, a.atttypmod) as type, not a.attnotnull as nullable,
           coalesce(a.attnum = any(k.conkey), false) as key
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
    where c.relnamespace::regnamespace::text = any($1) and c.relkind = 'r'
      and a.attnum > 0 and not a.attisdropped
"""
DIALECT: Any = registry.load("postgresql")()
OF_THE_KIT = {
    *("alembic_version", "dead_letter", "heartbeat", "idempotency", "inbox", "inbox_cursor", "job", "leaf"),
    *(
        "leaf_member",
        "offer_change",
        "outbox",
        "outbox_head",
        "outbox_reader",
        "push_failure",
        "renewal",
        "renewed_id",
    ),
}


@pytest.mark.parametrize("service", STORING, ids=lambda service: service.name)
async def test_the_models_are_the_migrated_tables(db: Callable[[str], Awaitable[Any]], service: Any) -> None:
    metadata = import_module(f"{service.package}.models").Base.metadata
    connection = await db(service.name)
    schemas = sorted({table.schema or service.name for table in metadata.tables.values()})
    migrated = {
        (row["schema"], row["table"], row["column"]): (row["type"], row["nullable"], row["key"])
        for row in await connection.fetch(COLUMNS, schemas)
        if row["table"] not in OF_THE_KIT
    }
    described = {
        (table.schema or service.name, table.name, column.name): (
            _type(column),
            bool(column.nullable),
            column.primary_key,
        )
        for table in metadata.tables.values()
        for column in table.columns
    }
    assert described == migrated


def _type(column: Any) -> str:
    """As PostgreSQL itself writes the type."""
    name = str(column.type.compile(dialect=DIALECT)).lower().replace(", ", ",")
    return {"varchar": "text"}.get(name, name)
