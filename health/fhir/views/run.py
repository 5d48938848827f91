"""Views over files: exported NDJSON or Parquet snapshots, read and written by DuckDB."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, FunctionExpression

from health.fhir.views import cells
from health.fhir.views.definition import Column, Row, View

RESOURCE = "resource"
"""Column of a Parquet snapshot that holds the resource, as the text it was sent in."""
_BATCH = 2_000
_ARROW = {"boolean": pa.bool_(), "decimal": pa.float64(), "integer64": pa.int64()}


def relation(
    view: View, sources: Sequence[Path], connection: duckdb.DuckDBPyConnection
) -> duckdb.DuckDBPyRelation:
    """The table of a view over files, to be asked, joined or written.

    Raises:
        Refusal: 422 where a path gives what its column cannot hold.
    """
    return connection.from_arrow(pa.Table.from_batches(batches(view, sources), schema(view)))


def batches(view: View, sources: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    """The same some rows at a time, in the order of the files and their lines.

    Args:
        sources: `.ndjson` (also `.ndjson.gz`) and `.parquet`; resources of other types in them are passed by.
    """
    with duckdb.connect() as connection:
        for lines in _lines(view.resource, sources, connection):
            yield batch(view, view.of_lines(lines))


def schema(view: View) -> pa.Schema:
    """Types as SQL on FHIR suggests them, but a double for a decimal and text for an instant."""
    return pa.schema([(column.name, _type(column)) for column in view.columns])


def _type(column: Column) -> pa.DataType:
    found = pa.int32() if column.type in cells.WHOLE else _ARROW.get(column.type, pa.string())
    return pa.list_(found) if column.collection else found


def batch(view: View, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as columns.

    Raises:
        Refusal: 422 for a number its column's type cannot hold.
    """
    arrays = []
    for i, field in enumerate(schema(view)):
        try:
            arrays.append(pa.array([row[i] for row in rows], field.type))
        except (pa.ArrowInvalid, OverflowError) as error:
            raise cells.wrong(f"{field.name}: {error}"[:200], "ViewDefinition") from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema(view))


def _lines(kind: str, sources: Sequence[Path], connection: duckdb.DuckDBPyConnection) -> Iterator[list[str]]:
    """The resources of a type in the files, some at a time."""
    for source in sources:
        if source.suffix == ".parquet":
            whole, column = connection.read_parquet(str(source)), RESOURCE
        else:
            whole, column = connection.table_function("read_ndjson_objects", [str(source)]), "json"
        of_type = FunctionExpression(
            "json_extract_string", ColumnExpression(column), ConstantExpression("$.resourceType")
        )
        wanted: Any = of_type == ConstantExpression(kind)
        for one in whole.filter(wanted).select(ColumnExpression(column)).to_arrow_reader(_BATCH):
            yield one.column(0).to_pylist()
