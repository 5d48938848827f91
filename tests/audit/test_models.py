"""`models.py` says what the migrations make."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.dialects import postgresql

from services.audit.models import Base

COLUMNS = """
    select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type,
           not a.attnotnull as nullable, coalesce(a.attnum = any(k.conkey), false) as key
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
    where c.relnamespace = 'audit'::regnamespace and c.relkind = 'r'
      and a.attnum > 0 and not a.attisdropped
"""
DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
KIT_TABLES = {
    "alembic_version", "dead_letter", "idempotency", "inbox", "inbox_cursor", "job", "leaf", "leaf_member",
    "outbox", "outbox_head",
}  # fmt: skip


async def test_the_models_are_the_migrated_tables(db: Callable[[str], Awaitable[Any]]) -> None:
    connection = await db("audit")
    migrated = {
        (row["table"], row["column"]): (row["type"], row["nullable"], row["key"])
        for row in await connection.fetch(COLUMNS)
        if row["table"] not in KIT_TABLES
    }
    described = {
        (table.name, column.name): (_type(column), column.nullable, column.primary_key)
        for table in Base.metadata.tables.values()
        for column in table.columns
    }
    assert described == migrated


def _type(column: Any) -> str:
    name: str = column.type.compile(DIALECT).lower()
    return name
