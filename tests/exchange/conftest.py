"""The exchange and identity as they are, and in health's place a provider that offers deaths."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from services.exchange import agreements, catalogue, departments, terms
from services.identity.client import IdentityClient
from services.identity.shapes import Identifier, PersonPush
from services.kit import offers, row_filters
from services.kit.app import Kit
from services.kit.calls import Calls, answer_in_memory
from services.kit.database import Connection
from services.kit.offers import Item, Offer, offers_router
from services.kit.principals import TokenVerifier
from services.kit.rendering import install_handlers, render_problem
from services.kit.row_filters import Condition
from tests.identity.parties import CITIZEN_NUMBER, Machine, citizen_number
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

DATASET = "health.deaths"
AGREEMENT = "health.deaths-social_security-eligibility"
ORGANISATIONS = {
    "health": "11330100MB0000001H",
    "social_security": "11330100MB0000002F",
    "education": "11330100MB0000003D",
}
"""Who answers for these services in the tests."""


@dataclass
class Provider:
    """Rows as health would offer them, and who asked for them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str | None, int]] = field(default_factory=list)
    before_answer: Any = None
    keeps_filters: bool = True
    changed_at: datetime | None = None
    offered: list[Offer] | None = None
    """What it offers, when not what it usually does."""

    async def read(
        self, _db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
    ) -> tuple[list[dict[str, Any]], str | None]:
        self.asked.append((after, limit))
        types = self.offer().filterable()
        rows = [
            row
            for row in sorted(self.rows, key=lambda row: str(row["sector_id"]))
            if row_filters.holds(where, row, types) or not self.keeps_filters
        ]
        found = [row for row in rows if after is None or row["sector_id"] > after][: limit + 1]
        if self.before_answer is not None:
            await self.before_answer()
        following = found[limit - 1]["sector_id"] if len(found) > limit else None
        return found[:limit], following

    async def last_change(self, _db: Connection) -> datetime | None:
        return self.changed_at

    def offer(self) -> Offer:
        return Offer(
            dataset="deaths",
            title_zh="死亡信息",
            title_en="Deaths",
            summary_zh="居民死亡日期。",
            summary_en="Dates of death of residents.",
            items=[
                Item("sector_id", "string", "人员标识", "Person"),
                Item("death_date", "date", "死亡日期", "Date of death", filterable=True),
                Item("cause", "string", "死因", "Cause of death", filterable=True),
            ],
            read=self.read,
            sharing_condition_zh="仅用于待遇资格核查",
            sharing_condition_en="For checking entitlements only",
            last_change=self.last_change,
        )

    def app(self, kit: Kit) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(kit)(scope, receive, send)

        return app

    def _app(self, kit: Kit) -> FastAPI:
        app = FastAPI()
        app.state.kit = kit
        install_handlers(app, render_problem)
        app.include_router(offers_router("/health", self.offered or [self.offer()]))
        return app


