"""The heartbeat: a real job, from each service's table through the broker to a worker and back.

Liveness means that one finished in the last minute: a process that is up may still be stuck.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.kit.database import Connection, Transaction
    from services.kit.jobs.running import RunningJob
    from services.kit.jobs.table import Jobs

KIND = "services.kit.jobs.heartbeat:beat"
ALIVE_S = 60.0
FIRST_AFTER_S = 5.0
EVERY_S = 20.0


async def beat(_job: "RunningJob") -> None:
    """Nothing: that it ends is what it says."""


async def submit_due(tx: "Transaction", jobs: "Jobs") -> None:
    """The next one, unless one is on its way or has just ended; one that got lost is given up."""
    await tx.execute(
        """update job set state = 'cancelled', fence = fence + 1, finished_at = now()
           where kind = $1 and state = 'queued'
               and abs(extract(epoch from now() - submitted_at)) > $2::float8""",
        KIND,
        ALIVE_S,
    )
    recent = await tx.fetchval(
        """select exists (select from job where kind = $1 and state = 'queued')
               or exists (select from job where kind = $1 and state = 'running')
               or exists (select from job where kind = $1 and state = 'done'
                          and finished_at between now() - make_interval(secs => $2) and now())""",
        KIND,
        EVERY_S,
    )
    if not recent:
        await jobs.submit(tx, kind=KIND, max_attempts=1)


async def last_heartbeat(db: "Connection") -> float | None:
    """Seconds since the last one finished, by the database's clock; None when none did in the last day."""
    found: float | None = await db.fetchval(
        """select extract(epoch from now() - max(finished_at))::float8 from job
           where kind = $1 and state = 'done' and finished_at > now() - interval '1 day'""",
        KIND,
    )
    return None if found is None else max(0.0, found)
