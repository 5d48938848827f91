"""How much one answer holds: bodies are read as far as they go into it, however many are asked for."""

from collections.abc import Iterable, Sequence
from itertools import takewhile

from services.kit.database import Row

ANSWER_BYTES = 32 * 1024 * 1024


def body(whole: str, order: str, room: str) -> str:
    """Columns of a select: `body`, which is null of the rows that are `beyond` the room.

    Args:
        whole: the body of a row; PostgreSQL knows how long it is without reading it.
        order: of the rows.
        room: bytes; what begins within them goes in whole.
    """
    before = f"""coalesce(sum(octet_length({whole})) over ({order} rows between unbounded preceding
                 and 1 preceding), 0)"""
    return f"case when {before} < {room} then {whole} end as body, {before} >= {room} as beyond"


def size(rows: Iterable[Row]) -> int:
    """How much of the room these take."""
    return sum(len((row["body"] or "").encode()) for row in rows)


def page(rows: Sequence[Row], count: int) -> list[Row]:
    """The first so many rows, as far as one answer holds them."""
    return list(takewhile(lambda row: not row["beyond"], rows[:count]))
