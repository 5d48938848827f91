"""The home of an installation (`.huimin/`, or HUIMIN_HOME): its secret, state, keys, logs, servers' data.

secret        the master secret everything else is derived from (0600)
state.json    which processes run, where, since when; ports that were taken once stay
clients/      keys of clients registered from here (0700)
logs/         what the processes print
postgres/ valkey/   the embedded servers' data (see ground.py for where they are when root runs this)
<service>/    what a service keeps in files: snapshots, pushes under way
"""

import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from services.stack.processes import is_same_process
from services.stack.terminal import Refusal

ROOT = Path(__file__).resolve().parents[2]
"""The project's own folder."""

LOG_LIMIT_BYTES = 50 * 2**20


def default_home() -> Path:
    return Path(os.environ.get("HUIMIN_HOME") or ROOT / ".huimin").expanduser().resolve()


class Home:
    """Files of one installation. Making the object touches nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_home()
        self.clients = self.path / "clients"
        self.logs = self.path / "logs"
        self._secret = self.path / "secret"
        self._state = self.path / "state.json"
        self._lock: int | None = None

    def make(self) -> None:
        """Raises Refusal when the folder cannot be made or is not writable."""
        # The servers' own user has to pass through to its data when root runs the suite.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.path.mkdir(mode=mode, parents=True, exist_ok=True)
            self.path.chmod(mode)
            for folder in (self.clients, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from error

    def _not_writable(self, error: OSError) -> Refusal:
        return Refusal(
            f"无法写入 {self.path} · cannot write there ({error.strerror}): set HUIMIN_HOME to a folder of "
            "your own, or run this as the folder's owner"
        )

    def exists(self) -> bool:
        return self._secret.exists()

    def secret(self) -> str:
        """The master secret: HUIMIN_SECRET, or the file, made at the first call."""
        given = os.environ.get("HUIMIN_SECRET")
        if given:
            return given
        try:
            return self._secret.read_text().strip()
        except FileNotFoundError:
            self.make()
            return self._new_secret()
        except OSError as error:
            raise Refusal(
                f"无法读取 {self._secret} · cannot read the secret ({error.strerror}): run this as its owner"
            ) from error

    def _new_secret(self) -> str:
        return self.keep_secret(secrets.token_hex(32))

    def keep_secret(self, fresh: str) -> str:
        """Puts it into the file, unless there is one already; the one that counts."""
        temporary = self._secret.with_name(f"secret.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(fresh + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, self._secret)  # fails where another start was first; theirs is then ours too
        except FileExistsError:
            fresh = self._secret.read_text().strip()
        finally:
            temporary.unlink()
        return fresh

    def state(self) -> dict[str, Any]:
        """What the last supervisor wrote down; empty when there was none or it is unreadable."""
        try:
            found = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_state(self, state: dict[str, Any]) -> None:
        temporary = self._state.with_name(f"state.json.{os.getpid()}")
        temporary.write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")
        temporary.replace(self._state)

    def running(self) -> dict[str, Any] | None:
        """The state of the supervisor that runs now, or None."""
        state = self.state()
        supervisor = state.get("supervisor")
        return state if supervisor and is_same_process(supervisor["pid"], supervisor["started"]) else None

    def claim(self) -> None:
        """One supervisor a home; the kernel takes the claim back when it is killed.

        Raises:
            Refusal: another one runs.
        """
        self.make()
        try:
            handle = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._not_writable(error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            running = self.running() or {}
            where = running.get("address", str(self.path))
            raise Refusal(
                f"已在运行 {where}, 先用 ./run stop 停止 · already running: stop it with ./run stop first"
            ) from None
        self._lock = handle

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def trim_logs(self) -> None:
        """Keeps one old part of a log that has grown; its writer appends, so it goes on at the start."""
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > LOG_LIMIT_BYTES:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)
