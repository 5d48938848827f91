"""The start page, and the demo's query editor."""

from typing import Any

from fastapi.requests import Request
from starlette.responses import Response

from gateway.pages import frame
from gateway.pages.rendering import CSP, HERE, HTML_LANG
from services.kit.app import KitDep

LEVELS = (80, 90, 100)
# The editor's own library writes style elements and carries its fonts inline.
EDITOR_CSP = CSP + "; style-src 'self' 'unsafe-inline'; font-src 'self' data:"

router = frame.Router()


@router.get("/")
async def start(request: Request, kit: KitDep, lang: frame.Lang = None, size: frame.Text = None) -> Response:
    page = await frame.open(request, lang, size)
    data, _ = await page.run("start")
    zones = (data.get("zones") or {}).get("nodes") or []
    return page.render(
        "start.html",
        services=data.get("suite") or [],
        zones=sorted(zones, key=lambda zone: -(zone["share"] or 0)),
        zones_known=data.get("zones") is not None,
        warnings=((data.get("warnings") or {}).get("nodes")) or [],
        levels=LEVELS,
        demo=kit.settings.demo,
    )


async def editor(request: Request, _kit: Any) -> Response:
    """GraphiQL with ready queries; in the demo only."""
    asked = request.query_params.get("ui_locales")
    page = await frame.open(request, asked if asked in {"zh", "en"} else None)  # type: ignore[arg-type]
    ready = sorted((HERE / "start" / "queries" / "ready").glob("*.graphql"))
    settings = {
        "client": "huimin-web",
        "lang": HTML_LANG[page.language],
        "queries": [{"query": path.read_text()} for path in ready],
    }
    return page.render("graphiql.html", csp=EDITOR_CSP, settings=settings)
