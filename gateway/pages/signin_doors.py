"""Signing in and out: `/signin`, where the issuer sends the browser back to, and `/signout`."""

import secrets
from typing import Annotated

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.pages import cookies, frame, signin
from services.kit.app import KitDep
from services.kit.calls import DomainError
from services.kit.problems import Problem

Given = Annotated[str | None, Query()]
router = frame.Router()


@router.get("/signin")
async def leave(
    request: Request, kit: KitDep, next: Annotated[str, Query()] = "/", lang: frame.Lang = None
) -> Response:
    language, _ = frame.view(request, lang)
    address, errand = signin.leave(request, kit, language, frame.local(next))
    answer = RedirectResponse(address, 303, headers={"cache-control": "no-store"})
    cookies.put(answer, kit, signin.ERRAND, errand, life_s=signin.ERRAND_S)
    return answer


@router.get(signin.CALLBACK)
async def arrive(
    request: Request,
    kit: KitDep,
    code: Given = None,
    state: Given = None,
    iss: Given = None,
    error: Given = None,
    error_description: Given = None,
) -> Response:
    errand = cookies.read(request, kit, signin.ERRAND)
    if errand is None or not secrets.compare_digest((state or "").encode(), errand["state"].encode()):
        raise _not_signed_in("it was begun in another window, or too long ago")
    if iss != kit.settings.issuer or code is None:
        raise _not_signed_in(error_description or error or "the answer is another issuer's")
    try:
        await signin.arrive(request, kit, code, errand)
    except DomainError as refused:
        if refused.code == "BAD_USER_INPUT":
            raise _not_signed_in(refused.detail) from refused
        raise
    answer = frame.back(request, errand["next"])
    cookies.drop(answer, kit, signin.ERRAND)
    return answer


@router.post("/signout")
async def end(request: Request, kit: KitDep) -> Response:
    await frame.form(request)
    ended = await signin.end(request, kit)
    return frame.back(request, "/", notice="signed_out" if ended else "signed_out_here")


def _not_signed_in(why: str) -> Problem:
    return Problem(403, "not_signed_in", f"the sign-in was not completed: {why}")
