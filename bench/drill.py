"""Drill: how much is lost with the machine, and how long until a database answers again.

Readings go in through the public door; `./run drill` then restores the newest backup beside the running suite
and compares every table. RPO is what was not archived yet when it began (HUIMIN_ARCHIVE_TIMEOUT_S at its
default); RTO is from sealed files to a database that answers. Then a standby takes the place of a primary
that was killed and whose data is gone.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson

from bench._report import Size, run
from bench.readings import Load, set_up
from tests.support.keeping import Kept, eventually
from tests.support.suite import start_suite

READINGS = {"small": 200_000, "full": 2_000_000}
ARCHIVE_TIMEOUT_S = 60


def measure(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="huimin-drill-") as folder:
        Path(folder).chmod(0o755)
        kept = Kept(Path(folder), HUIMIN_BACKUP_EVERY_H="0", HUIMIN_STANDBY="1")
        kept.suite = start_suite(kept.folder, environment=kept.environment)
        try:
            kept.suite.wait_ready(240.0, children=6)
            asyncio.run(_fill(kept, READINGS[size]))
            return {"figures": _measured(kept), "peer": {"rpo_s": f"limit {ARCHIVE_TIMEOUT_S}"}}
        finally:
            kept.stop()


async def _fill(kept: Kept, number: int) -> None:
    assert kept.suite is not None
    headers = {"authorization": f"Bearer {await asyncio.to_thread(kept.suite.token, 'site')}"}
    async with httpx.AsyncClient(base_url=kept.suite.address, headers=headers, timeout=120) as http:
        await set_up(http)
        for batch in Load.of(number, datetime.now(UTC)).batches():
            answer = await http.post(
                "/transport/readings",
                content=orjson.dumps(batch),
                headers={"content-type": "application/json"},
            )
            answer.raise_for_status()


def _measured(kept: Kept) -> dict[str, Any]:
    kept.done("backup")
    kept.done("drill")
    (drill,) = kept.outcomes("drill")
    size = kept.sql("select pg_database_size('huimin')")
    eventually(lambda: kept.outcomes("standby") and kept.outcomes("standby")[-1]["ok"])
    assert kept.suite is not None
    ready = f"{kept.suite.base_url}/transport/readyz"
    os.kill(kept.child("postgres"), signal.SIGKILL)
    shutil.rmtree(kept.server() / "data", ignore_errors=True)
    killed = time.monotonic()
    kept.done("promote")
    eventually(lambda: httpx.get(ready, timeout=30).status_code == 200)
    return {
        "database_mb": round(int(size) / 2**20),
        "backup_mb": round(drill["bytes"] / 2**20),
        "backup_s": kept.outcomes("backup")[-1]["seconds"],
        "rpo_s": drill["rpo_s"],
        "rto_s": drill["rto_s"],
        "drill_s": drill["seconds"],
        "standby_rpo_s": kept.outcomes("promote")[-1]["rpo_s"],
        "standby_rto_s": time.monotonic() - killed,
    }


if __name__ == "__main__":
    run("drill", measure)
