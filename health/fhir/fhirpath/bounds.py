"""What of the expressions that callers write may be evaluated: none costs more than what it looks at."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from health.fhir.fhirpath import parser

CHOOSING = frozenset(
    {
        "all", "allTrue", "anyTrue", "as", "contains", "count", "distinct", "empty", "endsWith", "exists",
        "extension", "first", "hasValue", "indexOf", "is", "isDistinct", "last", "length", "lower", "not",
        "now", "ofType", "resolve", "single", "skip", "startsWith", "substring", "tail", "take", "today",
        "upper", "where",
    }
)  # fmt: skip
"""What chooses. What makes values of values can be written so that it makes more than any memory holds, and a
regular expression so that it never ends."""


def unbounded(text: str) -> str | None:
    """The first thing an expression uses that it may not; None for one that may be evaluated.

    Variables are among it: what goes through `%resource` for each of its own parts, and so on, never ends.

    Raises:
        FHIRPathError: it is no expression.
    """
    try:
        return next(_used(parser.parsed(text)), None)
    except RecursionError as error:
        raise parser.FHIRPathError("it is nested too deep") from error


def _used(tree: Any) -> Iterator[str]:
    if isinstance(tree, parser.Call) and tree.name not in CHOOSING:
        yield f"{tree.name}()"
    if isinstance(tree, parser.Variable) and tree.name.startswith("%"):
        yield tree.name
    if is_dataclass(tree):
        for one in fields(tree):
            yield from _used(getattr(tree, one.name))
    elif isinstance(tree, list | tuple):
        for one in tree:
            yield from _used(one)
