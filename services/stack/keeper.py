"""The keeper: seals the log as PostgreSQL archives it, has base backups made when they are due, watches the
standby. A child of the supervisor that starts before PostgreSQL and ends after it, so that a suite that was
stopped has its whole log where backups are kept.
"""

import asyncio
import contextlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.stack.archive import Archive
from services.stack.backup_plan import BackupPlan, sealing_secret
from services.stack.home import ROOT, Home
from services.stack.journal import is_up, record, untold
from services.stack.postgres import STANDBY_NAME, server_url, system_of
from services.stack.program import PythonProgram, python_environment, tell_ready
from services.stack.sealing import Key
from services.stack.standby import Places
from services.stack.terminal import Refusal, warn

LOOK_EVERY_S = 0.2
CHORES_EVERY_S = 10.0
AGAIN_AFTER_S = 600.0
"""When a base backup that was due did not succeed."""


class Keeper(PythonProgram):
    name = "keeper"
    title = "keeper"
    module = "services.stack.child"

    def __init__(self, home: Home) -> None:
        super().__init__(python_environment(HUIMIN_HOME=str(home.path), HUIMIN_SECRET=home.secret()))

    def command(self) -> list[str]:
        return [*super().command(), "keeper"]


async def keep() -> None:
    """The process's work, until it is ended."""
    home = Home()
    plan = BackupPlan.of(home)
    work = [_tell(home)]
    if plan.folder is not None:
        plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        work += [_ship(home, plan, plan.folder), _back_up(home, plan, plan.folder)]
    if plan.standby:
        work.append(_follow(home, plan))
    tell_ready()
    await asyncio.gather(*work)


# --- the log -----------------------------------------------------------------------------------------


async def _ship(home: Home, plan: BackupPlan, folder: Path) -> None:
    """Seals what PostgreSQL waits to have archived; a place that is full or gone is told once."""
    key, failing = Key(sealing_secret(home.secret())), False
    while True:
        try:
            shipped = await asyncio.to_thread(_ship_waiting, Places.of(home, plan).primary, folder, key)
        except OSError as error:
            if not failing:
                words = f"日志无法归档 · the log cannot be archived: {error.strerror} ({folder})"
                warn(words)
                with contextlib.suppress(OSError):  # the journal may be on the same full disk
                    record(home, "backup", ok=False, detail=words)
            failing = True
            await asyncio.sleep(2.0)
        else:
            if shipped and failing:
                record(home, "backup", ok=True, detail="日志恢复归档 · the log is archived again")
                failing = False
            await asyncio.sleep(LOOK_EVERY_S)


def _ship_waiting(primary: Path, folder: Path, key: Key) -> int:
    """How many files went."""
    try:
        waiting = sorted((primary / "spool").iterdir())
    except FileNotFoundError:
        return 0
    if waiting:
        archive = Archive(folder, system_of(primary / "data"), key)
        for file in waiting:
            archive.keep_log(file.name, file)
            file.unlink(missing_ok=True)
    return len(waiting)


# --- base backups ------------------------------------------------------------------------------------


async def _back_up(home: Home, plan: BackupPlan, folder: Path) -> None:
    """Has one made when there is none on the log's newest timeline, or the newest is old enough."""
    key, not_before = Key(sealing_secret(home.secret())), 0.0
    while plan.every_h:
        await asyncio.sleep(CHORES_EVERY_S)
        if time.monotonic() < not_before or not is_up(home):
            continue
        system = system_of(Places.of(home, plan).primary / "data")
        due = await asyncio.to_thread(_is_due, Archive(folder, system, key), plan.every_h)
        if due and await _child("backup") != 0:
            not_before = time.monotonic() + AGAIN_AFTER_S


def _is_due(archive: Archive, every_h: float) -> bool:
    bases = archive.bases()
    if not bases or bases[-1].timeline != archive.timelines[0][0]:
        return True
    age = datetime.now(UTC) - bases[-1].reachable_from
    return age.total_seconds() > every_h * 3600


async def _child(what: str) -> int:
    """In a process of its own, whose libraries are gone again afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "services.stack.child", what), cwd=ROOT
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        raise


async def _tell(home: Home) -> None:
    """What the journal has and the access log has not yet."""
    while True:
        await asyncio.sleep(CHORES_EVERY_S)
        if is_up(home) and untold(home):
            await _child("tell")


# --- the standby -------------------------------------------------------------------------------------

_STATE = """
select current_setting('synchronous_standby_names') <> '' as waiting, flush_lsn::text as confirmed,
       flush_lsn < pg_current_wal_flush_lsn() as behind
from (select) as one left join pg_stat_replication on application_name = $1 and state = 'streaming'
"""


async def _follow(home: Home, plan: BackupPlan) -> None:
    """Looks each second, with a session of its own each time: the primary may be another one by then."""
    import asyncpg

    follower = Follower(home, plan)
    while True:
        await asyncio.sleep(1.0)
        try:
            async with asyncio.timeout(10.0):
                connection = await asyncpg.connect(server_url(home, "postgres"))
                try:
                    await follower.look(connection)
                finally:
                    connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, Refusal):
            follower.away_since = None  # the primary itself is away: nothing is committed


class Follower:
    """Commits wait for a standby that follows; for one that is away as long as the settings say.

    Attributes:
        away_since: since when it is; None while it is there.
    """

    def __init__(self, home: Home, plan: BackupPlan) -> None:
        self._home = home
        self._wait_s = plan.standby_wait_s
        self._confirmed: str | None = None
        self.away_since: float | None = None

    async def look(self, connection: Any) -> None:
        state = await connection.fetchrow(_STATE, STANDBY_NAME)
        # One that is connected and frozen confirms nothing, though there is something to confirm.
        frozen = state["behind"] and state["confirmed"] == self._confirmed
        self._confirmed = state["confirmed"]
        if state["confirmed"] is not None and not frozen:
            self.away_since = None
            if not state["waiting"]:
                await _wait_for(connection, STANDBY_NAME)
                record(self._home, "standby", ok=True, detail="提交等待备库 · commits wait for the standby")
        else:
            await self._bear(connection, waiting=state["waiting"])

    async def _bear(self, connection: Any, *, waiting: bool) -> None:
        """It is away: for how long, and is that too long?"""
        now = time.monotonic()
        self.away_since = now if self.away_since is None else self.away_since
        away_s = now - self.away_since
        if waiting and self._wait_s is not None and away_s >= self._wait_s:
            await _wait_for(connection, "")
            words = f"备库离开 {away_s:.0f} 秒, 提交不再等待 · the standby is away: commits go on without it"
            warn(words)
            record(self._home, "standby", ok=False, detail=words)


async def _wait_for(connection: Any, names: str) -> None:
    await connection.execute(f"alter system set synchronous_standby_names = '{names}'")
    await connection.execute("select pg_reload_conf()")
