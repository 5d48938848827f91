"""The authorization endpoint: a browser comes with a client's request and leaves with a code.

Either the person signs in on our own page, or at the outside issuer when one is set.
"""

import secrets
from collections.abc import Mapping

from fastapi import APIRouter
from fastapi.requests import Request
from starlette.responses import RedirectResponse, Response

from services.identity import scopes, signin
from services.identity.clients import WEB_CLIENT, Client
from services.identity.oauth.pages import page, stopped, texts
from services.identity.oauth.requests import (
    SIGN_IN_WITHIN_S,
    AuthorizationRequest,
    Carrier,
    Misformed,
    NotTrusted,
    parse,
    redirect_to,
)
from services.identity.oauth.token import FORM
from services.identity.outside import Errand, OutsideIssuer
from services.identity.repository import access
from services.identity.signin import Doorman, SignInRefused
from services.kit import telemetry
from services.kit.app import Kit, KitDep
from services.kit.database import Row
from services.kit.problems import Problem
from services.kit.purposes import OWN_RECORDS

COOKIE = "huimin_signin"
ERRAND_COOKIE = "huimin_errand"
router = APIRouter(include_in_schema=False)


@router.get("/authorize")
async def ask(request: Request, kit: KitDep) -> Response:
    """RFC 6749 section 4.1.1, with PKCE (RFC 7636) and the issuer in the answer (RFC 9207)."""
    params = _single(request.query_params.multi_items())
    client: Client | None = await kit.parts["clients"].find(params.get("client_id", ""))
    try:
        wanted = parse(params, client)
    except NotTrusted:
        return stopped("unknown_client", status=400)
    except Misformed as wrong:
        return _sent_back(kit, wrong)
    assert client is not None
    browser = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
    outside: OutsideIssuer | None = kit.parts["outside"]
    if outside is None:
        answer: Response = _page(kit, client, wanted, browser)
    else:
        answer = await _sent_outside(kit, outside, wanted, browser)
    return _remembered(kit, answer, COOKIE, browser)


@router.post("/authorize")
async def answer(request: Request, kit: KitDep) -> Response:
    """The sign-in page's form. It counts only from the browser and the origin it was made for."""
    if request.headers.get("content-type", "").partition(";")[0] != FORM or not _same_origin(request):
        return stopped("expired", status=403)
    async with request.form(max_files=0, max_fields=10) as form:
        fields = _single([(name, str(value)) for name, value in form.multi_items()])
    carrier: Carrier = kit.parts["carrier"]
    browser = request.cookies.get(COOKIE, "")
    found = carrier.open(fields.get("request", ""), browser)
    client: Client | None = await kit.parts["clients"].find(found[0].client_id) if found else None
    if found is None or client is None or kit.parts["outside"] is not None:
        return stopped("expired", status=403)
    doorman: Doorman = kit.parts["doorman"]
    address = request.client.host if request.client else "unknown"
    name = fields.get("username", "")[:64]
    try:
        account = await doorman.sign_in(name, fields.get("password", "")[:200], address)
    except SignInRefused as refused:
        return _page(kit, client, found[0], browser, refused=refused, username=name)
    return await _let_in(kit, client, found[0], account)


@router.get("/callback")
async def back(request: Request, kit: KitDep) -> Response:
    """The browser comes back from the outside issuer."""
    outside: OutsideIssuer | None = kit.parts["outside"]
    carrier: Carrier = kit.parts["carrier"]
    found = carrier.open(request.cookies.get(ERRAND_COOKIE, ""), request.cookies.get(COOKIE, ""))
    client: Client | None = await kit.parts["clients"].find(found[0].client_id) if found else None
    if outside is None or found is None or client is None:
        return stopped("expired", status=403)
    wanted, more = found
    errand = Errand(more["state"], more["nonce"], more["verifier"])
    try:
        subject = await outside.subject(_single(request.query_params.multi_items()), errand)
    except Problem as problem:
        telemetry.logger("identity").warning("outside sign-in failed", extra={"reason": problem.detail})
        return _forgotten(stopped("outside_failed", status=502))
    async with kit.db.read() as db:
        account = await access.account_by_external(db, outside.issuer, subject)
    if account is None:
        return _forgotten(stopped("not_linked", status=403, reference=subject))
    return _forgotten(await _let_in(kit, client, wanted, account))


