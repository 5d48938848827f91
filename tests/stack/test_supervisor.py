"""The supervisor over its two servers: what dies comes back, what is killed leaves nothing in the way.

Started without the application (tests/support/bare.py): these are tests of the house, not of who lives in
it. tests/stack/test_up.py has the whole of it.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.stack.ground import NOBODY, Ground
from services.stack.home import Home
from services.stack.postgres import Postgres
from services.stack.processes import send, started_at
from services.stack.program import Program
from services.stack.supervisor import Supervisor
from tests.support.suite import Suite, all_of, none_left, start_suite, stop_suite

pytestmark = pytest.mark.chaos
WITHIN_S = 60.0
Start = Callable[..., Suite]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def bare(public_folder: Path) -> Iterator[Start]:
    """Starts supervisor and servers in a home of the test's own; what still runs at the end is stopped."""
    started: list[Suite] = []

    def start(*, folder: Path = public_folder, wait: bool = True, uid: int | None = None) -> Suite:
        suite = start_suite(folder, module="tests.support.bare", uid=uid)
        started.append(suite)
        if wait:
            suite.wait_ready(children=2)
        return suite

    yield start
    for suite in started:
        stop_suite(suite)


def data_of(suite: Suite, server: str) -> Path:
    return Ground.of(suite.home.path).folder / server


def sql(suite: Suite, statement: str, *, password: str | None = None) -> str:
    """One statement as the administrator, through the wheel's own psql."""
    from services.stack.ground import server_password

    psql = Ground.of(suite.home.path).postgres_bin / "psql"
    port = suite.home.state()["ports"]["postgres"]
    done = subprocess.run(
        [psql, "-w", "-XAt", f"postgresql://postgres@127.0.0.1:{port}/postgres", "-c", statement],
        capture_output=True,
        text=True,
        env={"PGPASSWORD": password or server_password(suite.home.secret(), "postgres")},
        check=False,
    )
    return (done.stdout or done.stderr).strip()


def eventually(check: Callable[[], object], seconds: float = WITHIN_S) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.05)


def kill_all(suite: Suite) -> None:
    for pid in reversed(all_of(suite)):
        send(pid, signal.SIGKILL)
    suite.process.wait()


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_killed_server_comes_back_at_its_port(bare: Start, name: str) -> None:
    suite = bare()
    before, ports = suite.child(name), suite.home.state()["ports"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: suite.home.state()["children"][name]["restarts"] == 1)
    assert suite.child(name) != before
    assert suite.home.state()["ports"] == ports
    assert sql(suite, "select 1") == "1"


def test_ctrl_c_stops_everything_cleanly(bare: Start) -> None:
    suite = bare()
    pids = all_of(suite)
    assert stop_suite(suite) == 0
    assert none_left(pids)
    assert suite.home.running() is None
    assert "database system is shut down" in suite.home.log("postgres").read_text()


def test_a_restart_keeps_data_and_ports(bare: Start) -> None:
    first = bare()
    ports = first.home.state()["ports"]
    sql(first, "create table kept as select 7 as it")
    stop_suite(first)
    second = bare()
    assert second.home.state()["ports"] == ports
    assert sql(second, "select it from kept") == "7"


def test_a_killed_supervisor_leaves_nothing_behind(bare: Start) -> None:
    first = bare()
    sql(first, "create table kept as select 7 as it")
    pids = all_of(first)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    eventually(lambda: none_left(pids))
    assert sql(bare(), "select it from kept") == "7"


def test_the_whole_tree_killed_at_once_recovers(bare: Start) -> None:
    first = bare()
    sql(first, "create table kept as select 7 as it")
    kill_all(first)
    assert sql(bare(), "select it from kept") == "7"


