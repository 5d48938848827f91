"""Exchange staff's own pages: the catalogue, agreements and what waits for a decision, requests."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame
from services.kit.problems import not_found

router = frame.Router()
HOME = "/console/exchange"
STATES = ("requested", "active", "suspended", "ended", "refused")
OPS = ("eq", "in", "ge", "le", "prefix")
CONDITIONS = 3
"""Lines of the request form for conditions on rows."""
_PUSH_STEPS = {
    "active": ("pause", "retell"),
    "paused": ("resume", "retell"),
    "parked": ("resume", "pause", "retell"),
}
_NO_LAG = timedelta(seconds=30)
"""That all was told is noted now and then."""
Id = Annotated[str, Path(pattern=r"^[!-~]{1,200}$")]
After = Annotated[str | None, Query(max_length=2000)]


@router.get("/console/exchange")
async def agreements(
    request: Request,
    lang: frame.Lang = None,
    size: frame.Text = None,
    state: Annotated[str | None, Query(pattern="^(requested|active|suspended|ended|refused)$")] = None,
    after: After = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("agreements", state=state, after=after)
    return page.render(
        "agreements.html",
        agreements=data.get("agreements"),
        departments=_by_service(data),
        states=STATES,
        state=state,
        trouble=page.words(errors),
    )


@router.get("/console/exchange/catalogue")
async def catalogue(
    request: Request, lang: frame.Lang = None, size: frame.Text = None, after: After = None
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("catalogue", after=after)
    return page.render("catalogue.html", datasets=data.get("datasets"), trouble=page.words(errors))


@router.get("/console/exchange/pushes")
async def pushes(
    request: Request, lang: frame.Lang = None, size: frame.Text = None, after: After = None
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("pushes", after=after)
    departments, found = _by_service(data), data.get("dataPushes")
    for one in found["nodes"] if found else ():
        one["lag"] = _lag(one)
        mine = departments.get(one["provider"], {}).get("mine", False)
        one["may"] = _PUSH_STEPS.get(one["state"], ()) if mine else ()
    return page.render("pushes.html", pushes=found, departments=departments, trouble=page.words(errors))


@router.post("/console/exchange/pushes")
async def change_push(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "id", "step", "reason")
    mutation = {"pause": "pause", "resume": "go_on", "retell": "retell"}.get(form["step"])
    errors: list[dict[str, Any]] = [{"extensions": {"code": "BAD_USER_INPUT"}, "message": ""}]
    if mutation is not None:
        _, errors = await page.run(mutation, id=form["id"], reason=form["reason"])
    return frame.back(request, f"{HOME}/pushes", notice="done", errors=errors)


@router.get("/console/exchange/agreements/{id}")
async def agreement(id: Id, request: Request, lang: frame.Lang = None, size: frame.Text = None) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("agreement", id=id)
    found = data.get("agreement")
    if any((error.get("extensions") or {}).get("code") == "NOT_FOUND" for error in errors):
        raise not_found(f"there is no agreement {id}")
    entry, _ = await page.run("dataset", id=found["agreement"]["dataset"]) if found else ({}, [])
    departments = _by_service(data)
    names = {one["organisation"]: one for one in departments.values() if one["organisation"]}
    return page.render(
        "agreement.html",
        file=found,
        departments=departments,
        organisations=names,
        titles={item["name"]: item for item in (entry.get("dataset") or {"items": []})["items"]},
        may=_may(found["agreement"], departments) if found else (),
        chart=_chart(found["use"]) if found else None,
        trouble=page.words(errors),
    )


@router.post("/console/exchange/agreements/{id}")
async def change(id: Id, request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(request, "step", "reason")
    step, said = form["step"], {"id": id, "reason": form["reason"]}
    if step in {"approve", "refuse"}:
        _, errors = await page.run("decide", approve=step == "approve", **said)
    elif step in {"suspend", "resume", "end"}:
        _, errors = await page.run(step, **said)
    else:
        errors = [{"extensions": {"code": "BAD_USER_INPUT"}, "message": ""}]
    return frame.back(request, f"{HOME}/agreements/{id}", notice="done", errors=errors)


@router.get("/console/exchange/request")
async def ask(
    request: Request,
    dataset: Annotated[str, Query(pattern=r"^[!-~]{1,200}$")],
    lang: frame.Lang = None,
    size: frame.Text = None,
) -> Response:
    page = await frame.open(request, lang, size)
    data, errors = await page.run("dataset", id=dataset)
    return page.render(
        "request.html",
        dataset=data.get("dataset"),
        consumers=[one for one in _by_service(data).values() if one["mine"]],
        purposes=data.get("purposes") or [],
        ops=OPS,
        lines=range(CONDITIONS),
        trouble=page.words(errors),
    )


@router.post("/console/exchange/request")
async def send(request: Request) -> Response:
    page = await frame.open(request)
    form = await frame.form(
        request,
        *("dataset", "consumer", "purpose", "details", "legal_basis"),
        *("valid_until", "reads_per_day", "rows_per_day", "needs_consent"),
        many=("items", "condition_item", "condition_op", "condition_value"),
    )
    there = f"{HOME}/request?dataset={form['dataset']}"
    asked, errors = await page.run("dataset", id=form["dataset"])
    if not errors:
        types = {item["name"]: item["type"] for item in asked["dataset"]["items"]}
        sent, errors = await page.run("request", input=_input(form, types))
        if not errors:
            there = f"{HOME}/agreements/{sent['requestAgreement']['id']}"
    return frame.back(request, there, notice="asked", errors=errors)


def _input(form: frame.Form, types: dict[str, str]) -> dict[str, Any]:
    """The form as the mutation wants it; what is no number or day is told apart by GraphQL."""
    lines = zip(
        form.all("condition_item"), form.all("condition_op"), form.all("condition_value"), strict=False
    )
    return {
        "dataset": form["dataset"],
        "consumer": form["consumer"],
        "items": form.all("items"),
        "filter": [_condition(item, op, value, types.get(item, "")) for item, op, value in lines if item],
        "needsConsent": form["needs_consent"] == "yes",
        "purpose": form["purpose"],
        "details": form["details"],
        "legalBasis": form["legal_basis"],
        "validUntil": f"{form['valid_until']}T23:59:59+08:00",
        "readsPerDay": _number(form["reads_per_day"]),
        "rowsPerDay": _number(form["rows_per_day"]),
    }


def _condition(item: str, op: str, value: str, kind: str) -> dict[str, Any]:
    values = [_value(part.strip(), kind) for part in (value.split(",") if op == "in" else [value])]
    return {"item": item, "op": op, "value": values if op == "in" else values[0]}


def _value(text: str, kind: str) -> Any:
    if kind == "integer":
        return _number(text)
    return {"true": True, "false": False}.get(text, text) if kind == "boolean" else text


def _number(text: str) -> Any:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text


def _by_service(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["service"]: one for one in data.get("departments") or []}


def _may(found: dict[str, Any], departments: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """The steps that this account's department may take; the exchange decides again."""
    provides = departments.get(found["provider"], {}).get("mine", False)
    consumes = departments.get(found["consumer"], {}).get("mine", False)
    match found["state"]:
        case "requested":
            return ("approve", "refuse") if provides else ("end",) if consumes else ()
        case "active":
            return ("suspend", "end") if provides else ("end",) if consumes else ()
        case "suspended":
            return ("resume", "end") if provides else ("end",) if consumes else ()
        case _:
            return ()


def _lag(push: dict[str, Any]) -> str | None:
    """How long ago all was told, in days, hours, minutes and seconds; None where that says nothing."""
    if push["evenAt"] is None or push["state"] == "ended":
        return None
    lag = datetime.now(UTC) - datetime.fromisoformat(push["evenAt"])
    return None if lag < _NO_LAG else str(timedelta(seconds=int(lag.total_seconds())))


def _chart(use: list[dict[str, Any]]) -> dict[str, Any]:
    """The use by day as bars of a 300 × 60 drawing."""
    most = max((day["rows"] for day in use), default=0)
    width = 300 / max(len(use), 1)
    bars = [
        {
            "x": round(n * width, 2),
            "height": round(56 * day["rows"] / most, 2) if most else 0,
            "day": date.fromisoformat(day["day"]).isoformat(),
            "reads": day["reads"],
            "rows": day["rows"],
        }
        for n, day in enumerate(use)
    ]
    return {"bars": bars, "width": round(width * 0.8, 2), "most": most}
