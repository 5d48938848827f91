"""Who a browser is signed in as: the suite's own OAuth client, its tokens kept in a sealed cookie.

Authorization code with PKCE (RFC 7636) and state, the answer's issuer checked (RFC 9207); refresh tokens are
good once; signing out ends the session at the issuer (RFC 7009).
"""

import asyncio
import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi.requests import Request
from starlette.responses import Response

from gateway.graphql_http import session_of
from gateway.pages import cookies
from gateway.pages.rendering import HTML_LANG, Language, query
from gateway.sessions import Session
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.problems import Problem

CLIENT = "huimin-web"
CALLBACK = "/signin/callback"
SESSION, ERRAND = "session", "errand"
SESSION_S = 12 * 3600
ERRAND_S = 600
EARLY_S = 30
"""A token that ends sooner than this is renewed before it is used."""
REMEMBERED_S = 60.0
"""How long a renewal is handed to others who come with the same refresh token."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the cookie holds.

    Attributes:
        until: when the access token ends, in seconds since the epoch.
        csrf: what every form of this session carries.
        name: the person's, as the population register has it; empty for staff.
    """

    access: str
    until: float
    refresh: str
    csrf: str
    name: str = ""


async def current(request: Request, kit: Kit) -> SignedIn | None:
    """Who the browser of this request is signed in as; looked up once a request.

    Raises:
        DomainError: the token has to be renewed, and identity does not answer.
    """
    if not hasattr(request.state, "signed_in"):
        kept = cookies.read(request, kit, SESSION)
        found = before = SignedIn(**kept) if kept else None
        if found is not None and found.until < time.time() + EARLY_S:
            found = await _renewals(kit).renewed(kit, found)
        request.state.signed_in, request.state.signed_in_before = found, before
    signed_in: SignedIn | None = request.state.signed_in
    return signed_in


def keep(request: Request, kit: Kit, response: Response) -> None:
    """Puts into the browser what this request changed about the session."""
    now = getattr(request.state, "signed_in", None)
    if now == getattr(request.state, "signed_in_before", None):
        return
    if now is None:
        cookies.drop(response, kit, SESSION)
    else:
        cookies.put(response, kit, SESSION, asdict(now), life_s=SESSION_S)


async def session(request: Request, kit: Kit) -> Session | None:
    """The GraphQL session of whoever is signed in."""
    found = await current(request, kit)
    if found is None:
        return None
    try:
        return session_of(kit, await kit.tokens.verify(found.access))
    except Problem:  # of another issuer or key: nothing to be had with it
        request.state.signed_in = None
        return None


def leave(request: Request, kit: Kit, language: Language, going_to: str) -> tuple[str, dict[str, Any]]:
    """Where to send the browser to sign in, and what it must bring back."""
    errand = {"state": secrets.token_urlsafe(24), "verifier": secrets.token_urlsafe(48), "next": going_to}
    challenge = hashlib.sha256(errand["verifier"].encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": _callback(request, kit),
        "scope": "me",
        "state": errand["state"],
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "ui_locales": HTML_LANG[language],
    }
    return f"/oauth/authorize?{urlencode(asked)}", errand


async def arrive(request: Request, kit: Kit, code: str, errand: dict[str, Any]) -> None:
    """Exchanges the code for a session, which this request's answer puts into the browser."""
    answer = await _asked(
        kit,
        "/oauth/token",
        grant_type="authorization_code",
        code=code,
        redirect_uri=_callback(request, kit),
        code_verifier=errand["verifier"],
    )
    request.state.signed_in_before = None
    request.state.signed_in = _signed_in(answer, csrf=secrets.token_urlsafe(24))
    found = await session(request, kit)
    if found is not None and found.principal.kind == "person":
        body = await kit.parts["graphql"].run(query("", "who"), found)
        name = ((body.get("data") or {}).get("me") or {}).get("name") or ""
        request.state.signed_in = replace(request.state.signed_in, name=name)


async def end(request: Request, kit: Kit) -> bool:
    """Signs the browser out; whether the issuer has ended the session as well."""
    found = await current(request, kit)
    request.state.signed_in = None
    try:
        if found is not None:
            await _asked(kit, "/oauth/revoke", token=found.refresh, token_type_hint="refresh_token")  # noqa: S106
    except DomainError:
        return False
    return True


def _callback(request: Request, kit: Kit) -> str:
    """Our address as this browser knows it: at home the suite goes by two names."""
    ours, asked = urlsplit(kit.settings.public_url), request.url
    if ours.hostname in _LOOPBACK and asked.hostname in _LOOPBACK and asked.port == ours.port:
        return f"{ours.scheme}://{asked.netloc}{CALLBACK}"
    return kit.settings.public_url + CALLBACK


def _signed_in(answer: dict[str, Any], *, csrf: str, name: str = "") -> SignedIn:
    until = time.time() + float(answer["expires_in"])
    return SignedIn(answer["access_token"], until, answer["refresh_token"], csrf, name)


async def _asked(kit: Kit, path: str, **form: str) -> dict[str, Any]:
    response = await kit.calls.request(
        "identity", "POST", path, data={**form, "client_id": CLIENT}, anonymous=True
    )
    return dict(response.json()) if response.content else {}


class _Renewals:
    """A refresh token is good once, and a second use ends the session: who comes at once shares a renewal."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, asyncio.Task[SignedIn | None]]] = OrderedDict()

    async def renewed(self, kit: Kit, old: SignedIn) -> SignedIn | None:
        """The session with fresh tokens; None when it has ended."""
        now = time.monotonic()
        while self._known and next(iter(self._known.values()))[0] < now:
            self._known.popitem(last=False)
        if old.refresh not in self._known:
            self._known[old.refresh] = now + REMEMBERED_S, asyncio.create_task(_renew(kit, old))
        try:
            return await asyncio.shield(self._known[old.refresh][1])
        except DomainError:
            self._known.pop(old.refresh, None)
            raise


async def _renew(kit: Kit, old: SignedIn) -> SignedIn | None:
    try:
        answer = await _asked(kit, "/oauth/token", grant_type="refresh_token", refresh_token=old.refresh)
    except DomainError as error:
        if error.code in {"BAD_USER_INPUT", "UNAUTHENTICATED"}:  # invalid_grant: it has ended
            return None
        raise
    return _signed_in(answer, csrf=old.csrf, name=old.name)


def _renewals(kit: Kit) -> _Renewals:
    found = kit.parts.setdefault("renewals", _Renewals())
    assert isinstance(found, _Renewals)
    return found
