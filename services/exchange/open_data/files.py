"""The files that leave: CSV (RFC 4180) and Parquet, with the check of the files themselves before they do."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from services.exchange.open_data.cells import Cell


class NotAnonymousError(Exception):
    """What was about to be published would tell too much; says what."""


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, whole_numbers: Sequence[str] = ()
) -> bytes:
    """Texts, but for the columns named, which are whole numbers or null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [(name, pa.int64() if name in whole_numbers else pa.string()) for name in columns]
    values = [[row[place] for row in rows] for place in range(len(columns))]
    out = io.BytesIO()
    pq.write_table(pa.table(values, schema=pa.schema(kinds)), out, compression="zstd")
    return out.getvalue()


def table(columns: Sequence[str], cells: Sequence[Cell]) -> tuple[bytes, bytes]:
    """A release's CSV and Parquet; a count that is withheld is empty."""
    rows = [(*key, count) for key, count in cells]
    return as_csv(columns, rows), as_parquet(columns, rows, whole_numbers=columns[-1:])


def check(written: tuple[bytes, bytes], *, k: int, rounded_to: int) -> int:
    """Reads both files again, as anybody will; returns the smallest count that they show.

    Raises:
        NotAnonymousError: a count below k or not rounded, two files that differ, or nothing to show at all.
    """
    import pyarrow.parquet as pq

    head, *rows = list(csv.reader(io.StringIO(written[0].decode(), newline="")))
    parquet = pq.read_table(io.BytesIO(written[1]))
    same = [
        [*map(str, row[:-1]), "" if row[-1] is None else str(row[-1])]
        for row in zip(*parquet.to_pydict().values(), strict=True)
    ]
    if (head, rows) != (parquet.column_names, same):
        raise NotAnonymousError("the CSV and the Parquet file do not say the same")
    counts = [int(row[-1]) for row in rows if row[-1]]
    if not counts:
        raise NotAnonymousError(f"no combination has {k} or more people: make the dimensions coarser")
    if min(counts) < k or any(count % rounded_to for count in counts):
        raise NotAnonymousError(f"a count is below {k} or not rounded to {rounded_to}")
    return min(counts)
