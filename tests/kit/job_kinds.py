"""Jobs for the tests of services/kit/jobs; the worker process finds them by name."""

import asyncio
import time
from typing import Any

from services.kit.jobs import RunningJob


async def count(job: RunningJob) -> dict[str, Any]:
    """Writes 1 … n, each number in a commit of its own, from where the last attempt ended."""
    total: int = job.args["n"]
    async with job.kit.db.read() as connection:
        done = await connection.fetchval("select count(*) from counted where job = $1", job.id)
    for number in range(done + 1, total + 1):
        async with job.transaction() as tx:
            await tx.execute(
                "insert into counted (job, n, attempt) values ($1, $2, $3)", job.id, number, job.attempt
            )
        await job.progress(number, total)
        await asyncio.sleep(job.args.get("pause_s", 0.0))
    return {"counted": total, "attempt": job.attempt}


async def busy(job: RunningJob) -> dict[str, Any]:
    """Keeps the event loop for itself longer than a lease lasts."""
    time.sleep(job.args["s"])  # noqa: ASYNC251 - that is the point
    return {}


async def broken(job: RunningJob) -> dict[str, Any]:
    raise LookupError(f"attempt {job.attempt}: 11010519491231002X is not there")


async def wrong(job: RunningJob) -> None:
    raise ValueError("it will not get better by trying again")


async def nothing(_job: RunningJob) -> None:
    return None
