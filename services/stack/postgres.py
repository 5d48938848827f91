"""The embedded PostgreSQL: made, started and recovered by ourselves.

The wheel's own `get_server` is not used: as root it runs `useradd` and opens folders up to `/`, it trusts
everybody who connects, and a killed parent leaves the server behind.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from services.stack.ground import Ground, server_password
from services.stack.home import Home
from services.stack.processes import command_of, send, started_at, wait_gone
from services.stack.program import Program, free_port
from services.stack.terminal import Refusal

SUPERUSER = "postgres"
DATABASE = "huimin"

TUNING = {
    # sized for 2 cores and 2 GB; everything acknowledged is on disk (synchronous_commit)
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "96MB",
    "max_connections": "150",
    "max_wal_size": "1GB",
    "min_wal_size": "160MB",
    "checkpoint_timeout": "10min",
    "wal_compression": "pglz",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # a statement or a key value in the server's log would be personal data
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    # a standby that was away for more log than this cannot catch up (docs/operations.md)
    "max_slot_wal_keep_size": "2GB",
}

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def sized() -> dict[str, str]:
    """Settings by the machine's memory, or what a container is given of it: a sixteenth is the server's own
    cache, which takes memory only as it fills; half, it is told, is the system's; a sixth is how much log may
    stand between two checkpoints, after each of which every page is logged whole when it is first written.
    Test runs do without: each truncation looks through the whole cache."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    megabytes = min(pages, int(limit) if limit.isdigit() else pages) // 2**20
    return {
        "shared_buffers": f"{min(max(megabytes // 16, 128), 8192)}MB",
        "effective_cache_size": f"{max(megabytes // 2, 512)}MB",
        "max_wal_size": f"{min(max(megabytes // 6, 1024), 8192)}MB",
    }


WITHOUT_SAFETY = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "5min"}
"""For test runs, whose data nobody wants back."""

# The keeper (keeper.py) takes the file away once it is sealed and on disk where backups are kept. Until then
# the server keeps its own; a keeper that is not there must not hold up a shutdown.
ARCHIVE_COMMAND = (
    "f=../spool/%f; ln -f %p $f && i=0 && while [ -e $f ]; do i=$((i+1)); [ $i -gt 60 ] && exit 1; "
    "sleep 0.05; done"
)
STANDBY_NAME = "huimin_standby"


