"""In the worker: one attempt at one job."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

from services.kit import telemetry
from services.kit.app import Kit, open_kit
from services.kit.database import Database, Transaction
from services.kit.jobs import heartbeat
from services.kit.jobs.table import (
    LEASE_S,
    Job,
    JobLostError,
    claim,
    hold,
    note_done,
    note_failed,
    note_progress,
    renew,
)

BEAT_S = LEASE_S / 4
PROGRESS_EVERY_S = 0.5


class RunningJob:
    """What a job's function gets: `async def run_audit(job: RunningJob) -> dict`.

    Attributes:
        kit: the service's own, as its doors have it.
    """

    def __init__(self, kit: Kit, job: Job) -> None:
        self.kit = kit
        self.id = job.id
        self.args = job.args
        self.attempt = job.attempt
        self._job = job
        self._progress_at = 0.0

    async def progress(self, done: int, total: int | None = None) -> None:
        """Tells how far it is; calls in between are skipped, the last one before the end is not needed.

        Raises:
            JobLostError: the job was cancelled or given to another worker.
        """
        if time.monotonic() - self._progress_at > PROGRESS_EVERY_S or done == total:
            self._progress_at = time.monotonic()
            async with self.kit.db.transaction() as tx:
                await note_progress(tx, self._job, done, total)

    @asynccontextmanager
    async def transaction(
        self, database: Database | None = None, *, beside: bool = False
    ) -> AsyncIterator[Transaction]:
        """A commit that only the job's one runner can make: a job writes through nothing else.

        Args:
            database: another pool of the service's, signed in as the role of a schema it keeps apart.
            beside: it may be open beside others of the job, as whose runner this is is asked at its end.

        Raises:
            JobLostError: the job was cancelled or given to another worker; nothing is written.
        """
        async with (database or self.kit.db).transaction() as tx:
            if not beside:
                await hold(tx, self._job)
            yield tx
            if beside:
                await hold(tx, self._job)


class _Lease(threading.Thread):
    """Keeps the lease from a thread and connection of its own: a job may keep the event loop busy."""

    def __init__(self, kit: Kit, job: Job, lost: Callable[[], None]) -> None:
        super().__init__(name=f"lease {job.id}", daemon=True)
        self._database = Database(kit.settings, kit.name, max_connections=1)
        self._service = kit.name
        self._job = job
        self._lost = lost
        self._ended = threading.Event()

    def run(self) -> None:
        asyncio.run(self._beat())

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=10.0)

    async def _beat(self) -> None:
        await self._database.start()
        try:
            while not await asyncio.to_thread(self._ended.wait, BEAT_S):
                try:
                    async with self._database.transaction() as tx:
                        await renew(tx, self._job)
                    show_pulse()
                except JobLostError:
                    self._lost()
                    return
                except Exception as error:  # noqa: BLE001 - the next beat may succeed; the fence decides
                    telemetry.logger(self._service).warning("lease not renewed", extra={"error": repr(error)})
        finally:
            await self._database.stop()


async def run(service: str, job_id: UUID) -> None:
    """Claims the job and runs it to its end; does nothing when somebody else has it or it has ended."""
    kit, stack = await open_kit(service)
    async with stack:
        async with kit.db.transaction() as tx:
            job = await claim(tx, job_id)
        if job is None:
            return
        with telemetry.span(f"run {job.kind}", parent=job.traceparent, kind="consumer"):
            await _attempt(kit, job)


async def _attempt(kit: Kit, job: Job) -> None:
    log = telemetry.logger(kit.name)
    about = {"job": str(job.id), "kind": job.kind, "attempt": job.attempt}
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(_call(kit, job))
    lease = _Lease(kit, job, lambda: _cancel(loop, work))
    lease.start()
    try:
        result = await work
        async with kit.db.transaction() as tx:
            await note_done(tx, job, result)
        if job.kind == heartbeat.KIND:
            show_pulse()
            return
        log.info("job done", extra=about)
    except (JobLostError, asyncio.CancelledError):
        log.warning("job given up: it was cancelled or has another runner", extra=about)
    except Exception as error:
        log.error("job failed", extra=about, exc_info=error)
        text = telemetry.mask(f"{type(error).__name__}: {error}")[:2000]
        with contextlib.suppress(JobLostError):
            async with kit.db.transaction() as tx:
                await note_failed(tx, job, text, retry=not isinstance(error, ValueError))
    finally:
        await asyncio.to_thread(lease.stop)


def show_pulse() -> None:
    """For whoever watches this worker: a heartbeat finished, or a long job's lease was renewed, just now."""
    file = os.environ.get("HUIMIN_PULSE_FILE")
    if file:
        Path(file).touch()


def _cancel(loop: asyncio.AbstractEventLoop, work: "asyncio.Future[Any]") -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and the work with it
        loop.call_soon_threadsafe(work.cancel)


async def _call(kit: Kit, job: Job) -> dict[str, Any] | None:
    module, _, name = job.kind.partition(":")
    function: Callable[[RunningJob], Awaitable[dict[str, Any] | None]] = getattr(import_module(module), name)
    return await function(RunningJob(kit, job))
