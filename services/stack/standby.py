"""A second server that follows the first and can take its place: PostgreSQL's streaming replication.

A commit is acknowledged once it is on both disks (`synchronous_commit = on`). Where the standby is away for
HUIMIN_STANDBY_WAIT_S, the keeper lets commits go on without it and says so; they wait again once it has
caught up. Promotion is a person's decision (`./run promote`): two servers that both think they are the first
would be worse than a minute's wait.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from services.stack.backup_plan import BackupPlan, need_own_database
from services.stack.ground import Ground, server_password
from services.stack.home import Home
from services.stack.journal import outcomes, record, say_outcome
from services.stack.postgres import STANDBY_NAME, SUPERUSER, Postgres, set_synchronous, system_of
from services.stack.processes import send
from services.stack.program import free_port
from services.stack.supervisor import Supervisor
from services.stack.terminal import Refusal, warn

PROMOTE_SECONDS = 60
ASK_TO_PROMOTE = signal.SIGUSR1
"""What `./run promote` sends to the supervisor of a running suite."""


@dataclass(frozen=True)
class Places:
    """The two folders of a home's database; which one has the primary changes when the other is promoted.

    Attributes:
        standby: None where none is kept.
    """

    primary: Path
    standby: Path | None

    @classmethod
    def of(cls, home: Home, plan: BackupPlan) -> "Places":
        ground = Ground.of(home.path)
        own = ground.folder / "postgres"
        primary = Path(_written(home).get("primary", own))
        if not plan.standby:
            return cls(primary, None)
        asked = ground.folder / "standby"
        if plan.standby != "1":
            asked = Path(plan.standby).expanduser().resolve()
        return cls(primary, asked if asked != primary else own)

    def keep(self, home: Home) -> None:
        """Writes down which is which."""
        said = {"primary": str(self.primary), "standby": str(self.standby) if self.standby else None}
        temporary = _file(home).with_suffix(".new")
        temporary.write_text(json.dumps(said) + "\n")
        temporary.replace(_file(home))

    def swapped(self) -> "Places":
        assert self.standby is not None
        return Places(self.standby, self.primary)


def _file(home: Home) -> Path:
    return home.path / "places.json"


def _written(home: Home) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(_file(home).read_text())
    except FileNotFoundError:
        return {}
    return found


def other_places(home: Home) -> list[Path]:
    """Folders of this home's database that are not where they are by default."""
    return [Path(place) for place in _written(home).values() if place]


