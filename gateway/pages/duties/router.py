"""Who is on duty: rosters, who has joined them, hours and swaps; and what nobody has acknowledged yet."""

from typing import Annotated, Any

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame

HERE = "/console/flows/duties"
FIRST = 20
LEAD = "notify:rosters:write"
WEEKDAYS = ("1", "2", "3", "4", "5", "6", "7")
TIERS = ("1", "2", "3")
KEPT = ("nameZh", "nameEn", "area", "sites", "fromLevel")

router = frame.Router()


@router.get(HERE)
async def duties(
    request: Request,
    after: Annotated[str | None, Query(max_length=400)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    leads = page.principal.may(LEAD)
    data, errors = await page.run("duties", first=FIRST, after=after, leads=leads)
    return page.render("duties.html", found=data, leads=leads, weekdays=WEEKDAYS, tiers=TIERS, errors=errors)


@router.post(HERE)
async def add_roster(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "name_zh", "name_en", "area", "sites", "from_level")
    sites = [site for site in form["sites"].replace(",", " ").split() if site]
    said = {
        "nameZh": form["name_zh"],
        "nameEn": form["name_en"],
        "area": form["area"],
        "sites": sites or None,
        "fromLevel": _number(form["from_level"]),
    }
    _, errors = await page.run("keep", input=said)
    return frame.back(request, HERE, notice="kept", errors=errors)


@router.post(HERE + "/add")
async def add_duty(request: Request) -> Response:
    page = await frame.open(request)
    fields = ("roster", "member", "tier", "starts", "ends", "first_day", "last_day")
    form = await frame.form(request, *fields, many=("weekdays",))
    duty = {
        "member": form["member"],
        "tier": _number(form["tier"]),
        "weekdays": [_number(day) for day in form.all("weekdays")],
        "starts": form["starts"],
        "ends": form["ends"],
        "firstDay": form["first_day"] or None,
        "lastDay": form["last_day"] or None,
    }
    return await _changed(page, form["roster"], lambda duties: [*duties, duty])


@router.post(HERE + "/remove")
async def remove_duty(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "roster", "place")
    place = _number(form["place"])
    return await _changed(
        page, form["roster"], lambda duties: [one for at, one in enumerate(duties) if at != place]
    )


@router.post(HERE + "/close")
async def close(request: Request) -> Response:
    return await _simply(request, "close", "closed", roster="id")


@router.post(HERE + "/join")
async def join(request: Request) -> Response:
    return await _simply(request, "join", "joined", roster="id", name="called")


@router.post(HERE + "/confirm")
async def confirm(request: Request) -> Response:
    return await _simply(request, "confirm", "kept", roster="id", member="member")


@router.post(HERE + "/leave")
async def leave(request: Request) -> Response:
    return await _simply(request, "leave", "kept", roster="id", member="member")


@router.post(HERE + "/swap")
async def swap(request: Request) -> Response:
    return await _simply(
        request, "swap", "swapped", roster="id", member="member", day="day", substitute="substitute"
    )


@router.post(HERE + "/accept")
async def accept(request: Request) -> Response:
    return await _simply(request, "accept", "kept", swap="id")


async def _simply(request: Request, mutation: str, notice: str, **fields: str) -> Response:
    """A form whose fields are the variables of one mutation."""
    page = await frame.open(request)
    form = await frame.form(request, *fields)
    _, errors = await page.run(
        mutation, **{variable: form[field] or None for field, variable in fields.items()}
    )
    return frame.back(request, HERE, notice=notice, errors=errors)


async def _changed(page: frame.Page, id: str, change: Any) -> Response:
    """The roster kept as it is, with other duties."""
    data, errors = await page.run("roster", id=id)
    roster = data.get("dutyRoster")
    if roster is not None:
        said = {name: roster[name] for name in KEPT} | {"duties": change(roster["duties"])}
        _, errors = await page.run("keep", id=id, input=said)
    return frame.back(page.request, HERE, notice="kept", errors=errors)


def _number(text: str) -> int:
    """A number of a form of ours; -1, which is refused, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else -1
