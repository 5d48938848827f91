"""Separate mode: each service a process of its own (`./run serve NAME`), calling others over the network."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from services.kit.settings import Settings
from services.stack import containers
from services.stack.home import ROOT
from services.stack.house import HOUSE, named
from services.stack.processes import dies_with_parent
from services.stack.program import free_port, python_environment
from tests.support.databases import TestServers

START_S = 90.0


@dataclass
class Apart:
    """Services running apart; each may be killed and started again by name."""

    base: int
    secret: str
    environment: dict[str, str]
    folder: Path
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{named(name).port(self.base)}"

    def start(self, name: str) -> None:
        """Raises AssertionError, with what it printed, when it is not live in time."""
        service = named(name)
        own = {"HUIMIN_SERVICE_SECRET": Settings(secret=self.secret).secret_of(service.name)}
        if service.name == "identity":
            own = {"HUIMIN_SECRET": self.secret}
        command = [sys.executable, "-P", "-m", "services.stack", "serve", service.name]
        self.run(service.name, command, lambda: self._live(service.name), own)

    def start_worker(self) -> None:
        command = [sys.executable, "-P", "-m", "services.stack", "serve", "worker"]
        log = self.folder / "worker.log"
        self.run("worker", command, lambda: "worker ready" in log.read_text(), {"HUIMIN_SECRET": self.secret})

    def start_proxy(self, caddy: str) -> None:
        """The reverse proxy of the containers, told that everybody is on this machine."""
        text = containers.CADDYFILE.read_text().replace(f":{containers.BASE} {{", f":{self.base} {{", 1)
        for service in HOUSE:
            port = service.port(containers.BASE)
            text = text.replace(f"{service.host}:{port}", f"127.0.0.1:{service.port(self.base)}")
        file = self.folder / "Caddyfile"
        file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        command = [caddy, "run", "--config", str(file), "--adapter", "caddyfile"]
        own = {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        self.run("proxy", command, lambda: self._answers(f"{self.address}/identity/livez"), own)

    @property
    def address(self) -> str:
        """The one origin, where the proxy answers."""
        return f"http://127.0.0.1:{self.base}"

    def run(self, name: str, command: list[str], live: Callable[[], bool], own: dict[str, str]) -> None:
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env=self.environment | own,
                process_group=0,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        self.processes[name] = process
        until = time.monotonic() + START_S
        while not live():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)

    def _live(self, name: str) -> bool:
        return self._answers(f"{self.url(name)}{named(name).prefix}/livez")

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            answer = httpx.get(url, timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def kill(self, name: str) -> None:
        """As the kernel would: without a word."""
        process = self.processes.pop(named(name).name)
        process.kill()
        process.wait()

    def graphql(
        self, query: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables or {}}
        answer = httpx.post(f"{self.url('gateway')}/graphql", json=body, headers=headers, timeout=60.0)
        found = answer.json()
        assert isinstance(found, dict), answer.text
        return found

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_apart(
    names: tuple[str, ...], database: str, servers: TestServers, folder: Path, *, demo: bool = False
) -> Iterator[Apart]:
    """Starts these services apart on a migrated database."""
    inherited = {k: v for k, v in python_environment().items() if not k.startswith("HUIMIN_")}
    base = _free_base()
    environment = inherited | {
        "HUIMIN_HOME": str(folder / "home"),
        "HUIMIN_DEMO": "1" if demo else "0",
        "HUIMIN_PORT": str(base),
        "HUIMIN_DATABASE_URL": servers.public_url(database),
        "HUIMIN_REDIS_URL": servers.servers.redis_url,
    }
    apart = Apart(base, os.environ["HUIMIN_SECRET"], environment, folder)
    try:
        for service in HOUSE:
            if service.name in {named(name).name for name in names}:
                apart.start(service.name)
        yield apart
    finally:
        apart.stop()


def _free_base() -> int:
    """A base whose ports are free together, away from those the kernel hands out."""
    first = 20_000 + os.getpid() * 50 % 10_000  # test runs side by side look in different places
    for base in chain(range(first, 30_000, 50), range(20_000, first, 50)):
        if all(free_port(service.port(base)) == service.port(base) for service in HOUSE):
            return base
    raise AssertionError("no free range of ports")
