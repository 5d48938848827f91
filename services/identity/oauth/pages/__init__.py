"""The sign-in page and the page that says why there is none: Chinese and English together, no scripts."""

import secrets
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import HTMLResponse

HERE = Path(__file__).parent
LOCALES = HERE.parent.parent / "locales"


@cache
def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = orjson.loads((LOCALES / f"{language}.json").read_bytes())
    return found


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["both"] = both
    return environment


def both(key: str, **values: object) -> Markup:
    """The text in both languages, each marked as what it is."""
    zh, en = (texts(language)[key].format(**values) for language in ("zh", "en"))
    return Markup('<span lang="zh-Hans">{}</span> <span lang="en">{}</span>').format(zh, en)


def page(template: str, *, status: int = 200, returns_to: str | None = None, **values: Any) -> HTMLResponse:
    """A page with the policies it needs.

    Args:
        returns_to: where the form's answer redirects to; browsers hold form-action against it as well.
    """
    nonce = secrets.token_urlsafe(16)
    target = f" {_origin(returns_to)}" if returns_to else ""
    text = _templates().get_template(template).render(nonce=nonce, **values)
    return HTMLResponse(
        text,
        status_code=status,
        headers={
            "content-security-policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'{target}; "
                "frame-ancestors 'none'; base-uri 'none'"
            ),
            "x-frame-options": "DENY",
            # With no-referrer browsers would send the form with "Origin: null".
            "referrer-policy": "same-origin",
            "cache-control": "no-store",
        },
    )


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


def stopped(reason: str, *, status: int, reference: str | None = None) -> HTMLResponse:
    """Why there is no sign-in, and what to do."""
    return page("stopped.html", status=status, reason=reason, reference=reference)
