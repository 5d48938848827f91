"""Bulk requests in tests: the job is run here, or in a process of its own that can be killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx

from services.kit.database import Database
from services.kit.jobs.running import run
from services.stack.home import ROOT

ASYNC = {"prefer": "respond-async"}
WITHIN_S = 60.0


async def asked(client: httpx.AsyncClient, path: str, **said: Any) -> str:
    """Kicks a request off; where it stands."""
    headers = {**ASYNC, **said.pop("headers", {})}
    answer = await client.request(said.pop("method", "GET"), path, headers=headers, **said)
    assert answer.status_code == 202, answer.text
    return answer.headers["content-location"]


async def job_of(records: Database, location: str) -> UUID:
    async with records.read() as db:
        found: UUID = await db.fetchval(
            "select job from bulk where id = $1::uuid", UUID(location.rpartition("/")[2])
        )
    return found


async def done(client: httpx.AsyncClient, records: Database, location: str) -> dict[str, Any]:
    """The manifest, after the job was run."""
    await run("health", await job_of(records, location))
    answer = await client.get(location)
    assert answer.status_code == 200, answer.text
    manifest: dict[str, Any] = answer.json()
    return manifest


async def lines(client: httpx.AsyncClient, files: list[dict[str, Any]]) -> list[str]:
    """The lines of all these files, each as it is written."""
    found: list[str] = []
    for file in files:
        answer = await client.get(file["url"], headers={"accept": "application/fhir+ndjson"})
        assert answer.status_code == 200, answer.text
        assert answer.text.endswith("\n")
        some = answer.text.splitlines()
        assert len(some) == file["count"]
        found += some
    return found


def resources(written: list[str]) -> dict[str, Any]:
    """What the lines hold, by `Type/id`."""
    found = [json.loads(line) for line in written]
    return {f"{one['resourceType']}/{one['id']}": one for one in found}


async def killed_when(
    reached: Callable[[], Awaitable[bool]], job: UUID, records: Database, *, slowed: str
) -> None:
    """Runs the job in a process of its own, which is killed as soon as it has come so far.

    Args:
        slowed: statements that make the job slow enough to be met in the middle.
    """
    code = f"""
import asyncio, time
from uuid import UUID
from services.kit.jobs.running import run
{slowed}
asyncio.run(run("health", UUID("{job}")))"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            while not await reached():
                assert process.returncode is None, "the job ended before it was killed"
                await asyncio.sleep(0.01)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
    async with records.transaction() as tx:
        # As if the lease of a worker that is gone had run out.
        await tx.execute("update job set lease_until = now() - interval '1 second' where id = $1", job)
