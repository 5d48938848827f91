"""What one was told, and where one wants to be told: this browser, an e-mail address."""

from typing import Annotated

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame

HERE = "/me/notifications"
FIRST = 20
router = frame.Router()


@router.get(HERE)
async def notifications(
    request: Request,
    after: Annotated[str | None, Query(max_length=400)] = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    found, errors = await page.run("notifications", first=FIRST, after=after)
    return page.render("notifications.html", found=found, errors=errors)


@router.post(f"{HERE}/browser")
async def browser(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "endpoint", "p256dh", "auth")
    _, errors = await page.run("register_push", **form, language=page.language)
    return frame.back(request, HERE, notice="browser_registered", errors=errors)


@router.post(f"{HERE}/address")
async def address(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "address")
    _, errors = await page.run("register_email", address=form["address"], language=page.language)
    return frame.back(request, HERE, notice="code_sent", errors=errors)


@router.post(f"{HERE}/confirm")
async def confirm(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "code")
    _, errors = await page.run("confirm_email", **form)
    return frame.back(request, HERE, notice="address_confirmed", errors=errors)


@router.post(f"{HERE}/acknowledge")
async def acknowledge(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id")
    _, errors = await page.run("acknowledge", id=form["id"])
    return frame.back(request, HERE, notice="taken_in_hand", errors=errors)


@router.post(f"{HERE}/quiet")
async def quiet(request: Request) -> Response:
    """Without both times: none from now on."""
    page = await frame.open(request)
    form = await frame.form(request, "starts", "ends", "time_zone")
    hours = {"starts": form["starts"], "ends": form["ends"], "timeZone": form["time_zone"]}
    _, errors = await page.run("quiet", hours=hours if form["starts"] and form["ends"] else None)
    return frame.back(request, HERE, notice="quiet_kept", errors=errors)


@router.post(f"{HERE}/remove")
async def remove(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id")
    _, errors = await page.run("remove_destination", **form)
    return frame.back(request, HERE, notice="removed", errors=errors)
