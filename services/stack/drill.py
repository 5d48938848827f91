"""`./run drill`: the newest backup, restored beside the running suite and compared with it, row by row.

What was lost is measured (RPO: how much of the latest time was not in the archived log yet), and what it
takes (RTO: from the sealed files to a database that answers). Nothing of the scratch home does anything in
the world: of the services only identity and audit run in it, to verify the log.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from services.stack.archive import Archive, Base, Reach, segment_of
from services.stack.backup_plan import BackupPlan, need_own_database, sealing_secret
from services.stack.home import ROOT, Home
from services.stack.journal import record, say_outcome, tell
from services.stack.postgres import server_url, system_of
from services.stack.program import free_port, python_environment
from services.stack.restore import Wanted, restore
from services.stack.sealing import Key
from services.stack.standby import Places
from services.stack.terminal import Refusal, step

SEGMENT_HEADER_BYTES = 40
QUIET_SECONDS = 60.0
ARCHIVED_SECONDS = 120.0
READY_SECONDS = 120.0

_TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relpersistence = 'p'
    and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
order by 1
"""


@dataclass(frozen=True)
class Mark:
    """A point in the log, and what the database held there.

    Attributes:
        rows: of each table how many there are, and a sum over their contents.
        rpo_s: how much of the latest time was not archived when the drill began.
    """

    name: str
    at: datetime
    segment: int
    rows: dict[str, tuple[int, int]]
    rpo_s: float


async def run_drill(home: Home) -> None:
    """The command.

    Raises:
        Refusal: nothing was drilled, or what came back is not what there was; the outcome is recorded.
    """
    need_own_database()
    began = time.monotonic()
    try:
        measured = await _drilled(home)
    except (Refusal, OSError, asyncpg.PostgresError) as error:
        outcome = record(home, "drill", ok=False, seconds=time.monotonic() - began, detail=str(error))
        await tell(home)
        raise error if isinstance(error, Refusal) else Refusal(outcome["detail"]) from error
    say_outcome(record(home, "drill", ok=True, seconds=time.monotonic() - began, **measured))
    await tell(home)


async def _drilled(home: Home) -> dict[str, Any]:
    """What is to be recorded of a drill that held."""
    if "keeper" not in (home.running() or {}).get("children", {}):
        raise Refusal("套件未运行或未归档 · the suite does not run, or archives no log (HUIMIN_BACKUP)")
    mark = await _mark(home)
    step("original", about=f"{len(mark.rows)} tables, {_total(mark)} rows at {mark.at.isoformat()}")
    archive, base, reach = await _archived(home, mark)
    scratch = Home(home.path / "drill")
    if scratch.path.exists():
        shutil.rmtree(scratch.path)
    scratch.make()
    scratch.keep_secret(home.secret())
    found: dict[str, tuple[int, int]] = {}

    async def look(url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            found.update(await rows_of(connection))
        finally:
            await connection.close()

    try:
        rto_s = await restore(scratch, archive, base, reach, Wanted(mark.at, mark.name), look)
        step("restored", about=f"{base.label}", seconds=rto_s)
        _compare(mark.rows, found)
        leaves = await _verify_log(scratch)
        step("audit log", about=leaves)
    finally:
        shutil.rmtree(scratch.path, ignore_errors=True)
    words = f"{len(found)} 张表 {_total(mark)} 行一致, 日志核验通过 · tables, rows equal; {leaves}"
    return {"rpo_s": mark.rpo_s, "rto_s": rto_s, "bytes": base.bytes, "detail": words}


def _total(mark: Mark) -> int:
    return sum(count for count, _ in mark.rows.values())


# --- the original ------------------------------------------------------------------------------------


async def _mark(home: Home) -> Mark:
    """Names a point of the log at which nothing is being written, and counts what there is at it."""
    writing, reading = [await asyncpg.connect(server_url(home)) for _ in range(2)]
    try:
        rpo_s = await _unarchived_s(home, reading)
        name = f"huimin drill {time.time_ns()}"
        async with _nobody_writes(writing):
            snapshot = reading.transaction(isolation="repeatable_read")
            await snapshot.start()
            place = await reading.fetchval("select pg_create_restore_point($1)::text", name)
            at = datetime.now(UTC)
        rows = await rows_of(reading)
        await snapshot.rollback()
        await reading.execute("select pg_switch_wal()")
    finally:
        await asyncio.gather(writing.close(), reading.close())
    return Mark(name, at, segment_of(place), rows, rpo_s)


@asynccontextmanager
async def _nobody_writes(connection: Any) -> AsyncIterator[None]:
    """For a moment between two writers: they are not waited for holding some tables already, which could
    make one of them fail.

    Raises:
        Refusal: there was no such moment.
    """
    tables = ", ".join(row[0] for row in await connection.fetch(_TABLES))
    until = time.monotonic() + QUIET_SECONDS
    while True:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"lock table {tables} in share mode nowait")
            break
        except asyncpg.LockNotAvailableError:
            await transaction.rollback()
            if time.monotonic() > until:
                raise Refusal(
                    "写入不断, 无法确定比对时刻 · somebody was writing all the time: drill at a quieter hour"
                ) from None
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        await transaction.rollback()


