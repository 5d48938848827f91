"""`./run backup`: a base backup of the running database, sealed as it streams, never plain on a disk."""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from services.stack.archive import Archive, Base, number_of
from services.stack.backup_plan import BackupPlan, need_own_database, sealing_secret
from services.stack.ground import Ground, server_password
from services.stack.home import Home
from services.stack.journal import record, say_outcome, tell
from services.stack.postgres import SUPERUSER, system_of
from services.stack.processes import dies_with_parent
from services.stack.sealing import Key, sealed
from services.stack.standby import Places
from services.stack.terminal import Refusal

STUCK_SECONDS = 30.0
"""PostgreSQL ends a backup once its log is archived; what waits for so long will not be."""

DERIVED = (
    "secret",
    "worker.pulse",
    "state.json",
    "places.json",
    "supervisor.lock",
    "logs",
    "backup",
    "drill",
)
SERVERS = ("postgres", "standby", "valkey")
"""What of a home is in no backup: the key, what is of this run alone, what the database's backup has."""


async def run_backup(home: Home) -> None:
    """The command: makes a base backup, takes away those that are no longer kept.

    Raises:
        Refusal: the suite does not run, archives nothing, or the backup was not made; an older one is as good
            as before.
    """
    need_own_database()
    plan = BackupPlan.of(home)
    folder = plan.needed_folder()
    port = _archiving_port(home)
    primary = Places.of(home, plan).primary
    archive = Archive(folder, system_of(primary / "data"), Key(sealing_secret(home.secret())))
    began = time.monotonic()
    with _alone(folder):
        try:
            label, size = await _make(home, archive, port, primary / "spool")
        except (Refusal, OSError) as error:
            words = str(error) if isinstance(error, Refusal) else error.strerror
            _record_failure(home, f"备份失败 · the backup was not made: {words}")
            raise Refusal(f"备份失败 · the backup was not made: {words}") from error
        gone = archive.prune(keep_days=plan.keep_days, keep=plan.keep, now=datetime.now(UTC))
    detail = f"{archive.place_of(label)}  {size / 2**20:.1f} MB"
    if gone:
        detail += f"  过期 {len(gone)} 份已删除 · {len(gone)} old ones removed"
    took = time.monotonic() - began
    say_outcome(record(home, "backup", ok=True, seconds=took, bytes=size, detail=detail))
    await tell(home)


def _archiving_port(home: Home) -> int:
    """Where the database of the running suite answers. Raises Refusal when its log is not archived."""
    state = home.running()
    if state is None:
        raise Refusal("套件未运行 · the suite does not run: start it with ./run up, then make the backup")
    if "keeper" not in state["children"]:
        raise Refusal(
            "运行中的套件未归档日志 · the running suite archives no log: set HUIMIN_BACKUP (not off) and "
            "start it again"
        )
    return int(state["ports"]["postgres"])


def _record_failure(home: Home, words: str) -> None:
    with contextlib.suppress(OSError):  # the journal may be on the same full disk
        record(home, "backup", ok=False, detail=words)


async def _make(home: Home, archive: Archive, port: int, spool: Path) -> tuple[str, int]:
    """Label and size of a new base backup."""
    archive.sweep()
    label = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    process = await _start_base(home, label, port)
    await _seal_base(process, archive, label, spool)
    return label, await asyncio.to_thread(_finish, home, archive, label)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Refusal("另一个备份正在进行 · another backup is being made: wait for it") from error
    finally:
        os.close(handle)


async def _start_base(home: Home, label: str, port: int) -> asyncio.subprocess.Process:
    """PostgreSQL's own tar stream of the whole cluster, without the log, which is archived anyway."""
    ground = Ground.of(home.path)
    return await asyncio.create_subprocess_exec(
        *(str(ground.postgres_bin / "pg_basebackup"), "--pgdata=-", "--format=tar", "--wal-method=none"),
        *("--checkpoint=fast", f"--label={label}", "--no-password", "--host=127.0.0.1", f"--port={port}"),
        f"--username={SUPERUSER}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PGPASSWORD": server_password(home.secret(), "postgres"), "LC_ALL": "C.UTF-8"},
        preexec_fn=dies_with_parent(signal.SIGKILL),
        limit=2**20,
    )


async def _seal_base(process: asyncio.subprocess.Process, archive: Archive, label: str, spool: Path) -> None:
    """The stream, sealed chunk by chunk; the process is gone afterwards.

    Raises:
        Refusal: with PostgreSQL's words, or because its log is not archived.
        OSError: the place is full or gone.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    watching = asyncio.create_task(_stuck(spool))
    try:
        with sealed(archive.place_of(label) / "data", archive.key, archive.name_of(label, "data")) as data:
            while True:
                reading = asyncio.ensure_future(process.stdout.read(2**20))
                await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    reading.cancel()
                    watching.result()
                if not (part := await reading):
                    break
                await asyncio.to_thread(data.write, part)
            words = (await process.stderr.read()).decode(errors="replace").strip()
            if await process.wait() != 0:
                raise Refusal(words)
    finally:
        watching.cancel()
        if process.returncode is None:
            process.kill()
            await process.communicate()  # `wait` would wait for what nobody reads


async def _stuck(spool: Path) -> None:
    """Raises Refusal once the same file of the log has been waiting to be archived for long."""
    waiting, since = "", time.monotonic()
    while True:
        first = min(os.listdir(spool), default="")
        if first != waiting or not first:
            waiting, since = first, time.monotonic()
        if time.monotonic() - since > STUCK_SECONDS:
            raise Refusal(f"日志 {first} 未能归档 · its log cannot be archived, see logs/keeper.log")
        await asyncio.sleep(1.0)


def _finish(home: Home, archive: Archive, label: str) -> int:
    """The files beside the database, and what makes it a whole backup; its size in bytes."""
    place = archive.place_of(label)
    with (
        sealed(place / "files", archive.key, archive.name_of(label, "files")) as files,
        tarfile.open(fileobj=cast(BinaryIO, files), mode="w|") as tar,
    ):
        for path in _files_beside(home):
            with contextlib.suppress(FileNotFoundError):  # a push that has just ended
                tar.add(path, arcname=str(path.relative_to(home.path)), recursive=False)
    timeline, segment = _beginning(archive, label)
    size = sum(file.stat().st_size for file in place.iterdir())
    archive.complete(Base(label, archive.system, timeline, segment, datetime.now(UTC).isoformat(), size))
    return size


def _files_beside(home: Home) -> Iterator[Path]:
    for entry in sorted(home.path.iterdir()):
        if entry.name not in DERIVED + SERVERS and not entry.name.startswith("programs-"):
            yield from (entry, *sorted(entry.rglob("*")))


def _beginning(archive: Archive, label: str) -> tuple[int, int]:
    """Timeline and segment that recovery begins at, as the server's own record of the backup says it."""
    for name in sorted(Archive(archive.folder, archive.system, archive.key).names, reverse=True):
        if name.endswith(".backup") and f"LABEL: {label}\n" in (text := archive.read_log(name)):
            found = re.search(r"^START WAL LOCATION: \S+ \(file ([0-9A-F]{24})\)", text, re.MULTILINE)
            assert found is not None, text
            return int(found[1][:8], 16), number_of(found[1])
    raise Refusal("归档日志中没有此备份的记录 · the server's record of it is not in the archived log")
