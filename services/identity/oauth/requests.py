"""Authorization requests (RFC 6749 section 4.1.1 with RFC 7636), and how one is carried through sign-in."""

import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import orjson
from cryptography.exceptions import InvalidTag

from services.identity.clients import Client
from services.identity.vault import Box

SIGN_IN_WITHIN_S = 600
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    client_id: str
    redirect_uri: str
    code_challenge: str
    scope: str = ""
    state: str | None = None
    nonce: str | None = None
    ui_locales: str | None = None


class NotTrusted(Exception):
    """A request whose client or redirect_uri is not known: answered on a page, never by a redirect."""


@dataclass
class Misformed(Exception):
    """A request that is wrong in another way: told to the client at its own address."""

    redirect_uri: str
    state: str | None
    error: str
    description: str


def parse(params: Mapping[str, str], client: Client | None) -> AuthorizationRequest:
    """Checks an authorization request.

    Raises:
        NotTrusted: unknown client, or an address that is not registered for it.
        Misformed: anything else OAuth 2.1 refuses.
    """
    uri = params.get("redirect_uri", "")
    if client is None or not client.redirect_uris:
        raise NotTrusted("client_id")
    if not client.redirects_to(uri):
        raise NotTrusted("redirect_uri")

    def refuse(error: str, description: str) -> Misformed:
        return Misformed(uri, params.get("state"), error, description)

    if params.get("response_type") != "code":
        raise refuse("unsupported_response_type", "response_type must be code")
    if params.get("code_challenge_method") != "S256":
        raise refuse("invalid_request", "code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(params.get("code_challenge", "")):
        raise refuse("invalid_request", "code_challenge must be 43 base64url characters (PKCE, RFC 7636)")
    if params.get("prompt") == "none":
        raise refuse("login_required", "every sign-in here asks the person")
    return AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri=uri,
        code_challenge=params["code_challenge"],
        scope=params.get("scope", ""),
        state=params.get("state"),
        nonce=params.get("nonce"),
        ui_locales=params.get("ui_locales"),
    )


def redirect_to(uri: str, issuer: str, **params: str | None) -> str:
    """The client's address with the answer and, against mix-up, who answers (RFC 9207)."""
    said = {name: value for name, value in {**params, "iss": issuer}.items() if value is not None}
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(said)}"


class Carrier:
    """Carries a request through the sign-in without keeping it here: sealed, dated, bound to one browser.

    Only the browser whose cookie it was sealed for can send it back, which is what stops a forged form.
    """

    def __init__(self, key: bytes) -> None:
        self._box = Box(key)

    def seal(self, request: AuthorizationRequest, browser: str, **more: str) -> str:
        said = {"request": asdict(request), "until": time.time() + SIGN_IN_WITHIN_S, **more}
        return urlsafe_b64encode(self._box.seal(orjson.dumps(said), f"sign-in/{browser}")).decode()

    def open(self, sealed: str, browser: str) -> tuple[AuthorizationRequest, dict[str, Any]] | None:
        """What was sealed for this browser; None when it was not, or too long ago."""
        try:
            said = orjson.loads(self._box.open(urlsafe_b64decode(sealed), f"sign-in/{browser}"))
        except (InvalidTag, ValueError):
            return None
        if not browser or said["until"] < time.time():
            return None
        return AuthorizationRequest(**said.pop("request")), said