def test_a_server_that_outlived_its_supervisor_is_stopped_first(bare: Start) -> None:
    """As where the kernel does not tell a child of its parent's death."""
    first = bare()
    stop_suite(first)
    ground = Ground.of(first.home.path)
    postgres = Postgres(ground, "unused", port=first.home.state()["ports"]["postgres"])
    postgres.prepare()
    outlived = subprocess.Popen(
        postgres.command(), cwd=postgres.folder, user=ground.uid, group=ground.uid, stderr=subprocess.DEVNULL
    )
    pid_file = postgres.data / "postmaster.pid"
    eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text())
    second = bare()
    assert outlived.wait(5) == 0
    assert sql(second, "select 1") == "1"


def test_stale_files_of_other_processes_are_not_believed(bare: Start) -> None:
    """After a reboot the pids in our files belong to anybody: here, to this very test."""
    first = bare()
    stop_suite(first)
    data = data_of(first, "postgres") / "data"
    lines = [str(os.getpid()), str(data), "1", "5432", "", "127.0.0.1", "1 1", "ready   "]
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    state = first.home.state()
    state["supervisor"] = {"pid": os.getpid(), "started": 1}
    state["children"]["valkey"] |= {"pid": os.getpid(), "started": 1}
    first.home.write_state(state)
    assert first.home.running() is None
    assert sql(bare(), "select 1") == "1"


def test_an_interrupted_first_start_is_done_again(bare: Start) -> None:
    first = bare(wait=False)
    eventually(lambda: (data_of(first, "postgres") / "data.partial").exists())
    kill_all(first)
    assert sql(bare(), "select 1") == "1"


def test_an_unreadable_broker_log_is_set_aside(bare: Start) -> None:
    first = bare()
    stop_suite(first)
    folder = data_of(first, "valkey") / "appendonlydir"
    for file in folder.iterdir():
        file.write_bytes(b"this is not an append-only file\n" * 50)
    second = bare()
    assert second.child("valkey")
    assert len(list(folder.parent.glob("unreadable-*"))) == 1


def test_a_second_start_in_the_same_home_is_refused(bare: Start) -> None:
    first = bare()
    second = bare(wait=False)
    assert second.process.wait(20) == 1
    assert "already running: stop it with ./run stop first" in second.output.read_text()
    assert sql(first, "select 1") == "1"


def test_ports_that_others_took_are_changed(bare: Start) -> None:
    first = bare()
    ports = first.home.state()["ports"]
    stop_suite(first)
    with socket.create_server(("127.0.0.1", ports["postgres"])):
        second = bare()
        assert second.home.state()["ports"]["postgres"] != ports["postgres"]
        assert sql(second, "select 1") == "1"


def test_no_secret_on_a_command_line_or_readable_by_others(bare: Start) -> None:
    suite = bare()
    config = data_of(suite, "valkey") / "valkey.conf"
    password = re.search(r"requirepass (\w+)", config.read_text())
    assert password is not None
    for pid in all_of(suite):
        command = Path(f"/proc/{pid}/cmdline").read_text()
        assert password[1] not in command
        assert suite.home.secret() not in command
    for path in (config, suite.home.path / "secret", suite.home.clients, suite.home.logs):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_servers_ask_for_passwords(bare: Start) -> None:
    suite = bare()
    assert "password authentication failed" in sql(suite, "select 1", password="wrong")
    with socket.create_connection(("127.0.0.1", suite.home.state()["ports"]["valkey"])) as valkey:
        valkey.sendall(b"PING\r\n")
        assert valkey.recv(100).startswith(b"-NOAUTH")


def test_the_servers_listen_on_loopback_alone(bare: Start) -> None:
    suite = bare()
    for port in suite.home.state()["ports"].values():
        with socket.create_server(("127.0.0.2", port)):  # free: only 127.0.0.1 is taken
            pass


def test_acknowledged_means_durable_and_chinese_names_are_compared(bare: Start) -> None:
    suite = bare()
    assert sql(suite, "show synchronous_commit") == "on"
    assert sql(suite, "show fsync") == "on"
    assert sql(suite, "show data_checksums") == "on"
    sql(suite, "create extension pg_trgm")
    assert float(sql(suite, "select similarity('张伟明', '张伟')")) > 0.2


