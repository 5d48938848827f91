"""Messages as pages: from the domain's commit to whoever reads the topic."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.kit.events import Event
from services.notify import taking
from tests.support.running import RunningServices
from tests.transport.conftest import Transport

START = datetime.fromisoformat("2026-05-01T00:00:00Z")


async def crowd(transport: Transport, zone: str, *, area: str = "330106", episodes: int = 1) -> None:
    """Each episode is raised and ended: two messages."""
    await transport.zone(zone, area=area)
    await transport.policy(zone, capacity=100, red_at_once=False)
    people = [90, 90, *[0] * 5] * episodes
    await transport.count(zone, *((START + timedelta(minutes=i), n) for i, n in enumerate(people)))


async def head(reader: httpx.AsyncClient) -> int:
    return int((await reader.get("/notify/topics/crowd-warnings")).json()["head"])


async def page(reader: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    answer = await reader.get("/notify/events", params={"topic": "crowd-warnings", **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def arrived(
    reader: httpx.AsyncClient, *, after: int, number: int, **params: Any
) -> list[dict[str, Any]]:
    """The messages behind a number, once there are so many."""
    async with asyncio.timeout(60):
        while True:
            items = (await page(reader, after=after, limit=500, **params))["items"]
            if len(items) >= number:
                return list(items)
            await asyncio.sleep(0.02)


async def test_reading_needs_the_scope(house: RunningServices) -> None:
    path = "/notify/events?topic=crowd-warnings"
    assert (await (await house.client("notify", scopes=None)).get(path)).status_code == 401
    assert (await (await house.client("notify", scopes="transport:flows:read")).get(path)).status_code == 403


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"topic": "gossip"}, "unknown_topic"),
        ({"topic": "crowd-warnings", "area": "Hangzhou"}, "invalid_area"),
        ({"topic": "crowd-warnings", "zone": "a"}, "unknown_parameter"),
    ],
)
@pytest.mark.parametrize("path", ["events", "stream"])
async def test_what_is_not_understood_is_refused(
    reader: httpx.AsyncClient, path: str, params: dict[str, str], code: str
) -> None:
    answer = await reader.get(f"/notify/{path}", params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_warning_becomes_one_message_for_each_step(
    transport: Transport, reader: httpx.AsyncClient
) -> None:
    before = await head(reader)
    await crowd(transport, "bridge")
    raised, ended = await arrived(reader, after=before, number=2)
    assert before < raised["seq"] < ended["seq"]
    assert (raised["topic"], raised["area"]) == ("crowd-warnings", "330106")
    assert raised["data"]["type"] == "transport.warning.raised"
    assert ended["data"]["type"] == "transport.warning.ended"
    assert raised["data"]["text"]["zh"] == "断桥：橙色预警，90 人，为瞬时承载量 100 人的 90.0%"


async def test_pages_go_on_where_the_last_one_ended(transport: Transport, reader: httpx.AsyncClient) -> None:
    before = await head(reader)
    await crowd(transport, "bridge", episodes=3)
    await arrived(reader, after=before, number=6)
    first = await page(reader, after=before, limit=4)
    assert first["more"]
    rest = await page(reader, after=first["next"], limit=4)
    assert [m["data"]["revision"] for m in first["items"] + rest["items"]] == [1, 2] * 3
    assert not rest["more"]


async def test_an_area_hears_of_itself_alone(transport: Transport, reader: httpx.AsyncClient) -> None:
    before = await head(reader)
    await crowd(transport, "bridge", area="330106")
    await crowd(transport, "canal", area="320500")
    await arrived(reader, after=before, number=4)

    async def zones(area: str) -> list[str]:
        return [m["data"]["zone"] for m in (await page(reader, after=before, area=area))["items"]]

    assert await zones("330000") == ["bridge", "bridge"]
    assert await zones("320500") == ["canal", "canal"]
    assert await zones("330102") == []
    # What the filter leaves out need not be looked at again.
    assert (await page(reader, after=before, area="330102"))["next"] >= before + 4


async def test_an_event_has_one_message_however_often_it_comes(house: RunningServices) -> None:
    database = house.kit("notify").db
    event = Event(
        id=UUID(int=7),
        type="transport.warning.raised",
        source="transport",
        aggregate="zone/a",
        seq=1,
        time=datetime.now(UTC),
        area="110101",
        data={"zone": "a"},
        traceparent=None,
    )
    for _ in range(2):
        async with database.transaction() as tx:
            await taking.take(tx, [event])
    async with database.read() as db:
        assert await db.fetchval("select count(*) from message where event_id = $1", event.id) == 1
        assert await db.fetchval("select max(seq) = (select seq from message_head) from message")
