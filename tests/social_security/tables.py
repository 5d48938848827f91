"""Small tables for rules to look at: rows with only what matters said, on DuckDB and on PostgreSQL."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import pyarrow as pa

from social_security.analytics.audit import Limits, connect
from social_security.analytics.tables import TABLES

DEFAULTS: Mapping[str, Any] = {
    "organisation": "O",
    "employer_uscc": "E",
    "provider_uscc": "P",
    "scheme": "employee_pension",
    "benefit": "pension",
    "area": "370102",
    "period": date(2026, 3, 1),
    "base": 6000,
    "amount": 100,
    "currency": "CNY",
    "declared_on": date(2026, 3, 1),
    "paid_on": date(2026, 3, 20),
    "claimed_on": date(2026, 3, 20),
    "item_code": "I",
    "service_date": date(2026, 3, 1),
    "quantity": 1,
    "unit_price": 80,
}


def filled(given: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Every table with every column; what a row does not say is the same for all."""
    unknown = given.keys() - TABLES.keys()
    assert not unknown, f"no table {unknown}"
    return {name: [_filled(name, row) for row in given.get(name, ())] for name in TABLES}


def _filled(table: str, given: Mapping[str, Any]) -> dict[str, Any]:
    columns = TABLES[table]
    assert not given.keys() - columns.keys(), f"{table} has no column {given.keys() - columns.keys()}"
    row = {name: given[name] if name in given else DEFAULTS[name] for name in columns}
    return {
        name: Decimal(str(value)).quantize(Decimal("0.01")) if kind == "decimal(14, 2)" else value
        for (name, kind), value in zip(columns.items(), row.values(), strict=True)
    }


def duckdb_with(data: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    connection = connect(Limits(memory_mb=256, threads=1))
    for name, columns in TABLES.items():
        schema = ibis.schema(dict(columns))
        rows = [
            {c: Decimal(v) if columns[c] == "decimal(14, 4)" else v for c, v in row.items()}
            for row in data[name]
        ]
        connection.create_table(name, pa.Table.from_pylist(rows, schema=schema.to_pyarrow()), schema=schema)
    return connection


async def put_into(postgres: Any, data: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The same rows as temporary tables of a PostgreSQL connection."""
    for name, columns in TABLES.items():
        types = ", ".join(f"{column} {_postgres_type(kind)}" for column, kind in columns.items())
        await postgres.execute(f"create temporary table {name} ({types}) on commit drop")
        records = [tuple(row[column] for column in columns) for row in data[name]]
        await postgres.copy_records_to_table(name, records=records, columns=list(columns))


def _postgres_type(kind: str) -> str:
    return {"string": "text", "int32": "integer"}.get(kind, kind.replace("decimal", "numeric"))
