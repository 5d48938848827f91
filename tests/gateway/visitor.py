"""A person at the pages, without a browser: keeps cookies, follows links, fills forms in."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx
import pytest

from tests.identity.parties import Machine
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

PASSWORD = "correct horse battery"
_CSRF = re.compile(r'name="csrf" value="([^"]*)"')
_HIDDEN = re.compile(r'name="request" value="([^"]+)"')


@dataclass
class Pages:
    """The gateway beside a real identity (and whoever else), and the command line's client of it."""

    house: RunningServices
    admin: httpx.AsyncClient

    async def account(self, username: str, *, kind: str = "person", **more: Any) -> None:
        body = {"kind": kind, "username": username, "password": PASSWORD, **more}
        answer = await self.admin.post("/identity/accounts", json=body)
        assert answer.status_code in {200, 201}, answer.text

    async def visitor(self, **headers: str) -> "Visitor":
        return Visitor(await self.house.client("gateway", scopes=None, headers=headers))

    async def signed_in(self, username: str, *, at: str = "/") -> "Visitor":
        found = await self.visitor()
        answer = await found.sign_in(username, at=at)
        assert answer.status_code == 200, answer.text
        return found


@dataclass
class Visitor:
    http: httpx.AsyncClient

    async def get(self, path: str, **params: str) -> httpx.Response:
        return await self.http.get(path, params=params or None, follow_redirects=True)

    async def sign_in(self, username: str, *, at: str = "/", password: str = PASSWORD) -> httpx.Response:
        """Opens the sign-in from a page and fills it in; where that ends."""
        asked = await self.get("/signin", next=at)
        hidden = _HIDDEN.search(asked.text)
        assert hidden, asked.text
        form = {"request": hidden[1], "username": username, "password": password}
        return await self.http.post("/oauth/authorize", data=form, follow_redirects=True)

    async def csrf(self, path: str = "/") -> str:
        found = _CSRF.search((await self.get(path)).text)
        assert found, "the page has no form"
        return unescape(found[1])

    async def send(
        self,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        at: str = "/",
    ) -> httpx.Response:
        """A form as a page of ours would send it; the answer itself, not where it leads."""
        sent = {"csrf": await self.csrf(at), **(fields or {})}
        return await self.http.post(path, data=sent, headers=dict(headers or {}))

    def cookie(self, name: str) -> str | None:
        return self.http.cookies.get(name)


@asynccontextmanager
async def pages_of(
    names: tuple[str, ...], servers: TestServers, issuer: Issuer, **environment: str
) -> AsyncIterator[Pages]:
    """These services in this process, in the demo, as accounts with passwords exist there alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HUIMIN_DEMO": "1", **environment}.items():
            patch.setenv(name, value)
        async with running_services(names, servers, issuer) as house:
            http = await house.client("identity", scopes=None)
            granted = await Machine.service(house.settings, "stack").token(http)
            assert granted.status_code == 200, granted.text
            yield Pages(house, await house.client("identity", token=granted.json()["access_token"]))
