"""From a pushed Parquet file to rows, by way of the program that holds pyarrow."""

import asyncio

from services.kit.problems import Fault, bad_request
from social_security import process
from social_security.imports.csv_rows import CsvFile
from social_security.imports.push import SentFile

MOST_ROWS = 5_000_000
DEADLINE_S = 120.0


async def as_csv(file: SentFile) -> CsvFile:
    """The file's rows, numbered from 1.

    Raises:
        Problem: 400 when it is not Parquet, or a column's type cannot be read exactly.
    """
    target = file.path.with_suffix(".csv")
    what = {"source": str(file.path), "target": str(target), "most_rows": MOST_ROWS}
    try:
        answer = await process.told("social_security.imports.parquet", what, deadline_s=DEADLINE_S)
    except process.ProgramFailed as failed:
        detail = "the Parquet file could not be read; it is damaged, or too large to unpack"
        raise bad_request("malformed_parquet", detail, Fault(detail, file=file.kind.name)) from failed
    if answer["problem"]:
        code = "wrong_column_type" if answer["columns"] else "malformed_parquet"
        faults = [
            Fault(message, field=name, file=file.kind.name, code=code) for name, message in answer["columns"]
        ] or [Fault(answer["problem"], file=file.kind.name, code=code)]
        raise bad_request(code, f"{file.kind.name}: {answer['problem']}", *faults)
    return await asyncio.to_thread(CsvFile, target, file.kind, charset="utf-8", by_row=True)
