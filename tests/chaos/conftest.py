from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.field import Field, battlefield
from tests.support.databases import TestServers


@pytest.fixture
async def field(servers: TestServers, public_folder: Path) -> AsyncIterator[Field]:
    """Two services in two processes each, and a broker of their own; all of them may be killed."""
    async with battlefield(servers, public_folder) as found:
        yield found
