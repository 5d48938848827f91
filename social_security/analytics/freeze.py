"""From PostgreSQL's rows as CSV to a snapshot's Parquet: sorted, so that equal rows give equal bytes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from social_security.analytics.tables import TABLES

# Whose it is first: a run over one part of the people then reads one part of the file.
SORT: Mapping[str, str] = {
    "contributions": "person, period, organisation, contribution_id",
    "payments": "person, period, organisation, payment_id",
    "claims": "person, organisation, claim_id",
    "claim_lines": "organisation, claim_id, line_no",
    "deaths": "person, death_date",
}


def freeze(
    sources: Mapping[str, Path], folder: Path, *, merged: Path, memory_mb: int, threads: int
) -> list[dict[str, Any]]:
    """Writes one Parquet file a table into `folder`, each person under one id.

    Args:
        merged: rows (id, id it goes by now); people are stored under the ids they were pushed with.

    Returns:
        For each table its file's name, rows and sha256.
    """
    connection = duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": f"{memory_mb}MB",
            "autoinstall_known_extensions": False,
        }
    )
    # Paths are written into the statements: a bound parameter makes DuckDB load pandas, two seconds' work.
    connection.execute(f"set temp_directory = {_quoted(folder)}")
    connection.execute(
        f"""create table merged as select * from read_csv({_quoted(merged)}, auto_detect = false,
            columns = {{'id': 'varchar', 'root': 'varchar'}}, header = false, delim = ',')"""
    )
    return [_frozen(connection, name, source, folder) for name, source in sorted(sources.items())]


def _frozen(connection: duckdb.DuckDBPyConnection, name: str, source: Path, folder: Path) -> dict[str, Any]:
    target = folder / f"{name}.parquet"
    types = ", ".join(f"'{column}': '{_duckdb_type(kind)}'" for column, kind in TABLES[name].items())
    one = ""
    if "person" in TABLES[name]:
        one = "replace (coalesce((select root from merged where merged.id = person), person) as person)"
    # Nothing is guessed from the rows; row groups have one size, so that the bytes depend on the rows alone.
    connection.execute(
        f"""
        copy (
            select * {one} from read_csv({_quoted(source)}, columns = {{{types}}}, auto_detect = false,
                                   header = false, delim = ',', quote = '"', escape = '"')
            order by {SORT[name]}
        ) to {_quoted(target)} (format parquet, compression zstd, row_group_size 122880)
        """
    )
    count = connection.execute(f"select count(*) from read_parquet({_quoted(target)})").fetchone()
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"table": name, "file": target.name, "rows": count[0] if count else 0, "sha256": digest}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _duckdb_type(kind: str) -> str:
    return {"string": "varchar", "int32": "integer"}.get(kind, kind)
