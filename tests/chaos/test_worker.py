"""A worker that is frozen with a job in its hands: another finishes the job, and the first writes no more."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from services.kit.app import Kit
from services.kit.database import Row
from services.kit.jobs import Job
from services.kit.jobs.polling import poller
from services.stack.home import ROOT
from services.stack.processes import dies_with_parent
from tests.kit.scratch import make_schema, opened, scratch_settings
from tests.support.databases import TestServers

pytestmark = pytest.mark.chaos

COUNTED = """
create table counted (place bigint generated always as identity, job uuid, n int, attempt int);
"""
NUMBERS = 60


class Worker:
    """A Celery worker as it is shipped, whose leases are shorter."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.parts", "worker", "0"],
                env=environment,
                cwd=ROOT,
                stdout=file,
                stderr=file,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    def signal(self, number: signal.Signals) -> None:
        """To all its processes."""
        whole = psutil.Process(self._process.pid)
        for process in (whole, *whole.children(recursive=True)):
            os.kill(process.pid, number)

    def end(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
async def office(servers: TestServers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kit]:
    """A service with jobs; HUIMIN_* of this process lead to it, as they do in a worker."""
    await servers.empty_broker()
    async with servers.copy() as database:
        settings = scratch_settings(servers, database)
        assert settings.secret is not None
        for name, value in {
            "HUIMIN_SECRET": settings.secret.get_secret_value(),
            "HUIMIN_DATABASE_URL": settings.database_url,
            "HUIMIN_REDIS_URL": settings.redis_url,
            "HUIMIN_MODE": "separate",
            "PYTHONPATH": str(ROOT),
        }.items():
            monkeypatch.setenv(name, value)
        await make_schema(settings, "office", COUNTED)
        async with opened(settings, "office") as kit:
            polling = asyncio.create_task(poller(kit))
            yield kit
            polling.cancel()
            await asyncio.wait([polling])


async def test_the_job_of_a_frozen_worker_is_finished_by_another(office: Kit, tmp_path: Path) -> None:
    assert office.jobs is not None
    first = Worker(dict(os.environ), tmp_path / "first.log")
    workers = [first]
    try:
        async with office.db.transaction() as tx:
            job = await office.jobs.submit(
                tx, kind="tests.kit.job_kinds:count", args={"n": NUMBERS, "pause_s": 0.1}
            )
        await until(office, job, attempt=1, numbers=5)
        workers.append(Worker(dict(os.environ), tmp_path / "second.log"))
        first.signal(signal.SIGSTOP)
        await until(office, job, attempt=2, numbers=5)
        first.signal(signal.SIGCONT)
        await until(office, job, attempt=2, state="done")
        async with asyncio.timeout(60):
            while "another runner" not in first.log.read_text():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
        rows = await written(office, job)
        assert sorted(row["n"] for row in rows) == list(range(1, NUMBERS + 1)), "each effect once"
        attempts = [row["attempt"] for row in rows]
        assert attempts == sorted(attempts), "the frozen one wrote after the other had begun"
        found = await office_job(office, job)
        assert (found.state, found.attempt, found.result) == ("done", 2, {"counted": NUMBERS, "attempt": 2})
    finally:
        for worker in workers:
            worker.end()


async def office_job(office: Kit, job: UUID) -> Job:
    assert office.jobs is not None
    async with office.db.read() as db:
        found = await office.jobs.get(db, job)
    assert found is not None
    return found


async def written(office: Kit, job: UUID) -> list[Row]:
    async with office.db.read() as db:
        return await db.fetch("select n, attempt from counted where job = $1 order by place", job)


async def until(office: Kit, job: UUID, *, attempt: int, numbers: int = 0, state: str | None = None) -> None:
    """Until that attempt has written so many, or the job has come to that state."""
    async with asyncio.timeout(90):
        while True:
            mine = [row for row in await written(office, job) if row["attempt"] == attempt]
            if len(mine) >= numbers and state in (None, (await office_job(office, job)).state):
                return
            await asyncio.sleep(0.1)
