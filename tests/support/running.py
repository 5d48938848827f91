"""Services in this process, each with its lifespan, answering in memory; identity real or stood in for."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from joserfc import jws
from starlette.responses import JSONResponse

from services.identity.scopes import SERVICES
from services.kit.app import Kit
from services.kit.principals import TokenVerifier
from services.kit.settings import Settings
from services.stack.front import Front
from services.stack.house import NAMES, named
from tests.support.databases import TestServers
from tests.support.issuer import Issuer


class RunningServices:
    """Some of the house, in this process, on a database of its own."""

    def __init__(self, front: Front, issuer: Issuer, settings: Settings, stack: AsyncExitStack) -> None:
        self.front = front
        self.issuer = issuer
        self.settings = settings
        self._stack = stack

    def kit(self, name: str) -> Kit:
        """The running service's own Kit: its database, broker, calls."""
        app: Any = self.front.held[name].app
        found = app.state.kit
        assert isinstance(found, Kit)
        return found

    def token(self, name: str, **who: Any) -> str:
        """See `Issuer.mint`."""
        return self.issuer.mint(self.settings, name, **who)

    async def client(
        self, name: str, *, token: str | None = None, headers: Mapping[str, str] | None = None, **who: Any
    ) -> httpx.AsyncClient:
        """A client of one service, with the caller that `who` describes (see `Issuer.mint`).

        `scopes=None` sends no token at all.
        """
        sent = dict(headers or {})
        if token is None and who.get("scopes", "") is not None:
            token = self.token(name, **who)
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(self.front, raise_app_exceptions=False)
        client = httpx.AsyncClient(
            transport=transport, base_url=self.settings.public_url, headers=sent, timeout=60.0
        )
        return await self._stack.enter_async_context(client)


@asynccontextmanager
async def running_services(
    names: tuple[str, ...], servers: TestServers, issuer: Issuer
) -> AsyncIterator[RunningServices]:
    """Starts these services, in the order of the house, on a fresh database."""
    ordered = [named(name) for name in NAMES if name in {named(asked).name for asked in names}]
    async with AsyncExitStack() as stack:
        await servers.empty_broker()
        database = await stack.enter_async_context(servers.copy([service.name for service in ordered]))
        before = os.environ["HUIMIN_DATABASE_URL"]
        os.environ["HUIMIN_DATABASE_URL"] = servers.public_url(database)
        stack.callback(os.environ.__setitem__, "HUIMIN_DATABASE_URL", before)
        settings = Settings()
        front = Front(ordered)
        stand_in = None if "identity" in front.held else _stand_in_for_identity(settings, issuer)
        await stack.enter_async_context(front.running(stand_ins={"identity": stand_in} if stand_in else {}))
        for held in front.held.values():
            _believe(held.app, issuer)
        yield RunningServices(front, issuer, settings, stack)


def _believe(app: Any, issuer: Issuer) -> None:
    """The test issuer's key beside those that are published."""
    kit: Kit = app.state.kit

    async def keys() -> dict[str, Any]:
        published = await kit.calls.fetch_keys()
        return {"keys": [*published["keys"], issuer.public_jwk]}

    kit.tokens = TokenVerifier(
        issuer=kit.settings.issuer,
        audience=kit.name,
        seal_key=kit.settings.secret_for(kit.name, "seal"),
        fetch_keys=keys,
        no_auth=kit.settings.no_auth,
    )


def _stand_in_for_identity(settings: Settings, issuer: Issuer) -> FastAPI:
    """Keys and the services' own tokens; a test that needs persons runs the real identity."""
    app = FastAPI()

    @app.get("/.well-known/jwks.json")
    async def keys() -> dict[str, Any]:
        return {"keys": [issuer.public_jwk]}

    @app.post("/oauth/token")
    async def token(request: Request) -> JSONResponse:
        form = await request.form()
        assertion = jws.extract_compact(str(form["client_assertion"]).encode())
        client_id = str(json.loads(assertion.payload)["iss"])
        service = client_id.removeprefix("service:")
        minted = issuer.mint(
            settings,
            NAMES,
            scopes=SERVICES.get(service, frozenset()),
            kind="service",
            subject=client_id,
            organisation=None,
        )
        return JSONResponse({"access_token": minted, "token_type": "Bearer", "expires_in": 900})

    return app