@dataclass
class Exchange:
    house: RunningServices
    provider: Provider
    admin: httpx.AsyncClient
    leaves_before: int = 0

    @property
    def kit(self) -> Kit:
        return self.house.kit("exchange")

    def calls(self, service: str) -> Calls:
        """Calls as that service would make them, with its own derived key."""
        return Calls(self.house.settings, service)

    async def as_service(self, name: str) -> httpx.AsyncClient:
        return await self.house.client("exchange", token=await self.calls(name).own_token())

    async def staff(self, service: str, name: str = "one", **who: Any) -> httpx.AsyncClient:
        """A client of somebody of the department that answers for the service."""
        found: dict[str, Any] = {
            "kind": "staff",
            "roles": ["exchange_staff"],
            "scopes": "exchange:agreements:write",
            "subject": f"{service}-{name}",
            "organisation": ORGANISATIONS.get(service, "11330100MB0000009X"),
            "areas": ["330100"],
        }
        return await self.house.client("exchange", **found | who)

    async def with_deaths(self, count: int) -> list[dict[str, Any]]:
        """As many deaths at the provider; what social security should get of them, by its own ids."""
        pushes = [
            PersonPush(
                ref=str(n),
                identifiers=[Identifier(system=CITIZEN_NUMBER, value=citizen_number(sequence=n % 1000))],
            )
            for n in range(count)
        ]
        theirs = await self.resolved("health", pushes)
        ours = await self.resolved("social_security", pushes)
        died = [str(date(2026, 1, 1) + timedelta(days=n % 300)) for n in range(count)]
        self.provider.rows = [
            {"sector_id": id, "death_date": day, "cause": "secret"}
            for id, day in zip(theirs, died, strict=True)
        ]
        return [{"sector_id": id, "death_date": day} for id, day in zip(ours, died, strict=True)]

    async def resolved(self, service: str, pushes: Sequence[PersonPush]) -> list[str]:
        answers = await self.calls(service).client(IdentityClient).resolve(pushes, organisation=None)
        return [str(answer.sector_id) for answer in answers]

    async def leaves(self) -> list[dict[str, Any]]:
        async with self.kit.db.read() as db:
            rows = await db.fetch(
                "select body::jsonb as body from leaf where seq > $1 order by seq", self.leaves_before
            )
        return [row["body"] for row in rows if row["body"]["action"] == "dataset.read"]

    async def agree_again_as(self, id: str) -> None:
        """The same agreement under another id; the first one ends."""
        async with self.kit.db.transaction() as tx:
            await tx.execute(
                """insert into agreement (id, dataset, provider, consumer, items, filter, purpose, details,
                                          legal_basis, reads_per_day, rows_per_day, valid_from, valid_until,
                                          state, due_at, requested_by, decided_by)
                   select $1, dataset, provider, consumer, items, filter, purpose, details, legal_basis,
                          reads_per_day, rows_per_day, valid_from, valid_until, state, due_at, requested_by,
                          decided_by from agreement""",
                id,
            )
            await tx.execute("update agreement set state = 'ended' where id <> $1", id)

    async def agree(self, **changed: Any) -> None:
        async with self.kit.db.transaction() as tx:
            for column, value in changed.items():
                await tx.execute(f"update agreement set {column} = $1", value)


@asynccontextmanager
async def _running(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    """What would run by itself and come in between is run by the tests, when they mean it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offers, "FRESHNESS_KEPT_S", 0.0)
        patch.setattr(terms, "LOOK_EVERY_S", 3600.0)
        patch.setattr(catalogue, "RETRY_EVERY_S", 3600.0)
        patch.setattr(catalogue, "PROVIDERS", ("health", "social_security", "education", "transport"))
        async with running_services(("identity", "exchange"), servers, issuer) as house:
            yield house


@pytest.fixture(scope="module")
async def started(servers: TestServers, issuer: Issuer) -> AsyncIterator[Exchange]:
    async with _running(servers, issuer) as house:
        provider = Provider()
        kit = house.kit("exchange")
        stands_in = Kit(
            name="health",
            settings=kit.settings,
            calls=kit.calls,
            redis=kit.redis,
            database=kit.database,
            tokens=TokenVerifier(
                issuer=kit.settings.issuer,
                audience="health",
                seal_key=bytes(32),
                fetch_keys=kit.calls.fetch_keys,
            ),
        )
        answer_in_memory({**house.front.held, "health": provider.app(stands_in)})
        stack = await Machine.service(house.settings, "stack").token(
            await house.client("identity", scopes=None)
        )
        admin = await house.client("exchange", token=stack.json()["access_token"])
        yield Exchange(house, provider, admin)


@pytest.fixture
async def exchange(started: Exchange) -> Exchange:
    """The seeded agreement in force, and nothing read yet."""
    started.provider.__init__()  # type: ignore[misc]  # as new, at the same doors
    async with started.kit.db.transaction() as tx:
        await tx.execute("alter table agreement_step disable trigger user")
        await tx.execute("delete from agreement_step")
        await tx.execute("alter table agreement_step enable trigger user")
        await tx.execute("delete from agreement_use")
        await tx.execute("delete from agreement")
        await tx.execute("delete from dataset")
        started.leaves_before = await tx.fetchval("select coalesce(max(seq), 0) from leaf")
        await departments.seed(tx)
        for service, organisation in ORGANISATIONS.items():
            await tx.execute(
                "update department set organisation = $2 where service = $1", service, organisation
            )
        await agreements.seed(tx)
    return started
