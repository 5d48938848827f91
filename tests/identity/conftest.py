"""Identity alone, in the demo, with the callers its tests need."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.identity.vault import vault_of
from services.kit.app import Kit
from services.kit.settings import Settings
from tests.identity.parties import PASSWORD, Machine
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services


@dataclass
class Identity:
    """A running identity service: `http` is nobody in particular, `admin` the command line."""

    house: RunningServices
    http: httpx.AsyncClient
    admin: httpx.AsyncClient
    leaves_before: int = 0

    @property
    def kit(self) -> Kit:
        return self.house.kit("identity")

    @property
    def issuer(self) -> str:
        return self.house.settings.issuer

    def service(self, name: str) -> Machine:
        return Machine.service(self.house.settings, name)

    async def as_service(self, name: str) -> httpx.AsyncClient:
        """A client with the token that the service itself would hold."""
        answer = await self.service(name).token(self.http)
        return await self.house.client("identity", token=answer.json()["access_token"])

    async def registered(self, kind: str = "hospital", **more: Any) -> Machine:
        machine = Machine("", self.issuer)
        body = {"kind": kind, "name": f"a {kind}", "jwk": machine.key.as_dict(private=False), **more}
        answer = await self.admin.post("/identity/clients", json=body)
        assert answer.status_code == 201, answer.text
        machine.client_id = answer.json()["client_id"]
        return machine

    async def account(self, username: str, *, kind: str = "person", **more: Any) -> str:
        body = {"kind": kind, "username": username, "password": PASSWORD, **more}
        answer = await self.admin.post("/identity/accounts", json=body)
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.json()["account_id"])

    async def leaves(self, action: str) -> list[dict[str, Any]]:
        """The leaves this test has left, by their action."""
        assert self.kit.leaves is not None
        await self.kit.leaves.flush()
        rows = await self.rows("select body from leaf where seq > $1 order by seq", self.leaves_before)
        found = [json.loads(row["body"]) for row in rows]
        return [leaf for leaf in found if leaf["action"] == action]

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        async with vault_of(self.kit).read() as db:
            return [dict(row) for row in await db.fetch(sql, *args)]


@pytest.fixture(scope="module")
async def started(servers: TestServers, issuer: Issuer) -> AsyncIterator[Identity]:
    """One identity for a file's tests; each test finds it without people, clients and accounts."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HUIMIN_DEMO", "1")
        async with running_services(("identity",), servers, issuer) as house:
            http = await house.client("identity", scopes=None)
            granted = await Machine.service(house.settings, "stack").token(http)
            assert granted.status_code == 200, granted.text
            admin = await house.client("identity", token=granted.json()["access_token"])
            yield Identity(house, http, admin)


@pytest.fixture
async def identity(started: Identity) -> Identity:
    async with vault_of(started.kit).transaction() as tx:
        await tx.execute("truncate person, household, client, account cascade")
        await tx.execute("truncate used_assertion, signin_failure")
        started.leaves_before = await tx.fetchval("select coalesce(max(seq), 0) from leaf")
    started.http.cookies.clear()
    return started


@pytest.fixture
async def settings_of_servers(servers: TestServers) -> Settings:
    return Settings()
