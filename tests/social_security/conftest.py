"""One house for each file of tests; each test is an organisation of its own in it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.social_security.pushes import csv_of
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

CSV = {"content-type": "text/csv"}
SCOPE = "social_security:imports:write"
TABLES = ("contribution", "payment", "claim", "claim_line", "receipt")


@dataclass
class Door:
    """The imports door, as an agency has it."""

    house: RunningServices
    client: httpx.AsyncClient
    organisation: str

    async def push(self, kind: str, body: bytes, **params: str) -> httpx.Response:
        headers = {**CSV, **({"idempotency-key": params.pop("key")} if "key" in params else {})}
        return await self.client.post(
            "/social-security/imports", params={"kind": kind, **params}, content=body, headers=headers
        )

    async def push_rows(self, kind: str, *rows: dict[str, Any], **params: str) -> httpx.Response:
        return await self.push(kind, csv_of(kind, rows), **params)

    async def push_together(self, **files: bytes) -> httpx.Response:
        parts = {kind: (f"{kind}.csv", body, "text/csv") for kind, body in files.items()}
        return await self.client.post("/social-security/imports", files=parts)

    async def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """What the database says; $1 is this organisation."""
        async with self.house.kit("social_security").db.read() as connection:
            return [dict(row) for row in await connection.fetch(sql, self.organisation, *args)]

    async def kept(self) -> int:
        """All versions and receipts of this organisation."""
        counts = " + ".join(f"(select count(*) from {table} where organisation = $1)" for table in TABLES)
        return int((await self.rows(f"select {counts} as n"))[0]["n"])


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    async with running_services(("identity", "social_security"), servers, issuer) as found:
        yield found


async def door_of(house: RunningServices) -> Door:
    organisation = f"agency-{uuid.uuid4().hex[:8]}"
    client = await house.client(
        "social_security", scopes=SCOPE, organisation=organisation, subject=organisation
    )
    return Door(house, client, organisation)


@pytest.fixture
async def door(house: RunningServices) -> Door:
    return await door_of(house)
