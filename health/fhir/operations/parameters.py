"""What an operation was given: in the URL of a GET, or as a Parameters resource in the body of a POST."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from health.fhir import text
from health.fhir.negotiation import check_content
from health.fhir.outcome import refused

Given = dict[str, list[Any]]


async def given(request: Request, takes: Mapping[str, str], *, whole: str | None = None) -> Given:
    """The values of each parameter; an absent one has none.

    Args:
        takes: FHIR type of each parameter, with a `*` at the end of one that may repeat; `resource` for one
            that is a resource, `part` for one of several parts. In a URL only primitive ones can be given,
            and come as text; numbers and booleans of a body come as text too.
        whole: the parameter that a body is which is no Parameters resource but one of that parameter's name.

    Raises:
        Refusal: 400 for a parameter that is not taken, is of another type or repeats; 415.
    """
    found: Given = {name: [] for name in takes}
    pairs: list[tuple[str, Any]] = [
        (name, value) for name, value in request.query_params.multi_items() if name != "_format"
    ]
    if request.method == "POST" and request.headers.get("content-length") != "0":
        pairs += await _body(request, takes, whole)
    for name, value in pairs:
        if name not in takes:
            names = ", ".join(sorted(takes)) or "none"
            raise refused(400, "not-supported", f"unknown parameter {name!r}; taken are {names}", name)
        if found[name] and not takes[name].endswith("*"):
            raise refused(400, "invalid", f"{name} stands more than once", name)
        found[name].append(value)
    return found


async def _body(request: Request, takes: Mapping[str, str], whole: str | None) -> list[tuple[str, Any]]:
    check_content(request)
    tree = await asyncio.to_thread(text.parsed, text.decoded(await request.body()))
    if whole and isinstance(tree, dict) and tree.get("resourceType") == whole[0].upper() + whole[1:]:
        return [(whole, tree)]
    if not isinstance(tree, dict) or tree.get("resourceType") != "Parameters":
        raise refused(400, "invalid", "send a Parameters resource", "resourceType")
    sent = tree.get("parameter", [])
    if not isinstance(sent, list):
        raise refused(400, "structure", "parameter is a list", "Parameters.parameter")
    return [_pair(one, f"Parameters.parameter[{i}]", takes) for i, one in enumerate(sent)]


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
    return name, value if isinstance(value, dict | list | str) else str(value)
