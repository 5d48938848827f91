"""`models.py` says what the migrations make, and the kit's tables stand beside it."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.dialects import postgresql

from health.models import Base

KIT_TABLES = {
    "alembic_version", "dead_letter", "idempotency", "inbox", "inbox_cursor", "job", "leaf", "leaf_member",
    "outbox", "outbox_head",
}  # fmt: skip
Connect = Callable[[str], Awaitable[Any]]

COLUMNS = """
    select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type,
           not a.attnotnull as nullable
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'health'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
"""


async def test_the_models_are_the_migrated_tables(db: Connect) -> None:
    connection = await db("health")
    rows = [row for row in await connection.fetch(COLUMNS) if row["table"] not in KIT_TABLES]
    migrated = {(row["table"], row["column"]): (row["type"], row["nullable"]) for row in rows}
    described = {
        (table.name, column.name): (_type(column), column.nullable)
        for table in Base.metadata.tables.values()
        for column in table.columns
    }
    assert described == migrated


def _type(column: Any) -> str:
    dialect: Any = postgresql.dialect  # not typed by SQLAlchemy
    name = str(column.type.compile(dialect())).lower()
    return {"varchar": "text"}.get(name, name)
