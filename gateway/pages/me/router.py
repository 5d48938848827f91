"""The citizen's own page: who they are, what is kept about them, who has read it, what they consented to."""

import asyncio
from datetime import date, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame
from services.kit.purposes import OWN_RECORDS, PURPOSES

FIRST = 20
A_YEAR = timedelta(days=365)
ACTIONS = ("fhir.read",)
"""What a consent may allow beside datasets of the catalogue."""

After = Annotated[str | None, Query(max_length=400)]
Ward = Annotated[str | None, Query(max_length=40)]
router = frame.Router()


@router.get("/me")
async def me(request: Request, lang: frame.Lang = None, size: frame.Text = None) -> Response:
    page = await frame.open(request, lang, size)
    # Each asked for by itself: what hangs in one holds up no other.
    (person, records, usage, emergencies, consents), errors = await _together(
        page.run("person"),
        page.run("records"),
        page.run("usage", first=5, own=False),
        page.run("emergencies"),
        page.run("consents", first=5),
    )
    return page.render(
        "me.html",
        person=person,
        records=records,
        usage=usage,
        emergencies=emergencies,
        organisations=_met(usage, page.language),
        consents=consents,
        errors=errors,
        ward=None,
    )


@router.post("/me/treatments")
async def object_to_treatment(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "organisation", "objects")
    objects = form["objects"] == "yes"
    _, errors = await page.run("object", organisation=form["organisation"], objects=objects)
    return frame.back(request, "/me", notice="objection_noted", errors=errors)


@router.get("/me/usage")
async def usage(
    request: Request,
    after: After = None,
    reports_after: After = None,
    own: Annotated[bool, Query()] = False,
    ward: Ward = None,
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    (usage, reports), errors = await _together(
        page.run("usage", first=FIRST, after=after, own=own, ward=ward),
        page.run("reports", after=reports_after, ward=ward),
    )
    return page.render("usage.html", usage=usage, reports=reports, errors=errors, own=own, ward=ward)


@router.post("/me/usage/report")
async def report(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "leaf_index", "words", "ward")
    index = int(form["leaf_index"]) if form["leaf_index"].isdecimal() else -1
    ward = form["ward"] or None
    _, errors = await page.run("report", leafIndex=index, words=form["words"], ward=ward)
    return frame.back(request, _usage_of(ward), notice="reported", errors=errors)


@router.post("/me/usage/close")
async def close(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "ward")
    _, errors = await page.run("close", id=form["id"])
    return frame.back(request, _usage_of(form["ward"] or None), notice="closed", errors=errors)


@router.get("/me/consents")
async def consents(
    request: Request, after: After = None, lang: frame.Lang = None, size: frame.Text = None
) -> Response:
    page = await frame.open(request, lang, size)
    ((found, errors), (offered, _)) = await asyncio.gather(
        page.run("consents", first=FIRST, after=after), page.run("offered")
    )
    return page.render(
        "consents.html",
        consents=found.get("me") or {},
        errors=errors,
        organisations=_organisations(offered, page.language),
        datasets=_datasets(offered, page.language),
        actions=ACTIONS,
        purposes=[
            (code, getattr(words, page.language)) for code, words in PURPOSES.items() if code != OWN_RECORDS
        ],
        today=date.today(),  # noqa: DTZ011 - only what the form proposes
        in_a_year=date.today() + A_YEAR,  # noqa: DTZ011
    )


@router.post("/me/consents/give")
async def give(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "organisation", "purpose", "valid_until", many=("datasets", "actions"))
    consent = {
        "organisation": form["organisation"],
        "purpose": form["purpose"],
        "datasets": form.all("datasets"),
        "actions": form.all("actions"),
        # The whole of the last day, in the suite's own time.
        "validUntil": f"{form['valid_until']}T23:59:59+08:00",
        "language": page.language,
    }
    _, errors = await page.run("give", input=consent)
    return frame.back(request, "/me/consents", notice="consent_given", errors=errors)


@router.post("/me/consents/revoke")
async def revoke(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id")
    _, errors = await page.run("revoke", id=form["id"])
    return frame.back(request, "/me/consents", notice="consent_revoked", errors=errors)


async def _together(*asked: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """`me` of each answer, and the errors of all."""
    answers = await asyncio.gather(*asked)
    return [data.get("me") or {} for data, _ in answers], [error for _, errors in answers for error in errors]


def _usage_of(ward: str | None) -> str:
    return "/me/usage" + (f"?{urlencode({'ward': ward})}" if ward else "")


def _organisations(offered: dict[str, Any], language: str) -> dict[str, str]:
    """Whom a consent is likely to be for: the departments, and who had to do with the person's data."""
    name = f"name{language.title()}"
    departments = {one["service"]: one[name] for one in offered.get("departments") or []}
    return departments | _met(offered.get("me") or {}, language)


def _met(me: dict[str, Any], language: str) -> dict[str, str]:
    """Names, by code, of who stands in a list of usages."""
    nodes = (me.get("dataUsage") or {}).get("nodes") or []
    return {one["organisation"]: one[f"organisation{language.title()}"] for one in nodes}


def _datasets(offered: dict[str, Any], language: str) -> dict[str, str]:
    nodes = (offered.get("datasets") or {}).get("nodes") or []
    return {one["id"]: one[f"title{language.title()}"] for one in nodes if one["personal"]}
