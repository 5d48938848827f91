"""The start page, the demo's query editor, and the files they need."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from fastapi import Query
from fastapi.requests import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import FileResponse, HTMLResponse, Response

from gateway.graphql_http import open_session
from services.kit.app import KitDep, Router
from services.kit.problems import not_found

HERE = Path(__file__).parent
STATIC = HERE / "static"
Language = Literal["zh", "en"]
HTML_LANG = {"zh": "zh-Hans", "en": "en"}
LEVELS = (80, 90, 100)
CSP = (
    "default-src 'self'; connect-src 'self' ws: wss:; worker-src 'self' blob:; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
# The editor's own library writes style elements and carries its fonts inline.
EDITOR_CSP = CSP + "; style-src 'self' 'unsafe-inline'; font-src 'self' data:"

router = Router(include_in_schema=False)


@cache
def texts(language: Language) -> dict[str, str]:
    found: dict[str, str] = orjson.loads((HERE / "locales" / f"{language}.json").read_bytes())
    return found


@cache
def query(name: str) -> str:
    return (HERE / "queries" / f"{name}.graphql").read_text()


@cache
def static_url(name: str) -> str:
    """The file's address with a hash of its content, so that it may be kept for good."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_url
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment


def language_of(request: Request, asked: Language | None) -> Language:
    """The language asked for; otherwise what the browser prefers, Chinese when it has no opinion."""
    if asked is not None:
        return asked
    for part in request.headers.get("accept-language", "").split(","):
        prefix = part.strip().lower()[:2]
        if prefix in {"zh", "en"}:
            return "zh" if prefix == "zh" else "en"
    return "zh"


def render(template: str, language: Language, *, csp: str = CSP, **values: Any) -> HTMLResponse:
    text = (
        _templates()
        .get_template(template)
        .render(t=texts(language), lang=language, html_lang=HTML_LANG[language], **values)
    )
    return HTMLResponse(
        text, headers={"content-security-policy": csp, "cache-control": "no-store", "vary": "accept-language"}
    )


@router.get("/")
async def start(
    request: Request,
    kit: KitDep,
    lang: Annotated[Language | None, Query()] = None,
    size: Annotated[Literal["normal", "large"], Query()] = "normal",
) -> Response:
    language = language_of(request, lang)
    answer = await kit.parts["graphql"].run(query("start"), await open_session(request))
    data = answer.get("data") or {}
    zones = (data.get("zones") or {}).get("nodes") or []
    return render(
        "start.html",
        language,
        size=size,
        services=data.get("suite") or [],
        zones=sorted(zones, key=lambda zone: -(zone["share"] or 0)),
        zones_known=data.get("zones") is not None,
        warnings=((data.get("warnings") or {}).get("nodes")) or [],
        levels=LEVELS,
        demo=kit.settings.demo,
    )


async def editor(request: Request, kit: Any) -> Response:
    """GraphiQL with ready queries; in the demo only."""
    asked = request.query_params.get("ui_locales")
    language = language_of(request, asked if asked in {"zh", "en"} else None)  # type: ignore[arg-type]
    tabs = [{"query": path.read_text()} for path in sorted((HERE / "queries" / "ready").glob("*.graphql"))]
    settings = {"client": "huimin-web", "lang": HTML_LANG[language], "queries": tabs}
    return render("graphiql.html", language, csp=EDITOR_CSP, size="normal", settings=settings)


@router.get("/static/{name:path}")
async def static(name: str, v: Annotated[str | None, Query()] = None) -> Response:
    try:
        path = (STATIC / name).resolve()
        found = path.is_file() and STATIC in path.parents
    except (ValueError, OSError):  # no name a file could have
        found = False
    if not found:
        raise not_found("there is no such file")
    kept = "public, max-age=31536000, immutable" if v else "no-cache"
    return FileResponse(path, headers={"cache-control": kept})
