"""Sockets: who may open one, and what they are told; over a toy schema on a real port."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import websockets
from websockets.asyncio.client import ClientConnection

from tests.gateway.toy import app

PROTOCOL = "graphql-transport-ws"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUIMIN_SECRET", "a secret of the test")


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app(), log_level="critical", ws="websockets-sansio"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield f"ws://127.0.0.1:{listening.getsockname()[1]}/graphql"
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def opened(
    url: str, payload: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[ClientConnection]:
    async with websockets.connect(url, subprotocols=[PROTOCOL], **options) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": payload or {}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        yield socket


async def subscribe(socket: ClientConnection, query: str) -> list[dict[str, Any]]:
    """Everything told to one subscription, up to its end."""
    await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
    told = []
    async with asyncio.timeout(60):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "ping":
                continue
            told.append(message)
            if message["type"] in {"complete", "error"}:
                return told


async def test_each_result_comes_once_and_then_the_end() -> None:
    async with served() as url, opened(url) as socket:
        told = await subscribe(socket, "subscription { count(to: 2) }")
    assert [m["payload"]["data"]["count"] for m in told[:-1]] == [0, 1]
    assert told[-1]["type"] == "complete"


async def test_queries_may_travel_over_a_socket_too_and_errors_are_coded_and_masked() -> None:
    async with served() as url, opened(url) as socket:
        down = await subscribe(socket, "{ down { value } }")
        broken = await subscribe(socket, "{ broken }")
    assert down[0]["payload"]["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert broken[0]["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "secret" not in json.dumps(broken)


async def test_a_document_over_the_limits_is_refused_over_a_socket_too() -> None:
    aliases = " ".join(f"x{i}: hello" for i in range(40))
    async with served() as url, opened(url) as socket:
        told = await subscribe(socket, f"{{ {aliases} }}")
    assert told[0]["type"] == "error"
    assert told[0]["payload"][0]["extensions"]["code"] == "COST_EXCEEDED"


@pytest.mark.parametrize(
    ("payload", "code"),
    [({"authorization": "Bearer nonsense"}, 4403), ({"authorization": "Basic abc"}, 4403)],
)
async def test_a_token_that_does_not_hold_closes_the_socket(payload: dict[str, Any], code: int) -> None:
    with pytest.raises(websockets.ConnectionClosed) as closed:
        async with served() as url, opened(url, payload):
            pytest.fail("the socket was acknowledged")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


async def test_the_schema_is_not_told_over_a_socket_where_it_is_not_told_at_all() -> None:
    async with served() as url, opened(url) as socket:
        told = await subscribe(socket, "{ __schema { types { name } } }")
    assert [message["type"] for message in told] == ["error"]


async def test_what_one_operation_loaded_is_not_kept_for_the_next_on_its_socket() -> None:
    async with served() as url, opened(url) as socket:
        told = [await subscribe(socket, "{ loaded }") for _ in range(2)]
    assert [messages[0]["payload"]["data"]["loaded"] for messages in told] == [1, 2]


async def test_a_page_from_elsewhere_may_not_open_a_socket() -> None:
    async with served() as url:
        with pytest.raises(websockets.InvalidStatus):
            async with opened(url, origin="https://elsewhere.example"):
                pytest.fail("the socket was opened")


async def test_the_old_subprotocol_is_not_spoken() -> None:
    async def speak(url: str) -> None:
        async with websockets.connect(url, subprotocols=["graphql-ws"]) as socket:  # type: ignore[list-item]
            await socket.send(json.dumps({"type": "connection_init"}))
            await socket.recv()

    async with served() as url:
        with pytest.raises((websockets.InvalidHandshake, websockets.ConnectionClosed)):
            await speak(url)
