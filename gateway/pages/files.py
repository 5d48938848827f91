"""The files that pages load: `/static/…`, all of them our own origin's."""

from typing import Annotated

from fastapi import Query
from starlette.responses import FileResponse, Response

from gateway.pages.rendering import STATIC
from services.kit.app import Router
from services.kit.problems import not_found

router = Router(include_in_schema=False)


@router.get("/static/{name:path}")
async def static(name: str, v: Annotated[str | None, Query()] = None) -> Response:
    try:
        path = (STATIC / name).resolve()
        found = path.is_file() and STATIC in path.parents
    except (ValueError, OSError):  # no name a file could have
        found = False
    if not found:
        raise not_found("there is no such file")
    kept = "public, max-age=31536000, immutable" if v else "no-cache"
    return FileResponse(path, headers={"cache-control": kept})
