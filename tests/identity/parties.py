"""The other parties of identity's doors: organisations with keys, browsers, an attacker's hands."""

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from services.kit.check_characters import citizen_check_digit
from services.kit.client_keys import service_key
from services.kit.settings import Settings

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CITIZEN_NUMBER = "urn:huimin:id:citizen-number"
CALLBACK = "http://127.0.0.1:8000/gateway/callback"
PASSWORD = "correct horse battery"


def citizen_number(born: date = date(1985, 3, 14), sequence: int = 1, area: str = "330106") -> str:
    """A number that checks; odd sequences are men's."""
    body = f"{area}{born:%Y%m%d}{sequence:03d}"
    return body + citizen_check_digit(body)


def person(ref: str, *identifiers: tuple[str, str], **attributes: Any) -> dict[str, Any]:
    return {
        "ref": ref,
        "identifiers": [{"system": system, "value": value} for system, value in identifiers],
        **attributes,
    }


@dataclass
class Machine:
    """A client that proves itself with a key."""

    client_id: str
    issuer: str
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", private=True))

    @classmethod
    def service(cls, settings: Settings, name: str) -> "Machine":
        return cls(f"service:{name}", settings.issuer, service_key(settings, name))

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        said = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{self.issuer}/oauth/token",
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(16),
        }
        return {k: v for k, v in {**said, **changed}.items() if v is not None}

    def assertion(self, **changed: Any) -> str:
        return jwt.encode({"alg": "ES256"}, self.claims(**changed), self.key)

    def form(self, assertion: str | None = None, **fields: str) -> dict[str, str]:
        return {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            **fields,
        }

    async def token(self, http: httpx.AsyncClient, **fields: str) -> httpx.Response:
        return await http.post("/oauth/token", data=self.form(grant_type="client_credentials", **fields))


@dataclass
class Browser:
    """A person's browser on the way to a code, holding PKCE's secret for its client."""

    http: httpx.AsyncClient
    client_id: str = "huimin-web"
    redirect_uri: str = CALLBACK
    scope: str | None = None
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(8))

    @property
    def asks(self) -> dict[str, str]:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=")
        said = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            "state": self.state,
        }
        return said | ({"scope": self.scope} if self.scope else {})

    async def page(self, **changed: str | None) -> httpx.Response:
        asks = {k: v for k, v in {**self.asks, **changed}.items() if v is not None}
        return await self.http.get("/oauth/authorize", params=asks)

    async def sign_in(self, username: str, password: str = PASSWORD, **changed: str | None) -> httpx.Response:
        page = await self.page(**changed)
        hidden = re.search(r'name="request" value="([^"]+)"', page.text)
        assert hidden is not None, page.text
        form = {"request": hidden[1], "username": username, "password": password}
        return await self.http.post("/oauth/authorize", data=form)

    async def code(self, username: str, password: str = PASSWORD, **changed: str | None) -> str:
        answer = await self.sign_in(username, password, **changed)
        assert answer.status_code == 303, answer.text
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def redeem(self, code: str, **changed: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return await self.http.post("/oauth/token", data={**form, **changed})

    async def session(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        answer = await self.redeem(await self.code(username, password))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def refresh(self, token: str, **changed: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": self.client_id, "refresh_token": token}
        return await self.http.post("/oauth/token", data={**form, **changed})


async def exchanged(http: httpx.AsyncClient, gateway: Machine, session: str, service: str) -> httpx.Response:
    form = gateway.form(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        subject_token=session,
        subject_token_type="urn:ietf:params:oauth:token-type:access_token",
        audience=service,
    )
    return await http.post("/oauth/token", data=form)