async def _let_in(kit: Kit, client: Client, wanted: AuthorizationRequest, account: Row) -> Response:
    async with kit.db.transaction() as tx:
        code = await signin.open_session(
            tx,
            account=account,
            client=client,
            asked=wanted.scope.split(),
            redirect_uri=wanted.redirect_uri,
            code_challenge=wanted.code_challenge,
            nonce=wanted.nonce,
        )
        await tx.leaf(
            action="session.opened",
            subject=kit.parts["register"].sectors.id_of("identity", account["pid"])
            if account["pid"]
            else None,
            resource=f"clients/{client.client_id}",
            purpose=OWN_RECORDS if account["pid"] else None,
        )
    target = redirect_to(wanted.redirect_uri, kit.settings.issuer, code=code, state=wanted.state)
    return RedirectResponse(target, 303, headers={"cache-control": "no-store"})


async def _sent_outside(
    kit: Kit, outside: OutsideIssuer, wanted: AuthorizationRequest, browser: str
) -> Response:
    errand = Errand.new()
    try:
        address = await outside.address(errand)
    except Problem as problem:
        telemetry.logger("identity").warning("outside issuer not usable", extra={"reason": problem.detail})
        return stopped("outside_failed", status=502)
    carrier: Carrier = kit.parts["carrier"]
    sealed = carrier.seal(wanted, browser, state=errand.state, nonce=errand.nonce, verifier=errand.verifier)
    answer = RedirectResponse(address, 303, headers={"cache-control": "no-store"})
    return _remembered(kit, answer, ERRAND_COOKIE, sealed)


def _page(
    kit: Kit,
    client: Client,
    wanted: AuthorizationRequest,
    browser: str,
    *,
    refused: SignInRefused | None = None,
    username: str = "",
) -> Response:
    alert = None if refused is None else "locked" if refused.wait_s else "wrong"
    answer = page(
        "signin.html",
        status=200 if refused is None else 429 if refused.wait_s else 401,
        returns_to=wanted.redirect_uri,
        sealed=kit.parts["carrier"].seal(wanted, browser),
        app=client.name,
        asks=_asks(client, wanted),
        alert=alert,
        wait=refused.wait_s if refused else 0,
        username=username,
    )
    if refused is not None and refused.wait_s:
        answer.headers["retry-after"] = str(refused.wait_s)
    return answer


def _asks(client: Client, wanted: AuthorizationRequest) -> list[str]:
    """What an app that is not ours will see; our own pages show people nothing but their own data."""
    if client.client_id == WEB_CLIENT:
        return []
    given, _ = scopes.narrowed(scopes.of_session("person", ()), wanted.scope.split())
    words = texts("zh")
    return sorted({scopes.widest(scope) for scope in given if f"scope.{scopes.widest(scope)}" in words})


def _sent_back(kit: Kit, wrong: Misformed) -> Response:
    target = redirect_to(
        wrong.redirect_uri,
        kit.settings.issuer,
        error=wrong.error,
        error_description=wrong.description,
        state=wrong.state,
    )
    return RedirectResponse(target, 303, headers={"cache-control": "no-store"})


def _single(items: list[tuple[str, str]]) -> Mapping[str, str]:
    """Parameters by name; of one that stands twice nothing is believed (RFC 6749 section 3.1)."""
    names = [name for name, _ in items]
    return {name: value for name, value in items if names.count(name) == 1}


def _same_origin(request: Request) -> bool:
    """Against forged forms, besides the cookie: browsers name where a form was sent from."""
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _remembered(kit: Kit, answer: Response, name: str, value: str) -> Response:
    answer.set_cookie(
        name,
        value,
        max_age=SIGN_IN_WITHIN_S,
        path="/oauth",
        httponly=True,
        secure=kit.settings.public_url.startswith("https:"),
        samesite="lax",
    )
    return answer


def _forgotten(answer: Response) -> Response:
    answer.delete_cookie(ERRAND_COOKIE, path="/oauth")
    return answer
