"""What every page is made with: who looks, in which language, the answers of GraphQL, forms and notices.

A door of a set of pages, and one for a form that stands on it:

    @router.get("/me/consents")
    async def consents(request: Request, lang: frame.Lang = None, size: frame.Text = None) -> Response:
        page = await frame.open(request, lang, size)
        data, errors = await page.run("consents")
        return page.render("consents.html", consents=data.get("me"), errors=errors)

    @router.post("/me/consents/revoke")
    async def revoke(request: Request) -> Response:
        page = await frame.open(request)
        form = await frame.form(request, "id")
        _, errors = await page.run("revoke", id=form["id"])
        return frame.back(request, "/me/consents", notice="consent_revoked", errors=errors)
"""

import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from fastapi.requests import Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.graphql_http import session_of
from gateway.pages import PAGES, PageSet, cookies, page_set_of, signin
from gateway.pages.rendering import CSP, Language, Size, query, render, texts
from gateway.sessions import Session
from services.kit import app as kit_app
from services.kit.app import Kit, kit_of
from services.kit.principals import ANONYMOUS, Principal
from services.kit.problems import Problem
from services.kit.rendering import problem_of

Lang = Annotated[Language | None, Query()]
Text = Annotated[Size | None, Query()]
VIEW, NOTICE = "huimin_view", "notice"
VIEW_S = 365 * 86400
NOTICE_S = 60
FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 200
MAX_FIELD_CHARACTERS = 4000
MAX_SENTENCES, MAX_SENTENCE = 4, 200


class SignInNeeded(Exception):
    """Nobody is signed in: the browser is sent to do so, and comes back."""


class _PageRoute(kit_app.StrictRoute):
    """A door for people: what goes wrong is told on a page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except SignInNeeded:
                return sign_in(request)
            except Exception as error:  # noqa: BLE001 - a person gets a page, whatever it was
                return await _failed(request, problem_of(error))

        return shown


class Router(kit_app.Router):
    """The router of a set of pages."""

    def __init__(self) -> None:
        super().__init__(route_class=_PageRoute, include_in_schema=False)


@dataclass
class Page:
    """One page for one request."""

    request: Request
    kit: Kit
    pages: PageSet | None
    language: Language
    size: Size
    session: Session | None
    """Whoever is signed in; None for nobody."""
    csrf: str = ""
    name: str = ""

    @property
    def folder(self) -> str:
        return self.pages.name if self.pages else ""

    @property
    def t(self) -> dict[str, str]:
        return texts(self.folder, self.language)

    @property
    def principal(self) -> Principal:
        return self.session.principal if self.session else ANONYMOUS

    async def run(self, name: str, **variables: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """`queries/<name>.graphql` on behalf of whoever is signed in: its data, and its errors."""
        return await self.run_of(self.folder, name, **variables)

    async def run_of(
        self, folder: str, name: str, **variables: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The same with another folder's query."""
        session = self.session or session_of(self.kit, ANONYMOUS)
        body = await self.kit.parts["graphql"].run(query(folder, name), session, variables)
        return body.get("data") or {}, body.get("errors") or []

    def render(self, template: str, *, status: int = 200, csp: str = CSP, **values: Any) -> HTMLResponse:
        """The answer. Beside `values` a template has t, lang, size, page, csrf and notices."""
        response = render(
            self.folder,
            template,
            self.language,
            status=status,
            csp=csp,
            size=self.size,
            page=self,
            csrf=Markup('<input type="hidden" name="csrf" value="{}">').format(self.csrf),
            notices=self._notices(),
            **values,
        )
        if self.request.cookies.get(VIEW) != f"{self.language}.{self.size}":
            response.set_cookie(
                VIEW, f"{self.language}.{self.size}", max_age=VIEW_S, httponly=True, samesite="lax"
            )
        if cookies.read(self.request, self.kit, NOTICE) is not None:
            cookies.drop(response, self.kit, NOTICE)
        signin.keep(self.request, self.kit, response)
        return response

    def here(self, **changed: str | None) -> str:
        """This page's address with some parameters changed, or left out where None."""
        given = {**self.request.query_params, **changed}
        said = urlencode({name: value for name, value in given.items() if value is not None})
        return f"{self.request.url.path}?{said}" if said else self.request.url.path

    def nav(self) -> list[tuple[str, str, bool]]:
        """Address, name, and whether we are there, of what this session may open."""
        return [
            (one.path, texts(one.name, self.language)[f"nav_{one.name}"], one is self.pages)
            for one in PAGES
            if one.kinds and (one.opens_to(self.principal) or (not self.session and "person" in one.kinds))
        ]

    def who(self) -> str:
        """Who is signed in, in words: a person's name, or what the staff member is."""
        roles = (self.t.get(f"role_{role}", role) for role in sorted(self.principal.roles))
        return self.name or " · ".join(roles) or self.t[f"kind_{self.principal.kind}"]

    def words(self, errors: Iterable[dict[str, Any]]) -> list[str]:
        """Errors of GraphQL as sentences for a person, each said once."""
        return _sentences(self.t, errors)

    def trouble(self, errors: Iterable[dict[str, Any]], *path: str) -> str | None:
        """Why the field at this path has no answer; None when nothing is known to be wrong with it."""
        for error in errors:
            found = error.get("path") or []
            if found[: len(path)] == list(path) or list(path)[: len(found)] == found:
                return _sentence(self.t, error)
        return None

    def _notices(self) -> list[tuple[str, bool]]:
        """What the form sent before this page came to: each sentence, and whether it is bad news."""
        kept = cookies.read(self.request, self.kit, NOTICE) or {"bad": [], "key": ""}
        bad = [(words, True) for words in kept["bad"]]
        return bad or [(self.t[key], False) for key in [kept["key"]] if key in self.t]


