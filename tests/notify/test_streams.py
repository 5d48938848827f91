"""Live: server-sent events with replay, and the clients' own way of following a topic."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.kit.calls import DomainError
from services.kit.principals import Principal
from services.notify import messages, streams
from services.notify.client import NotifyClient
from services.notify.repository.messages import NewMessage
from services.notify.wakeups import wakeups
from tests.notify.test_messages import crowd, head
from tests.support.running import RunningServices
from tests.transport.conftest import Transport


class Subscriber:
    """An EventSource: keeps the last id, whatever else it forgets."""

    def __init__(self, house: RunningServices, address: str, **params: str) -> None:
        self._house = house
        self._url = f"{address}/notify/stream"
        self._params = {"topic": "crowd-warnings", **params}
        self.last_id: str | None = None
        self.closed: str | None = None

    @asynccontextmanager
    async def connected(self, **who: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        token = self._house.token("notify", kind="person", scopes="notify:stream:read", **who)
        headers = {"authorization": f"Bearer {token}"}
        if self.last_id is not None:
            headers["last-event-id"] = self.last_id
        async with (
            httpx.AsyncClient(timeout=60) as http,
            http.stream("GET", self._url, params=self._params, headers=headers) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            messages = self._messages(answer.aiter_lines())
            # The first frame gives the position from which we are told.
            while self.last_id is None:
                await anext(messages)
            yield messages

    async def _messages(self, lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
        frame: dict[str, str] = {}
        async for line in lines:
            if line:
                name, _, value = line.partition(": ")
                frame[name] = value
                continue
            first = self.last_id is None
            self.last_id = frame.get("id", self.last_id)
            if frame.get("event") == "closed":
                self.closed = json.loads(frame["data"])["reason"]
                return
            if "data" in frame:
                yield json.loads(frame["data"])
            elif first:
                yield {}
            frame = {}


async def test_a_subscriber_is_told_at_once(
    transport: Transport, house: RunningServices, address: str
) -> None:
    subscriber = Subscriber(house, address)
    async with subscriber.connected() as messages:
        await crowd(transport, "bridge")
        async with asyncio.timeout(60):
            told = [await anext(messages), await anext(messages)]
    assert [m["data"]["type"] for m in told] == ["transport.warning.raised", "transport.warning.ended"]
    assert subscriber.last_id == str(told[1]["seq"])


async def test_a_break_loses_nothing_and_doubles_nothing(
    transport: Transport, house: RunningServices, address: str
) -> None:
    subscriber = Subscriber(house, address)
    async with subscriber.connected() as messages:
        pass
    await crowd(transport, "bridge", episodes=2)
    told = []
    for number in (1, 2, 1):
        async with subscriber.connected() as messages, asyncio.timeout(60):
            for _ in range(number):
                told.append(await anext(messages))
    assert [m["data"]["revision"] for m in told] == [1, 2, 1, 2]
    assert len({m["id"] for m in told}) == 4


async def test_an_area_is_told_of_itself_alone(
    transport: Transport, house: RunningServices, address: str
) -> None:
    subscriber = Subscriber(house, address, area="330000")
    async with subscriber.connected() as messages:
        await crowd(transport, "canal", area="320500")
        await crowd(transport, "bridge", area="330106")
        async with asyncio.timeout(60):
            assert (await anext(messages))["data"]["zone"] == "bridge"


async def test_the_stream_ends_with_the_token(house: RunningServices, address: str) -> None:
    subscriber = Subscriber(house, address)
    async with subscriber.connected(lifetime_s=3) as messages, asyncio.timeout(60):
        assert [message async for message in messages] == []
    assert subscriber.closed == "token_expired"


async def test_a_quiet_stream_shows_that_it_lives(
    house: RunningServices, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.2)
    token = house.token("notify", scopes="notify:stream:read")
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream(
            "GET",
            f"{address}/notify/stream",
            params={"topic": "crowd-warnings"},
            headers={"authorization": f"Bearer {token}"},
        ) as answer,
        asyncio.timeout(60),
    ):
        async for line in answer.aiter_lines():
            if line == ": still here":
                return


async def test_a_position_that_cannot_be_one_is_refused(reader: httpx.AsyncClient) -> None:
    answer = await reader.get(
        "/notify/stream", params={"topic": "crowd-warnings"}, headers={"last-event-id": "yesterday"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_position")


async def test_clients_follow_a_topic_across_breaks(
    transport: Transport, house: RunningServices, reader: httpx.AsyncClient
) -> None:
    client = house.kit("transport").calls.client(NotifyClient)
    position = (await client.topic("crowd-warnings")).head
    told = []

    async def follow(number: int) -> int:
        stream = client.stream("crowd-warnings", area="33", after=position)
        async with asyncio.timeout(60):
            for _ in range(number):
                told.append(await anext(stream))
        await stream.aclose()
        return told[-1].seq

    first = asyncio.create_task(follow(1))
    await asyncio.sleep(0.1)
    await crowd(transport, "bridge", episodes=2)
    position = await first
    position = await follow(3)
    assert position == await head(reader)
    assert [m.data["episode"] for m in told] == [1, 1, 2, 2]


async def test_without_the_broker_a_follower_looks_for_itself(
    transport: Transport, house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.kit("transport").calls.client(NotifyClient)
    monkeypatch.setattr("services.notify.wakeups.CHANNEL", "nobody calls here:")
    deaf = wakeups("redis://127.0.0.1:1/0")
    monkeypatch.setattr("services.notify.client.wakeups", lambda _url: deaf)
    stream = client.stream("crowd-warnings", after=(await client.topic("crowd-warnings")).head)
    following = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    await crowd(transport, "bridge")
    async with asyncio.timeout(60):
        assert (await following).data["zone"] == "bridge"
    await stream.aclose()


async def test_a_follower_outlasts_a_restart_of_the_service(
    transport: Transport, house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = house.kit("transport").calls.client(NotifyClient)
    stream = client.stream("crowd-warnings", after=(await client.topic("crowd-warnings")).head)
    await crowd(transport, "bridge")
    events, failures = NotifyClient.events, ["SERVICE_UNAVAILABLE", "TIMEOUT"]

    async def failing(self: NotifyClient, *args: Any, **rest: Any) -> Any:
        if failures:
            raise DomainError("notify", failures.pop(), "away")
        return await events(self, *args, **rest)

    monkeypatch.setattr(NotifyClient, "events", failing)
    async with asyncio.timeout(60):
        assert (await anext(stream)).data["zone"] == "bridge"
    failures.append("FORBIDDEN")
    with pytest.raises(DomainError, match="away"):
        _ = [await anext(stream) for _ in range(2)]


async def listening(broker: Any) -> set[str]:
    """The connections that listen at the broker."""
    return {one["id"] for one in await broker.client_list(_type="pubsub")}


async def test_a_hundred_followers_share_one_connection(transport: Transport, house: RunningServices) -> None:
    client = house.kit("transport").calls.client(NotifyClient)
    start = (await client.topic("crowd-warnings")).head

    async def follow() -> int:
        stream = client.stream("crowd-warnings", after=start)
        found = [(await anext(stream)).seq for _ in range(2)]
        await stream.aclose()
        return len(set(found))

    broker = house.kit("notify").redis
    before = await listening(broker)  # of earlier tests
    following = [asyncio.create_task(follow()) for _ in range(100)]
    async with asyncio.timeout(60):
        while not (listeners := await listening(broker) - before):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.05)
        await crowd(transport, "bridge")
        assert await asyncio.gather(*following) == [2] * 100
    assert len(listeners) == 1


async def test_streams_that_stand_at_the_same_place_read_each_page_once(
    transport: Transport, house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, reads, page = house.kit("notify"), [], messages.page

    async def counted(*args: Any, **what: Any) -> Any:
        reads.append(what["after"])
        return await page(*args, **what)

    monkeypatch.setattr(messages, "page", counted)
    who = Principal(kind="person", subject="reader", expires_at=time.time() + 60)
    start = (await house.kit("transport").calls.client(NotifyClient).topic("crowd-warnings")).head
    followers = [
        streams.event_stream(
            kit, messages.Audience(), who=who, topic="crowd-warnings", area=None, after=start
        )
        for _ in range(200)
    ]
    for follower in followers:
        await anext(follower)
    told = [asyncio.ensure_future(anext(follower)) for follower in followers]
    await asyncio.sleep(0.5)
    await crowd(transport, "bridge")
    async with asyncio.timeout(60):
        frames = await asyncio.gather(*told)
    assert all(b"transport.warning.raised" in frame for frame in frames)
    assert len(reads) < 20
    for follower in followers:
        await follower.aclose()


async def test_nobody_is_called_for_what_is_told_another(house: RunningServices) -> None:
    """A thousand who wait for their own notifications are not a thousand reads for each that one gets."""
    kit = house.kit("notify")
    mine, other = (messages.channel(messages.INBOX, who, None) for who in ("h1_ME", "h1_OTHER"))
    async with wakeups(kit.settings.redis_url) as calls:
        async with asyncio.timeout(60):
            while not calls._listening:  # noqa: ASYNC110 - what it is called from then on is heard
                await asyncio.sleep(0.02)
        call, not_mine = calls.next_call(mine), calls.next_call(other)
        row = NewMessage(messages.INBOX, uuid4(), datetime.now(UTC), None, {"type": "x"}, recipient="h1_ME")
        async with kit.db.transaction() as tx:
            await messages.add(tx, [row])
        async with asyncio.timeout(60):
            await call.wait()
        assert not not_mine.is_set()
