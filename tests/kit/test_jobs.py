"""Jobs: the row is the truth, whoever dies; nothing of an old run is written under a new fence."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from services.kit.app import Kit
from services.kit.jobs import Job, JobLostError, Jobs, RunningJob, last_heartbeat
from services.kit.jobs.heartbeat import KIND, submit_due
from services.kit.jobs.polling import hand_over, poller
from services.kit.jobs.running import run
from services.kit.jobs.table import claim, due, note_done
from services.stack.home import ROOT
from services.stack.processes import dies_with_parent, memory_mb
from tests.kit.scratch import Scratch

COUNTED = "create table counted (job uuid, n int, attempt int);"
KINDS = "tests.kit.job_kinds"


@pytest.fixture
async def office(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """A service with jobs; HUIMIN_* of this process lead to it, as they do in a worker."""
    for name, value in environment_of(scratch).items():
        monkeypatch.setenv(name, value)
    return await scratch.kit("office", COUNTED)


def environment_of(scratch: Scratch) -> dict[str, str]:
    assert scratch.settings.secret is not None
    return {
        "HUIMIN_SECRET": scratch.settings.secret.get_secret_value(),
        "HUIMIN_DATABASE_URL": scratch.settings.database_url,
        "HUIMIN_REDIS_URL": scratch.settings.redis_url,
        "HUIMIN_MODE": "separate",
        "HUIMIN_LOG_LEVEL": "WARNING",
    }


async def submit(kit: Kit, kind: str, args: dict[str, Any] | None = None, **more: Any) -> UUID:
    assert kit.jobs is not None
    async with kit.db.transaction() as tx:
        return await kit.jobs.submit(tx, kind=f"{KINDS}:{kind}", args=args, **more)


async def look(kit: Kit, id: UUID) -> Job:
    assert kit.jobs is not None
    async with kit.db.read() as connection:
        job = await kit.jobs.get(connection, id)
    assert job is not None
    return job


async def change(kit: Kit, sql: str, *values: Any) -> None:
    async with kit.db.transaction() as tx:
        await tx.execute(sql, *values)


async def counted(kit: Kit, id: UUID) -> list[int]:
    async with kit.db.read() as connection:
        rows = await connection.fetch("select n from counted where job = $1 order by n", id)
    return [row["n"] for row in rows]


async def test_a_kind_that_is_no_functions_name_is_refused(office: Kit) -> None:
    assert office.jobs is not None
    async with office.db.transaction() as tx:
        for kind in ("run_audit", "os:system", "a.b:c.d", "a.b:c()", ""):
            with pytest.raises(ValueError, match="not the name of a function"):
                await office.jobs.submit(tx, kind=kind)


async def test_a_job_of_an_undone_transaction_was_never_there(office: Kit) -> None:
    async def undone() -> None:
        assert office.jobs is not None
        async with office.db.transaction() as tx:
            await office.jobs.submit(tx, kind=f"{KINDS}:nothing")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    async with office.db.transaction() as tx:
        assert await due(tx) == []


async def test_a_job_runs_once_and_keeps_its_result(office: Kit) -> None:
    id = await submit(office, "count", {"n": 3})
    await asyncio.gather(run("office", id), run("office", id))
    await run("office", id)
    job = await look(office, id)
    assert (job.state, job.result, job.attempt) == ("done", {"counted": 3, "attempt": 1}, 1)
    assert (job.progress_done, job.progress_total) == (3, 3)
    assert await counted(office, id) == [1, 2, 3]


async def test_a_job_does_not_start_before_its_time(office: Kit) -> None:
    id = await submit(office, "nothing", due_at=datetime.now(UTC) + timedelta(hours=1))
    await run("office", id)
    assert (await look(office, id)).state == "queued"
    async with office.db.transaction() as tx:
        assert await due(tx) == []
    await change(office, "update job set due_at = now()")
    async with office.db.transaction() as tx:
        assert await due(tx) == [id]


async def test_a_job_that_fails_is_tried_again_and_then_given_up(office: Kit) -> None:
    id = await submit(office, "broken", max_attempts=2)
    await run("office", id)
    job = await look(office, id)
    assert (job.state, job.attempt) == ("queued", 1)
    assert job.error == "LookupError: attempt 1: [citizen-number] is not there"
    assert job.due_at > datetime.now(UTC)
    await change(office, "update job set due_at = now()")
    await run("office", id)
    assert ((await look(office, id)).state, (await look(office, id)).attempt) == ("failed", 2)


async def test_bad_input_is_not_tried_again(office: Kit) -> None:
    id = await submit(office, "wrong")
    await run("office", id)
    job = await look(office, id)
    assert (job.state, job.attempt, job.error) == (
        "failed",
        1,
        "ValueError: it will not get better by trying again",
    )


async def test_a_function_that_is_not_there_is_an_error_of_the_job(office: Kit) -> None:
    id = await submit(office, "never_written", max_attempts=1)
    await run("office", id)
    job = await look(office, id)
    assert job.state == "failed"
    assert "never_written" in (job.error or "")


async def test_an_old_run_can_write_nothing_once_another_has_the_job(office: Kit) -> None:
    id = await submit(office, "count", {"n": 3})
    async with office.db.transaction() as tx:
        old = await claim(tx, id)
    assert old is not None
    async with office.db.transaction() as tx:
        assert await claim(tx, id) is None, "its lease holds"
    await change(office, "update job set lease_until = now() - interval '1 s'")
    async with office.db.transaction() as tx:
        new = await claim(tx, id)
    assert new is not None
    assert new.fence == old.fence + 1
    zombie = RunningJob(office, old)

    async def write(*, beside: bool = False) -> None:
        async with zombie.transaction(beside=beside) as tx:
            await tx.execute("insert into counted (job, n) values ($1, 99)", id)

    async def end() -> None:
        async with office.db.transaction() as tx:
            await note_done(tx, old, {})

    for effect in (write, partial(write, beside=True), end, partial(zombie.progress, 3, 3)):
        with pytest.raises(JobLostError):
            await effect()
    assert await counted(office, id) == []
    assert (await look(office, id)).state == "running"


async def test_transactions_of_a_job_may_stand_open_beside_each_other(office: Kit) -> None:
    id = await submit(office, "count", {"n": 3})
    async with office.db.transaction() as tx:
        first = await claim(tx, id)
    assert first is not None
    job = RunningJob(office, first)
    async with job.transaction(beside=True) as one:
        async with asyncio.timeout(60), job.transaction(beside=True) as other:
            await one.execute("insert into counted (job, n) values ($1, 1)", id)
            await other.execute("insert into counted (job, n) values ($1, 2)", id)
        assert await counted(office, id) == [2]
    assert await counted(office, id) == [1, 2]

    async def overtaken() -> None:
        async with job.transaction(beside=True) as tx:
            await tx.execute("insert into counted (job, n) values ($1, 3)", id)
            await change(office, "update job set lease_until = now() - interval '1 s'")
            async with office.db.transaction() as theirs:
                assert await claim(theirs, id) is not None

    with pytest.raises(JobLostError):
        await overtaken()
    assert await counted(office, id) == [1, 2]


async def test_a_job_that_keeps_its_event_loop_busy_keeps_its_lease(
    office: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kit.jobs.table.LEASE_S", 2.0)
    monkeypatch.setattr("services.kit.jobs.running.BEAT_S", 0.2)
    id = await submit(office, "busy", {"s": 3.0})
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, run("office", id)))
    await until(lambda: has_state(office, id, "running"))
    while not running.done():
        async with office.db.transaction() as tx:
            assert await claim(tx, id) is None
        await asyncio.sleep(0.1)
    await running
    job = await look(office, id)
    assert (job.state, job.attempt) == ("done", 1)


async def test_a_job_whose_workers_keep_dying_is_given_up(office: Kit) -> None:
    id = await submit(office, "count", {"n": 1}, max_attempts=2)
    for _ in range(2):
        async with office.db.transaction() as tx:
            assert await claim(tx, id) is not None
        await change(office, "update job set lease_until = now() - interval '1 s'")
    async with office.db.transaction() as tx:
        assert await due(tx) == []
    job = await look(office, id)
    assert (job.state, job.error) == ("failed", "its worker ended in each of 2 attempts")


async def test_a_cancelled_job_stops_and_writes_nothing_more(office: Kit) -> None:
    assert office.jobs is not None
    id = await submit(office, "count", {"n": 10_000, "pause_s": 0.02})
    running = asyncio.create_task(run("office", id))
    await until(lambda: has_counted(office, id, 3))
    async with office.db.transaction() as tx:
        assert await office.jobs.cancel(tx, id)
        assert not await office.jobs.cancel(tx, id)
    await asyncio.wait_for(running, 60)
    written = await counted(office, id)
    await asyncio.sleep(0.2)
    assert await counted(office, id) == written
    assert (await look(office, id)).state == "cancelled"


async def test_a_job_nobody_claims_is_handed_over_again_with_growing_pauses(office: Kit) -> None:
    id = await submit(office, "nothing")
    async with office.db.transaction() as tx:
        assert await due(tx) == [id]
        assert await due(tx) == []
    for pause_s in (10, 20, 40):
        await change(office, "update job set handed_at = now() - make_interval(secs => $1)", pause_s - 1.0)
        async with office.db.transaction() as tx:
            assert await due(tx) == []
        await change(office, "update job set handed_at = now() - make_interval(secs => $1)", pause_s + 1.0)
        async with office.db.transaction() as tx:
            assert await due(tx) == [id]


async def test_pollers_side_by_side_hand_each_job_once(office: Kit) -> None:
    ids = {await submit(office, "nothing") for _ in range(30)}
    handed = await asyncio.gather(*(hand_over(office) for _ in range(4)))
    assert sorted(id for some in handed for id in some) == sorted(ids)


async def test_without_a_broker_jobs_wait(office: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_broker(*_: Any) -> None:
        raise ConnectionError("no broker")

    id = await submit(office, "nothing")
    with monkeypatch.context() as without:
        without.setattr("services.kit.jobs.polling._send", no_broker)
        for _ in range(3):
            assert await hand_over(office) == []
        assert (await look(office, id)).state == "queued"
    assert await hand_over(office) == [id], "it does not wait for how long there was no broker"


async def test_a_heartbeat_is_a_job_that_finished(office: Kit) -> None:
    async def heart() -> float | None:
        async with office.db.read() as connection:
            return await last_heartbeat(connection)

    async def beats() -> list[str]:
        async with office.db.read() as connection:
            rows = await connection.fetch("select state from job where kind = $1 order by id", KIND)
        return [row["state"] for row in rows]

    async def next_one() -> None:
        async with office.db.transaction() as tx:
            await submit_due(tx, Jobs("office"))

    assert await heart() is None
    await next_one()
    await next_one()
    assert (await beats(), await heart()) == (["queued"], None), "one is on its way, none has come through"
    async with office.db.transaction() as tx:
        [id] = await due(tx)
    await run("office", id)
    assert (await heart() or 0.0) < 60
    await next_one()
    assert await beats() == ["done"], "the next one has time"
    await change(office, "update job set finished_at = now() - interval '30 s'")
    await next_one()
    assert await beats() == ["done", "queued"]
    assert 30 <= (await heart() or 0.0) < 90
    await change(office, "update job set submitted_at = now() - interval '61 s' where state = 'queued'")
    await next_one()
    assert await beats() == ["done", "cancelled", "queued"], "one that got lost does not stop the heart"


# --- a real worker -----------------------------------------------------------------------------------


class Worker:
    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["worker", "--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "services.kit.jobs:celery", *options],
                env=self._environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    @property
    def pids(self) -> list[int]:
        assert self.process is not None
        whole = psutil.Process(self.process.pid)
        return [self.process.pid, *(child.pid for child in whole.children(recursive=True))]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def worker_of(scratch: Scratch, folder: Path) -> Iterator[Worker]:
    worker = Worker(environment_of(scratch), folder / "worker.log")
    worker.start()
    try:
        yield worker
    finally:
        worker.kill()


@pytest.fixture
async def working(office: Kit, scratch: Scratch, tmp_path: Path) -> AsyncIterator[tuple[Kit, Worker]]:
    """The service's poller here, a worker there."""
    polling = asyncio.create_task(poller(office))
    with worker_of(scratch, tmp_path) as worker:
        try:
            yield office, worker
        finally:
            polling.cancel()
            await asyncio.wait([polling])


async def test_jobs_survive_a_killed_worker_and_an_emptied_broker(working: tuple[Kit, Worker]) -> None:
    office, worker = working
    first = await submit(office, "count", {"n": 5})
    await until(lambda: has_state(office, first, "done"))
    main = worker.pids[0]
    assert memory_mb(main) < 80, "the worker's main process is to stay small"

    second = await submit(office, "count", {"n": 40, "pause_s": 0.2})
    await until(lambda: has_counted(office, second, 3))
    worker.kill()
    await office.redis.flushall()
    before = len(await counted(office, second))
    worker.start()
    await until(lambda: has_counted(office, second, before + 1))
    await until(lambda: has_state(office, second, "done"))
    job = await look(office, second)
    assert (job.attempt, job.result) == (2, {"counted": 40, "attempt": 2})
    assert await counted(office, second) == list(range(1, 41)), "each number once"


async def has_state(kit: Kit, id: UUID, state: str) -> bool:
    job = await look(kit, id)
    assert job.state != "failed", job.error
    return job.state == state


async def has_counted(kit: Kit, id: UUID, n: int) -> bool:
    return len(await counted(kit, id)) >= n


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)
