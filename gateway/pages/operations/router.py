"""The operations page: what runs, what lags, what failed, what was saved, and what needs somebody."""

import asyncio
from typing import Annotated, Any

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame
from gateway.pages.operations.view import ROLES, View

HERE = "/console/operations"
LETTERS = 10
"""Dead letters shown of each service; the others are on pages of that service alone."""

router = frame.Router()


@router.get(HERE)
async def operations(
    request: Request,
    service: Annotated[str | None, Query(max_length=40)] = None,
    after: Annotated[str | None, Query(max_length=40)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("operations")
    services = data.get("operations") or []
    lists, troubles = await _letters(page, services, service, after)
    return page.render(
        "operations.html",
        view=View(services, page.t, page.language),
        roles=ROLES,
        letters=lists,
        only=service,
        trouble=page.words([*errors, *troubles]),
    )


@router.post(HERE + "/replay")
async def replay(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "service", "id")
    _, errors = await page.run("replay", service=form["service"], id=form["id"])
    return frame.back(request, HERE + "#letters", notice="replayed", errors=errors)


async def _letters(
    page: frame.Page, services: list[dict[str, Any]], only: str | None, after: str | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The dead letters of one service, or the first of each that has any; and what could not be had."""
    some = [one["service"] for one in services if any((one["deadLetters"] or {}).get(n) for n in COUNTED)]
    wanted = [only] if only else some
    answers = await asyncio.gather(
        *(page.run("letters", service=name, first=LETTERS, after=after) for name in wanted)
    )
    found = [
        {"service": name, **data["deadLetters"]}
        for name, (data, _) in zip(wanted, answers, strict=True)
        if data.get("deadLetters")
    ]
    return found, [error for _, errors in answers for error in errors]


COUNTED = ("waiting", "parked")
