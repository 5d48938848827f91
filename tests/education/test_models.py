"""The models, the migrated database, the repository's tables and the standard's columns say the same."""

from collections.abc import Awaitable, Callable
from typing import Any

from education import models
from education.oneroster.files import KEPT
from education.oneroster.rows import LEADING
from education.repository.tables import TABLES

KIT = {
    "alembic_version", "dead_letter", "idempotency", "inbox", "inbox_cursor", "job", "leaf", "leaf_member",
    "outbox", "outbox_head",
}  # fmt: skip


DESCRIBED = {table.name: table for table in models.Base.metadata.tables.values()}


async def test_models_describe_the_migrated_database(db: Callable[[str], Awaitable[Any]]) -> None:
    connection = await db("education")
    rows = await connection.fetch(
        """
        select c.table_name, c.column_name, c.is_nullable = 'YES' as nullable, c.udt_name
        from information_schema.columns c
        join information_schema.tables t using (table_schema, table_name)
        where table_schema = 'education' and t.table_type = 'BASE TABLE'
        """
    )
    found = {(row["table_name"], row["column_name"], row["nullable"]) for row in rows}
    found = {row for row in found if row[0] not in KIT}
    described = {
        (table.name, column.name, bool(column.nullable))
        for table in DESCRIBED.values()
        for column in table.columns
    }
    assert found == described
    keys = await connection.fetch(
        """
        select c.relname, array_agg(a.attname::text order by a.attname) as columns
        from pg_constraint k join pg_class c on c.oid = k.conrelid
        join pg_attribute a on a.attrelid = c.oid and a.attnum = any(k.conkey)
        where k.contype = 'p' and k.connamespace = 'education'::regnamespace group by 1
        """
    )
    assert {row["relname"]: row["columns"] for row in keys if row["relname"] not in KIT} == {
        name: sorted(column.name for column in table.primary_key) for name, table in DESCRIBED.items()
    }


def test_the_repository_knows_every_column_of_the_roster() -> None:
    common = {"source", "sourced_id", "status", "modified", "extra", "digest", "import_id", "line"}
    ours = {"organisation": {"id"}, "account": {"learner_id", "identity_digest"}}
    for name, table in TABLES.items():
        described = set(DESCRIBED[name].columns.keys())
        assert described == common | set(table.columns) | ours.get(name, set()), name


def test_every_column_of_the_standard_has_a_place() -> None:
    assert [spec.table for spec in KEPT] == list(TABLES)
    for spec in KEPT:
        kept = {column.to for column in spec.columns if column.to}
        assert kept == {"sourced_id", *TABLES[spec.table].columns}, spec.file
        assert "sourced_id" in LEADING
