"""A supervisor with its servers, a keeper and perhaps a standby, in a home of the test's own (bare.py)."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.stack.archive import Archive
from services.stack.backup_plan import sealing_secret
from services.stack.ground import Ground, server_password
from services.stack.home import ROOT, Home
from services.stack.journal import outcomes
from services.stack.program import python_environment
from services.stack.sealing import Key
from tests.support.suite import Suite, SuiteHome, start_suite, stop_suite

WITHIN_S = 60.0


def eventually(check: Callable[[], object], seconds: float = WITHIN_S) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.05)


class Kept:
    """One installation and the place its backups go to.

    Attributes:
        store: outside the home, so that the home can be lost.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.home: Home = SuiteHome(folder / "home")
        self.environment = {"HUIMIN_BACKUP": str(self.store), "HUIMIN_ARCHIVE_TIMEOUT_S": "60", **environment}
        self.suite: Suite | None = None

    def start(self, *, children: int = 3) -> Suite:
        self.suite = start_suite(self.folder, module="tests.support.bare", environment=self.environment)
        self.suite.wait_ready(children=children)
        return self.suite

    def stop(self) -> None:
        if self.suite is not None:
            stop_suite(self.suite)

    def sql(self, *statements: str) -> str:
        """As the administrator, through the wheel's own psql; raises when it fails."""
        psql = Ground.of(self.home.path).postgres_bin / "psql"
        port = self.home.state()["ports"]["postgres"]
        where = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        asked = [part for statement in statements for part in ("-c", statement)]
        done = subprocess.run(
            [psql, "-w", "-XAtq", "-v", "ON_ERROR_STOP=1", where, *asked],
            capture_output=True,
            text=True,
            env={"PGPASSWORD": server_password(self.home.secret(), "postgres")},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def begin(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """`./run …` in this home, started."""
        inherited = {k: v for k, v in python_environment().items() if not k.startswith("HUIMIN_")}
        inherited |= {"HUIMIN_HOME": str(self.home.path), **self.environment, **environment}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "services.stack", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=inherited,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Its exit code and what it printed."""
        process = self.begin(*arguments, **environment)
        printed, _ = process.communicate(timeout=100)
        assert "Traceback" not in printed, printed
        return process.returncode, printed

    def done(self, *arguments: str, **environment: str) -> str:
        code, printed = self.run(*arguments, **environment)
        assert code == 0, printed
        return printed

    def refused(self, *arguments: str, **environment: str) -> str:
        code, printed = self.run(*arguments, **environment)
        assert code == 1, printed
        return printed

    def archive(self) -> Archive:
        (found,) = Archive.all_in(self.store, Key(sealing_secret(self.home.secret())))
        return found

    def outcomes(self, kind: str) -> list[dict[str, Any]]:
        return [outcome for outcome in outcomes(self.home) if outcome["kind"] == kind]

    def archived_now(self) -> datetime:
        """A moment whose log is where backups are kept; everything before it is."""
        moment = datetime.now(UTC)
        self.sql("select pg_logical_emit_message(false, 'test', 'x', true)", "select pg_switch_wal()")
        base = self.archive().bases()[-1]
        eventually(lambda: self.archive().reach(base).until >= moment)
        return moment

    def another(self, name: str, *, secret: bool = True) -> "Kept":
        """A new home beside this one that may open the same backups."""
        folder = self.folder / name
        folder.mkdir()
        other = Kept(folder, **{**self.environment, "HUIMIN_BACKUP": str(folder / "store")})
        if secret:
            other.home.path.mkdir(mode=0o711)
            (other.home.path / "secret").write_text(self.home.secret())
        return other

    def server(self, name: str = "postgres") -> Path:
        """The folder of one of its servers."""
        return Ground.of(self.home.path).folder / name

    def child(self, name: str) -> int:
        assert self.suite is not None
        return self.suite.child(name)


def is_root() -> bool:
    return os.geteuid() == 0
