"""The consoles that a session may open, and what waits in each.

A console's folder may have `queries/waiting.graphql`: each of its root fields is a connection whose nodes
wait for somebody, called `waiting_<field>` in its texts.
"""

import asyncio
from typing import Any

from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import PAGES, PageSet, frame
from gateway.pages.rendering import HERE, texts

router = frame.Router()


@router.get("/console")
async def consoles(request: Request, lang: frame.Lang = None, size: frame.Text = None) -> Response:
    page = await frame.open(request, lang, size)
    found = [one for one in PAGES if one.path.startswith("/console/") and one.opens_to(page.principal)]
    cards = await asyncio.gather(*(_card(page, one) for one in found))
    return page.render("console.html", cards=cards)


async def _card(page: frame.Page, pages: PageSet) -> dict[str, Any]:
    """One console: its name, what it is for, and how much waits there."""
    t = texts(pages.name, page.language)
    data: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    if (HERE / pages.name / "queries" / "waiting.graphql").exists():
        data, errors = await page.run_of(pages.name, "waiting")
    return {
        "path": pages.path,
        "name": t[f"nav_{pages.name}"],
        "about": t[f"about_{pages.name}"],
        "waiting": [(t[f"waiting_{name}"], _count(found)) for name, found in data.items() if found],
        "trouble": page.words(errors),
    }


def _count(connection: dict[str, Any]) -> str:
    return f"{len(connection['nodes'])}{'+' if connection['pageInfo']['hasNextPage'] else ''}"
