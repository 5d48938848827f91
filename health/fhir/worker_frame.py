"""How a message travels to a worker process and back: its length, a JSON header line, the body."""

from typing import BinaryIO

LENGTH_BYTES = 4


def framed(header: bytes, body: bytes) -> list[bytes]:
    return [(len(header) + 1 + len(body)).to_bytes(LENGTH_BYTES, "big"), header, b"\n", body]


def received(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """The next message; None when the other side is gone."""
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    header, _, body = stream.read(int.from_bytes(length, "big")).partition(b"\n")
    return header, body
