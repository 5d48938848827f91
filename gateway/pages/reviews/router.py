"""Reviews of emergency accesses (break-glass): which wait, by when, and the privacy officer's word."""

from typing import Annotated, Literal

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame

HERE = "/console/access-reviews"
FIRST = 20
States = Literal["pending", "justified", "unjustified"]

router = frame.Router()


@router.get(HERE)
async def reviews(
    request: Request,
    state: States = "pending",
    after: Annotated[str | None, Query(max_length=400)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("reviews", first=FIRST, after=after, state=state.upper())
    return page.render("reviews.html", reviews=data.get("accessReviews"), state=state, errors=errors)


@router.post(HERE)
async def decide(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "decision", "words")
    justified = {"justified": True, "unjustified": False}.get(form["decision"])
    _, errors = await page.run("decide", id=form["id"], justified=justified, words=form["words"])
    return frame.back(request, HERE, notice="recorded", errors=errors)