async def open(request: Request, lang: Language | None = None, size: Size | None = None) -> Page:
    """The page asked for, once it is clear that whoever is signed in may open it.

    Raises:
        SignInNeeded: it is not for everybody, and nobody is signed in.
        Problem: 403, it is not for this account.
    """
    kit = kit_of(request)
    page = await _page(request, kit, lang, size)
    if page.pages is not None and not page.pages.opens_to(page.principal):
        if page.session is None:
            raise SignInNeeded
        raise Problem(403, "wrong_role", f"{page.pages.path} is not for this account")
    return page


def sign_in(request: Request) -> Response:
    """To the sign-in page, and back to where we are; from a form, to the page it stood on."""
    back_to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "GET":
        found = page_set_of(request.url.path)
        back_to = found.path if found else "/"
    answer = RedirectResponse(f"/signin?{urlencode({'next': back_to})}", 303)
    signin.keep(request, kit_of(request), answer)
    return answer


class Form(dict[str, str]):
    """The fields of a form, each stripped; one that was not sent is empty."""

    def __init__(self, known: Iterable[str], sent: dict[str, list[str]]) -> None:
        super().__init__({name: " ".join(sent.get(name, ())).strip() for name in known})
        self._sent = sent

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be chosen more than once."""
        return self._sent.get(name, [])


async def form(request: Request, *fields: str, many: Iterable[str] = ()) -> Form:
    """The form sent by a page of ours, with no fields but these.

    Args:
        many: fields that may stand more than once.

    Raises:
        SignInNeeded: the session has ended meanwhile.
        Problem: 403 when another site's page sent it; 422 for a field that is not known, or too long.
    """
    kit, known = kit_of(request), {*fields, *many}
    sent = await _sent(request)
    signed_in = await signin.current(request, kit)
    if not _same_origin(request):
        raise _forged("it was not sent from a page of ours")
    if signed_in is None:
        raise SignInNeeded
    if not secrets.compare_digest(sent.pop("csrf", [""])[0].encode(), signed_in.csrf.encode()):
        raise _forged("it does not belong to this session")
    unknown = [name for name in sent if name not in known]
    twice = [name for name, values in sent.items() if len(values) > 1 and name not in many]
    if unknown or twice:
        raise Problem(422, "unknown_field", f"unknown or repeated field {', '.join([*unknown, *twice])}")
    return Form(known, sent)


def back(
    request: Request, to: str, *, notice: str | None = None, errors: Iterable[dict[str, Any]] = ()
) -> Response:
    """After a form: to a page of ours, which says what came of it.

    Args:
        notice: key of the text to show there; `errors` of GraphQL, if there are any, are shown instead.
    """
    kit = kit_of(request)
    answer = RedirectResponse(local(to), 303, headers={"cache-control": "no-store"})
    found, (language, _) = page_set_of(request.url.path), view(request)
    t = texts(found.name if found else "", language)
    bad = [words[:MAX_SENTENCE] for words in _sentences(t, errors)][:MAX_SENTENCES]
    if bad or notice:
        cookies.put(answer, kit, NOTICE, {"bad": bad, "key": notice}, life_s=NOTICE_S)
    signin.keep(request, kit, answer)
    return answer


def local(path: str) -> str:
    """The path if it leads nowhere but to this origin; the start page otherwise."""
    # Browsers take a backslash for a slash, and leave out control characters, before they look.
    plain = all("!" <= character <= "~" for character in path) and "\\" not in path
    return path if plain and path.startswith("/") and not path.startswith("//") else "/"


async def _page(request: Request, kit: Kit, lang: Language | None, size: Size | None) -> Page:
    language, text = view(request, lang, size)
    session = await signin.session(request, kit)
    page = Page(request, kit, page_set_of(request.url.path), language, text, session)
    signed_in = await signin.current(request, kit)
    if signed_in is not None:
        page.csrf, page.name = signed_in.csrf, signed_in.name
    request.state.page = page
    return page


async def _failed(request: Request, problem: Problem) -> Response:
    """The page that says what went wrong; with nobody signed in where not even that can be found out."""
    kit = kit_of(request)
    try:
        page = getattr(request.state, "page", None) or await _page(request, kit, None, None)
    except Exception:  # noqa: BLE001 - the first trouble is the one to tell of
        page = Page(request, kit, page_set_of(request.url.path), *view(request), None)
    known = (problem.code, str(problem.status), "500")
    kind = next(kind for kind in known if f"problem_{kind}" in page.t)
    answer = page.render("problem.html", status=problem.status, kind=kind, problem=problem)
    answer.headers.update(problem.headers)
    return answer


def view(request: Request, lang: Language | None = None, size: Size | None = None) -> tuple[Language, Size]:
    """As asked for; otherwise as last time; otherwise as the browser prefers, Chinese without an opinion."""
    kept_lang, _, kept_size = request.cookies.get(VIEW, "").partition(".")
    language: Language = "zh"
    wanted = [lang or kept_lang, *request.headers.get("accept-language", "").split(",")]
    for prefix in (part.strip().lower()[:2] for part in wanted):
        if prefix in {"zh", "en"}:
            language = "zh" if prefix == "zh" else "en"
            break
    return language, size or ("large" if kept_size == "large" else "normal")


async def _sent(request: Request) -> dict[str, list[str]]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Problem(415, "not_a_form", f"send the form as {FORM}")
    found: dict[str, list[str]] = {}
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as sent:
        for name, value in sent.multi_items():
            if len(str(value)) > MAX_FIELD_CHARACTERS:
                raise Problem(422, "too_long", f"{name} is longer than {MAX_FIELD_CHARACTERS} characters")
            found.setdefault(name, []).append(str(value))
    return found


def _same_origin(request: Request) -> bool:
    """Browsers say where a form was sent from, in either header (Fetch Metadata; RFC 6454)."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    return site in {None, "same-origin"} and (
        origin is None or origin.partition("://")[2] == request.headers.get("host")
    )


def _forged(why: str) -> Problem:
    return Problem(403, "forged_form", f"the form was not taken: {why}; open the page again")


def _sentences(t: dict[str, str], errors: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(_sentence(t, error) for error in errors))


def _sentence(t: dict[str, str], error: dict[str, Any]) -> str:
    """What an error of GraphQL means to a person.

    What a service finds wrong with their input is said in the page's words for its code (`fault_<code>`), or
    else in the service's own.
    """
    extensions = error.get("extensions") or {}
    code = str(extensions.get("code", "INTERNAL")).lower()
    words = [t.get(f"error_{code}", t["error_internal"])]
    if code == "bad_user_input":
        faults = extensions.get("errors") or [{"message": error.get("message", "")}]
        words += [t.get(f"fault_{fault.get('code')}", str(fault.get("message"))) for fault in faults]
    service = t.get(f"service_{extensions.get('service')}")
    return (f"{service}{t['colon']}" if service else "") + " ".join(words)
