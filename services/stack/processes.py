"""Processes of ours: started so that they die with us, known by pid and start time, stopped in order."""

import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends the signal when our process ends, however it ends.

    It runs after `user=` took effect, which matters: changing the user clears the setting. The kernel
    watches the thread that forked, so children are started from the main thread.
    """
    parent = os.getpid()

    def in_child() -> None:
        die_with_parent(number)
        if os.getppid() != parent:  # it ended between fork and prctl
            os._exit(1)

    return in_child


def collect_less() -> None:
    """Has the collector look at new objects in this process every 50,000 and not every 700.

    Rows by the thousand are no cycles.
    """
    gc.set_threshold(50_000, 20, 50)


def die_with_parent(number: signal.Signals) -> None:
    """The same for the calling process itself."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number))


def started_at(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is no such process.

    A pid alone says little: it is given out again, and a container starts with the same ones each time.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def is_same_process(pid: int, started: int | None) -> bool:
    return started is not None and started_at(pid) == started


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def send(pid: int, number: signal.Signals) -> bool:
    """Whether there was somebody to send it to."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def end_group(leader: int, since: int | None) -> list[tuple[int, int]]:
    """Kills what a process of ours had started and left in its group: pids and when each started.

    Looked up one by one: once the leader is gone its number may lead somebody else's group.

    Args:
        since: when the leader started (see `started_at`); nothing of its group is older.
    """
    if since is None:
        return []
    session, killed = os.getsid(0), []
    for pid, fields in _stats():
        mine = int(fields[2]) == leader and int(fields[3]) == session and int(fields[19]) >= since
        if mine and pid != os.getpid() and send(pid, signal.SIGKILL):
            killed.append((pid, int(fields[19])))
    return killed


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Every process with the fields of its `stat` after the name: state, parent, group, session, …"""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue


def wait_gone(pid: int, started: int | None, seconds: float) -> bool:
    """Whether the process ended within that time."""
    until = time.monotonic() + seconds
    while is_same_process(pid, started):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def memory_mb(pid: int) -> float:
    """Proportional set size: shared pages count once, divided among those who share them."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0.0)


def descendants(pid: int) -> list[int]:
    """The process and everything it started, as far as it still runs."""
    children: dict[int, list[int]] = {}
    for one, fields in _stats():
        children.setdefault(int(fields[1]), []).append(one)
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        queue.extend(children.get(current, []))
    return found
