"""A service to its operators: heartbeats, failed pushes by sender, what it says without its database."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from services.kit.operations import heartbeats, metrics, push_failures
from services.kit.operations.shapes import HOURS
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

SCOPE = "operations:read"
DOOR = "/transport/readings"
Held = Callable[[], Awaitable[bool]]


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    async with running_services(("transport",), servers, issuer) as found:
        yield found


async def operator(house: RunningServices) -> httpx.AsyncClient:
    return await house.client("transport", kind="staff", subject="op", scopes=SCOPE, roles=["operator"])


async def figures(house: RunningServices) -> dict[str, Any]:
    answer = await (await operator(house)).get("/transport/operations")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


async def until(held: Held, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not await held():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.1)


async def sender(house: RunningServices, organisation: str, **who: Any) -> httpx.AsyncClient:
    who = {"scopes": "transport:readings:write", "subject": f"gate-{organisation}", **who}
    return await house.client("transport", organisation=organisation, **who)


async def failures_of(house: RunningServices, organisation: str) -> dict[str, Any] | None:
    found = (await figures(house))["failed_pushes"]
    return next((one for one in found if one["organisation"] == organisation), None)


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({"scopes": None}, 401),
        ({"scopes": "transport:readings:write"}, 403),
        ({"kind": "staff", "roles": ["auditor"], "scopes": "audit:read"}, 403),
        ({"kind": "person", "scopes": "transport:flows:read"}, 403),
    ],
)
async def test_operators_alone_see_the_figures(
    house: RunningServices, who: dict[str, Any], status: int
) -> None:
    client = await house.client("transport", **who)
    assert (await client.get("/transport/operations")).status_code == status


async def test_every_part_of_the_service_shows_its_last_sign_of_life(house: RunningServices) -> None:
    async def all_beat() -> bool:
        found = {one["role"]: one for one in (await figures(house))["processes"]}
        return all(found.get(role, {}).get("alive") == 1 for role in ("application", "relay", "jobs"))

    await until(all_beat)
    found = await figures(house)
    assert found["checks"] == {"broker": "ok", "database": "ok"}
    application = next(one for one in found["processes"] if one["role"] == "application")
    assert application["process"] == heartbeats.PROCESS
    assert application["silent_s"] < heartbeats.ALIVE_S


async def test_a_part_that_falls_silent_is_seen_by_the_databases_clock(house: RunningServices) -> None:
    async with house.kit("transport").db.transaction() as tx:
        await tx.execute(
            """insert into heartbeat (role, process, started_at, beat_at)
               values ('stuck', 'host:1', now() - interval '1 hour', now() - interval '10 minutes'),
                      ('stuck', 'host:2', now() - interval '1 hour', now() - interval '2 hours')"""
        )
    async with house.kit("transport").db.read() as db:
        [stuck] = [one for one in await heartbeats.read(db) if one.role == "stuck"]
    assert (stuck.alive, stuck.process) == (0, "host:1")
    assert stuck.silent_s == pytest.approx(600, abs=5)


async def test_a_refused_push_is_counted_by_sender_door_and_reason(house: RunningServices) -> None:
    client = await sender(house, "station-a")
    for _ in range(3):
        assert (await client.post(DOOR, content=b"{")).status_code == 400
    assert (await (await sender(house, "station-a", scopes="x")).post(DOOR, json=[])).status_code == 403

    async def counted() -> bool:
        found = await failures_of(house, "station-a")
        return found is not None and found["refused"] == 4

    await until(counted)
    found = await failures_of(house, "station-a")
    assert found is not None
    assert (found["client"], found["failed"], len(found["hours"])) == ("gate-station-a", 0, HOURS)
    assert sum(found["hours"]) == found["hours"][-1] + found["hours"][-2] == 4
    assert [(r["door"], r["status"], r["count"]) for r in found["reasons"]] == [
        (f"POST {DOOR}", 400, 3),
        (f"POST {DOOR}", 403, 1),
    ]
    assert found["reasons"][1]["reason"] == "insufficient_scope"


async def test_what_is_refused_before_the_door_is_the_senders_too(house: RunningServices) -> None:
    client = await sender(house, "station-b")
    answer = await client.post(DOOR, content=b"x", headers={"content-encoding": "br"})
    assert answer.status_code == 415
    forged = await house.client("transport", token="not.a.token")
    assert (await forged.post(DOOR, json=[])).status_code == 401

    async def counted() -> bool:
        return all([await failures_of(house, "station-b"), await failures_of(house, "")])

    await until(counted)
    unidentified = await failures_of(house, "")
    assert unidentified is not None
    assert unidentified["client"] == ""


async def test_reads_and_persons_are_no_senders(house: RunningServices) -> None:
    reader = await sender(house, "station-c", scopes="x")
    assert (await reader.get("/transport/nowhere")).status_code == 404
    person = await house.client("transport", kind="person", subject="somebody", scopes="x", organisation="p")
    assert (await person.post(DOOR, json=[])).status_code == 403
    nobody = await house.client("transport", scopes=None)
    assert (await nobody.post(DOOR, json=[])).status_code == 401
    pushes = house.kit("transport").push_failures
    async with house.kit("transport").db.transaction() as tx:
        pushes.written(await pushes.write(tx))
    assert await failures_of(house, "station-c") is None
    assert await failures_of(house, "p") is None


async def test_a_flood_is_one_row_and_few_commits(house: RunningServices) -> None:
    kit = house.kit("transport")
    before = await kit_rows(house)
    client = await sender(house, "flood", scopes="x")
    for _ in range(200):
        await client.post(DOOR, json=[])

    async def counted() -> bool:
        found = await failures_of(house, "flood")
        return found is not None and found["refused"] == 200

    await until(counted)
    assert await kit_rows(house) - before == 1
    gathered = push_failures.PushFailures()
    for number in range(push_failures.GATHERED + 5):
        gathered.add(push_failures.Failed("o", "c", f"POST /{number}", 400, ""))
    async with kit.db.transaction() as tx:
        assert len(await gathered.write(tx)) == push_failures.GATHERED
        await tx.execute("delete from push_failure where organisation = 'o'")


async def kit_rows(house: RunningServices) -> int:
    async with house.kit("transport").db.read() as db:
        found: int = await db.fetchval("select count(*) from push_failure")
        return found


async def test_failed_pushes_survive_the_service(servers: TestServers, issuer: Issuer) -> None:
    async with running_services(("exchange",), servers, issuer) as house:
        client = await house.client("exchange", organisation="last-words", scopes="x")
        assert (await client.post("/exchange/agreements", json={})).status_code in {403, 422}
        await house.front.held["exchange"].stop()
        database = urlsplit(house.settings.database_url).path.removeprefix("/")
        connection = await asyncpg.connect(servers.admin_url(database))
        rows = await connection.fetch("select organisation, count from exchange.push_failure")
        await connection.close()
    assert [tuple(row) for row in rows] == [("last-words", 1)]


async def test_without_its_database_a_service_still_says_what_is_wrong(
    house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = house.kit("transport")

    def refuse(*_: Any) -> Any:
        raise ConnectionRefusedError

    await asyncio.sleep(1.1)  # what was read last is kept for a second
    monkeypatch.setattr(kit.database, "read", refuse)
    found = await figures(house)
    assert found["checks"] == {"broker": "ok", "database": "ConnectionRefusedError"}
    assert found["relay"] is None
    assert {one["role"] for one in found["processes"]} >= {"application", "relay"}


async def test_prometheus_hears_each_declared_gauge_once(house: RunningServices) -> None:
    await until(lambda: shown(house, 'organisation="station-a"'))
    text = (await (await house.client("transport", scopes=None)).get("/transport/metrics")).text
    for name in metrics.GAUGES:
        assert text.count(f"# TYPE {name} gauge") == 1, name
    assert 'huimin_heartbeat_age_seconds{role="relay",service="transport"}' in text
    assert "gate-station-a" not in text


async def shown(house: RunningServices, sample: str) -> bool:
    client = await house.client("transport", scopes=None)
    return sample in (await client.get("/transport/metrics")).text
