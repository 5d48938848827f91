"""The program that turns a pushed Parquet file into the CSV every push is read as.

`python -m social_security.imports.parquet` holds pyarrow in a process of its own: the service stays small,
and a file that breaks the reader breaks nothing else. A column must have a type that says exactly what its
CSV text would: no floating point for money, no timestamp for a date.
"""

import resource
import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

BATCH_ROWS = 50_000
_DECIMALS = {"base": 2, "amount": 2, "unit_price": 2, "total": 2, "quantity": 4}
_DATES = frozenset({"declared_on", "paid_on", "admitted_on", "discharged_on", "claimed_on", "service_date"})
_WHOLE = frozenset({"line_no"})


MOST_MEMORY_BYTES = 3 * 1024**3
MOST_TEXT_BYTES = 2 * 1024**3


def main() -> None:
    # A few kilobytes of Parquet can say a terabyte of text; this process ends before the machine does.
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_TEXT_BYTES, MOST_TEXT_BYTES))
    told = orjson.loads(sys.stdin.buffer.read())
    sys.stdout.buffer.write(
        orjson.dumps(convert(Path(told["source"]), Path(told["target"]), told["most_rows"]))
    )


def convert(source: Path, target: Path, most_rows: int) -> dict[str, Any]:
    """Writes the CSV; answers with what is wrong with the file as a whole, if anything is."""
    try:
        file = pq.ParquetFile(source)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        return {"problem": f"this is not Parquet, or cut short: {_first_line(error)}", "columns": []}
    if file.metadata.num_rows > most_rows:
        return {"problem": f"more than {most_rows} rows; send it in parts", "columns": []}
    wrong = [found for column in schema if (found := _wrong_type(column)) is not None]
    if wrong:
        return {"problem": "; ".join(message for _, message in wrong), "columns": wrong}
    try:
        _write(file, schema, target)
    except (pa.ArrowException, OSError) as error:
        return {"problem": f"the file is damaged: {_first_line(error)}", "columns": []}
    return {"problem": None, "columns": []}


def _write(file: Any, schema: Any, target: Path) -> None:
    text = pa.schema([(column.name, pa.string()) for column in schema])
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with pyarrow.csv.CSVWriter(str(target), text, write_options=options) as writer:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            columns = [
                _text(column, name) for column, name in zip(batch.columns, batch.schema.names, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=text))


def _wrong_type(column: Any) -> tuple[str, str] | None:
    kind, name = column.type, column.name
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return None
    if name in _DATES:
        return None if pa.types.is_date(kind) else (name, f"{name} is {kind}; send date32 or string")
    if name in _DECIMALS:
        exact = pa.types.is_decimal(kind) or pa.types.is_integer(kind)
        return None if exact else (name, f"{name} is {kind}; send decimal or string, floats lose cents")
    if name in _WHOLE:
        return None if pa.types.is_integer(kind) else (name, f"{name} is {kind}; send an integer or string")
    return name, f"{name} is {kind}; send string"


def _text(column: Any, name: str) -> Any:
    """The column as its CSV text; decimals wider than needed are narrowed where that loses nothing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_decimal(column.type) and name in _DECIMALS:
        try:
            column = pc.cast(column, pa.decimal256(76, _DECIMALS[name]))
        except pa.ArrowInvalid:
            return pc.cast(column, pa.string())
    return pc.cast(column, pa.string())


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


if __name__ == "__main__":
    main()
