from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.kit.scratch import Scratch, scratch_settings
from tests.support.databases import TestServers


@pytest.fixture(scope="module")
async def scratch_house(servers: TestServers) -> AsyncIterator[Scratch]:
    async with servers.copy() as database:
        yield Scratch(scratch_settings(servers, database), AsyncExitStack())


@pytest.fixture
async def scratch(scratch_house: Scratch, servers: TestServers) -> AsyncIterator[Scratch]:
    """Services that exist for the test alone, each with an empty schema; the broker is empty too."""
    await servers.empty_broker()
    async with AsyncExitStack() as stack:
        yield Scratch(scratch_house.settings, stack)
