"""JSON text that keeps what was written: a decimal's zeros (`72.50`, `5.000`) mean precision in FHIR.

A parsed tree holds Python values, except that a number Python would write differently is a `Number`
carrying its literal; `written` puts the literal back.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson

from health.fhir.outcome import Issue, Refusal, refused

DEPTH_MAX = 100
"""Levels of nesting. The deepest of HL7's 5,306 examples has 22."""

_DIGITS_EXACT = 15
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Number(float):
    """A JSON number that remembers how it was written."""

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> "Number":
        number = super().__new__(cls, literal)
        number.literal = literal
        return number


class _Repeated(ValueError):
    """A member that stands twice in one object."""


def decoded(raw: bytes) -> str:
    """The body as text.

    Raises:
        Refusal: 400 when it is not UTF-8, or starts with a byte order mark (RFC 8259 section 8.1).
    """
    if raw.startswith(_UTF16_MARKS) or raw[:2] in (b"{\x00", b"\x00{"):
        raise _wrong_encoding("the body is UTF-16", 1, 1)
    if raw.startswith(b"\xef\xbb\xbf"):
        raise _wrong_encoding("the body starts with a byte order mark", 1, 1)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        words = f"byte {error.start} (0x{raw[error.start]:02X}) is not UTF-8"
        try:
            raw.decode("gb18030")
        except UnicodeDecodeError:
            raise _wrong_encoding(words, line, column) from error
        raise _wrong_encoding(f"{words}; the body looks like GB 18030", line, column) from error


def _wrong_encoding(words: str, line: int, column: int) -> Refusal:
    return Refusal(
        400, [Issue("structure", f"{words}; send UTF-8 without a mark", None, "error", line, column)]
    )


def parsed(text: str) -> Any:
    """The tree, with literal numbers.

    Raises:
        Refusal: 400 with line and column when it is not JSON, says a member twice, or is nested too deep.
    """
    try:
        tree = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refusal(
            400, [Issue("structure", f"not JSON: {error.msg}", None, "error", error.lineno, error.colno)]
        ) from error
    except _Repeated as error:
        words = f"the member {error.args[0]!r:.80} stands twice in one object"
        raise refused(400, "structure", words) from error
    except RecursionError as error:
        raise _too_deep() from error
    if text.count("{") + text.count("[") > DEPTH_MAX:
        check_depth(tree)
    return tree


def plain(raw: bytes) -> Any:
    """The tree as plain Python values, which is what is validated.

    Raises:
        Refusal: 400 for a number or a character that JSON may write and nothing can carry.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(
            400, [Issue("structure", f"not JSON: {error.msg}", None, "error", error.lineno, error.colno)]
        ) from error


def written(tree: Any) -> str:
    """The tree as compact JSON, each number as it was written.

    Raises:
        UnicodeError: a string holds half a surrogate pair, which no UTF-8 can carry.
    """
    try:
        return orjson.dumps(tree, default=_literal).decode()
    except TypeError as error:
        raise UnicodeError(str(error)) from error


def unstorable(tree: Any, path: str) -> Issue | None:
    """The first string that holds a control character or half a surrogate pair, neither allowed in FHIR."""
    if isinstance(tree, str):
        if _CONTROL.search(tree):
            return Issue(
                "value", "the string holds a control character; FHIR allows tab, CR and LF only", path
            )
        if any(0xD800 <= ord(c) <= 0xDFFF for c in tree):
            return Issue("value", "the string holds half of a surrogate pair (\\uD800 to \\uDFFF)", path)
        return None
    if isinstance(tree, dict):
        steps = ((name, value, f"{path}.{name}") for name, value in tree.items())
    elif isinstance(tree, list):
        steps = ((str(i), value, f"{path}[{i}]") for i, value in enumerate(tree))
    else:
        return None
    for name, value, below in steps:
        found = unstorable(name, path) or unstorable(value, below)
        if found is not None:
            return found
    return None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Repeated(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return found


def _float(literal: str) -> float:
    # orjson and repr agree on every float without an exponent.
    plain = float(literal)
    return plain if repr(plain) == literal and "e" not in literal else Number(literal)


def _int(literal: str) -> int | float:
    return int(literal) if len(literal) <= _DIGITS_EXACT and literal != "-0" else Number(literal)


def _constant(literal: str) -> Any:
    raise refused(400, "structure", f"{literal} is not JSON")


_DECODER = json.JSONDecoder(
    parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_pairs
)


def _literal(value: Any) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(value.literal)
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def check_depth(node: Any, level: int = 1) -> None:
    """Raises Refusal 400 for a tree that is nested too deep."""
    if level > DEPTH_MAX:
        raise _too_deep()
    for value in node.values() if type(node) is dict else node if type(node) is list else ():
        if type(value) is dict or type(value) is list:
            check_depth(value, level + 1)


def _too_deep() -> Refusal:
    return refused(400, "too-long", f"nested deeper than {DEPTH_MAX} levels")


def text_of(type: str, id: str, version: int, ts: datetime, meta: str, rest: str) -> str:
    """The resource as it is kept and returned: id and meta are the server's, all else the sender's."""
    own = f'"versionId":"{version}","lastUpdated":"{instant(ts)}"'
    meta = f"{own},{meta}" if meta else own
    return f'{{"resourceType":"{type}","id":"{id}","meta":{{{meta}}}{"," if rest else ""}{rest}}}'


def instant(ts: datetime) -> str:
    return ts.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
