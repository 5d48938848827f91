"""The embedded Valkey: streams, pub/sub and the job queue. Nothing of record is in it."""

import asyncio
import contextlib
import os
import shutil
import time

from services.stack.ground import Ground
from services.stack.program import Program, free_port
from services.stack.terminal import warn

CONFIG = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
daemonize no
supervised no
databases 4
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
tcp-keepalive 60
"""


class Valkey(Program):
    """One server on loopback with a password, which stands in a private file and on no command line."""

    name = "valkey"
    title = "Valkey"
    death_signal = Program.stop_signal
    start_attempts = 3  # the third one without the log that the first two could not read

    def __init__(self, ground: Ground, password: str, *, port: int | None = None) -> None:
        self.ground = ground
        self.uid = ground.uid
        self.password = password
        self.port = port or 0
        self._failed_starts = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        self.folder = self.ground.folder_for("valkey")
        if self._failed_starts >= 2:
            self._set_data_aside()
        self._failed_starts += 1
        self.port = free_port(self.port or None)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.chmod(0o600)
        config.write_text(CONFIG.format(port=self.port, folder=self.folder, password=self.password))
        self.ground.own(config)

    def _set_data_aside(self) -> None:
        """A log it cannot read must not keep the suite down: the outbox publishes everything again."""
        log = self.folder / "appendonlydir"
        if log.exists():
            aside = self.folder / f"unreadable-{time.time():.0f}"
            shutil.move(log, aside)
            warn(f"Valkey 的日志无法读取, 已移到 {aside} · its log was unreadable and was set aside")

    def command(self) -> list[str]:
        return [str(self.ground.valkey_server), str(self.folder / "valkey.conf")]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}

    async def ready(self) -> None:
        while not await self._answers():  # noqa: ASYNC110
            await asyncio.sleep(0.03)  # another process: nothing here could set an event
        self._failed_starts = 0

    async def _answers(self) -> bool:
        """Whether it answers PING; while it reads its log it says LOADING instead."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            return await reader.readline() == b"+OK\r\n" and await reader.readline() == b"+PONG\r\n"
        except OSError:
            return False
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
