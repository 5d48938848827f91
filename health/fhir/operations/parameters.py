"""What an operation was given: in the URL of a GET, or as a Parameters resource in the body of a POST."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from health.fhir import text
from health.fhir.negotiation import check_content
from health.fhir.outcome import Refusal, refused

Given = dict[str, list[Any]]


async def given(request: Request, takes: Mapping[str, str], *, alone: tuple[str, str] | None = None) -> Given:
    """The values of each parameter; an absent one has none.

    Args:
        takes: FHIR type of each parameter, with a `*` at the end of one that may repeat; `resource` for one
            that is a resource, `part` for one of several parts. In a URL only primitive ones can be given,
            and come as text; numbers and booleans of a body come as text too.
        alone: the parameter that a body is which is no Parameters resource, and of which type it is then.

    Raises:
        Refusal: 400 for a parameter that is not taken, is of another type or repeats; 415.
    """
    found: Given = {name: [] for name in takes}
    pairs: list[tuple[str, Any]] = [
        (name, value)
        for name, value in request.query_params.multi_items()
        if name != "_format" or name in takes
    ]
    if request.method == "POST" and request.headers.get("content-length") != "0":
        pairs += await _body(request, takes, alone)
    for name, value in pairs:
        if name not in takes:
            names = ", ".join(sorted(takes)) or "none"
            raise refused(400, "not-supported", f"unknown parameter {name!r}; taken are {names}", name)
        if found[name] and not takes[name].endswith("*"):
            raise refused(400, "invalid", f"{name} stands more than once", name)
        kind = takes[name].rstrip("*")
        if not isinstance(value, _form(kind)):
            raise refused(400, "structure", f"this is no {kind}", name)
        if isinstance(value, str) and "\0" in value:
            raise refused(400, "value", f"no {name} holds a character U+0000", name)
        found[name].append(value)
    return found


def whole(said: Sequence[str], name: str, *, least: int = 0) -> int | None:
    """The number that a parameter was given as; None where it was not given.

    Raises:
        Refusal: 400 for what is no whole number, or too small.
    """
    if not said:
        return None
    # No number of anything has more digits.
    if not said[0].isascii() or not said[0].isdigit() or (number := int(said[0][:18])) < least:
        raise refused(400, "value", f"{said[0][:40]!r} is not a whole number from {least} on", name)
    return number


async def _body(
    request: Request, takes: Mapping[str, str], alone: tuple[str, str] | None
) -> list[tuple[str, Any]]:
    check_content(request)
    tree = await asyncio.to_thread(_parsed, await request.body())
    if alone and isinstance(tree, dict) and tree.get("resourceType") == alone[1]:
        return [(alone[0], tree)]
    if not isinstance(tree, dict) or tree.get("resourceType") != "Parameters":
        raise refused(400, "invalid", "send a Parameters resource", "resourceType")
    sent = tree.get("parameter", [])
    if not isinstance(sent, list):
        raise refused(400, "structure", "parameter is a list", "Parameters.parameter")
    return [_pair(one, f"Parameters.parameter[{i}]", takes) for i, one in enumerate(sent)]


def _parsed(raw: bytes) -> Any:
    tree = text.parsed(text.decoded(raw))
    if issue := text.unstorable(tree, "Parameters"):
        raise Refusal(400, [issue])
    return tree


def _form(kind: str) -> type:
    """What values of a type are here: the complex ones are written with a capital."""
    if kind == "part":
        return list
    return dict if kind == "resource" or kind[:1].isupper() else str


def _pair(one: Any, path: str, takes: Mapping[str, str]) -> tuple[str, Any]:
    match one:
        case {"name": str() as name, **rest} if len(rest) == 1:
            member, value = next(iter(rest.items()))
        case _:
            raise refused(400, "structure", "a parameter has a name and one value or resource", path)
    kind = takes.get(name, "").rstrip("*")
    wanted = kind if kind in ("resource", "part") else f"value{kind[:1].upper()}{kind[1:]}"
    if kind and member != wanted:
        raise refused(400, "value", f"{name} is given as {wanted}, not {member}", f"{path}.{member}")
    if isinstance(value, bool):
        return name, "true" if value else "false"
    return name, str(value) if isinstance(value, int | float) else value
