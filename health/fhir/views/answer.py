"""A view run for a client: over a finished export of its own, or over resources it sends along."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import orjson

from health.fhir import text
from health.fhir.bulk import asking, files
from health.fhir.interactions import Fhir, Reply
from health.fhir.outcome import refused
from health.fhir.views.definition import View, viewed
from health.repository import bulk as repository
from services.kit.principals import Principal

ROWS_MAX = 50_000
"""Rows of one answer, which is made in memory."""
CHUNK_S = 30.0
"""Time for a mebibyte of resources; a usual view needs less than one second."""
FORMATS = {"ndjson": "application/x-ndjson", "json": "application/json", "csv": "text/csv; charset=utf-8"}


async def run(
    fhir: Fhir, who: Principal, definition: dict[str, Any], resources: Sequence[Any], source: str | None,
    *, form: str, header: bool, limit: int | None,
) -> Reply:  # fmt: skip
    """The rows of a view.

    Args:
        source: id or URL of the client's export; without it the view is run over `resources`.
        header: a CSV begins with the columns' names.
        limit: rows that are enough, `ROWS_MAX` at most; None for all.

    Raises:
        Refusal: 403, 404 for an export that is not the client's or a type it may not read; 422 for a wrong
            view, or one that gives more than `ROWS_MAX` rows.
    """
    plain = text.plain(text.written(definition).encode())
    view = viewed(plain)
    if (source is None) == (not resources):
        raise refused(422, "required", "name a finished export as source, or send resources", "source")
    if source is not None:
        chunks = await _exported(fhir, who, source, view)
    else:
        chunks = _sent("\n".join(map(text.written, resources)).encode())
    rows: list[list[Any]] = []
    async for chunk in chunks:
        try:
            async with asyncio.timeout(CHUNK_S):
                rows += await fhir.workers.view(plain, chunk)
        except TimeoutError as error:
            raise refused(
                422, "too-costly", "the view's expressions take too long", "viewResource"
            ) from error
        if limit is not None and len(rows) >= limit:
            break
        if len(rows) > ROWS_MAX:
            words = f"the view gives more than {ROWS_MAX} rows; set _limit, or run it over the export's files"
            raise refused(422, "too-costly", words, "_limit")
    body = _written(view, rows[:limit], form, header=header)
    return Reply(body, 200, {"content-type": FORMATS[form], "cache-control": "no-store"})


async def _exported(fhir: Fhir, who: Principal, source: str, view: View) -> AsyncIterator[bytes]:
    try:
        bulk = UUID(source.removeprefix(f"{fhir.base}bulk/"))
    except ValueError as error:
        raise refused(422, "value", "source is the id or URL of an export", "source") from error
    if (await asking.find(fhir, who, bulk))["ready_at"] is None:
        raise refused(409, "conflict", "this export is not finished", "source")
    async with fhir.kit.db.session() as db:
        names = [
            file["name"]
            for file in await repository.files(db, bulk)
            if file["role"] == "output" and file["type"] == view.resource
        ]
    ids = [await files.fetched(fhir, who, bulk, name) for name in names]

    async def parts() -> AsyncIterator[bytes]:
        for id in ids:
            async for part in files.parts(fhir.kit.db, id):
                yield part

    return parts()


async def _sent(lines: bytes) -> AsyncIterator[bytes]:
    yield lines


def _written(view: View, rows: Sequence[Sequence[Any]], form: str, *, header: bool) -> bytes:
    names = [column.name for column in view.columns]
    if form == "csv":
        table = io.StringIO()
        writer = csv.writer(table)
        if header:
            writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)
        return table.getvalue().encode()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return orjson.dumps(found) if form == "json" else b"".join(orjson.dumps(one) + b"\n" for one in found)


def _cell(value: Any) -> Any:
    """Truths and lists as in JSON; what is not there is empty."""
    return orjson.dumps(value).decode() if type(value) is bool or type(value) is list else value
