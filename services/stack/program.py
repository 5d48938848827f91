"""What the supervisor needs to know of a process: how it is made ready, started, recognised, stopped."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar

from services.stack.home import ROOT
from services.stack.terminal import Refusal


class Program:
    """One kind of child process. `prepare` may block; it runs in a thread before each start."""

    name: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_seconds: ClassVar[float] = 15.0
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    """Sent by the kernel when the supervisor itself is killed."""
    start_seconds: ClassVar[float] = 60.0
    start_attempts: ClassVar[int] = 1
    pulse_within_s: ClassVar[float | None] = None
    """A process whose pulse stands still for so long is frozen, and ended; None: nobody looks."""

    uid: int | None = None
    folder: Path = ROOT
    pass_fds: tuple[int, ...] = ()

    def prepare(self) -> None:
        """Puts right what the last run left behind."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def started(self) -> None:
        """Called in the supervisor right after the fork."""

    async def ready(self) -> None:
        """Returns once the process does its work; the supervisor sets the deadline."""
        raise NotImplementedError

    def pulse(self) -> object:
        """Anything that changes while the process does its work."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        return ""


class PythonProgram(Program):
    """A module of ours. It says that it is ready by writing to a pipe, as under systemd's sd_notify."""

    module: ClassVar[str]
    start_seconds = 120.0

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._pipe: tuple[int, int] | None = None

    def prepare(self) -> None:
        self._close()
        self._pipe = os.pipe()
        self.pass_fds = (self._pipe[1],)

    def _close(self) -> None:
        for handle in self._pipe or ():
            os.close(handle)
        self._pipe = None

    def command(self) -> list[str]:
        return [sys.executable, "-P", "-m", self.module]

    def environment(self) -> dict[str, str]:
        assert self._pipe is not None
        return {**self._environment, "HUIMIN_READY_FD": str(self._pipe[1])}

    def started(self) -> None:
        assert self._pipe is not None
        os.close(self._pipe[1])  # the child holds it now: when the child ends, reading ends
        self._pipe = (self._pipe[0], os.open(os.devnull, os.O_RDONLY))

    async def ready(self) -> None:
        assert self._pipe is not None
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()
        handle = self._pipe[0]

        def on_readable() -> None:
            if not answered.done():
                answered.set_result(os.read(handle, 16))

        loop.add_reader(handle, on_readable)
        try:
            if await answered != b"ready":
                raise RuntimeError("it ended before it was ready")
        finally:
            loop.remove_reader(handle)


def tell_ready() -> None:
    """Called by a PythonProgram's module when it does its work."""
    handle = os.environ.pop("HUIMIN_READY_FD", None)
    if handle is not None:
        os.write(int(handle), b"ready")
        os.close(int(handle))


def python_environment(**more: str) -> dict[str, str]:
    """What our own modules are started with."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # glibc gives each thread its own heap; two are enough here and halve the idle size of the app.
        "MALLOC_ARENA_MAX": "2",
        **more,
    }


def free_port(preferred: int | None = None) -> int:
    """The preferred port where nobody has it on loopback, else any free one."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Refusal("没有空闲的本机端口 · no free port on loopback")


def port_of(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Refusal(f"HUIMIN_PORT={text} 不是端口号 · is not a port: use a number from 1 to 65535")
    return int(text)


def listen(host: str, port: int) -> socket.socket:
    """The front door's socket. The supervisor holds it, so that requests wait while the app restarts.

    Raises:
        Refusal: the port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
        door.listen(1024)
    except OSError as error:
        door.close()
        if error.errno == 98:  # EADDRINUSE
            raise Refusal(
                f"端口 {port} 已被占用, 换一个: HUIMIN_PORT={port + 100} ./run up · port {port} is in use: "
                "stop what uses it or choose another one"
            ) from error
        raise Refusal(
            f"无法监听 {host}:{port} ({error.strerror}) · cannot listen there: "
            "check HUIMIN_HOST and HUIMIN_PORT"
        ) from error
    return door
