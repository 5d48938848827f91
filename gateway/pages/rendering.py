"""From a template to the answer: texts in both languages, dates, files, and what the browser is allowed."""

from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.responses import HTMLResponse

HERE = Path(__file__).parent
STATIC = HERE / "static"
CIVIL_TIME = ZoneInfo("Asia/Shanghai")
Language = Literal["zh", "en"]
Size = Literal["normal", "large"]
HTML_LANG = {"zh": "zh-Hans", "en": "en"}
CSP = (
    "default-src 'self'; connect-src 'self' ws: wss:; worker-src 'self' blob:; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def texts(folder: str, language: str) -> dict[str, str]:
    """What a folder of pages says, over what all of them say; the common texts alone for ""."""
    found: dict[str, str] = {}
    for place in (HERE, HERE / folder):
        found |= orjson.loads((place / "locales" / f"{language}.json").read_bytes())
    return found


@cache
def query(folder: str, name: str) -> str:
    return (HERE / folder / "queries" / f"{name}.graphql").read_text()


@cache
def static_url(name: str) -> str:
    """The file's address with a hash of its content, so that it may be kept for good."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _templates(folder: str) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([HERE / folder / "templates", HERE / "templates"]),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_url
    environment.filters |= {"thousands": "{:,}".format, "day": _day, "moment": _moment, "at": _at}
    return environment


def render(
    folder: str, template: str, language: Language, *, status: int = 200, csp: str = CSP, **values: Any
) -> HTMLResponse:
    text = (
        _templates(folder)
        .get_template(template)
        .render(t=texts(folder, language), lang=language, html_lang=HTML_LANG[language], **values)
    )
    return HTMLResponse(
        text,
        status,
        headers={
            "content-security-policy": csp,
            "cache-control": "no-store",
            "vary": "accept-language, cookie",
            # With no-referrer browsers would send our forms with "Origin: null".
            "referrer-policy": "same-origin",
        },
    )


def _at(value: Any, path: str) -> Any:
    """What stands at a path of an answer, any part of which may be null: `me | at("health.timeline")`."""
    for name in path.split("."):
        value = value.get(name) if value is not None else None
    return value


def _marked(written: Callable[[Any, str], str]) -> Callable[[Context, Any], Markup | str]:
    """A filter that writes a date in the page's language inside <time>; nothing for None."""

    @pass_context
    def filter_(context: Context, value: Any) -> Markup | str:
        if value is None:
            return ""
        iso = value if isinstance(value, str) else value.isoformat()
        return Markup('<time datetime="{}">{}</time>').format(iso, written(iso, context["lang"]))

    return filter_


def _written_day(iso: str, language: str) -> str:
    if len(iso) < 10:  # a year or a month: known no better
        return iso
    found = date.fromisoformat(iso[:10])
    if language == "zh":
        return f"{found.year}年{found.month}月{found.day}日"
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}"


def _written_moment(iso: str, language: str) -> str:
    found = datetime.fromisoformat(iso).astimezone(CIVIL_TIME)
    return f"{_written_day(found.isoformat(), language)} {found:%H:%M}"


_day = _marked(_written_day)
_moment = _marked(_written_moment)
