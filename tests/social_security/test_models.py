"""The models describe the migrated database; the files' columns have a place in it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.dialects import registry

from social_security import models
from social_security.imports.kinds import KINDS, Kind

KIT = {
    *("alembic_version", "dead_letter", "idempotency", "inbox", "inbox_cursor", "job", "leaf"),
    *("leaf_member", "outbox", "outbox_head"),
}
DIALECT: Any = registry.load("postgresql")()
DESCRIBED = {table.name: table for table in models.Base.metadata.tables.values()}
_COLUMNS = """
    select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type,
           not a.attnotnull as nullable
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'social_security'::regnamespace and c.relkind = 'r' and a.attnum > 0
        and not a.attisdropped
"""
_KEYS = """
    select c.relname as table, array_agg(a.attname::text order by a.attname) as columns
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    join pg_attribute a on a.attrelid = c.oid and a.attnum = any(k.conkey)
    where k.contype = 'p' and k.connamespace = 'social_security'::regnamespace group by 1
"""


def _type(column: Any) -> str:
    """As PostgreSQL itself writes the type."""
    return str(column.type.compile(dialect=DIALECT)).lower().replace(", ", ",")


async def test_models_describe_the_migrated_database(db: Callable[[str], Awaitable[Any]]) -> None:
    connection = await db("social_security")
    found = {
        (row["table"], row["column"], row["type"], row["nullable"])
        for row in await connection.fetch(_COLUMNS)
        if row["table"] not in KIT
    }
    described = {
        (table.name, column.name, _type(column), bool(column.nullable))
        for table in DESCRIBED.values()
        for column in table.columns
    }
    assert found == described
    keys = {row["table"]: row["columns"] for row in await connection.fetch(_KEYS) if row["table"] not in KIT}
    assert keys == {
        name: sorted(column.name for column in table.primary_key) for name, table in DESCRIBED.items()
    }


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_column_that_is_kept_has_a_place(kind: Kind) -> None:
    ours = {"id", "organisation", "receipt_id", "recorded_at", "superseded_at", "person"}
    assert set(DESCRIBED[kind.table].columns.keys()) - ours == set(kind.kept)
