"""`./run restore --at TIME`: from a base backup and the log, an empty home becomes what the suite was then.

PostgreSQL recovers by its own means (recovery_target_time, recovery_target_name); what it reads was opened,
and so verified, first.
"""

import asyncio
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from services.stack.archive import Archive, Base, Reach, readable_bases
from services.stack.backup import SERVERS
from services.stack.backup_plan import BackupPlan, need_own_database, sealing_secret
from services.stack.ground import Ground, server_password
from services.stack.home import Home
from services.stack.journal import record, say_outcome
from services.stack.postgres import DATABASE, Postgres
from services.stack.sealing import Key, unsealed
from services.stack.supervisor import Supervisor
from services.stack.terminal import Refusal, step

LOG = "restored-log"
MAY_BE_THERE = ("secret", "backup", "logs", "state.json", "worker.pulse", "supervisor.lock")
"""In a home that is restored into."""
ENDED_BEFORE = "recovery ended before configured recovery target was reached"

Check = Callable[[str], Awaitable[None]]
"""Asked of the recovered database's address while it runs."""


@dataclass(frozen=True)
class Wanted:
    """Where recovery ends.

    Attributes:
        at: the last moment that is to be there.
        name: of a restore point (pg_create_restore_point) at about that time, where it is to the row.
    """

    at: datetime
    name: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        if self.name is not None:
            return {"recovery_target_name": self.name}
        return {"recovery_target_time": self.at.isoformat()}


async def run_restore(home: Home, at: str, source: Path | None) -> None:
    """The command.

    Raises:
        Refusal: the home is not empty, the key is another, or the time cannot be reached; says which can.
    """
    need_own_database()
    refuse_non_empty(home)
    if source is None:
        source = BackupPlan.of(home).needed_folder()
    if not home.exists() and "HUIMIN_SECRET" not in os.environ:
        raise Refusal(
            f"缺少密钥 · the secret is missing: put the `secret` file of the home the backup came from into "
            f"{home.path}, or set HUIMIN_SECRET"
        )
    wanted, began = time_of(at), time.monotonic()
    archive, base, reach, moment = choose(source.resolve(), Key(sealing_secret(home.secret())), wanted)
    step("base backup", about=f"{base.label}  {base.bytes / 2**20:.1f} MB")
    try:
        await restore(home, archive, base, reach, Wanted(moment))
    except (Refusal, OSError) as error:
        record(home, "restore", ok=False, detail=str(error))
        raise
    took = time.monotonic() - began
    words = (
        f"恢复到 · restored to {moment.astimezone().isoformat(timespec='seconds')}; ./run up 启动 · starts it"
    )
    outcome = record(home, "restore", ok=True, seconds=took, rto_s=took, bytes=base.bytes, detail=words)
    say_outcome(outcome)


def refuse_non_empty(home: Home) -> None:
    """Raises Refusal when something of an installation is there."""
    if home.running() is not None:
        raise Refusal("套件正在运行 · the suite runs in this home: a backup is restored into an empty one")
    ground = Ground.of(home.path)
    data = [ground.folder / name for name in ("postgres/data", "valkey/appendonlydir", "standby/data")]
    there = {entry for entry in data if entry.exists()}
    for entry in home.path.iterdir() if home.path.is_dir() else ():
        known = entry.name in (*MAY_BE_THERE, *SERVERS) or entry.name.startswith("programs-")
        if not known and (entry.is_file() or any(entry.iterdir())):
            there.add(entry)
    if there:
        names = ", ".join(sorted(str(entry) for entry in there)[:5])
        raise Refusal(
            f"{home.path} 不是空的 · is not an empty home ({names}): set HUIMIN_HOME to a new folder, or "
            "move these away first"
        )


def time_of(text: str) -> datetime | None:
    """The moment a person named, in their own zone where they name none; None for `latest`."""
    if text == "latest":
        return None
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Refusal(
            f"--at {text} 不是时间 · is not a time: for example 2026-03-01T12:30:00+08:00, or latest"
        ) from error


def choose(folder: Path, key: Key, at: datetime | None) -> tuple[Archive, Base, Reach, datetime]:
    """The newest base backup that reaches the moment, and the moment itself.

    Raises:
        Refusal: none does; says from when to when they reach.
    """
    pairs = readable_bases(folder, key)
    for archive, base in reversed(pairs):
        if at is not None and base.reachable_from > at:
            continue
        reach = archive.reach(base)
        if base.reachable_from <= (at or reach.until) <= reach.until:
            return archive, base, reach, at or reach.until
    raise Refusal(_what_is_possible(pairs, at))


def _what_is_possible(pairs: list[tuple[Archive, Base]], at: datetime | None) -> str:
    ranges: list[str] = []
    for archive, base in pairs:
        reach = archive.reach(base)
        text = f"{_local(base.reachable_from)} – {_local(reach.until)}"
        if reach.until < base.reachable_from:
            text = f"{base.label}: 缺少日志 · its own log is missing"
        if reach.missing:
            text += f" (缺少日志段 · segment {reach.missing} is missing, nothing behind it can be reached)"
        ranges.append(text)
    asked = _local(at) if at else "latest"
    return f"无法恢复到 {asked} · cannot be restored to; possible 可恢复: " + "; ".join(ranges[-5:])


