"""Whether bytes are UTF-8, and what they look like when they are not.

A wrong encoding is refused rather than converted: GB 18030 read by guess garbles names without any error.
"""

import codecs
from collections.abc import Callable
from typing import IO

_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (b"\x84\x31\x95\x33", "GB 18030"),
)
_LOOK_AT = 64 * 1024


def foreign_bom(start: bytes) -> str | None:
    """The encoding that the first bytes announce, unless it is UTF-8."""
    for bom, name in _BOMS:
        if start.startswith(bom):
            return name
    # ASCII in UTF-16 without a BOM is also valid UTF-8, with a zero in every other byte.
    return "UTF-16" if b"\0" in start else None


def where_not_utf8(opened: Callable[[], IO[bytes]]) -> tuple[int, str]:
    """The physical line of the first bytes that are not UTF-8, and what the file looks like instead."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    sample = b""
    with opened() as stream:
        while block := stream.read(_LOOK_AT):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                # The error counts from the bytes the decoder still held, at most three before the block.
                sample = block
                line += block.count(b"\n", 0, max(error.start, 0))
                break
            line += block.count(b"\n")
    return line, _looks_like(sample)


def _looks_like(sample: bytes) -> str:
    text = sample.decode("gb18030", errors="replace")
    hanzi = sum("\u4e00" <= character <= "\u9fff" for character in text)
    foreign = sum(character > "\x7f" for character in text)
    if foreign and text.count("\ufffd") <= 2 and hanzi * 2 >= foreign:
        return "GB 18030"
    return "another encoding"
