"""Zones and warnings as apps see them, through the gateway."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from services.kit.calls import Calls
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services
from tests.transport.conftest import Transport

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    async with running_services(("notify", "transport", "gateway"), servers, issuer) as found:
        yield found


@pytest.fixture
async def anybody(house: RunningServices) -> httpx.AsyncClient:
    return await house.client("gateway", scopes=None)


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await http.post("/graphql", json={"query": query, "variables": variables})
    found: dict[str, Any] = answer.json()
    return found


async def test_many_zones_with_what_hangs_on_them_are_three_calls(
    transport: Transport, anybody: httpx.AsyncClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(8):
        await transport.zone(f"z{i}")
        await transport.sensor(f"s{i}", zone_to=f"z{i}")
        await transport.policy(f"z{i}", capacity=10)
        await transport.push(transport.reading(f"s{i}", now - MINUTE, i), transport.reading(f"s{i}", now, i))
    paths: list[str] = []
    request = Calls.request

    async def counted(self: Calls, service: str, method: str, path: str, **rest: Any) -> httpx.Response:
        paths.append(path)
        return await request(self, service, method, path, **rest)

    monkeypatch.setattr(Calls, "request", counted)
    found = await ask(
        anybody,
        """{ zones(first: 5) {
               nodes { id occupancy capacity share level quality
                       windows(first: 1) { nodes { peopleIn } pageInfo { hasNextPage } }
                       warnings { nodes { level state zone { id } } } }
               pageInfo { endCursor hasNextPage } } }""",
    )
    assert "errors" not in found, found
    zones = found["data"]["zones"]
    assert zones["pageInfo"]["hasNextPage"]
    assert [z["occupancy"] for z in zones["nodes"]] == [0, 2, 4, 6, 8]
    assert [z["windows"]["nodes"][0]["peopleIn"] for z in zones["nodes"]] == [0, 1, 2, 3, 4]
    assert all(z["windows"]["pageInfo"]["hasNextPage"] for z in zones["nodes"])
    # Readers of the events tell how far they are whenever they like.
    asked = (path for path in paths if path.startswith("/transport") and "/outbox" not in path)
    assert sorted(asked) == [
        "/transport/warnings/newest",
        "/transport/windows",
        "/transport/zones",
    ]


async def test_lists_go_on_from_their_cursor(
    transport: Transport, anybody: httpx.AsyncClient, now: datetime
) -> None:
    await transport.zone("z")
    await transport.sensor("s", zone_to="z")
    await transport.push(*(transport.reading("s", now - i * MINUTE, i) for i in range(5)))
    query = """query W($after: String) { zone(id: "z") {
        windows(first: 2, after: $after) { nodes { peopleIn } pageInfo { endCursor hasNextPage } } } }"""
    seen, after, more = [], None, True
    while more:
        page = (await ask(anybody, query, after=after))["data"]["zone"]["windows"]
        seen += [w["peopleIn"] for w in page["nodes"]]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert seen == [0, 1, 2, 3, 4]


async def test_what_is_not_there_is_null(transport: Transport, anybody: httpx.AsyncClient) -> None:
    assert await ask(anybody, '{ zone(id: "nowhere") { id } }') == {"data": {"zone": None}}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ('{ zones(area: "Hangzhou") { nodes { id } } }', "zones"),
        ("{ zones(first: 1000) { nodes { id } } }", "zones"),
        ('{ warnings(after: "x") { nodes { id } } }', "warnings"),
        ('mutation { acknowledgeWarning(id: "first") { id } }', "acknowledgeWarning"),
    ],
)
async def test_bad_input_is_a_null_and_a_coded_error(
    transport: Transport, anybody: httpx.AsyncClient, query: str, field: str
) -> None:
    found = await ask(anybody, query)
    assert found["data"] == {field: None}
    assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_nobody_acknowledges_without_signing_in(
    transport: Transport, anybody: httpx.AsyncClient, now: datetime
) -> None:
    await transport.zone("z")
    await transport.policy("z", capacity=10)
    await transport.count("z", (now, 10))
    found = await ask(anybody, "{ warnings(open: true) { nodes { id level textZh zone { nameZh } } } }")
    [warning] = found["data"]["warnings"]["nodes"]
    assert (warning["level"], warning["zone"]) == ("RED", {"nameZh": "断桥"})
    query = "mutation A($id: ID!) { acknowledgeWarning(id: $id) { id } }"
    found = await ask(anybody, query, id=warning["id"])
    assert found["data"] == {"acknowledgeWarning": None}
    assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"
