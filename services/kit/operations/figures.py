"""All of a service's figures read together, for its operators' door and for Prometheus."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.kit.events.readers import lag
from services.kit.jobs.heartbeat import ALIVE_S, last_heartbeat
from services.kit.operations import heartbeats, push_failures
from services.kit.operations.shapes import (
    DeadLetters,
    Disk,
    Jobs,
    Operations,
    Process,
    Reader,
    Relay,
    Renewal,
)

if TYPE_CHECKING:
    from services.kit.app import Kit
    from services.kit.database import Connection
    from services.kit.settings import Settings

VERSION = "0.1.0"
READY_WITHIN_S = 2.0
SPARED = 20.0
"""What a service alone can say is read again after so many times as long as reading it took."""

Contribution = Callable[["Kit", "Connection"], Awaitable[Mapping[str, Any]]]
"""What only this service can say of itself: fields of Operations."""

_RELAY_SQL = """
select (select count(*) from outbox where position is null)
        + (select position - sent from outbox_head) as waiting,
    coalesce(extract(epoch from now() - min(time)), 0)::float8 as oldest_s
from outbox where position is null
"""
_DEAD_SQL = """
select count(*) filter (where next_at is null) as waiting,
    count(*) filter (where next_at is not null) as parked,
    min(first_at) filter (where next_at is null) as oldest_at
from dead_letter
"""
_JOBS_SQL = """
select count(*) filter (where state = 'queued') as queued,
    count(*) filter (where state = 'running') as running,
    count(*) filter (where state = 'done') as done,
    count(*) filter (where state = 'failed') as failed,
    count(*) filter (where state = 'cancelled') as cancelled,
    coalesce(extract(epoch from now() - min(due_at) filter (where state = 'queued' and due_at <= now())), 0)
        ::float8 as overdue_s
from job
"""
_RENEWAL_SQL = """
select renewal.version, job.state, progress_done as done, progress_total as total, due_at, error,
    switched_at, understood_until
from renewal join job on job.id = renewal.job_id
where ended_at is null order by renewal.version desc limit 1
"""


async def read(kit: "Kit") -> Operations:
    """What the service's operators are shown. Without its database: the process alone, and what fails."""
    found = Operations(
        service=kit.name,
        version=VERSION,
        at=datetime.now(UTC),
        checks=await checks(kit),
        processes=kit.beats.processes(),
        disks=await asyncio.to_thread(_disks, kit.settings),
    )
    if found.checks.get("database") != "ok":
        return found
    async with kit.db.read() as db:
        return found.model_copy(update=await _kept(kit, db))


async def _kept(kit: "Kit", db: "Connection") -> dict[str, Any]:
    """What the database says."""
    return {
        "processes": [*await heartbeats.read(db), await _worker(db)],
        "relay": Relay(**dict(await db.fetchrow(_RELAY_SQL) or {})),
        "readers": [Reader(**asdict(one)) for one in await lag(db)],
        "dead_letters": DeadLetters(**dict(await db.fetchrow(_DEAD_SQL) or {})),
        "jobs": Jobs(**dict(await db.fetchrow(_JOBS_SQL) or {})),
        "renewal": await _renewal(db),
        "failed_pushes": await push_failures.read(db),
        **await _own(kit, db),
    }


async def _own(kit: "Kit", db: "Connection") -> Mapping[str, Any]:
    """What this service alone can say, kept for as long as reading it takes little of the time."""
    kept: tuple[float, Mapping[str, Any]] = kit.parts.get("operations", (0.0, {}))
    until, found = kept
    if kit.contribution is not None and until < time.monotonic():
        began = time.monotonic()
        found = await kit.contribution(kit, db)
        now = time.monotonic()
        kit.parts["operations"] = now + SPARED * (now - began), found
    return found


async def checks(kit: "Kit") -> dict[str, str]:
    """What the service stands on: "ok", or what went wrong."""
    asked: dict[str, Any] = {"broker": kit.redis.ping()}
    if kit.database is not None:
        asked["database"] = _select_one(kit.database)
    answers = await asyncio.gather(
        *(asyncio.wait_for(check, READY_WITHIN_S) for check in asked.values()), return_exceptions=True
    )
    return {
        name: "ok" if not isinstance(answer, BaseException) else type(answer).__name__
        for name, answer in zip(asked, answers, strict=True)
    }


async def _select_one(database: Any) -> None:
    async with database.read() as connection:
        await connection.fetchval("select 1")


async def _worker(db: "Connection") -> Process:
    """Seen by the job it finished last; whichever worker that was."""
    silent_s = await last_heartbeat(db)
    alive = silent_s is not None and silent_s < ALIVE_S
    return Process(role="worker", alive=int(alive), silent_s=silent_s)


async def _renewal(db: "Connection") -> Renewal | None:
    if not await db.fetchval("select to_regclass('renewal') is not null"):
        return None
    row = await db.fetchrow(_RENEWAL_SQL)
    return Renewal(**dict(row)) if row is not None else None


def _disks(settings: "Settings") -> list[Disk]:
    """Room where files are kept, of what is on this machine."""
    reserve = settings.disk_reserve_mb * 1_000_000
    backup = settings.home / "backup" if settings.backup in ("", "off") else Path(settings.backup)
    kept = {"home": (settings.home, 0), "database": (settings.disk_path, reserve), "backup": (backup, 0)}
    return [
        Disk(name=name, free_bytes=usage.free, total_bytes=usage.total, reserve_bytes=least)
        for name, (folder, least) in kept.items()
        if folder is not None and (usage := _usage(folder)) is not None
    ]


def _usage(folder: Path) -> Any:
    try:
        return shutil.disk_usage(folder)
    except OSError:
        return None
