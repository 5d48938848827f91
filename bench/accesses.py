"""The access log: leaves of reads in, into the one tree, proofs out, on the suite as shipped.

First each read has its leaf in a commit of its own (what a register without group commit does), then leaves
go through the kit's buffer as the doors use it. Limits: a read's leaf is committed within 50 ms; the audit
has it in the tree within a second, also when many come at once. Before anything is reported, the whole log
is verified as an outsider would.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._report import Size, run
from bench.outbox import settings_of
from services.audit.client import AuditClient
from services.audit.tree import includes
from services.audit.verify import verify_suite
from services.kit.app import Kit, open_kit
from services.kit.principals import Principal
from services.stack.clients import calls_as_stack
from tests.support.suite import Suite, running_suite

LEAVES = {"small": 50_000, "full": 1_000_000}
SINGLE_COMMITS = 300
STEADY_READS_PER_S = 500
STEADY_S = 4.0
PROOFS = 200
DOCTOR = Principal(
    kind="organisation", subject="hospital-7", client_id="hospital-7", organisation="H7", purpose="care"
)


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, running_suite(Path(folder)) as suite:
        return asyncio.run(measure(suite, LEAVES[size]))


async def measure(suite: Suite, leaves: int) -> dict[str, Any]:
    health, first = await open_kit("health", settings=settings_of(suite))
    log, second = await open_kit("audit", settings=settings_of(suite))
    async with first, second, calls_as_stack(suite.home, suite.base_url) as calls:
        audit = calls.client(AuditClient)
        already = (await audit.latest_head()).size
        single_per_s = await single_commits(health)
        waits = await steady(health)
        began = time.perf_counter()
        await burst(health, leaves)
        burst_s = time.perf_counter() - began
        total = already + SINGLE_COMMITS + len(waits) + leaves
        size = await in_tree(audit, total)
        tree_s = time.perf_counter() - began
        lags = [await tree_lag(health, log) for _ in range(10)]
        proofs = [await proof(audit, number * size // PROOFS, size) for number in range(PROOFS)]
        began = time.perf_counter()
        report = await verify_suite(audit)
        verified_s = time.perf_counter() - began
        assert report.ok, report.faults
    figures = {
        "leaves_per_s": leaves / burst_s,
        "into_tree_per_s": leaves / tree_s,
        "committed_within_p95_ms": p95(waits) * 1000,
        "in_tree_within_max_ms": max(lags) * 1000,
        "proof_p95_ms": p95(proofs) * 1000,
        "verified_per_s": report.leaves / verified_s,
        "leaves": report.leaves,
    }
    peer = {"leaves_per_s": single_per_s, "committed_within_p95_ms": 50, "in_tree_within_max_ms": 1000}
    return {"figures": figures, "peer": peer}


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def about(number: int) -> dict[str, Any]:
    return {"subject": f"h1_{number % 20_000:024}", "resource": f"Patient/{number % 20_000}"}


async def single_commits(health: Kit) -> float:
    began = time.perf_counter()
    for number in range(SINGLE_COMMITS):
        async with health.db.transaction(DOCTOR) as tx:
            await tx.leaf(action="health.patient.read", **about(number))
    return SINGLE_COMMITS / (time.perf_counter() - began)


async def steady(health: Kit) -> list[float]:
    """Reads at an even pace: how long after each its leaf is seen committed (looked at every 3 ms)."""
    assert health.leaves is not None
    added: list[float] = []
    waits: list[float] = []
    count = int(STEADY_READS_PER_S * STEADY_S)

    async def watch() -> None:
        async with health.db.session() as connection:
            first = await connection.fetchval("select max(seq) from leaf")
            while len(waits) < count:
                kept = await connection.fetchval("select max(seq) from leaf") - first
                now = time.perf_counter()
                waits.extend(now - at for at in added[len(waits) : kept])
                await asyncio.sleep(0.003)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / STEADY_READS_PER_S - time.perf_counter()))
        added.append(time.perf_counter())
        health.leaves.add(DOCTOR, action="health.observation.read", **about(number))
    await watching
    return waits


async def burst(health: Kit, leaves: int) -> None:
    """As many reads as there is time for; the commits set the pace."""
    assert health.leaves is not None
    for number in range(leaves):
        health.leaves.add(DOCTOR, action="health.patient.search", **about(number))
        if number % 2_000 == 1_999:
            await health.leaves.flush()
    await health.leaves.flush()


async def in_tree(audit: AuditClient, leaves: int) -> int:
    """Waits until a signed head has so many leaves; returns its size."""
    async with asyncio.timeout(300):
        while True:
            head = await audit.latest_head()
            if head.size >= leaves:
                return head.size
            await asyncio.sleep(0.05)


async def tree_lag(health: Kit, audit: Kit) -> float:
    """From a leaf's commit until it has its place in the tree."""
    async with health.db.transaction(DOCTOR) as tx:
        await tx.leaf(action="health.patient.read", **about(0))
        seq = await tx.fetchval("select max(seq) from leaf")
    began = time.perf_counter()
    query = "select true from tree_leaf where source = 'health' and source_seq = $1"
    async with audit.db.session() as connection:
        while True:
            if await connection.fetchval(query, seq):
                return time.perf_counter() - began
            await asyncio.sleep(0.01)


async def proof(audit: AuditClient, index: int, size: int) -> float:
    began = time.perf_counter()
    found = await audit.inclusion(index, size=size)
    seconds = time.perf_counter() - began
    path = [bytes.fromhex(step) for step in found.path]
    assert includes(bytes.fromhex(found.head.root), size, index, bytes.fromhex(found.leaf), path)
    return seconds


if __name__ == "__main__":
    run("accesses", main)
