"""Fixtures for every test.

servers          the run's PostgreSQL and Valkey; HUIMIN_* of this process point at them
db               db("health"): a connection as that service's own role, to a database of the test's own
running          await running("identity", "health"): services in this process, on a database of their own
service_client   await service_client("transport", scopes="…", **who): a client of one such service
apart            await apart("identity", "gateway"): services in processes of their own, to be killed
issuer           mints tokens for any caller (tests/support/issuer.py)
suite            the real `./run up` in processes of its own, started once (tests/support/suite.py)
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from services.kit.database import prepare_connection, role_of
from services.kit.settings import Settings
from services.stack.house import named
from services.stack.processes import started_at
from tests.support.apart import Apart, running_apart
from tests.support.databases import TestServers, test_servers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services
from tests.support.suite import Suite, running_suite

IN_MEMORY_FROM_BYTES = 3 * 2**30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the full-length runs too")


LONGEST_FIRST = ("stack", "chaos", "conformance", "journeys", "gateway", "city", "audit", "health")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Files with whole suites in them come first: begun last, one worker would go on long after the others.
    items.sort(key=_place)
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="runs at full length: ./run test --long"))


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(scope="session")
def public_folders() -> Iterator[Path]:
    """Where other users may pass through, as the servers' user has to; pytest's own folders are closed.

    In memory where there is room: each home has a database's thousand files.
    """
    memory = Path("/dev/shm")
    for left in memory.glob("huimin-test-*-*"):
        # Of a run that was killed: it takes the machine's memory.
        owner = left.name.split("-")[2]
        if owner.isdigit() and started_at(int(owner)) is None:
            shutil.rmtree(left, ignore_errors=True)
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > IN_MEMORY_FROM_BYTES
    prefix = f"huimin-test-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory if roomy else None) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def public_folder(public_folders: Path) -> Path:
    """One such folder for a test."""
    folder = Path(tempfile.mkdtemp(dir=public_folders))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
async def servers(public_folders: Path) -> AsyncIterator[TestServers]:
    async with test_servers(public_folders / "servers") as found:
        yield found


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def db(servers: TestServers) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """`connection = await db("health")`, to a fresh copy of the migrated database."""
    async with AsyncExitStack() as stack:

        async def connect(name: str) -> Any:
            service = named(name)
            database = await stack.enter_async_context(servers.copy([name]))
            settings = Settings()
            connection = await asyncpg.connect(
                servers.admin_url(database),
                user=role_of(service.name),
                password=settings.secret_for(service.name, "postgres").hex(),
            )
            stack.push_async_callback(connection.close)
            await prepare_connection(connection)
            return connection

        yield connect


Running = Callable[..., Awaitable[RunningServices]]


@pytest.fixture
async def running(servers: TestServers, issuer: Issuer) -> AsyncIterator[Running]:
    """`house = await running("identity", "health")`, once a test."""
    async with AsyncExitStack() as stack:
        started: list[str] = []

        async def start(*names: str) -> RunningServices:
            assert not started, f"{started} run already: name all services of a test in one call"
            started.extend(names)
            return await stack.enter_async_context(running_services(names, servers, issuer))

        yield start


@pytest.fixture
async def service_client(running: Running) -> Callable[..., Awaitable[httpx.AsyncClient]]:
    """`client = await service_client("transport", scopes="transport:readings:write", areas=["3301"])`.

    The first call starts the service alone; further calls are further callers of the same one.
    """
    found: dict[str, RunningServices] = {}

    async def client(name: str, **who: Any) -> httpx.AsyncClient:
        if not found:
            found[name] = await running(name)
        return await found[name].client(name, **who)

    return client


@pytest.fixture
async def apart(servers: TestServers, public_folder: Path) -> AsyncIterator[Callable[..., Awaitable[Apart]]]:
    """`house = await apart("identity", "transport", "gateway")`: these services in processes of their own."""
    async with AsyncExitStack() as stack:

        async def start(*names: str, demo: bool = False) -> Apart:
            await servers.empty_broker()
            storing = [name for name in names if named(name).stores]
            database = await stack.enter_async_context(servers.copy(storing))
            return stack.enter_context(running_apart(names, database, servers, public_folder, demo=demo))

        yield start


@pytest.fixture(scope="session")
def suite(public_folders: Path) -> Iterator[Suite]:
    folder = public_folders / "suite"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found
