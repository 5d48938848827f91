"""Starts the suite's processes, brings back what dies, stops everything in order.

Recovery rests on the kernel: a child is told when its supervisor dies (processes.py), the claim on the home
is a lock that dies with its holder (home.py), and state.json says which processes to look for.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from services.kit.waking import stopped
from services.stack.home import Home
from services.stack.processes import (
    command_of,
    dies_with_parent,
    end_group,
    is_same_process,
    send,
    started_at,
    wait_gone,
)
from services.stack.program import Program
from services.stack.terminal import Refusal, step, warn

T = TypeVar("T")

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STABLE_S = 60.0
"""A child that ran this long is restarted at once when it dies."""
PULSE_EVERY_S = 5.0
LOG_LINES_SHOWN = 12
GONE_S = 5.0


@dataclass
class Child:
    """A program and its process."""

    program: Program
    process: asyncio.subprocess.Process | None = None
    state: str = "stopped"
    started: int | None = None
    since: float = 0.0
    launched: float = 0.0
    """By the monotonic clock: how long it lived must not follow a clock that is set."""
    restarts: int = 0
    quick_deaths: int = 0
    watcher: asyncio.Task[None] | None = field(default=None, repr=False)

    def described(self) -> dict[str, Any]:
        process = self.process
        return {
            "title": self.program.title,
            "pid": process.pid if process else None,
            "started": self.started,
            "state": self.state,
            "address": self.program.address,
            "restarts": self.restarts,
            "since": self.since,
        }


class Supervisor:
    """Runs programs in the order they are added, each one ready before the next starts."""

    def __init__(self, home: Home, *, quiet: bool = False) -> None:
        self.home = home
        self.children: dict[str, Child] = {}
        self.address = ""
        self.stopping = asyncio.Event()
        self._quiet = quiet
        self._hurry = asyncio.Event()
        self._about: dict[str, Any] = {}

    # -- life of the whole ------------------------------------------------------------------------------

    async def claim(self) -> None:
        """Takes the home, and ends what a killed supervisor may have left in it."""
        self.home.claim()
        self._about = {"pid": os.getpid(), "started": started_at(os.getpid()), "since": time.time()}
        await asyncio.to_thread(self._end_leftovers)

    def _end_leftovers(self) -> None:
        for left in self.home.state().get("children", {}).values():
            pid, started = left.get("pid"), left.get("started")
            # The kernel told them to end when their supervisor did; most are gone or on their way.
            if not pid or not is_same_process(pid, started) or wait_gone(pid, started, 20.0):
                continue
            warn(f"结束遗留进程 {pid} · ending a leftover process: {' '.join(command_of(pid))[:80]}")
            for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
                if send(pid, number) and wait_gone(pid, started, seconds):
                    break

    def handle_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP stop everything; a second one does not wait for requests and jobs."""
        loop = asyncio.get_running_loop()
        heard = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup: meant to stay
            heard.append(signal.SIGHUP)
        for number in heard:
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self.stopping.is_set():
            self._hurry.set()
        self.stopping.set()

    async def run_until_stopped(self) -> None:
        while not self.stopping.is_set():
            self.home.trim_logs()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 60.0)

    async def stop(self) -> None:
        """Ends the children, last one first, and gives the home back."""
        self.stopping.set()
        for child in reversed(self.children.values()):
            await self._stop_child(child)
        self.write_state()
        self.home.release()

    # -- one child --------------------------------------------------------------------------------------

    async def start(self, program: Program) -> None:
        """Starts a program, waits until it is ready, and watches it from then on.

        Raises:
            Refusal: it does not start; the end of its log is in the message.
        """
        began = time.monotonic()
        child = self.children[program.name] = Child(program)
        for attempt in range(1, program.start_attempts + 1):
            try:
                await self.until_stopping(self._launch(child))
                break
            except (OSError, RuntimeError, TimeoutError) as error:
                await self._kill(child)
                if attempt == program.start_attempts:
                    raise Refusal(self._why_not(child, error)) from error
        child.watcher = asyncio.create_task(self._watch(child), name=f"watch {program.name}")
        if not self._quiet:
            step(program.title, about=program.address, seconds=time.monotonic() - began)

    async def start_together(self, *programs: Program) -> None:
        """Programs that do not wait for each other; the first failure ends the start of the others."""
        starts = [asyncio.create_task(self.start(program)) for program in programs]
        try:
            for finished in asyncio.as_completed(starts):
                await finished
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def end(self, name: str) -> None:
        """Ends one child, which does not come back."""
        await self._stop_child(self.children[name])
        self.write_state()

    async def until_stopping(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; Ctrl-C while something starts is heard at once.

        Raises:
            Interrupted: the suite is to stop.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not task.done():
            await stopped(task)
            raise Interrupted
        return task.result()

    async def _launch(self, child: Child) -> None:
        program = child.program
        child.state = "starting"
        await asyncio.to_thread(program.prepare)
        with self.home.log(program.name).open("ab") as log:
            # A process group of its own: Ctrl-C in the terminal reaches the supervisor alone.
            child.process = await asyncio.create_subprocess_exec(
                *program.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.folder,
                env=program.environment(),
                pass_fds=program.pass_fds,
                process_group=0,
                preexec_fn=dies_with_parent(program.death_signal),
                user=program.uid,
                group=program.uid,
                extra_groups=None if program.uid is None else (),
            )
        program.started()
        child.started, child.since = started_at(child.process.pid), time.time()
        child.launched = time.monotonic()
        self.write_state()
        await self._ready_or_dead(child, child.process)
        child.state = "running"
        self.write_state()

    async def _ready_or_dead(self, child: Child, process: asyncio.subprocess.Process) -> None:
        ready = asyncio.ensure_future(child.program.ready())
        dead = asyncio.ensure_future(process.wait())
        try:
            done, _ = await asyncio.wait(
                {ready, dead}, timeout=child.program.start_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if ready in done and ready.exception() is None:
                return
            if not done:
                raise TimeoutError(f"not ready after {child.program.start_seconds:.0f} s")
            raise RuntimeError(f"ended with code {await asyncio.wait_for(process.wait(), 10.0)}")
        finally:
            ready.cancel()
            dead.cancel()

    async def _watch(self, child: Child) -> None:
        """Brings the child back whenever it ends, slower each time it ends quickly."""
        while True:
            assert child.process is not None
            frozen = asyncio.create_task(self._end_if_frozen(child), name=f"pulse of {child.program.name}")
            try:
                code = await child.process.wait()
            finally:
                frozen.cancel()
            if self.stopping.is_set():
                return
            self._end_group(child)
            lived = time.monotonic() - child.launched
            child.quick_deaths = 0 if lived > STABLE_S else child.quick_deaths + 1
            pause = BACKOFF_S[min(child.quick_deaths, len(BACKOFF_S) - 1)]
            child.state = "restarting"
            self.write_state()
            warn(
                f"{child.program.title} 已退出 (code {code}), {pause:g} 秒后重启 · "
                f"ended; starting again in {pause:g} s"
            )
            await asyncio.sleep(pause)
            await self._revive(child)

    async def _end_if_frozen(self, child: Child) -> None:
        """A process that is up and does nothing is ended like one that died; what it needs must be up too."""
        limit_s = child.program.pulse_within_s
        if limit_s is None:
            return
        last, quiet_s = child.program.pulse(), 0.0
        # Counted in looks: while the whole machine stands still, nobody looks.
        while quiet_s < limit_s:
            await asyncio.sleep(PULSE_EVERY_S)
            found = child.program.pulse()
            whole = all(other.state == "running" for other in self.children.values())
            last, quiet_s = found, quiet_s + PULSE_EVERY_S if found == last and whole else 0.0
        warn(f"{child.program.title} 已停止响应 · has shown no sign of life for {limit_s:g} s and is ended")
        self._end_group(child)

    async def _revive(self, child: Child) -> None:
        try:
            await self._launch(child)
        except (OSError, RuntimeError, TimeoutError, Refusal) as error:
            warn(f"{child.program.title} 重启失败 · did not come back: {error}")
            await self._kill(child)
        else:
            child.restarts += 1
            self.write_state()
            warn(f"{child.program.title} 已恢复 · is back")

    async def _stop_child(self, child: Child) -> None:
        if child.watcher is not None:
            await stopped(child.watcher)
        process = child.process
        if process is not None and process.returncode is None:
            send(process.pid, child.program.stop_signal)
            if not await self._gone(child, process):
                warn(f"{child.program.title} 未及时退出, 强制结束 · did not stop in time and is ended")
        await self._kill(child)
        child.state, child.process, child.started = "stopped", None, None

    async def _gone(self, child: Child, process: asyncio.subprocess.Process) -> bool:
        ended = asyncio.ensure_future(process.wait())
        hurried = asyncio.ensure_future(self._hurry.wait())
        # PostgreSQL is never hurried: what it writes now spares the recovery at the next start.
        waited = {ended} if child.program.stop_signal is signal.SIGINT else {ended, hurried}
        await asyncio.wait(waited, timeout=child.program.stop_seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if ended.done():
            return True
        ended.cancel()
        return False

    async def _kill(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        killed = self._end_group(child)
        await process.wait()
        for pid, started in killed:  # a large one takes its time to go
            await asyncio.to_thread(wait_gone, pid, started, GONE_S)

    @staticmethod
    def _end_group(child: Child) -> list[tuple[int, int]]:
        """What the child itself had started (a pool process, a backend) ends with it."""
        return [] if child.process is None else end_group(child.process.pid, child.started)

    def _why_not(self, child: Child, error: Exception) -> str:
        program = child.program
        log = self.home.log(program.name)
        try:
            tail = log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        except OSError:
            tail = []
        shown = "\n".join(f"      {line[:240]}" for line in tail)
        return f"{program.title} 无法启动 · does not start ({error}); see {log}\n{shown}"

    # -- what others may know ---------------------------------------------------------------------------

    def ports(self) -> dict[str, int]:
        """Ports that were taken before, to be taken again."""
        found = self.home.state().get("ports", {})
        return {str(name): int(port) for name, port in found.items()}

    def write_state(self) -> None:
        running = not self.stopping.is_set() or any(child.process for child in self.children.values())
        ports = self.ports() | {
            child.program.name: port
            for child in self.children.values()
            if (port := getattr(child.program, "port", 0))
        }
        self.home.write_state(
            {
                "supervisor": self._about if running else None,
                "address": self.address,
                "children": {name: child.described() for name, child in self.children.items()},
                "ports": ports,
            }
        )


class Interrupted(Exception):
    """Ctrl-C came while the suite was starting."""
