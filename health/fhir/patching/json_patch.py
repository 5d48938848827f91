"""JSON Patch (RFC 6902), its places written as JSON Pointers (RFC 6901)."""

import re
from decimal import Decimal
from typing import Any

from health.fhir.outcome import Issue, Refusal
from health.fhir.text import Number, check_depth, parsed, written

COPIED_MAX = 1_000_000
"""Characters that the copies of one patch may add: each may hold all that the ones before made."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NEEDS = {
    "add": {"value"},
    "remove": set(),
    "replace": {"value"},
    "move": {"from"},
    "copy": {"from"},
    "test": {"value"},
}


def patched(document: Any, operations: list[Any]) -> Any:
    """The document after all operations; it is changed in place.

    Raises:
        Refusal: 400 for what is no JSON Patch, 412 where a `test` fails, 422 where there is no such place.
    """
    holder, copied = [document], 0
    for n, operation in enumerate(operations):
        copied += _apply(holder, operation, n, COPIED_MAX - copied)
    return holder[0]


def _refused(status: int, code: str, words: str, n: int) -> Refusal:
    return Refusal(status, [Issue(code, f"operation {n}: {words}")])


def _apply(holder: list[Any], operation: Any, n: int, copies: int) -> int:
    """
    Args:
        holder: the document as its only item, so that the document itself can be replaced.
        copies: characters that may be copied; how many were is returned.
    """
    op = operation.get("op") if isinstance(operation, dict) else None
    if not isinstance(op, str) or op not in _NEEDS:
        raise _refused(400, "invalid", f"`op` is one of {', '.join(_NEEDS)}", n)
    for name in sorted(_NEEDS[op] - operation.keys()):
        raise _refused(400, "required", f"{op} needs `{name}`", n)
    steps = _steps(operation.get("path"), n)
    match op:
        case "add":
            _add(holder, steps, operation["value"], n)
        case "remove":
            _taken(holder, steps, n)
        case "replace":
            parent: Any = _at(holder, steps[:-1], n) if steps else holder
            parent[_key(parent, steps[-1] if steps else "0", n)] = operation["value"]
        case "move":
            source = _steps(operation["from"], n)
            if steps[: len(source)] == source and steps != source:
                raise _refused(422, "processing", "nothing moves into itself", n)
            _add(holder, steps, _taken(holder, source, n), n)
        case "copy":
            source = _at(holder, _steps(operation["from"], n), n)
            check_depth(source)
            text = written(source)
            if len(text) > copies:
                raise _refused(422, "too-costly", f"more than {COPIED_MAX:,} characters are copied", n)
            _add(holder, steps, parsed(text), n)
            return len(text)
        case _:
            if not _same(_at(holder, steps, n), operation["value"]):
                raise _refused(412, "conflict", f"the test fails: {operation['path']!r} is not that", n)
    return 0


def _steps(pointer: Any, n: int) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise _refused(400, "invalid", f"a place is written as /name/0/name, not {str(pointer)[:80]!r}", n)
    if re.search(r"~(?![01])", pointer):
        raise _refused(400, "invalid", "after ~ stands 0 or 1", n)
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(holder: list[Any], steps: list[str], n: int) -> Any:
    node = holder[0]
    for step in steps:
        node = node[_key(node, step, n)]
    return node


def _key(node: Any, step: str, n: int) -> str | int:
    """What the step names in the node, which must be there."""
    if isinstance(node, dict) and step in node:
        return step
    if isinstance(node, list) and _INDEX.fullmatch(step) and int(step) < len(node):
        return int(step)
    raise _refused(422, "processing", f"there is no {step[:80]!r} at that place", n)


def _add(holder: list[Any], steps: list[str], value: Any, n: int) -> None:
    if not steps:
        holder[0] = value
        return
    parent = _at(holder, steps[:-1], n)
    match parent:
        case dict():
            parent[steps[-1]] = value
        case list() if steps[-1] == "-":
            parent.append(value)
        case list() if _INDEX.fullmatch(steps[-1]) and int(steps[-1]) <= len(parent):
            parent.insert(int(steps[-1]), value)
        case _:
            raise _refused(422, "processing", f"nothing can be added as {steps[-1][:80]!r} there", n)


def _taken(holder: list[Any], steps: list[str], n: int) -> Any:
    if not steps:
        raise _refused(422, "processing", "the whole document cannot be removed", n)
    parent = _at(holder, steps[:-1], n)
    key = _key(parent, steps[-1], n)  # before `pop`, which only what has keys has
    return parent.pop(key)


def _same(one: Any, other: Any) -> bool:
    """Equal as RFC 6902 section 4.6 says: numbers by their value, objects whatever their order."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return _number(one) == _number(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _number(value: float) -> Decimal:
    return Decimal(value.literal if isinstance(value, Number) else repr(value))