class Postgres(Program):
    """One server on loopback, with passwords (SCRAM) and data checksums."""

    name = "postgres"
    title = "PostgreSQL"
    # "Fast shutdown": ends sessions, undoes what is not committed, writes a clean checkpoint.
    stop_signal = signal.SIGINT
    death_signal = signal.SIGINT
    stop_seconds = 30.0
    start_seconds = 600.0  # after a crash it replays the log since the last checkpoint

    def __init__(
        self,
        ground: Ground,
        password: str,
        *,
        port: int | None = None,
        disposable: bool = False,
        place: str | Path = "postgres",
        archive_timeout_s: int | None = None,
        mirror: Path | None = None,
    ) -> None:
        """A server of one home.

        Args:
            place: its folder, beside the other servers' unless it is elsewhere.
            archive_timeout_s: after which its log is archived; None where it is not.
            mirror: the folder of its standby.
        """
        self.ground = ground
        self.uid = ground.uid
        self.password = password
        self.port = port or 0
        self.folder = ground.folder / place
        self._disposable = disposable
        self._archives = archive_timeout_s is not None
        self._mirror = mirror
        self._was_there = False
        self._tuning = {**TUNING, **(WITHOUT_SAFETY if disposable else sized())}
        if archive_timeout_s is not None:
            self._tuning |= {"archive_mode": "on", "archive_command": ARCHIVE_COMMAND}
            self._tuning["archive_timeout"] = str(archive_timeout_s)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def provisioned_mark(self) -> Path:
        """Goes where the data go: a new database has none."""
        return self.folder / "provisioned"

    def prepare(self) -> None:
        self.folder = self.ground.folder_for(str(self.folder))
        self._stop_leftover()
        mirrored = self._mirror is not None and (self._mirror / "data").exists()
        if not self.data.exists():
            self._refuse_to_lose(mirrored=mirrored)
            self._initdb()
        self._was_there = True
        self._check_version()
        # From the first commit on, where there is a standby to wait for; the keeper changes it as they come
        # and go (standby.py).
        set_synchronous(self.data, STANDBY_NAME if mirrored else "")
        if self._archives:
            self.ground.folder_for(str(self.folder / "spool"))
        self.port = free_port(self.port or None)

    def _refuse_to_lose(self, *, mirrored: bool) -> None:
        """A database that has gone is not answered with an empty one."""
        if mirrored:
            raise Refusal(
                f"数据库 {self.data} 不见了, 备库仍在: 运行 ./run promote · the database is gone, its "
                "standby is there: ./run promote puts it in its place"
            )
        if self._was_there:
            raise Refusal(
                f"数据库 {self.data} 不见了 · the database is gone: stop, and ./run restore brings it back "
                "from a backup"
            )

    def _initdb(self) -> None:
        """In a folder aside, moved into place when complete: an interrupted start leaves nothing half."""
        self.provisioned_mark.unlink(missing_ok=True)
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        self.ground.own(password_file)
        command = [str(self.ground.postgres_bin / "initdb"), "-D", str(partial), "-U", SUPERUSER]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--data-checksums"]
        # The builtin provider knows letters of all scripts; with plain C, trigrams of Chinese are empty.
        command += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--lc-ctype=C.UTF-8", "--lc-collate=C", "--no-instructions"]
        if self._disposable:
            command.append("--no-sync")
        groups = None if self.uid is None else ()
        try:
            made = subprocess.run(
                command,
                capture_output=True,
                text=True,
                cwd=self.folder,
                user=self.uid,
                group=self.uid,
                extra_groups=groups,
            )
        finally:
            password_file.unlink()
        if made.returncode != 0:
            raise Refusal(
                f"无法建立数据库 {self.data} · the database cannot be made: {_last_line(made.stderr)}"
            )
        partial.rename(self.data)

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        asked = subprocess.run(
            [self.ground.postgres_bin / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        major = asked.stdout.split()[2].split(".")[0]
        if found != major:
            raise Refusal(
                f"数据库由 PostgreSQL {found} 建立, 当前为 {major} · {self.data} was made by "
                f"PostgreSQL {found} and this is {major}: dump it with the "
                "older release, or start anew with ./run reset"
            )

    def _stop_leftover(self) -> None:
        """A server that outlived its supervisor is stopped; a pid file nobody stands behind is removed."""
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return
        started = started_at(pid)
        if started is not None and self._is_ours(pid):
            for number, seconds in ((signal.SIGINT, 15.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
                send(pid, number)
                if wait_gone(pid, started, seconds):
                    break
        # PostgreSQL removes it itself unless the pid was given to another process since.
        pid_file.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        command = command_of(pid)
        return bool(command) and Path(command[0]).name == "postgres" and str(self.data) in command

    def command(self) -> list[str]:
        settings = {
            **self._tuning,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.ground.postgres_bin / "postgres"), "-D", str(self.data), *options]

    def environment(self) -> dict[str, str]:
        kept = {"PATH", "TMPDIR", "TZ"}
        return {k: v for k, v in os.environ.items() if k in kept} | {"LC_ALL": "C.UTF-8"}

    async def ready(self) -> None:
        """The postmaster writes its state to line 8 of its pid file; pg_ctl waits for the same."""
        pid_file = self.data / "postmaster.pid"
        while True:
            try:
                lines = pid_file.read_text().splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) >= 8 and self.is_ready(lines[7].strip()):
                return
            await asyncio.sleep(0.03)

    def is_ready(self, state: str) -> bool:
        return state == "ready"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def set_synchronous(data: Path, names: str) -> None:
    """Says in a stopped server's own settings whom its commits wait for."""
    path = data / "postgresql.auto.conf"
    lines = [
        line for line in path.read_text().splitlines() if not line.startswith("synchronous_standby_names")
    ]
    if names:
        lines.append(f"synchronous_standby_names = '{names}'")
    path.write_text("\n".join([*lines, ""]))


def system_of(data: Path) -> str:
    """The cluster's own number, which its copies share: the first field of pg_control."""
    return str(int.from_bytes((data / "global" / "pg_control").read_bytes()[:8], sys.byteorder))


def server_url(home: Home, database: str = DATABASE) -> str:
    """The embedded database of a running suite, as its administrator. Raises Refusal when none runs."""
    port = home.state().get("ports", {}).get("postgres")
    if port is None or home.running() is None:
        raise Refusal(f"套件未运行 · the suite does not run ({home.path})")
    return (
        f"postgresql://{SUPERUSER}:{server_password(home.secret(), 'postgres')}@127.0.0.1:{port}/{database}"
    )
