"""Keyset cursors: opaque to the caller, the sort key's last value to us."""

import base64

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


def bad_cursor() -> Problem:
    """What to raise, too, when a cursor's parts are not what the list puts into it."""
    return Problem(400, "invalid_cursor", "the cursor is not one this list gave out; start without it")
