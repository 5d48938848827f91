"""What people say looks wrong about usages by one's organisation, and the answers, each within its term."""

from typing import Annotated, Literal

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame

HERE = "/console/usage-reports"
STATES = ("open", "answered", "closed")
router = frame.Router()


@router.get(HERE)
async def reports(
    request: Request,
    state: Literal["open", "answered", "closed"] | None = None,
    after: Annotated[str | None, Query(max_length=500)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("reports", state=state, after=after)
    found = data.get("usageReports")
    return page.render("reports.html", reports=found, states=STATES, state=state, trouble=page.words(errors))


@router.post(HERE)
async def answer(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "words")
    _, errors = await page.run("answer", id=form["id"], words=form["words"])
    return frame.back(request, HERE, notice="answered", errors=errors)