class Standby(Postgres):
    """Follows the primary on its port; made from it at its first start."""

    name = "standby"
    title = "PostgreSQL standby"
    start_seconds = 3600.0  # the first start copies the database

    def __init__(self, primary: Postgres, place: Path, *, port: int | None = None) -> None:
        super().__init__(primary.ground, primary.password, port=port, place=place)
        self._primary = primary

    def prepare(self) -> None:
        self.folder = self.ground.folder_for(str(self.folder))
        self._stop_leftover()
        self._write_password()
        slot = f"--slot={STANDBY_NAME}"
        if not self.data.exists():
            self._tool("pg_receivewal", "--drop-slot", slot)  # of one that was away too long
        # What it has not received yet is kept for it.
        self._tool("pg_receivewal", "--create-slot", "--if-not-exists", slot)
        if not self.data.exists():
            self._copy_primary()
        elif self._primary.data.exists() and system_of(self.data) != system_of(self._primary.data):
            raise Refusal(
                f"{self.folder} 属于另一个数据库 · holds another database's data: empty it, or set "
                "HUIMIN_STANDBY to another folder"
            )
        signal_file = self.data / "standby.signal"
        signal_file.touch(mode=0o600)
        self.ground.own(signal_file)
        self._check_version()
        self.port = free_port(self.port or None)

    def _write_password(self) -> None:
        path = self.folder / "pass"
        path.touch(mode=0o600)
        path.write_text(f"127.0.0.1:*:*:{SUPERUSER}:{self.password}\n")
        self.ground.own(path)

    def _copy_primary(self) -> None:
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        done = self._tool(
            *("pg_basebackup", "--pgdata=data.partial", "--wal-method=stream", "--checkpoint=fast"),
            f"--slot={STANDBY_NAME}",
        )
        if done.returncode != 0:
            raise Refusal(f"无法建立备库 {self.folder} · the standby cannot be made: {done.stderr.strip()}")
        partial.rename(self.data)

    def _tool(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """One of PostgreSQL's own clients, at the primary."""
        where = [
            "--host=127.0.0.1",
            f"--port={self._primary.port}",
            f"--username={SUPERUSER}",
            "--no-password",
        ]
        return self._run(name, *where, *options)

    def _run(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.ground.postgres_bin / name), *options],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment(), "PGPASSFILE": str(self.folder / "pass")},
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else (),
            check=False,
        )

    def command(self) -> list[str]:
        source = (
            f"host=127.0.0.1 port={self._primary.port} user={SUPERUSER} application_name={STANDBY_NAME} "
            f"passfile='{self.folder / 'pass'}'"
        )
        follows = {"primary_conninfo": source, "primary_slot_name": STANDBY_NAME}
        follows["synchronous_standby_names"] = ""
        options = [part for key, value in follows.items() for part in ("-c", f"{key}={value}")]
        return [*super().command(), *options]

    def is_ready(self, state: str) -> bool:
        return state in ("standby", "ready")

    def promote(self) -> None:
        """Makes a running standby a server of its own, with everything it has received.

        Raises:
            Refusal: with PostgreSQL's words.
        """
        done = self._run("pg_ctl", "promote", "--pgdata=data", "--wait", f"--timeout={PROMOTE_SECONDS}")
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()
            raise Refusal(f"备库未能接替 · the standby was not promoted: {words}")


def check_promotable(places: Places) -> Path:
    """The standby's folder. Raises Refusal when there is none that could take over."""
    if places.standby is None:
        raise Refusal("没有备库 · there is no standby: HUIMIN_STANDBY is not set")
    if not (places.standby / "data" / "standby.signal").exists():
        raise Refusal(f"{places.standby} 中没有备库 · holds no standby that could take over")
    return places.standby


async def take_over(supervisor: Supervisor, standby: Standby, home: Home, places: Places) -> Places:
    """The standby's place becomes the primary's; the old primary must not run any more.

    Raises:
        Refusal: it cannot; nothing was changed.
    """
    await asyncio.to_thread(standby.promote)
    await supervisor.end("standby")
    set_synchronous(standby.data, "")
    retire(places.primary)
    after = places.swapped()
    after.keep(home)
    return after


def retire(folder: Path) -> None:
    """Sets the data of a primary aside that another one replaced: to look into, never to start."""
    aside = folder / "data.retired"
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (folder / "data").rename(aside)
    (folder / "provisioned").unlink(missing_ok=True)


async def promote(home: Home, *, anyway: bool = False) -> None:
    """`./run promote`.

    Args:
        anyway: though commits were let go on without the standby, which may lack them.

    Raises:
        Refusal: there is no standby to promote, or it could not be.
    """
    need_own_database()
    followed = [one for one in outcomes(home) if one["kind"] == "standby"]
    if followed and not followed[-1]["ok"] and not anyway:
        raise Refusal(
            f"{followed[-1]['at']} 起提交未等待备库, 备库可能缺少之后的数据 · since then commits did not "
            "wait for the standby, which may lack them: bring the primary back, or accept that with "
            "./run promote --anyway"
        )
    running = home.running()
    began, known = time.monotonic(), len(outcomes(home))
    if running is None:
        await _promote_stopped(home)
    else:
        if "standby" not in running.get("children", {}):
            raise Refusal(
                "运行中的套件没有备库 · the running suite has no standby: HUIMIN_STANDBY was not set"
            )
        send(running["supervisor"]["pid"], ASK_TO_PROMOTE)
    while not (new := [one for one in outcomes(home)[known:] if one["kind"] == "promote"]):
        if time.monotonic() - began > 2 * PROMOTE_SECONDS:
            raise Refusal(f"切换未完成 · the promotion did not end; see {home.logs}")
        await asyncio.sleep(0.1)
    say_outcome(new[0])
    if not new[0]["ok"]:
        raise Refusal(new[0]["detail"])


