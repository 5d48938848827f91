"""Keyset cursors: opaque to the caller, the sort key's last value to us."""

import base64
from uuid import UUID

from services.kit.problems import Problem


def encode_cursor(*parts: object) -> str:
    """An opaque keyset cursor of the sort key's parts."""
    raw = "\x1f".join(str(part) for part in parts).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode_cursor(cursor: str, parts: int) -> list[str]:
    """The parts of a cursor that `encode_cursor` made.

    Raises:
        Problem: 400 when it is not one.
    """
    try:
        found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().split("\x1f")
    except ValueError:
        found = []
    if len(found) != parts:
        raise bad_cursor()
    return found


def whole_number(part: str) -> int:
    """A part that is a row's number.

    Raises:
        Problem: 400 when no row can have it.
    """
    try:
        found = int(part)
    except ValueError as error:
        raise bad_cursor() from error
    if not -(2**63) <= found < 2**63:
        raise bad_cursor()
    return found


def uuid_after(cursor: str | None) -> UUID | None:
    """The row's id in a cursor of that alone; None without a cursor.

    Raises:
        Problem: 400 when it is none.
    """
    if cursor is None:
        return None
    try:
        return UUID(decode_cursor(cursor, 1)[0])
    except ValueError as error:
        raise bad_cursor() from error


def bad_cursor() -> Problem:
    """What to raise, too, when a cursor's parts are not what the list puts into it."""
    return Problem(400, "invalid_cursor", "the cursor is not one this list gave out; start without it")
