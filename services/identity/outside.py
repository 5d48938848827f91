"""An outside OpenID Connect issuer that people sign in at instead of here, found by discovery.

Code flow with PKCE and a nonce; the id token is checked against the issuer's published keys. Who somebody is
here follows from (issuer, subject) alone: nothing else the outside says is believed.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet

from services.identity.signin import challenge_of
from services.kit.principals import NOT_A_TOKEN
from services.kit.problems import Problem
from services.kit.settings import Settings

CALLBACK = "/oauth/callback"
ALGORITHMS = ["ES256", "ES384", "RS256", "PS256", "Ed25519"]
KNOWN_FOR_S = 600.0
DEADLINE_S = 8.0
LEEWAY_S = 60
_SIGNING_TYPES = {"EC", "RSA", "OKP"}


@dataclass(frozen=True, slots=True)
class Errand:
    """What must come back unchanged from the outside issuer."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> "Errand":
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))


@dataclass(frozen=True, slots=True)
class _Known:
    metadata: Mapping[str, Any]
    keys: KeySet
    at: float


def not_signed_in(detail: str) -> Problem:
    return Problem(502, "outside_issuer", detail)


class OutsideIssuer:
    """The issuer of HUIMIN_OIDC_ISSUER as this process last found it."""

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        self.issuer = settings.oidc_issuer.rstrip("/")
        self._settings = settings
        self._callback = settings.public_url + CALLBACK
        self._known: _Known | None = None

    async def address(self, errand: Errand) -> str:
        """Where the browser goes to sign in."""
        known = await self._discovered()
        query = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self._callback,
            "scope": "openid",
            "state": errand.state,
            "nonce": errand.nonce,
            "code_challenge": challenge_of(errand.verifier),
            "code_challenge_method": "S256",
        }
        endpoint = str(known.metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def subject(self, answer: Mapping[str, str], errand: Errand) -> str:
        """Who came back, as the outside issuer names them.

        Raises:
            Problem: the answer is not one to this errand, or its token does not verify.
        """
        if "error" in answer:
            raise not_signed_in(f"the outside issuer answered {answer['error']}")
        if not secrets.compare_digest(answer.get("state", "").encode(), errand.state.encode()):
            raise not_signed_in("the answer belongs to another sign-in")
        if answer.get("iss", self.issuer) != self.issuer:
            raise not_signed_in("the answer comes from another issuer")
        known = await self._discovered()
        token = await self._redeemed(known, answer.get("code", ""), errand)
        try:
            claims = jwt.decode(token, known.keys, algorithms=ALGORITHMS).claims
        except NOT_A_TOKEN:
            # The keys may just have been rotated: look once more.
            known = await self._discovered(again=True)
            try:
                claims = jwt.decode(token, known.keys, algorithms=ALGORITHMS).claims
            except NOT_A_TOKEN as error:
                raise not_signed_in("the id token does not verify") from error
        return self._checked(claims, errand)

    def _checked(self, claims: Mapping[str, Any], errand: Errand) -> str:
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        us = self._settings.oidc_client_id
        if claims.get("iss") != self.issuer:
            raise not_signed_in("the id token is another issuer's")
        if not isinstance(audiences, list) or us not in audiences or claims.get("azp", us) != us:
            raise not_signed_in("the id token is for another client")
        if not isinstance(claims.get("exp"), int | float) or claims["exp"] + LEEWAY_S < time.time():
            raise not_signed_in("the id token has expired")
        if not secrets.compare_digest(str(claims.get("nonce", "")), errand.nonce):
            raise not_signed_in("the id token belongs to another sign-in")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise not_signed_in("the id token names nobody")
        return str(claims["sub"])

    async def _redeemed(self, known: _Known, code: str, errand: Errand) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "code_verifier": errand.verifier,
            "client_id": self._settings.oidc_client_id,
        }
        secret = self._settings.oidc_client_secret
        auth = None
        if secret is not None:
            auth = httpx.BasicAuth(self._settings.oidc_client_id, secret.get_secret_value())
        answer = await self._asked("POST", str(known.metadata["token_endpoint"]), data=form, auth=auth)
        if not isinstance(answer.get("id_token"), str):
            raise not_signed_in("the outside issuer gave no id token")
        return str(answer["id_token"])

    async def _discovered(self, *, again: bool = False) -> _Known:
        if self._known is None or again or time.monotonic() - self._known.at > KNOWN_FOR_S:
            metadata = await self._asked("GET", f"{self.issuer}/.well-known/openid-configuration")
            if metadata.get("issuer") != self.issuer:
                raise not_signed_in("what was found at the outside issuer names another issuer")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                _secure(str(metadata.get(name, "")))
            found = await self._asked("GET", str(metadata["jwks_uri"]))
            usable = [key for key in found.get("keys", ()) if key.get("kty") in _SIGNING_TYPES]
            self._known = _Known(metadata, KeySet.import_key_set({"keys": usable}), time.monotonic())
        return self._known

    async def _asked(self, method: str, url: str, **kwargs: Any) -> dict[str, Any]:
        _secure(url)
        try:
            async with httpx.AsyncClient(timeout=DEADLINE_S, follow_redirects=False) as http:
                response = await http.request(method, url, headers={"accept": "application/json"}, **kwargs)
                answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise not_signed_in("the outside issuer does not answer as it should") from error
        if response.status_code != 200 or not isinstance(answer, dict):
            raise not_signed_in(f"the outside issuer answered {response.status_code}")
        return answer


def _secure(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise not_signed_in("the outside issuer must be reached by https")