async def _promote_stopped(home: Home) -> None:
    """While the suite does not run: its next start has the new primary."""
    plan, supervisor = BackupPlan.of(home), Supervisor(home, quiet=True)
    places = Places.of(home, plan)
    folder = check_promotable(places)
    began = time.monotonic()
    await supervisor.claim()
    try:
        password = server_password(home.secret(), "postgres")
        absent = Postgres(Ground.of(home.path), password, place=places.primary)
        standby = Standby(absent, folder)
        await supervisor.start(standby)
        await take_over(supervisor, standby, home, places)
        record_promotion(home, began)
    finally:
        await supervisor.stop()


def record_promotion(home: Home, began: float) -> None:
    took, words = time.monotonic() - began, "备库已接替 · the standby took over"
    followed = [one for one in outcomes(home) if one["kind"] == "standby"]
    lost = 0.0 if followed and followed[-1]["ok"] else None  # what is not known is not claimed
    record(home, "promote", ok=True, seconds=took, rpo_s=lost, rto_s=took, detail=words)


class Pair:
    """The one or two servers of a running suite, and their change of places."""

    def __init__(self, supervisor: Supervisor, plan: BackupPlan, *, disposable: bool = False) -> None:
        self._supervisor = supervisor
        self._home = supervisor.home
        self._plan = plan
        self._disposable = disposable
        self._places = Places.of(self._home, plan)
        self._standby: Standby | None = None
        self._promotion: asyncio.Task[None] | None = None

    async def start(self) -> Postgres:
        """The primary. Raises Refusal when one of them does not start."""
        primary = await self._start_primary()
        if self._places.standby is not None:
            self._places.keep(self._home)
            await self._start_standby(primary, self._places.standby)
            asyncio.get_running_loop().add_signal_handler(ASK_TO_PROMOTE, self._on_request)
        return primary

    async def _start_primary(self) -> Postgres:
        primary = Postgres(
            Ground.of(self._home.path),
            server_password(self._home.secret(), "postgres"),
            port=self._supervisor.ports().get("postgres"),
            disposable=self._disposable,
            place=self._places.primary,
            archive_timeout_s=self._plan.archive_timeout_s if self._plan.folder else None,
            mirror=self._places.standby,
        )
        await self._supervisor.start(primary)
        return primary

    async def _start_standby(self, primary: Postgres, place: Path) -> None:
        self._standby = Standby(primary, place, port=self._supervisor.ports().get("standby"))
        await self._supervisor.start(self._standby)

    def _on_request(self) -> None:
        if self._promotion is None or self._promotion.done():
            self._promotion = asyncio.create_task(self._promote())

    async def _promote(self) -> None:
        """The application finds the new primary at the port of the old one."""
        began = time.monotonic()
        try:
            check_promotable(self._places)
            assert self._standby is not None
            if self._supervisor.children["standby"].state != "running":
                raise Refusal("备库未在运行 · the standby does not run; see logs/standby.log")
            warn("备库开始接替 · the standby takes over")
            await self._supervisor.end("postgres")  # never two
            self._places = await take_over(self._supervisor, self._standby, self._home, self._places)
            primary = await self._start_primary()
            record_promotion(self._home, began)
        except Refusal as refusal:
            warn(str(refusal))
            record(self._home, "promote", ok=False, detail=str(refusal))
            return
        try:
            assert self._places.standby is not None
            await self._start_standby(primary, self._places.standby)
        except Refusal as refusal:
            warn(str(refusal))  # it goes on with one server; the keeper says so
