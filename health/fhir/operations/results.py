"""What an operation found, as a searchset Bundle."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from health.fhir.bundle import bundle_of
from health.fhir.paging import links
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
    found = [
        {
            "fullUrl": f"{base}{row['type']}/{row['id']}",
            "resource": orjson.Fragment(row["body"]),
            "search": search,
        }
        for search, row in entries
    ]
    return bundle_of("searchset", found, link=links(base, path, following=following))