def _local(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="seconds")


class Recovery(Postgres):
    """A server that replays the log up to a point and then stands on its own."""

    start_seconds = 7 * 24 * 3600.0  # as long as it takes; it says so itself when it cannot

    def __init__(self, ground: Ground, password: str, target: dict[str, str]) -> None:
        super().__init__(ground, password)
        settings = {
            "restore_command": f"cp ../{LOG}/%f %p",
            "recovery_target_action": "promote",
            "hot_standby": "off",
            **target,
        }
        self._tuning |= settings

    @property
    def data(self) -> Path:
        """Not where a start would look for it, until it is whole."""
        return self.folder / "data.partial"


async def restore(
    home: Home, archive: Archive, base: Base, reach: Reach, wanted: Wanted, check: Check | None = None
) -> float:
    """Fills an empty home; how many seconds that took until the database answered.

    Raises:
        Refusal: a file is not what was written, or PostgreSQL could not reach the point; the home is empty
            again then.
    """
    began = time.monotonic()
    home.make()
    supervisor = Supervisor(home, quiet=True)
    await supervisor.claim()
    ground = Ground.of(home.path)
    folder = ground.folder_for("postgres")
    try:
        await asyncio.to_thread(_unpack, ground, folder, archive, base, reach, wanted)
        postgres = await _recover(supervisor, ground, wanted)
        took = time.monotonic() - began
        if check is not None:
            await check(postgres.url(DATABASE))
        await supervisor.end(postgres.name)
        await asyncio.to_thread(_unpack_files, home, archive, base)
        shutil.rmtree(folder / LOG)
        _archive_histories(ground, postgres.data)
        postgres.data.rename(folder / "data")
        await supervisor.stop()
    except BaseException:
        await supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return took


def _unpack(ground: Ground, folder: Path, archive: Archive, base: Base, reach: Reach, wanted: Wanted) -> None:
    """The base backup, and of the log what is needed."""
    data, log = folder / "data.partial", folder / LOG
    for place in (data, log):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        ground.own(place)
    with _tar_of(archive, base, "data") as tar:
        _extract(tar, data, ground.uid)
    _verify(ground, data)
    # A commit of that moment may stand behind what was written before it.
    last = next(
        (n for n, until in enumerate(reach.times) if until >= wanted.at.timestamp()), len(reach.names)
    )
    for name in (*reach.names[: last + 2], *archive.histories()):
        archive.open_log(name, log / name)
        ground.own(log / name)
    signal = data / "recovery.signal"
    signal.touch(mode=0o600)
    ground.own(signal)


@contextmanager
def _tar_of(archive: Archive, base: Base, part: str) -> Iterator[tarfile.TarFile]:
    place, name = archive.place_of(base.label) / part, archive.name_of(base.label, part)
    with unsealed(place, archive.key, name) as opened:
        # tarfile asks for nothing but `read`
        with tarfile.open(fileobj=cast(BinaryIO, opened), mode="r|") as tar:
            yield tar
        while opened.read(2**20):  # to the end, so that a file that was cut off is refused
            pass


def _extract(tar: tarfile.TarFile, target: Path, uid: int | None) -> None:
    """What we sealed ourselves, as it was; its owner is the servers' own user of this machine."""
    tar.extraction_filter = lambda member, _path: member  # Python 3.11.2 knows no other way to say so
    for member in tar:
        if uid is not None:
            member.uid = member.gid = uid
        tar.extract(member, target, numeric_owner=True)


def _verify(ground: Ground, data: Path) -> None:
    """Whether what stands on this disk is what the server sent (its manifest)."""
    done = subprocess.run(
        [str(ground.postgres_bin / "pg_verifybackup"), "--no-parse-wal", "--quiet", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Refusal(f"备份未通过核对 · the base backup does not verify: {done.stderr.strip()[-500:]}")


async def _recover(supervisor: Supervisor, ground: Ground, wanted: Wanted) -> Recovery:
    password = server_password(supervisor.home.secret(), "postgres")
    postgres = Recovery(ground, password, wanted.settings)
    try:
        await supervisor.start(postgres)
    except Refusal as refusal:
        if wanted.name is not None or ENDED_BEFORE not in str(refusal):
            raise
        # Nothing was committed between the last commit in the log and the moment: all of it is wanted.
        postgres = Recovery(ground, password, {})
        await supervisor.start(postgres)
    return postgres


def _archive_histories(ground: Ground, data: Path) -> None:
    """Recovery ran without archiving: the new timeline's history is still to go where backups are kept."""
    for history in (data / "pg_wal").glob("*.history"):
        mark = data / "pg_wal" / "archive_status" / f"{history.name}.ready"
        mark.touch(mode=0o600)
        ground.own(mark)


def _unpack_files(home: Home, archive: Archive, base: Base) -> None:
    """What the home kept beside the database, as it was at the base backup."""
    with _tar_of(archive, base, "files") as tar:
        _extract(tar, home.path, None)
