"""`./run up` and the commands around it, against real processes.

Identity alone stands behind the door (HUIMIN_SERVICES): what is asked here is the same for every service.
"""

import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from services.stack.clients import ClientFile
from services.stack.ground import Ground
from services.stack.home import ROOT
from services.stack.processes import descendants, started_at
from services.stack.program import free_port
from tests.support.suite import Suite, all_of, none_left, running_suite, start_suite, stop_suite

pytestmark = pytest.mark.chaos
ALONE = {"HUIMIN_SERVICES": "identity", "HUIMIN_DEMO": "0"}
BACK_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def up(public_folders: Path) -> Iterator[Suite]:
    """One running suite for the tests that leave it running."""
    folder = public_folders / "up"
    folder.mkdir()
    with running_suite(folder, environment=ALONE) as found:
        yield found


def command(suite: Suite, *arguments: str, **environment: str) -> tuple[int, str]:
    """`./run …` in the suite's home: its exit code and what it printed."""
    folder = suite.home.path.parent / f"command-{time.monotonic_ns()}"
    folder.mkdir()
    environment = ALONE | {"HUIMIN_HOME": str(suite.home.path)} | environment
    found = start_suite(folder, *arguments, port=suite.port, environment=environment)
    code = found.process.wait(60)
    return code, found.output.read_text()


def is_ready(suite: Suite) -> bool:
    answer = httpx.get(f"{suite.base_url}/identity/readyz", timeout=BACK_WITHIN_S)
    return answer.status_code == 200


def eventually(check: Callable[[], object], seconds: float = BACK_WITHIN_S) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["app", "worker", "postgres", "valkey"])
def test_a_killed_child_comes_back(up: Suite, name: str) -> None:
    before, restarts = up.child(name), up.home.state()["children"][name]["restarts"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: up.home.state()["children"][name]["restarts"] == restarts + 1)
    assert up.child(name) != before
    eventually(lambda: is_ready(up))


def test_a_killed_workers_pool_process_does_not_outlive_it(up: Suite) -> None:
    worker = up.child("worker")
    pool = [pid for pid in descendants(worker) if pid != worker]
    assert pool
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: all(started_at(pid) is None for pid in pool))
    up.wait_ready()


def test_requests_wait_while_the_application_restarts(up: Suite) -> None:
    os.kill(up.child("app"), signal.SIGKILL)
    assert httpx.get(f"{up.base_url}/identity/livez", timeout=BACK_WITHIN_S).status_code == 200


def test_a_path_of_a_service_that_is_not_here_is_a_problem(up: Suite) -> None:
    answer = httpx.get(f"{up.base_url}/fhir/Patient", timeout=60)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/fhir/Patient" in answer.json()["detail"]


def test_client_add_writes_a_private_key_that_fetches_tokens(up: Suite) -> None:
    asked = ("client", "add", "--kind", "hospital", "--name", "市一医院", "--org", "1233", "--area", "330106")
    code, printed = command(up, *asked)
    assert code == 0, printed
    path = up.home.clients / "市一医院.json"
    assert str(path) in printed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ClientFile.read(path).kind == "hospital"
    code, printed = command(up, "token", "--client", str(path))
    assert code == 0
    assert printed.count(".") == 2
    assert command(up, *asked)[0] == 1  # never over a key that is there


def test_token_says_what_the_issuer_said(up: Suite) -> None:
    path = up.home.clients / "test-hospital-test-organisation.json"
    up.client_file("hospital")
    code, printed = command(up, "token", "--client", str(path), "--scope", "audit:read")
    assert code == 1
    assert "the token was refused" in printed
    assert "Traceback" not in printed


def test_a_client_of_an_unknown_kind_is_refused_in_words(up: Suite) -> None:
    code, printed = command(up, "client", "add", "--kind", "pirate", "--name", "x", "--org", "y")
    assert code == 1
    assert "kind" in printed
    assert not (up.home.clients / "x.json").exists()


def test_load_says_which_door_refused(up: Suite, public_folder: Path) -> None:
    bundle = public_folder / "one.json"
    bundle.write_text("{}")
    code, printed = command(up, "load", "fhir", str(bundle))
    assert code == 1
    assert "one.json: 404" in printed
    assert "refused 1" in printed


def test_status_names_processes_and_services(up: Suite) -> None:
    code, printed = command(up, "status", COLUMNS="200")
    assert code == 1  # all but identity are missing behind this door
    for word in ("PostgreSQL", "Valkey", "worker", "identity", "broker: ok", "memory of the whole tree"):
        assert word in printed


def test_a_second_up_in_the_same_home_is_refused(up: Suite) -> None:
    code, printed = command(up, "up", HUIMIN_PORT=str(free_port()))
    assert code == 1
    assert "already running: stop it with ./run stop first" in printed
    assert up.base_url in printed
    assert is_ready(up)


