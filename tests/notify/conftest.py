"""Transport and notify running together, also on a port of their own: a stream needs a real connection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services
from tests.transport.conftest import Transport, emptied


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """The app on a free port of loopback; its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
        serving = asyncio.create_task(server.serve([door]))
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serving


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    async with running_services(("notify", "transport"), servers, issuer) as found:
        yield found


@pytest.fixture(scope="module")
async def address(house: RunningServices) -> AsyncIterator[str]:
    async with listening(house.front) as found:
        yield found


@pytest.fixture
async def transport(house: RunningServices) -> Transport:
    return await emptied(house)


@pytest.fixture
async def reader(house: RunningServices) -> httpx.AsyncClient:
    return await house.client("notify", kind="person", scopes="notify:stream:read")
