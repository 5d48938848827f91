"""The clerical queue: pairs that may be one person, what speaks for it; decided, and undone."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame

HERE = "/console/identity"
FIRST = 20
NOTICES = {
    "PROPOSED": "now_proposed",
    "SAME": "now_same",
    "DIFFERENT": "now_different",
    "UNSURE": "now_unsure",
}
States = Literal["open", "unsure", "proposed", "same", "different"]

router = frame.Router()


@router.get(HERE)
async def queue(
    request: Request,
    state: States = "open",
    after: Annotated[str | None, Query(max_length=400)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("queue", first=FIRST, after=after, state=state.upper())
    return page.render("queue.html", reviews=data.get("matchReviews"), state=state, errors=errors)


@router.get(HERE + "/merge")
async def merging(
    request: Request,
    person: Annotated[str, Query(max_length=64)] = "",
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    return page.render("merge.html", person=person)


@router.post(HERE + "/merge")
async def merge(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "person", "other", "reason")
    data, errors = await page.run("merge", **form)
    if found := data.get("mergePersons"):
        return frame.back(request, f"{HERE}/{found['id']}", notice=NOTICES[found["state"]])
    query = urlencode({"person": form["person"]})
    return frame.back(request, f"{HERE}/merge?{query}", errors=errors)


@router.get(HERE + "/runs")
async def runs(
    request: Request,
    after: Annotated[str | None, Query(max_length=400)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("runs", first=FIRST, after=after)
    return page.render("runs.html", runs=data.get("linkageRuns"), errors=errors)


@router.post(HERE + "/runs")
async def start_run(request: Request) -> Response:
    page = await frame.open(request)
    await frame.form(request)
    _, errors = await page.run("start_run")
    return frame.back(request, f"{HERE}/runs", notice="run_started", errors=errors)


@router.get(HERE + "/{id}")
async def review(request: Request, id: str, lang: frame.Lang = None, size: frame.Text = None) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("review", id=id)
    found = data.get("matchReview")
    steps = _waterfall(found) if found else []
    return page.render("review.html", review=found, steps=steps, errors=errors)


@router.post(HERE + "/decide")
async def decide(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "decision", "reason")
    data, errors = await page.run(
        "decide", id=form["id"], decision=form["decision"].upper(), reason=form["reason"]
    )
    found = data.get("decideMatch")
    notice = NOTICES[found["state"]] if found else None
    return frame.back(request, f"{HERE}/{form['id']}", notice=notice, errors=errors)


@router.post(HERE + "/undo")
async def undo(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "reason")
    _, errors = await page.run("undo", id=form["id"], reason=form["reason"])
    return frame.back(request, f"{HERE}/{form['id']}", notice="undone", errors=errors)


def _waterfall(review: dict[str, Any]) -> list[dict[str, Any]]:
    """From the prior to the weight, a bar a step: `start` and `width` in percent of the whole scale."""
    told = [part for part in review["parts"] if part["level"] != "missing"]
    at, ends = review["prior"], []
    for part in told:
        ends.append((at, at + part["bits"]))
        at += part["bits"]
    points = [0.0, review["prior"], at, *(end for _, end in ends)]
    low, scale = min(points), (max(points) - min(points)) or 1.0

    def bar(begin: float, end: float) -> dict[str, Any]:
        return {
            "start": round((min(begin, end) - low) / scale * 100, 2),
            "width": round(max(abs(end - begin) / scale * 100, 0.6), 2),
            "bits": round(end - begin, 1),
        }

    steps = [bar(0.0, review["prior"]) | {"kind": "prior", "part": None}]
    steps += [
        bar(*ends_of) | {"kind": "for" if part["bits"] >= 0 else "against", "part": part}
        for part, ends_of in zip(told, ends, strict=True)
    ]
    zero = round((0.0 - low) / scale * 100, 2)
    whole = bar(0.0, at) | {"kind": "sum", "part": None, "bits": review["weight"]}
    return [step | {"zero": zero} for step in [*steps, whole]]
