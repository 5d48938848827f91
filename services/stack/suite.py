"""The whole suite on one machine: its servers, its application, its worker, under one supervisor."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from services.stack.backup_plan import BackupPlan
from services.stack.ground import Ground, server_password
from services.stack.home import ROOT, Home
from services.stack.house import STORING
from services.stack.keeper import Keeper
from services.stack.program import PythonProgram, listen, port_of, python_environment
from services.stack.standby import Pair
from services.stack.supervisor import Interrupted, Supervisor
from services.stack.terminal import Refusal, say, step, warn
from services.stack.valkey import Valkey

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIGRATE_SECONDS = 120.0
NOT_KEPT = BackupPlan(None)


@dataclass(frozen=True)
class Options:
    """How the suite is to run; what is not said comes from the environment."""

    host: str = field(default_factory=lambda: os.environ.get("HUIMIN_HOST", "127.0.0.1"))
    port: int = field(default_factory=lambda: port_of(os.environ.get("HUIMIN_PORT", "8000")))
    demo: bool = field(default_factory=lambda: os.environ.get("HUIMIN_DEMO") == "1")
    no_auth: bool = False

    def check(self) -> None:
        """Raises Refusal for what must not run."""
        if self.no_auth and self.host not in LOOPBACK:
            raise Refusal(
                f"--no-auth 只能监听本机地址, 不能是 {self.host} · --no-auth serves on loopback only: unset "
                "HUIMIN_HOST"
            )
        if self.no_auth and os.environ.get("HUIMIN_PUBLIC_URL"):
            raise Refusal("--no-auth 不能对外公布 · --no-auth must not be published: unset HUIMIN_PUBLIC_URL")

    @property
    def public_url(self) -> str:
        """The one origin everybody sees."""
        given = os.environ.get("HUIMIN_PUBLIC_URL")
        return given.rstrip("/") if given else f"http://127.0.0.1:{self.port}"


class Application(PythonProgram):
    name = "app"
    title = "application"
    module = "services.stack.child"

    def __init__(self, environment: dict[str, str], door: socket.socket, address: str) -> None:
        super().__init__(environment)
        self.door = door
        self._address = address

    @property
    def address(self) -> str:
        return self._address

    def prepare(self) -> None:
        super().prepare()
        self.pass_fds = (*self.pass_fds, self.door.fileno())

    def command(self) -> list[str]:
        return [*super().command(), "app"]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "HUIMIN_DOOR_FD": str(self.door.fileno())}


class Worker(PythonProgram):
    name = "worker"
    title = "worker"
    module = "services.stack.child"
    stop_seconds = 25.0
    pulse_within_s = 60.0

    def __init__(self, environment: dict[str, str], home: Home) -> None:
        self._pulse_file = home.path / "worker.pulse"
        super().__init__({**environment, "HUIMIN_PULSE_FILE": str(self._pulse_file)})

    def command(self) -> list[str]:
        return [*super().command(), "worker"]

    def pulse(self) -> object:
        """When a heartbeat last finished (services/kit/jobs/heartbeat.py)."""
        try:
            return self._pulse_file.stat().st_mtime_ns
        except FileNotFoundError:
            return None


@dataclass
class Servers:
    """PostgreSQL and Valkey, ours or somebody else's.

    Attributes:
        admin_url: of a database role that may make roles and schemas.
        redis_url: with its password.
        provisioned_mark: beside the embedded database's data, says what was last done to it.
        data: where the embedded database keeps its data.
    """

    admin_url: str
    redis_url: str
    embedded_database: bool
    provisioned_mark: Path | None = None
    data: Path | None = None

    @property
    def public_database_url(self) -> str:
        """Without the administrator's password: each service puts its own role into it."""
        parts = urlsplit(self.admin_url)
        if not self.embedded_database:
            return self.admin_url
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def start_servers(
    supervisor: Supervisor, *, disposable: bool = False, plan: BackupPlan = NOT_KEPT
) -> Servers:
    """Starts those servers that the environment does not name.

    Args:
        disposable: data that nobody wants back.
        plan: how the database is backed up and doubled.
    """
    home, ports = supervisor.home, supervisor.ports()
    secret, ground = home.secret(), Ground.of(home.path)
    database_url, redis_url = os.environ.get("HUIMIN_DATABASE_URL"), os.environ.get("HUIMIN_REDIS_URL")
    if not database_url:
        if plan.folder or plan.standby:
            await supervisor.start(Keeper(home))
        postgres = await Pair(supervisor, plan, disposable=disposable).start()
    if not redis_url:
        valkey = Valkey(ground, server_password(secret, "valkey"), port=ports.get("valkey"))
        await supervisor.start(valkey)
    return Servers(
        admin_url=database_url or postgres.url(),
        redis_url=redis_url or valkey.url(),
        embedded_database=not database_url,
        provisioned_mark=None if database_url else postgres.provisioned_mark,
        data=None if database_url else postgres.data,
    )


