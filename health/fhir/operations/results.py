"""What an operation found, as a searchset Bundle."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from health.fhir.paging import PARAMETER
from services.kit.database import Row


def searchset(
    base: str, path: str, entries: Iterable[tuple[Mapping[str, Any], Row]], following: str | None = None
) -> bytes:
    """
    Args:
        base: the server's base URL with a slash at its end; `path`, what was asked of it.
        entries: of each resource what `search` says of it; the resources go in as they are kept.
        following: the token of the next page.
    """
    links = [{"relation": "self", "url": base + path}]
    if following is not None:
        links.append({"relation": "next", "url": f"{base}{path}?{PARAMETER}={following}"})
    found = [
        {
            "fullUrl": f"{base}{row['type']}/{row['id']}",
            "resource": orjson.Fragment(row["body"]),
            "search": search,
        }
        for search, row in entries
    ]
    bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    return orjson.dumps({**bundle, "entry": found} if found else bundle)
