"""The job table, and what may be done to a row. Every write of a runner carries its fence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from services.kit import telemetry
from services.kit.ids import uuid7
from services.kit.waking import wake

if TYPE_CHECKING:
    from services.kit.database import Connection, Row, Transaction

State = Literal["queued", "running", "done", "failed", "cancelled"]
ATTEMPTS = 5
LEASE_S = 15.0
"""A job whose worker has not been heard of for this long is given to another."""
# Each of these times was written by the database's own clock. One that lies further ahead than anybody writes
# was written before that clock was set back: nothing waits for it.
_DUE = """(state = 'queued' and (due_at <= now() or due_at <= submitted_at
                                    or (attempt > 0 and due_at > now() + interval '10 minutes')))"""
_FREE = "(state = 'running' and (lease_until < now() or lease_until > now() + interval '2 minutes'))"
_KIND = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)+:[a-z_]\w*")


class JobLostError(Exception):
    """The job was cancelled or given to another worker: stop, nothing more of this run can be written."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its row has it.

    Attributes:
        kind: the function it runs, `social_security.tasks:run_audit`.
        fence: rises with every claim; what was written under an older one is refused.
        error: what the last attempt failed of.
    """

    id: UUID
    kind: str
    state: State
    args: dict[str, Any]
    due_at: datetime
    attempt: int
    max_attempts: int
    fence: int
    progress_done: int
    progress_total: int | None
    result: dict[str, Any] | None
    error: str | None
    traceparent: str | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_COLUMNS = ", ".join(Job.__slots__)


class Jobs:
    """The jobs of one service."""

    def __init__(self, service: str) -> None:
        self.service = service

    async def submit(
        self,
        tx: "Transaction",
        *,
        kind: str,
        args: dict[str, Any] | None = None,
        due_at: datetime | None = None,
        max_attempts: int = ATTEMPTS,
    ) -> UUID:
        """A job in the transaction's commit; it starts once that is done and `due_at` has come.

        Args:
            kind: `package.tasks:function`, an `async def function(job: RunningJob) -> dict | None`.

        Raises:
            ValueError: the kind does not have that form.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"{kind!r} is not the name of a function, package.tasks:function")
        id = uuid7()
        await tx.execute(
            """insert into job (id, kind, args, submitted_at, due_at, max_attempts, traceparent)
               values ($1, $2, $3, now(), coalesce($4, now()), $5, $6)""",
            id,
            kind,
            args or {},
            due_at,
            max_attempts,
            telemetry.traceparent(),
        )
        name = f"{self.service} jobs"
        tx.after_commit(lambda: wake(name))
        return id

    async def get(self, db: "Connection", id: UUID) -> Job | None:
        row = await db.fetchrow(f"select {_COLUMNS} from job where id = $1", id)
        return _job(row) if row else None

    async def cancel(self, db: "Connection", id: UUID) -> bool:
        """False when it has ended already. A running one notices within seconds, and writes nothing more."""
        done = await db.execute(
            """update job set state = 'cancelled', fence = fence + 1, lease_until = null, finished_at = now()
               where id = $1 and state in ('queued', 'running')""",
            id,
        )
        return done == "UPDATE 1"


async def due(db: "Connection", *, limit: int = 50) -> list[UUID]:
    """Takes note of the jobs to be handed to Celery now, and returns them.

    A job that nobody claimed is handed again after a growing pause: the broker may have lost it, or every
    worker may be busy.
    """
    await db.execute(
        f"""update job set state = 'failed', lease_until = null, finished_at = now(),
               error = format('its worker ended in each of %s attempts', attempt)
           where {_FREE} and attempt >= max_attempts"""
    )
    rows = await db.fetch(
        f"""update job set handed = handed + 1, handed_at = now()
           where id = any(array(
               select id from job
               where ({_DUE} or {_FREE})
                   and (handed_at is null or handed_at > now() + interval '1 minute'
                        or handed_at < now() - make_interval(secs => least(10 * 2 ^ (handed - 1), 600)))
               order by due_at limit $1 for update skip locked))
           returning id""",
        limit,
    )
    return [row["id"] for row in rows]


async def not_handed(db: "Connection", ids: Sequence[UUID]) -> None:
    """Celery did not take them: as if nobody had tried."""
    await db.execute(
        "update job set handed = handed - 1, handed_at = null where id = any($1::uuid[]) and handed > 0", ids
    )


async def claim(db: "Connection", id: UUID) -> Job | None:
    """Makes the caller the job's runner, under a new fence; None when it is not to be run (any more)."""
    row = await db.fetchrow(
        f"""update job set state = 'running', attempt = attempt + 1, fence = fence + 1,
                lease_until = now() + make_interval(secs => $2), handed = 0, handed_at = null,
                started_at = coalesce(started_at, now())
            where id = $1 and attempt < max_attempts
                and ({_DUE} or {_FREE})
            returning {_COLUMNS}""",
        id,
        LEASE_S,
    )
    return _job(row) if row else None


async def hold(db: "Connection", job: Job) -> None:
    """Locks the row for the transaction: what it writes is written by the job's one runner.

    Raises:
        JobLostError: the fence is not the newest.
    """
    held = await db.fetchval(
        "select true from job where id = $1 and fence = $2 and state = 'running' for update",
        job.id,
        job.fence,
    )
    if not held:
        raise JobLostError(job.id)


async def renew(db: "Connection", job: Job) -> None:
    """Raises JobLostError when the fence is not the newest."""
    await _written(
        db,
        job,
        "update job set lease_until = now() + make_interval(secs => $3) where id = $1 and fence = $2",
        LEASE_S,
    )


async def note_progress(db: "Connection", job: Job, done: int, total: int | None) -> None:
    """Raises JobLostError when the fence is not the newest."""
    await _written(
        db,
        job,
        """update job set progress_done = $3, progress_total = coalesce($4, progress_total)
           where id = $1 and fence = $2""",
        done,
        total,
    )


async def note_done(db: "Connection", job: Job, result: dict[str, Any] | None) -> None:
    """Raises JobLostError when the fence is not the newest."""
    await _written(
        db,
        job,
        """update job set state = 'done', result = $3, error = null, lease_until = null, finished_at = now()
           where id = $1 and fence = $2""",
        result,
    )


async def note_failed(db: "Connection", job: Job, error: str, *, retry: bool) -> None:
    """Queued again after a pause if attempts are left and `retry`.

    Raises:
        JobLostError: the fence is not the newest.
    """
    again = retry and job.attempt < job.max_attempts
    await _written(
        db,
        job,
        """update job set error = $3, lease_until = null,
               state = case when $4 then 'queued' else 'failed' end,
               due_at = case when $4 then now() + make_interval(secs => $5) else due_at end,
               finished_at = case when $4 then null else now() end
           where id = $1 and fence = $2""",
        error,
        again,
        float(min(2**job.attempt, 300)),
    )


async def _written(db: "Connection", job: Job, statement: str, *values: Any) -> None:
    if await db.execute(statement + " and state = 'running'", job.id, job.fence, *values) != "UPDATE 1":
        raise JobLostError(job.id)


def _job(row: "Row") -> Job:
    return Job(**dict(row))
