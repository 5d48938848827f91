"""Fixtures of the health tests: a hospital's client at the doors, with the real identity behind them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

import health.app
from health.fhir.workers import Workers
from health.models import Base
from services.kit.database import Database
from tests.health.support import FHIR_JSON
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

Hospital = Callable[..., Awaitable[httpx.AsyncClient]]

KEPT_BY_THE_KIT = ("leaf", "leaf_member", "outbox", "idempotency")
MIGRATED = ("code_system", "concept", "value_set")
"""FHIR's own terminology comes with the migrations, and stays."""
EMPTIED = [t.name for t in Base.metadata.sorted_tables if t.name not in MIGRATED] + list(KEPT_BY_THE_KIT)


class KeptWorkers(Workers):
    """Validating processes that outlive the service they work for: starting one takes half a second."""

    async def close(self) -> None:
        """Left to `finally_close`."""

    async def finally_close(self) -> None:
        await super().close()


@pytest.fixture(scope="session")
async def workers() -> AsyncIterator[Workers]:
    kept = KeptWorkers()
    yield kept
    await kept.finally_close()


@pytest.fixture(scope="module")
async def kept_house(
    servers: TestServers, issuer: Issuer, workers: Workers
) -> AsyncIterator[RunningServices]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health.app, "Workers", lambda: workers)
        async with running_services(("identity", "health"), servers, issuer) as found:
            yield found


@pytest.fixture
async def house(kept_house: RunningServices, servers: TestServers) -> AsyncIterator[RunningServices]:
    """Identity and health, with no record in them. Persons stay with identity from test to test."""
    yield kept_house
    await flush_leaves(kept_house)
    await _empty(servers.admin_url(urlsplit(kept_house.settings.database_url).path[1:]))


async def flush_leaves(house: RunningServices) -> None:
    """Returns once the leaves of all reads are committed."""
    leaves = house.kit("health").leaves
    assert leaves is not None
    await leaves.flush()


async def _empty(admin_url: str) -> None:
    """Truncates health's tables, the append-only ones too, as only the administrator can."""
    connection = await asyncpg.connect(admin_url)
    try:
        for _ in range(20):
            with suppress(asyncpg.DeadlockDetectedError):  # with the service's own chores, which go on
                await _truncate(connection)
                return
        raise AssertionError("the service never lets go of its tables")
    finally:
        await connection.close()


async def _truncate(connection: Any) -> None:
    async with connection.transaction():
        for table in EMPTIED:
            await connection.execute(f"alter table health.{table} disable trigger user")
        await connection.execute(f"truncate {', '.join(f'health.{table}' for table in EMPTIED)}")
        for table in EMPTIED:
            await connection.execute(f"alter table health.{table} enable trigger user")
        for table in ("history", "superseded", "leaf", "leaf_member", "emergency_access"):
            trigger = f"{table}_append_only"
            await connection.execute(f"alter table health.{table} enable always trigger {trigger}")


@pytest.fixture
def records(house: RunningServices) -> Database:
    """Health's own database."""
    return house.kit("health").db


@pytest.fixture
async def hospital(house: RunningServices) -> Hospital:
    """`await hospital()` has a hospital's scopes; `await hospital("other")` another hospital's."""

    async def client(name: str = "hospital-1", **who: Any) -> httpx.AsyncClient:
        who = {"scopes": "system/*.cruds", "subject": name, "organisation": name, **who}
        return await house.client("health", headers={"content-type": FHIR_JSON}, **who)

    return client


@pytest.fixture
async def fhir(hospital: Hospital) -> httpx.AsyncClient:
    return await hospital()
