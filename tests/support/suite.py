"""The real suite, in processes of its own: `./run up` on free ports in a home of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from services.kit.calls import DomainError
from services.kit.settings import Settings
from services.stack.clients import ClientFile, calls_as_stack, register, words_of
from services.stack.home import ROOT, Home
from services.stack.processes import descendants, dies_with_parent, is_same_process, started_at
from services.stack.program import free_port, python_environment
from services.stack.signin import sign_in

T = TypeVar("T")
START_S = 90.0
STOP_S = 60.0
PASSWORD = "demo-password-1"


def in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of async work, for callers inside and outside an event loop alike."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


def in_thread_sync(work: Callable[[], T]) -> T:
    """The same for work that must not see a running loop, as a browser's synchronous driver."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class SuiteHome(Home):
    """The suite's home, whatever HUIMIN_SECRET says in the process of the tests."""

    def secret(self) -> str:
        return (self.path / "secret").read_text().strip()


@dataclass
class Suite:
    """A running suite, seen from outside. Everything here is synchronous; async tests have `address`."""

    home: Home
    port: int
    process: "subprocess.Popen[bytes]"
    output: Path
    _clients: dict[tuple[str, str], ClientFile] = field(default_factory=dict)
    _sessions: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return self.base_url

    def client_file(self, kind: str, organisation: str = "test-organisation") -> ClientFile:
        """A registered client of that kind, the same one for the same organisation."""
        key = (kind, organisation)
        if key not in self._clients:

            async def add() -> Path:
                async with calls_as_stack(self.home, self.base_url) as calls:
                    name = f"test-{kind}-{organisation}"
                    return await register(
                        calls, self.home.clients, kind=kind, name=name, organisation=organisation
                    )

            self._clients[key] = ClientFile.read(in_thread(add))
        return self._clients[key]

    def token(self, kind: str, organisation: str = "test-organisation", scope: str = "") -> str:
        client = self.client_file(kind, organisation)
        return in_thread(lambda: client.token(scope))

    def client(
        self, kind: str | None, organisation: str = "test-organisation", *, scope: str = ""
    ) -> httpx.Client:
        """An HTTP client at the front door, as an organisation of that kind; None for nobody."""
        headers = {} if kind is None else {"authorization": f"Bearer {self.token(kind, organisation, scope)}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=120.0)

    def as_stack(self, method: str, service: str, path: str, body: Any = None) -> Any:
        """A call as whoever holds the secret: registers, accounts, agreements."""

        async def call() -> Any:
            async with calls_as_stack(self.home, self.base_url) as calls:
                try:
                    answer = await calls.request(service, method, path, json=body)
                except DomainError as error:
                    raise AssertionError(words_of(error)) from error
                return answer.json() if answer.content else None

        return in_thread(call)

    def account(self, username: str, **account: Any) -> None:
        """A demo account: kind="person" with an identifier, or kind="staff" with roles and areas.

        Given anew, it is another account to the next question: a session keeps the rights it began with.
        """
        self._sessions.pop(username, None)
        self.as_stack(
            "POST",
            "identity",
            "/identity/accounts",
            {"username": username, "password": PASSWORD, **account},
        )

    def session(self, username: str, password: str = PASSWORD) -> str:
        """An access token of a person signed in, for the gateway."""
        token, until = self._sessions.get(username, ("", 0.0))
        if time.monotonic() > until:

            async def enter() -> str:
                async with httpx.AsyncClient(timeout=60.0) as http:
                    return await sign_in(http, self.base_url, username, password)

            token = in_thread(enter)
            self._sessions[username] = token, time.monotonic() + 240.0
        return token

    def graphql(
        self, query: str, variables: dict[str, Any] | None = None, *, as_: str | None = None
    ) -> dict[str, Any]:
        """The whole answer (`data`, `errors`) of an operation, as an account's user name or as nobody."""
        headers = {"authorization": f"Bearer {self.session(as_)}"} if as_ else {}
        body = {"query": query, "variables": variables or {}}
        answer = httpx.post(f"{self.base_url}/graphql", json=body, headers=headers, timeout=60.0)
        found = answer.json()
        assert isinstance(found, dict), answer.text
        return found

    def child(self, name: str) -> int:
        """The pid of one of the supervisor's children: postgres, valkey, app, worker."""
        return int(self.home.state()["children"][name]["pid"])

    def settings(self) -> Settings:
        """What the application was started with, read from its environment."""
        raw = Path(f"/proc/{self.child('app')}/environ").read_bytes()
        found = dict(item.split("=", 1) for item in raw.decode().split("\0") if item.startswith("HUIMIN_"))
        return Settings(
            home=self.home.path,
            database_url=found["HUIMIN_DATABASE_URL"],
            redis_url=found["HUIMIN_REDIS_URL"],
            secret=found["HUIMIN_SECRET"],
            public_url=found["HUIMIN_PUBLIC_URL"],
            log_level="WARNING",
        )

    def wait_ready(self, seconds: float = START_S, *, children: int = 4) -> None:
        """Until all children run, or fails with what the suite printed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            code = self.process.poll()
            assert code is None, f"the suite ended with {code}:\n{self.printed()}"
            state = self.home.running()
            found = (state or {}).get("children", {})
            if len(found) == children and all(child["state"] == "running" for child in found.values()):
                return
            time.sleep(0.1)
        raise AssertionError(f"the suite is not ready after {seconds:.0f} s:\n{self.printed()}")

    def printed(self) -> str:
        logs = [self.output, *sorted(self.home.logs.glob("*.log"))]
        return "\n".join(f"── {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def start_suite(
    folder: Path,
    *arguments: str,
    port: int | None = None,
    environment: dict[str, str] | None = None,
    uid: int | None = None,
    module: str = "services.stack",
) -> Suite:
    """`./run up` (or another command) in a home below the folder, perhaps as another user; does not wait."""
    home = SuiteHome(folder / "home")
    port = port or free_port()
    output = folder / "output.txt"
    inherited = {k: v for k, v in python_environment().items() if not k.startswith("HUIMIN_")}
    inherited |= {"HUIMIN_HOME": str(home.path), "HUIMIN_PORT": str(port), "HUIMIN_DEMO": "1"}
    inherited |= {"HUIMIN_BACKUP": "off"}
    inherited |= environment or {}
    with output.open("ab") as printed:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *(arguments or ("up",))],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=inherited,
            process_group=0,
            preexec_fn=dies_with_parent(signal.SIGTERM),
            user=uid,
            group=uid,
            extra_groups=None if uid is None else (),
        )
    return Suite(home, port, process, output)


def all_of(suite: Suite) -> dict[int, int | None]:
    """The suite and everything it started: pids, and when each began, as a pid is given out again."""
    return {pid: started_at(pid) for pid in descendants(suite.process.pid)}


def none_left(pids: dict[int, int | None]) -> bool:
    return not any(is_same_process(pid, started) for pid, started in pids.items())


def stop_suite(suite: Suite) -> int:
    """Ctrl-C, as a person would; the exit code."""
    if suite.process.poll() is None:
        os.kill(suite.process.pid, signal.SIGINT)
    return suite.process.wait(STOP_S)


@contextmanager
def running_suite(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, children: int = 4
) -> Iterator[Suite]:
    suite = start_suite(folder, *arguments, environment=environment)
    try:
        suite.wait_ready(children=children)
        yield suite
    finally:
        stop_suite(suite)
