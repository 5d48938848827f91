"""Where the R4B models have a word to say: what they ask beyond the schema and our checks is the form of some
primitives. Without a doubt of that kind a resource is spared the models, which cost more than all else
together.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from health.fhir.definitions import definitions

Doubt = Callable[[Any], bool]

_MOMENT = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:[0-5]\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:[0-5]\d(\.\d{1,6})?", re.ASCII)
_GREATEST = 1e300


def doubtful(resource: dict[str, Any]) -> bool:
    """Whether the models may find what the schema and our checks, which found nothing, did not.

    Args:
        resource: of the form its schema asks for.
    """
    return _of_kind(resource["resourceType"])(resource)


@cache
def _of_kind(kind: str) -> Doubt:
    known: dict[str, Doubt] | None = None

    def doubt(value: Any) -> bool:
        nonlocal known
        if known is None:  # types hold each other
            known = _elements(kind)
        if type(value) is not dict:
            return True
        for name, member in value.items():
            look = known.get(name, _always)
            if any(map(look, member)) if type(member) is list else look(member):
                return True
        return False

    return doubt


def _elements(kind: str) -> dict[str, Doubt]:
    """What is asked of each element; companions of primitives are none of them."""
    found = {
        name: _doubt(type_.rstrip("*"))
        for name, type_ in definitions().elements[kind].items()
        if name[:1] != "_"
    }
    return {**found, "resourceType": _no_text}


def _doubt(kind: str) -> Doubt:
    if kind in {"Resource", "ResourceList"}:
        return doubtful
    return _of_kind(kind) if kind in definitions().elements else _PRIMITIVES.get(kind, _always)


def _always(_: Any) -> bool:
    return True


def _no_text(value: Any) -> bool:
    return type(value) is not str


@lru_cache(maxsize=16_384)
def _no_moment(value: str) -> bool:
    if _MOMENT.fullmatch(value) is None:
        return True
    try:
        datetime.fromisoformat(value if len(value) > 7 else f"{value[:4]}-01-01")
    except ValueError:
        return True
    return False


def _integer(least: int) -> Doubt:
    return lambda value: type(value) is not int or not least <= value < 2**31


_PRIMITIVES: dict[str, Doubt] = {
    **dict.fromkeys(("id", "uri", "canonical", "oid", "markdown", "base64Binary"), _no_text),
    **dict.fromkeys(("string", "xhtml"), lambda value: type(value) is not str or value.isspace()),
    **dict.fromkeys(
        ("date", "dateTime", "instant"), lambda value: type(value) is not str or _no_moment(value)
    ),
    "boolean": lambda value: type(value) is not bool,
    "code": lambda value: type(value) is not str or not value.isascii(),
    "time": lambda value: type(value) is not str or _TIME.fullmatch(value) is None,
    "decimal": lambda value: type(value) not in (int, float) or not -_GREATEST < value < _GREATEST,
    "integer": _integer(-(2**31)),
    "unsignedInt": _integer(0),
    "positiveInt": _integer(1),
}