def provisioning_of(secret: str) -> str:
    """What decides on roles and schemas: the secret, the services chosen, and every migration's text.

    Where the embedded database's mark says the same, a start has nothing to do and skips it. A database of
    somebody else's is looked at on every start.
    """
    found = hashlib.sha256(hmac.digest(secret.encode(), b"stack:provisioned", "sha256"))
    found.update(os.environ.get("HUIMIN_SERVICES", "").encode())
    for service in STORING:
        folder = ROOT.joinpath(*service.package.split("."), "migrations")
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.sql")]):
            found.update(file.read_bytes())
    for name in ("services/stack/provision.py", "services/stack/house.py", "services/kit/kit_tables.py"):
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def suite_environment(home: Home, servers: Servers, options: Options) -> dict[str, str]:
    """What the application and the worker are started with."""
    room = {} if servers.data is None else {"HUIMIN_DISK_PATH": str(servers.data)}
    return python_environment(
        **room,
        HUIMIN_HOME=str(home.path),
        HUIMIN_SECRET=home.secret(),
        HUIMIN_MODE="embedded",
        HUIMIN_HOST=options.host,
        HUIMIN_PORT=str(options.port),
        HUIMIN_PUBLIC_URL=options.public_url,
        HUIMIN_DATABASE_URL=servers.public_database_url,
        HUIMIN_REDIS_URL=servers.redis_url,
        HUIMIN_DEMO="1" if options.demo else "0",
        HUIMIN_NO_AUTH="1" if options.no_auth else "0",
    )


def worker_environment(environment: dict[str, str], options: Options) -> dict[str, str]:
    """The services are not in the worker's process: it calls them at the front door."""
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::", "localhost") else options.host  # noqa: S104
    address = f"http://[{host}]" if ":" in host else f"http://{host}"
    return {
        **environment,
        "HUIMIN_MODE": "separate",
        "HUIMIN_SERVICE_URL_TEMPLATE": f"{address}:{options.port}",
    }


async def migrate(environment: dict[str, str], servers: Servers) -> str:
    """In a process of its own, whose libraries are gone again afterwards.

    Raises:
        Refusal: with the line the process printed.
    """
    environment = {
        **environment,
        "HUIMIN_DATABASE_URL": servers.admin_url,
        "HUIMIN_EMBEDDED_DATABASE": "1" if servers.embedded_database else "0",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.stack.child", "migrate"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=ROOT,
        process_group=0,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), MIGRATE_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    line = output.decode(errors="replace").strip()
    if process.returncode != 0:
        raise Refusal(
            line or f"数据库升级失败 · the migration failed:\n{errors.decode(errors='replace')[-3000:]}"
        )
    return line


@contextlib.asynccontextmanager
async def running(home: Home, options: Options) -> AsyncIterator[Supervisor]:
    """The suite, up; stopped in order when the block ends, however it ends.

    Raises:
        Refusal: something outside has to be put right first.
        Interrupted: Ctrl-C came while it was starting.
    """
    options.check()
    supervisor = Supervisor(home)
    supervisor.address = options.public_url
    await supervisor.claim()
    door = None
    try:
        supervisor.handle_signals()
        say(f"惠民 Huimin · 正在启动 starting · {home.path}")
        door = listen(options.host, options.port)
        await _start_all(supervisor, door, options)
        yield supervisor
    finally:
        if supervisor.children:
            say("惠民 Huimin · 正在停止 stopping …")
        await supervisor.stop()
        if door is not None:
            door.close()


async def _start_all(supervisor: Supervisor, door: socket.socket, options: Options) -> None:
    home = supervisor.home
    servers = await start_servers(supervisor, plan=BackupPlan.of(home, demo=options.demo))
    environment = suite_environment(home, servers, options)
    began = time.monotonic()
    mark = servers.provisioned_mark
    wanted = provisioning_of(home.secret())
    if mark is not None and mark.exists() and mark.read_text() == wanted:
        migrated = "up to date"
    else:
        migrated = await supervisor.until_stopping(migrate(environment, servers))
        if mark is not None:
            mark.write_text(wanted)
    step("database", about=migrated, seconds=time.monotonic() - began)
    await supervisor.start_together(
        Application(environment, door, options.public_url),
        Worker(worker_environment(environment, options), home),
    )
    if options.no_auth:
        banner()


def banner() -> None:
    line = "!" * 78
    warn(line)
    warn("未启用身份验证: 本机任何程序都能读写全部数据, 仅供一致性测试")
    warn("NO AUTHENTICATION: every program on this machine can read and write everything.")
    warn("For conformance tools only; never with real data.")
    warn(line)


async def run_up(home: Home, options: Options) -> int:
    """`./run up`: until Ctrl-C."""
    try:
        async with running(home, options) as supervisor:
            say(f"\n  {options.public_url}/\n\n  Ctrl-C 停止 · stops everything")
            await supervisor.run_until_stopped()
    except Interrupted:
        return 130
    return 0
