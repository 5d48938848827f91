"""A sector's new key: how fast a service renews the ids it stores, and how long its writers are held.

An agency pushes contributions of people to the suite as shipped; then social security's key is renewed while
somebody writes a row every few milliseconds. The limits are our own: 100,000 ids in a minute, and no writer
held longer than one service waits for another's answer. That every row has its person's new id, and none the
old one, is checked before anything is reported.
"""

import asyncio
import csv
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from bench._report import Size, run
from services.identity.app import SECTOR_KEYS_EVERY_S
from services.kit.calls import DEADLINE_S
from services.kit.database import service_url
from services.kit.renewal import JOB
from tests.social_security.pushes import COLUMNS, contribution, number
from tests.support.suite import Suite, running_suite

LIMIT_IDS_PER_S = 100_000 / 60
PEOPLE = {"small": 20_000, "full": 100_000}
MONTHS = ("2026-01", "2026-02", "2026-03")
A_PUSH = 20_000
PROBE_EVERY_S = 0.005
SERVICE = "social_security"


def main(size: Size) -> dict[str, Any]:
    people = PEOPLE[size]
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            _push(suite, people)
            figures = asyncio.run(_renew(suite))
    limits = {"ids_per_s": LIMIT_IDS_PER_S, "writer_held_s": DEADLINE_S}
    return {"figures": figures, "peer": limits}


def _push(suite: Suite, people: int) -> None:
    with suite.client("agency", "bench-agency") as http:
        http.timeout = 600.0
        for first in range(0, people, A_PUSH):
            text = io.StringIO()
            writer = csv.DictWriter(text, COLUMNS["contributions"], lineterminator="\n")
            writer.writeheader()
            for person in range(first, min(first + A_PUSH, people)):
                writer.writerows(contribution(f"k{person}-{m}", person, period=m) for m in MONTHS)
            answer = http.post(
                "/social-security/imports",
                params={"kind": "contributions"},
                content=text.getvalue().encode(),
                headers={"content-type": "text/csv"},
            )
            assert answer.status_code == 201, answer.text


async def _renew(suite: Suite) -> dict[str, Any]:
    settings = suite.settings()
    db = await asyncpg.connect(service_url(settings, SERVICE))
    probing = await asyncpg.connect(service_url(settings, SERVICE))
    try:
        old = await _stored(db)
        began = time.perf_counter()
        suite.as_stack("POST", "identity", "/identity/sector-keys/rotations", {"sector": SERVICE})
        while not await db.fetchval("select exists (select from renewal)"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        prepared_s = time.perf_counter() - began
        # By then every process of identity has heard of it, as it has long before a renewal is due.
        quiet = await _probed(probing, asyncio.create_task(asyncio.sleep(SECTOR_KEYS_EVERY_S + 1)))
        renewing = asyncio.create_task(_due(db))
        held = await _probed(probing, renewing)
        renewal_s = await db.fetchval(
            """select extract(epoch from finished_at - started_at)::float8
               from renewal join job on job.id = job_id"""
        )
        now = await _stored(db)
        assert len(now) == len(old)
        assert now.isdisjoint(old)
    finally:
        await db.close()
        await probing.close()
    return {
        "ids": len(old),
        "rows": len(old) * len(MONTHS),
        "identity_prepares_s": prepared_s,
        "renewal_s": renewal_s,
        "ids_per_s": len(old) / renewal_s,
        "writer_held_s": held,
        "writer_held_before_s": quiet,
    }


async def _stored(db: asyncpg.Connection) -> set[str]:
    return {row["person"] for row in await db.fetch("select distinct person from contribution")}


async def _due(db: asyncpg.Connection) -> None:
    await db.execute("update job set due_at = now() where kind = $1", JOB)
    query = "select state from job join renewal on job.id = job_id"
    async with asyncio.timeout(600):
        while (state := await db.fetchval(query)) != "done":
            assert state != "failed"
            await asyncio.sleep(0.05)


async def _probed(db: asyncpg.Connection, until: "asyncio.Task[None]") -> float:
    """The longest that one row took to be written and committed until then, in seconds."""
    longest = 0.0
    while not until.done():
        began = time.perf_counter()
        await db.execute(
            """insert into told_death values ('bench', $1, '2026-01-01')
               on conflict (agreement, person) do update set died_on = '2026-01-02'""",
            number(0),
        )
        longest = max(longest, time.perf_counter() - began)
        await asyncio.sleep(PROBE_EVERY_S)
    await until
    return longest


if __name__ == "__main__":
    run("rotation", main)
