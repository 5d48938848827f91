"""Who had to do with a person's data: the leaves about one person, over all services."""

from datetime import UTC, datetime
from typing import Any

import orjson

from services.audit import repository
from services.audit.shapes import Usage, UsagePage, UsagesRequest
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection, Row
from services.kit.problems import unavailable

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
BEYOND = 2**62


async def find(db: Connection, asked: UsagesRequest) -> UsagePage:
    """A page of them, newest first: by time, leaves of the same time by their place in the tree.

    Pages that follow each other by cursor look at the tree as it was at the first: each usage that was
    there comes exactly once, whatever is added meanwhile. A service that is not installed has no leaves.

    Raises:
        Problem: 503 when the leaves of a service are in the log and cannot be read now: half a list would
            pass for a whole one; 400 for a cursor that is none of this list's.
    """
    readable = set(await repository.leaf_tables(db))
    gone = {source.name for source in await repository.sources(db)} & asked.subjects.keys() - readable
    if gone:
        raise unavailable(f"the leaves of {', '.join(sorted(gone))} cannot be read at present")
    subjects = {name: ids for name, ids in asked.subjects.items() if ids and name in readable}
    if not subjects:
        return UsagePage(items=[], total=0, hidden=0)
    size, at, index = _position(asked.after)
    rows = await repository.usages(
        db,
        subjects,
        since=asked.since or EARLIEST,
        until=asked.until or LATEST,
        size=size,
        own=asked.own,
        before=(at, index),
        index=asked.index,
        offset=asked.offset,
        limit=asked.limit + 1,
    )
    found = [row for row in rows if row["index"] is not None]
    following = None
    if 0 < asked.limit < len(found):
        last = found[asked.limit - 1]
        following = encode_cursor(rows[0]["size"], last["at"].isoformat(), last["index"])
    return UsagePage(
        items=[_usage(row) for row in found[: asked.limit]],
        total=rows[0]["total"],
        hidden=rows[0]["hidden"],
        next=following,
    )


def _usage(row: Row) -> Usage:
    said: dict[str, Any] = orjson.loads(row["body"])
    known = {name: said[name] for name in Usage.model_fields if name in said}
    return Usage(**{**known, "index": row["index"], "at": row["at"]})


def _position(cursor: str | None) -> tuple[int | None, datetime, int]:
    """Size of the tree, time and leaf index the page begins below."""
    if cursor is None:
        return None, LATEST, BEYOND
    size, at, index = decode_cursor(cursor, 3)
    try:
        return whole_number(size), datetime.fromisoformat(at).astimezone(UTC), whole_number(index)
    except (ValueError, OverflowError) as error:
        raise bad_cursor() from error