def test_the_servers_log_holds_no_statement_and_no_value(bare: Start) -> None:
    suite = bare()
    sql(suite, "create table person (number text primary key)")
    sql(suite, "insert into person values ('110101199003071234'), ('110101199003071234')")
    eventually(lambda: "duplicate key" in suite.home.log("postgres").read_text())
    assert "110101199003071234" not in suite.home.log("postgres").read_text()


@as_root
def test_root_keeps_the_data_of_a_closed_home_in_var_lib(bare: Start, public_folder: Path) -> None:
    closed = public_folder / "closed"
    closed.mkdir(mode=0o700)
    suite = bare(folder=closed)
    ground = Ground.of(suite.home.path)
    try:
        assert ground.folder.parent == Path("/var/lib/huimin")
        assert (ground.folder / "postgres" / "data").stat().st_uid == NOBODY
        assert sql(suite, "select 1") == "1"
    finally:
        stop_suite(suite)
        ground.remove()
    assert not ground.folder.exists()


@as_root
@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_root_runs_the_servers_as_an_unprivileged_user(bare: Start, name: str) -> None:
    suite = bare()
    status = Path(f"/proc/{suite.child(name)}/status").read_text()
    uids = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", status, re.MULTILINE)
    groups = re.search(r"^Groups:[ \t]*(.*)$", status, re.MULTILINE)
    assert uids is not None
    assert set(uids.groups()) == {str(NOBODY)}
    assert groups is not None
    assert groups[1].strip() in ("", str(NOBODY))


@as_root
def test_a_plain_user_starts_it_too(bare: Start, public_folder: Path) -> None:
    if not may_run(NOBODY):
        pytest.skip(f"user {NOBODY} may not run this Python: it stands below a closed folder")
    own = public_folder / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    suite = bare(folder=own, uid=NOBODY)
    assert (suite.home.path / "postgres" / "data").stat().st_uid == NOBODY
    os.kill(suite.child("postgres"), signal.SIGKILL)
    eventually(lambda: suite.home.state()["children"]["postgres"]["restarts"] == 1)


def may_run(uid: int) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import typer"], user=uid, group=uid, extra_groups=(), check=False
        )
    except OSError:
        return False
    return done.returncode == 0


class Ticking(Program):
    """Shows its pulse ten times a second."""

    name = "ticking"
    title = "ticking"
    pulse_within_s = 2.0

    def __init__(self, folder: Path) -> None:
        self._pulse = folder / "pulse"

    def command(self) -> list[str]:
        return ["sh", "-c", f"while :; do date +%s%N > {self._pulse}; sleep 0.1; done"]

    async def ready(self) -> None:
        while not self._pulse.exists():  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)

    def pulse(self) -> object:
        return self._pulse.read_text() if self._pulse.exists() else None


async def test_a_frozen_process_is_ended_and_started_again(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.stack.supervisor.PULSE_EVERY_S", 0.2)
    supervisor = Supervisor(Home(public_folder / "frozen"), quiet=True)
    await supervisor.claim()
    try:
        await supervisor.start(Ticking(public_folder))
        child = supervisor.children["ticking"]
        assert child.process is not None
        first = child.process.pid
        await asyncio.sleep(3.0)
        assert (child.restarts, child.process.pid) == (0, first), "its heart beats"
        os.kill(first, signal.SIGSTOP)
        async with asyncio.timeout(WITHIN_S):
            while child.restarts == 0:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        assert child.process.pid != first
        assert started_at(first) is None, "what was frozen is gone"
    finally:
        await supervisor.stop()


def test_a_state_file_of_nonsense_is_no_state(public_folder: Path) -> None:
    home = Home(public_folder / "home")
    home.make()
    (home.path / "state.json").write_text("{ half")
    assert home.state() == {}
    assert home.running() is None
    home.write_state({"supervisor": None, "ports": {"postgres": 1}})
    assert json.loads((home.path / "state.json").read_text())["ports"] == {"postgres": 1}
    shutil.rmtree(home.path)
