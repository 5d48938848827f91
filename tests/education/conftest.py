"""The real identity and education in this process, shared by a module; each test is a sender of its own."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest

from services.kit.database import prepare_connection, service_url
from tests.education.rosters import Roster, school_roster
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

_NUMBERS = itertools.count(1)


@dataclass
class House:
    """Education with identity beside it, and its database seen from inside."""

    services: RunningServices
    db: Any

    async def client(self, **who: Any) -> httpx.AsyncClient:
        return await self.services.client("education", **who)

    async def person(self, sector_id: str) -> httpx.AsyncClient:
        return await self.client(
            scopes="education:records:read", kind="person", organisation=None, sector_id=sector_id
        )


@dataclass
class Sender:
    """A school system with a client, and pupils nobody else has."""

    house: House
    name: str
    http: httpx.AsyncClient
    first: int

    def roster(self, **wanted: Any) -> Roster:
        return school_roster(**{"first": self.first, **wanted})

    async def push(
        self, roster: Roster | bytes, mode: str | None = None, *, key: str | None = None
    ) -> httpx.Response:
        body = roster if isinstance(roster, bytes) else roster.zip()
        return await self.http.post(
            "/education/imports",
            params={"mode": mode} if mode else {},
            content=body,
            headers={"content-type": "application/zip"} | ({"idempotency-key": key} if key else {}),
        )

    async def pushed(self, roster: Roster | bytes, mode: str | None = None) -> dict[str, Any]:
        """A receipt; the push must have been taken."""
        answer = await self.push(roster, mode)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def refused(self, roster: Roster | bytes, mode: str | None = None) -> list[dict[str, Any]]:
        """The faults; the push must have been refused."""
        answer = await self.push(roster, mode)
        assert answer.status_code == 422, answer.text
        faults: list[dict[str, Any]] = answer.json()["errors"]
        return faults

    async def confirm(self, receipt: dict[str, Any], decision: str = "confirm") -> dict[str, Any]:
        """Says yes to every open proposal of a push."""
        for proposal in receipt["proposals"]:
            if proposal["status"] == "open":
                answer = await self.http.post(
                    f"/education/proposals/{proposal['id']}/decisions",
                    json={"decision": decision, "decided_by": "教务处 李老师"},
                )
                assert answer.status_code == 201, answer.text
                receipt = answer.json()
        return receipt

    async def rows(self, table: str, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
        found = await self.house.db.fetch(
            f"select {columns} from {table} where source = $1 and {where} order by sourced_id", self.name
        )
        return [dict(row) for row in found]

    async def count(self, table: str, where: str = "true") -> int:
        return int(
            await self.house.db.fetchval(
                f"select count(*) from {table} where source = $1 and {where}", self.name
            )
        )

    async def learner(self, sourced_id: str) -> str:
        found = await self.rows("account", "learner_id", f"sourced_id = '{sourced_id}'")
        learner_id = found[0]["learner_id"]
        assert isinstance(learner_id, str)
        return learner_id

    async def record(self, sourced_id: str) -> dict[str, Any]:
        """What the pupil reads of themselves."""
        person = await self.house.person(await self.learner(sourced_id))
        answer = await person.get("/education/records/me")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[House]:
    async with running_services(("identity", "education"), servers, issuer) as services:
        connection = await asyncpg.connect(service_url(services.settings, "education"))
        await prepare_connection(connection)
        try:
            yield House(services, connection)
        finally:
            await connection.close()


NewSender = Callable[[], Awaitable[Sender]]


@pytest.fixture
def new_sender(house: House) -> NewSender:
    async def make() -> Sender:
        number = next(_NUMBERS)
        name = f"school-{number}"
        http = await house.client(
            scopes="education:imports:write", organisation=name, subject=name, client_id=f"client-{number}"
        )
        return Sender(house, name, http, first=number * 1000)

    return make


@pytest.fixture
async def sender(new_sender: NewSender) -> Sender:
    return await new_sender()
