"""Identity, the access log and the exchange as they are, and people who ask for their own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import httpx
import pytest

from services.audit import repository as log
from services.identity.client import IdentityClient
from services.identity.scopes import CITIZEN as CITIZENS
from services.identity.shapes import GuardianshipPush, Identifier, OrganisationPush, PersonPush
from services.kit.calls import Calls
from services.kit.check_characters import uscc_check_character
from tests.identity.parties import CITIZEN_NUMBER, citizen_number
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

HOSPITAL, OTHER = (body + uscc_check_character(body) for body in ("12330106470116041", "12330106470003281"))
CITIZEN = {
    "kind": "person",
    "organisation": None,
    "client_id": "huimin-web",
    "purpose": "own_records",
    "scopes": CITIZENS["exchange"],
}


@dataclass
class Person:
    """Somebody with an account, and how each service knows them."""

    number: str
    name: str
    ids: dict[str, str]

    @property
    def code(self) -> str:
        return self.ids["exchange"]


@dataclass
class House:
    running: RunningServices
    _people: int = 0
    _clients: dict[Any, httpx.AsyncClient] = field(default_factory=dict)

    def calls(self, service: str) -> Calls:
        return (
            self.running.kit(service).calls
            if service == "exchange"
            else Calls(self.running.settings, service)
        )

    async def person(self, born: date = date(1985, 3, 14)) -> Person:
        self._people += 1
        number = citizen_number(born, sequence=self._people)
        name = f"person-{self._people}"
        push = PersonPush(
            ref="1", identifiers=[Identifier(system=CITIZEN_NUMBER, value=number)], name=name, birth_date=born
        )
        await self.calls("stack").client(IdentityClient).register_persons([push])
        [resolved] = await self.calls("health").client(IdentityClient).resolve([push], organisation=None)
        assert resolved.sector_id is not None
        identity = self.calls("exchange").client(IdentityClient)
        await identity.translate([resolved.sector_id], source="health", target="exchange")
        [known] = await identity.sector_ids(
            [resolved.sector_id], to=["exchange", "health", "education", "identity"], source="health"
        )
        assert known is not None
        return Person(number, name, {sector: ids[0] for sector, ids in known.items()})

    async def guardian(self, guardian: Person, ward: Person, until: date | None = None) -> None:
        push = GuardianshipPush(
            guardian=Identifier(system=CITIZEN_NUMBER, value=guardian.number),
            ward=Identifier(system=CITIZEN_NUMBER, value=ward.number),
            relation="parent",
            valid_from=date(2020, 1, 1),
            valid_to=until,
        )
        await self.calls("stack").client(IdentityClient).add_guardianships([push])

    async def citizen(self, person: Person) -> httpx.AsyncClient:
        who = {**CITIZEN, "subject": f"account-{person.name}", "sector_id": person.code}
        return await self._client(person.code, **who)

    async def staff(self, role: str, organisation: str | None) -> httpx.AsyncClient:
        return await self._client(
            (role, organisation),
            kind="staff",
            subject=f"{role}-{organisation}",
            roles=[role],
            areas=["330106"],
            organisation=organisation,
            scopes="exchange:usage-reports:answer",
            purpose="operations",
        )

    async def portal(self) -> httpx.AsyncClient:
        return await self._client("portal", scopes="exchange:usages:find", purpose="own_records")

    async def nobody(self) -> httpx.AsyncClient:
        return await self._client("nobody", scopes=None)

    async def as_service(self, name: str) -> httpx.AsyncClient:
        token = await self.calls(name).own_token()
        return await self.running.client("exchange", token=token)

    async def _client(self, key: Any, **who: Any) -> httpx.AsyncClient:
        if key not in self._clients:
            self._clients[key] = await self.running.client("exchange", **who)
        return self._clients[key]

    async def access(self, service: str, **about: Any) -> None:
        """An access at a service's data, as its doors would record it."""
        kit = self.running.kit(service)
        verified = await kit.tokens.verify(
            self.running.token(
                service,
                organisation=about.pop("organisation", HOSPITAL),
                subject="hospital-client",
                purpose=about.pop("purpose", "treatment"),
            )
        )
        async with kit.db.transaction(verified) as tx:
            await tx.leaf(**{"action": "fhir.read", **about})

    async def in_log(self) -> None:
        """Until a signed head covers every leaf there is."""
        kit = self.running.kit("audit")
        for service in ("identity", "exchange"):
            buffer = self.running.kit(service).leaves
            assert buffer is not None
            await buffer.flush()
        async with asyncio.timeout(60):
            while True:
                async with kit.db.read() as db:
                    head, waiting = await log.latest_head(db), 0
                    for service in ("identity", "exchange", "audit"):
                        waiting += len(await log.unsequenced(db, service, after=0, limit=1))
                    if head and not waiting and head.size == await log.size(db):
                        return
                await asyncio.sleep(0.05)

    async def leaves(self, action: str, **said: Any) -> list[dict[str, Any]]:
        """The exchange's leaves of an action that say all this, oldest first."""
        async with self.running.kit("exchange").db.read() as db:
            rows = await db.fetch("select body::jsonb as body from leaf order by seq")
        found = [row["body"] for row in rows if row["body"]["action"] == action]
        return [leaf for leaf in found if said.items() <= leaf.items()]

    async def events(self, kind: str) -> list[dict[str, Any]]:
        async with self.running.kit("exchange").db.read() as db:
            rows = await db.fetch("select body from outbox where type = $1 order by seq", kind)
        return [row["body"] for row in rows]


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[House]:
    async with running_services(("identity", "audit", "exchange"), servers, issuer) as running:
        found = House(running)
        pushes = [
            OrganisationPush(
                uscc=code, name=name, name_en=name_en, kind="hospital", area="330106", parent=None
            )
            for code, name, name_en in (
                (HOSPITAL, "惠民市第一医院", "Huimin First Hospital"),
                (OTHER, "惠民市第二医院", "Huimin Second Hospital"),
            )
        ]
        await found.calls("stack").client(IdentityClient).add_organisations(pushes)
        yield found