async def rows_of(connection: Any) -> dict[str, tuple[int, int]]:
    """Of every table the number of rows, and a sum over what is in them."""
    found = {}
    for table, *_ in await connection.fetch(_TABLES):
        row = await connection.fetchrow(
            f"select count(*), coalesce(bit_xor(hashtextextended(t::text, 0)), 0) from {table} t"
        )
        found[table] = (int(row[0]), int(row[1]))
    return found


async def _unarchived_s(home: Home, connection: Any) -> float:
    """How far the archived log is behind: what would be lost if the machine were, this moment."""
    archive = _archive(home)
    bases = archive.bases()
    if not bases:
        raise Refusal("还没有备份 · there is no backup yet: make one with ./run backup")
    until = archive.reach(bases[-1]).until
    written = await connection.fetchval(
        "select file_offset from pg_walfile_name_offset(pg_current_wal_insert_lsn())"
    )
    if written <= SEGMENT_HEADER_BYTES:
        return 0.0  # nothing since the last segment was archived
    return max(0.0, (datetime.now(UTC) - until).total_seconds())


def _archive(home: Home) -> Archive:
    plan = BackupPlan.of(home)
    system = system_of(Places.of(home, plan).primary / "data")
    return Archive(plan.needed_folder(), system, Key(sealing_secret(home.secret())))


async def _archived(home: Home, mark: Mark) -> tuple[Archive, Base, Reach]:
    """The newest base backup once the log behind it has the mark."""
    until = time.monotonic() + ARCHIVED_SECONDS
    while True:
        archive = _archive(home)
        base = archive.bases()[-1]
        reach = archive.reach(base)
        if reach.names and base.segment + len(reach.names) > mark.segment:
            return archive, base, reach
        if time.monotonic() > until:
            raise Refusal(f"日志未能归档 · the log is not archived; see {home.log('keeper')}")
        await asyncio.sleep(0.2)


# --- the copy ----------------------------------------------------------------------------------------


def _compare(original: dict[str, tuple[int, int]], copy: dict[str, tuple[int, int]]) -> None:
    """Raises Refusal, naming the tables that differ."""
    wrong = [
        f"{table}: {original.get(table, ('–',))[0]} → {copy.get(table, ('–',))[0]}"
        for table in sorted(original.keys() | copy.keys())
        if original.get(table) != copy.get(table)
    ]
    if wrong:
        raise Refusal(f"恢复的数据不一致 · what was restored differs: {'; '.join(wrong[:20])}")


async def _verify_log(scratch: Home) -> str:
    """Starts identity and audit on the copy, and has them checked like any log."""
    environment = python_environment(
        HUIMIN_HOME=str(scratch.path),
        HUIMIN_SECRET=scratch.secret(),
        HUIMIN_PORT=str(free_port()),
        HUIMIN_HOST="127.0.0.1",
        HUIMIN_SERVICES="identity,audit",
        HUIMIN_BACKUP="off",
        HUIMIN_STANDBY="",
        HUIMIN_DEMO="0",
    )
    for outside in ("HUIMIN_PUBLIC_URL", "HUIMIN_ISSUER", "HUIMIN_REDIS_URL", "HUIMIN_OIDC_ISSUER"):
        environment.pop(outside, None)
    log = scratch.log("drill")
    with log.open("ab") as output:
        up = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "services.stack", "up"),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        await _ready(scratch, up)
        verify = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "services.stack", "verify"),
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await verify.communicate())[0].decode(errors="replace").strip()
        if verify.returncode != 0:
            raise Refusal(
                f"恢复的访问日志未通过核验 · the restored access log does not verify: {said[-800:]}"
            )
        return said.splitlines()[0].lstrip("✓ ")
    finally:
        if up.returncode is None:
            up.terminate()
        await up.wait()


async def _ready(scratch: Home, up: asyncio.subprocess.Process) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        children = (scratch.running() or {}).get("children", {})
        if children.get("worker") and all(child["state"] == "running" for child in children.values()):
            return
        if up.returncode is not None or time.monotonic() > until:
            raise Refusal(
                f"恢复的套件未能启动 · the restored suite did not start; see {scratch.log('drill')}"
            )
        await asyncio.sleep(0.2)
