"""What lies between a service and its database: a network that may be slow, or swallow everything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

CHUNK = 64 * 1024


class Way:
    """A TCP way on loopback. Each piece of what goes along waits `delay_s`; none passes when it is shut."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self._target = ("", 0)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def to(self, url: str) -> str:
        """The same address, along this way."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        who = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{port}"))

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            both = [(reader, far_writer), (far_reader, writer)]
            self._tasks |= {asyncio.create_task(self._carry(*one)) for one in both}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(CHUNK):
                await self.open.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def a_way() -> AsyncIterator[Way]:
    found = Way()
    try:
        yield found
    finally:
        await found.close()
