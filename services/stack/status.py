"""`./run status`, `./run stop`, `./run reset`."""

import http.client
import json
import shutil
import signal
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from services.stack.ground import Ground
from services.stack.home import Home
from services.stack.house import HOUSE, NAMES
from services.stack.processes import descendants, memory_mb, send, wait_gone
from services.stack.standby import other_places
from services.stack.terminal import Refusal, say

NOT_RUNNING = 3
"""As `systemctl status` has it (LSB)."""
STOP_SECONDS = 90.0
PROBE_SECONDS = 3.0


def show_status(home: Home) -> int:
    """Prints processes and services; the exit code says whether all of them are well."""
    from rich.console import Console
    from rich.table import Table

    state = home.running()
    if state is None:
        say(f"未运行 · not running ({home.path})")
        return NOT_RUNNING
    console = Console(width=None if sys.stdout.isatty() else 140)
    supervisor = state["supervisor"]["pid"]
    total = tree_memory_mb(supervisor)
    console.print(f"惠民 Huimin  {state['address']}  ·  {home.path}  ·  pid {supervisor}", soft_wrap=True)
    processes = Table("进程 process", "pid", "状态 state", "地址 address", "重启 restarts", "内存 MB (PSS)")
    for child in state["children"].values():
        memory = tree_memory_mb(child["pid"]) if child["pid"] else 0.0
        pid, restarts = str(child["pid"] or "–"), str(child["restarts"])
        processes.add_row(child["title"], pid, child["state"], child["address"], restarts, f"{memory:.0f}")
    console.print(processes)
    services = Table("服务 service", "状态 state", "详情 checks")
    probes = {service.name: probe(state["address"], service.prefix) for service in HOUSE}
    for name, (ready, detail) in probes.items():
        services.add_row(name, "就绪 ready" if ready else "[red]未就绪 not ready[/red]", detail)
    console.print(services)
    console.print(f"内存合计 · memory of the whole tree: {total:.0f} MB")
    running = all(child["state"] == "running" for child in state["children"].values())
    return 0 if running and all(ready for ready, _ in probes.values()) else 1


def tree_memory_mb(pid: int) -> float:
    """Proportional memory of a process and everything it started."""
    return sum(memory_mb(one) for one in descendants(pid))


def probe(address: str, prefix: str) -> tuple[bool, str]:
    """Whether the service behind a prefix says that it is ready, and what it says of its checks."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", f"{prefix}/readyz", headers={"Host": parts.netloc})
        answer = connection.getresponse()
        body: Any = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, str(error) or type(error).__name__
    finally:
        connection.close()
    checks = body.get("checks", {}) if isinstance(body, dict) else {}
    return answer.status == 200, ", ".join(f"{name}: {value}" for name, value in checks.items())


def stop_running(home: Home) -> None:
    """Asks the supervisor to stop everything, and waits until it has."""
    state = home.running()
    if state is None:
        say(f"未运行 · not running ({home.path})")
        return
    pid, started = state["supervisor"]["pid"], state["supervisor"]["started"]
    began = time.monotonic()
    try:
        send(pid, signal.SIGTERM)
    except PermissionError:
        raise Refusal(f"进程 {pid} 属于其他用户 · belongs to another user: stop it as that user") from None
    if not wait_gone(pid, started, STOP_SECONDS):
        raise Refusal(f"进程 {pid} 未在 {STOP_SECONDS:.0f} 秒内停止 · did not stop; see {home.logs}")
    say(f"  ✓ 已停止 · stopped  {time.monotonic() - began:.1f} s")


def reset_home(home: Home) -> None:
    """Deletes what this program put into a home, and the home when nothing else is in it."""
    if not home.path.exists():
        say(f"没有数据 · nothing to delete ({home.path})")
        return
    home.claim()
    try:
        Ground.of(home.path).remove()
        # The backups of this home go with the secret that alone opens them; those elsewhere stay.
        for folder in (home.clients, home.logs, *(home.path / name for name in (*NAMES, "backup"))):
            shutil.rmtree(folder, ignore_errors=True)
        for place in other_places(home):
            for part in ("data", "data.partial", "data.retired", "spool"):
                shutil.rmtree(place / part, ignore_errors=True)
            for part in ("pass", "provisioned"):
                (place / part).unlink(missing_ok=True)
        files = ("secret", "state.json", "places.json", "city-truth.json", "worker.pulse", "supervisor.lock")
        for file in files:
            (home.path / file).unlink(missing_ok=True)
        if not any(home.path.iterdir()):
            home.path.rmdir()
    finally:
        home.release()
    say(f"  ✓ 已删除 · deleted {home.path}")