def test_reset_is_refused_while_it_runs(up: Suite) -> None:
    code, printed = command(up, "reset", "--yes")
    assert code == 1
    assert "already running" in printed
    assert is_ready(up)


def test_no_secret_in_logs_or_on_command_lines(up: Suite) -> None:
    secret = up.home.secret()
    for pid in descendants(up.process.pid):
        assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
    assert secret not in up.printed()


def test_stop_ends_everything_and_reset_deletes_what_is_ours(public_folder: Path) -> None:
    with running_suite(public_folder, environment=ALONE) as suite:
        pids = all_of(suite)
        code, printed = command(suite, "stop")
        assert (code, "stopped" in printed) == (0, True)
        assert suite.process.wait(10) == 0
        assert none_left(pids)
        assert command(suite, "status")[0] == 3
        assert command(suite, "stop")[0] == 0
        (suite.home.path / "mine.txt").write_text("not made by huimin")
        assert command(suite, "reset", "--yes")[0] == 0
        assert [path.name for path in suite.home.path.iterdir()] == ["mine.txt"]
        assert not (Ground.of(suite.home.path).folder / "postgres").exists()


def test_ctrl_c_while_starting_leaves_nothing(public_folder: Path) -> None:
    suite = start_suite(public_folder, environment=ALONE)
    eventually(lambda: "PostgreSQL" in suite.output.read_text())
    pids = all_of(suite)
    assert stop_suite(suite) == 130
    assert none_left(pids)
    assert "Traceback" not in suite.output.read_text()


def test_a_port_in_use_is_one_line(public_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        suite = start_suite(public_folder, port=port, environment=ALONE)
        assert suite.process.wait(20) == 1
    printed = suite.output.read_text()
    assert f"port {port} is in use" in printed
    assert "Traceback" not in printed
    assert "PostgreSQL" not in printed  # found before anything is started


@pytest.mark.parametrize("port", ["0", "70000", "http"])
def test_a_port_that_is_none_is_one_line(public_folder: Path, port: str) -> None:
    suite = start_suite(public_folder, environment=ALONE | {"HUIMIN_PORT": port})
    assert suite.process.wait(20) == 1
    assert f"HUIMIN_PORT={port}" in suite.output.read_text()
    assert "Traceback" not in suite.output.read_text()


@pytest.mark.parametrize(
    "environment",
    [{"HUIMIN_HOST": "0.0.0.0"}, {"HUIMIN_PUBLIC_URL": "https://huimin.example"}],
    ids=["another host", "a public address"],
)
def test_no_auth_stays_on_loopback(public_folder: Path, environment: dict[str, str]) -> None:
    suite = start_suite(public_folder, "up", "--no-auth", environment=ALONE | environment)
    assert suite.process.wait(20) == 1
    assert "--no-auth" in suite.output.read_text()
    assert not suite.home.path.exists()


def test_no_auth_says_so_loudly(public_folder: Path) -> None:
    with running_suite(public_folder, "up", "--no-auth", environment=ALONE) as suite:
        assert "NO AUTHENTICATION" in suite.output.read_text()
        keys = httpx.get(f"{suite.base_url}/identity/keys", timeout=60)
        assert keys.status_code == 200
        with socket.create_server(("127.0.0.2", suite.port)):  # free: only 127.0.0.1 is taken
            pass


def test_an_unwritable_home_is_one_line(public_folder: Path) -> None:
    blocked = public_folder / "file"
    blocked.write_text("not a folder")
    suite = start_suite(public_folder, environment=ALONE | {"HUIMIN_HOME": str(blocked / "home")})
    assert suite.process.wait(20) == 1
    assert "cannot write there" in suite.output.read_text()
    assert "Traceback" not in suite.output.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "nobody"), "no service is called nobody"),
        (("serve", "health"), "HUIMIN_DATABASE_URL"),
        (("load", "cargo", "x"), "the kinds are: fhir, oneroster, social-security, readings"),
        (("load", "fhir", "x"), "start it with ./run up"),
        (("client", "add", "--kind", "gate", "--name", "x", "--org", "y"), "start it with ./run up"),
        (("token", "--client", "nowhere.json"), "cannot read the key file"),
        (("migrate",), "HUIMIN_DATABASE_URL"),
        (("bench", "nothing"), "measurements there are"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_that_cannot_is_one_line(
    public_folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    suite = start_suite(public_folder, *arguments)
    assert suite.process.wait(30) != 0
    assert words in suite.output.read_text()
    assert "Traceback" not in suite.output.read_text()


def test_run_is_executable() -> None:
    assert os.access(ROOT / "run", os.X_OK)
