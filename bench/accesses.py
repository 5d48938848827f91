"""The access log: leaves of reads in, into the tree, proofs out, the citizen's list, on the suite as shipped.

First each read has its leaf in a commit of its own (what a register without group commit does), then leaves
go through the kit's buffer as the doors use it. The log is filled up and verified whole, as an outsider
would; then people ask who read their data, at the door a portal uses. Limits are those the suite promises: a
read's leaf is committed within 50 ms and in the tree within a second.
"""

import asyncio
import base64
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bench._policy import decision_ms
from bench._report import Size, run
from services.audit.client import AuditClient
from services.audit.tree import includes
from services.audit.verify import verify_suite
from services.identity.client import IdentityClient
from services.identity.shapes import Identifier, PersonPush
from services.kit.app import Kit, open_kit
from services.kit.leaves import Leaf, write_many
from services.kit.principals import Principal
from services.kit.purposes import TREATMENT
from services.stack.clients import calls_as_stack
from tests.support.suite import Suite, running_suite

LEAVES = {"small": 50_000, "full": 1_000_000}
BURST = 40_000
"""Leaves that go through the buffer; what is missing after them is filled up by COPY."""
PERSONS = 20_000
READERS = 200
"""Persons of these who ask for their list; the register knows them."""
VERIFIED_WITHIN_S_PER_MILLION = 60
SINGLE_COMMITS = 300
STEADY_READS_PER_S = 500
STEADY_S = 4.0
PROOFS = 200
DOCTOR = Principal(
    kind="organisation", subject="hospital-7", client_id="hospital-7", organisation="H7", purpose=TREATMENT
)


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            portal = suite.token("portal")
            return asyncio.run(measure(suite, LEAVES[size], portal))


async def measure(suite: Suite, leaves: int, portal: str) -> dict[str, Any]:
    # Calls of the services that are opened here go to the front door.
    settings = suite.settings().model_copy(
        update={"mode": "separate", "service_url_template": suite.base_url}
    )
    health, first = await open_kit("health", settings=settings)
    log, second = await open_kit("audit", settings=settings)
    exchange, third = await open_kit("exchange", settings=settings)
    async with first, second, third, calls_as_stack(suite.home, suite.base_url) as calls:
        audit = calls.client(AuditClient)
        known = await readers(health)
        codes = await codes_of(exchange, known)
        people = People(known)
        single_per_s = await single_commits(health, people)
        waits = await steady(health, people)
        began = time.perf_counter()
        await burst(health, people, BURST)
        burst_s = time.perf_counter() - began
        await fill(health, people, leaves - BURST)
        size = await in_tree(audit, leaves)
        tree_s = time.perf_counter() - began
        lags = [await tree_lag(health, log, people) for _ in range(10)]
        proofs = [await proof(audit, number * size // PROOFS, size) for number in range(PROOFS)]
        began = time.perf_counter()
        report = await verify_suite(audit)
        verified_s = time.perf_counter() - began
        assert report.ok, report.faults
        lists = await find_usage(suite, portal, codes, at_least=leaves // PERSONS)
    figures = {
        "leaves": report.leaves,
        "leaves_per_s": BURST / burst_s,
        "single_commits_per_s": single_per_s,
        "into_tree_per_s": leaves / tree_s,
        "committed_within_p95_ms": p95(waits) * 1000,
        "in_tree_within_max_ms": max(lags) * 1000,
        "proof_p95_ms": p95(proofs) * 1000,
        "verified_s": verified_s,
        "find_usage_p95_ms": p95(lists) * 1000,
        **decision_ms(),
    }
    peer = {
        "leaves_per_s": 5_000,
        "committed_within_p95_ms": 50,
        "in_tree_within_max_ms": 1000,
        "verified_s": VERIFIED_WITHIN_S_PER_MILLION * report.leaves / 1_000_000,
        "find_usage_p95_ms": 100,
        "decision_p50_ms": 0.2,
    }
    return {"figures": figures, "peer": peer}


def p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


async def readers(kit: Kit) -> list[str]:
    """The readers as health knows them."""
    pushes = [
        PersonPush(ref=str(n), identifiers=[Identifier(system="urn:bench:reader", value=str(n))])
        for n in range(READERS)
    ]
    found = await kit.calls.client(IdentityClient).resolve(pushes, organisation=None)
    return [one.sector_id or "" for one in found]


async def codes_of(exchange: Kit, ids: Sequence[str]) -> list[str]:
    """The same as the exchange knows them, which is how a portal names them."""
    identity = exchange.calls.client(IdentityClient)
    return [code or "" for code in await identity.translate(ids, source="health", target="exchange")]


class People:
    """Whose records are read: the readers' among many others'."""

    def __init__(self, readers: Sequence[str]) -> None:
        others = [
            "h1_" + base64.b32encode(n.to_bytes(17, "big")).decode()[:26] for n in range(READERS, PERSONS)
        ]
        self.ids = [*readers, *others]

    def about(self, number: int) -> dict[str, Any]:
        place = number % PERSONS
        return {"subject": self.ids[place], "resource": f"Patient/{place}"}


async def single_commits(health: Kit, people: People) -> float:
    began = time.perf_counter()
    for number in range(SINGLE_COMMITS):
        async with health.db.transaction(DOCTOR) as tx:
            await tx.leaf(action="fhir.read", **people.about(number))
    return SINGLE_COMMITS / (time.perf_counter() - began)


async def steady(health: Kit, people: People) -> list[float]:
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
        health.leaves.add(DOCTOR, action="fhir.read", **people.about(number))
    await watching
    return waits


async def burst(health: Kit, people: People, leaves: int) -> None:
    """As many reads as there is time for; the commits set the pace."""
    assert health.leaves is not None
    for number in range(leaves):
        health.leaves.add(DOCTOR, action="fhir.search", **people.about(number))
        if number % 2_000 == 1_999:
            await health.leaves.flush()
    await health.leaves.flush()


async def fill(health: Kit, people: People, leaves: int, part: int = 10_000) -> None:
    """Brings the log to its size, by COPY."""
    for start in range(0, leaves, part):
        now = datetime.now(UTC)
        group = [
            Leaf(
                at=now,
                service="health",
                action="fhir.read",
                organisation="H7",
                client="hospital-7",
                actor="hospital-7",
                purpose=TREATMENT,
                **people.about(number),
            )
            for number in range(start, min(start + part, leaves))
        ]
        async with health.db.transaction() as tx:
            await write_many(tx, group)


async def in_tree(audit: AuditClient, leaves: int) -> int:
    """Waits until a signed head has so many leaves; returns its size."""
    async with asyncio.timeout(600):
        while True:
            head = await audit.latest_head()
            if head.size >= leaves:
                return head.size
            await asyncio.sleep(0.05)


async def tree_lag(health: Kit, audit: Kit, people: People) -> float:
    """From a leaf's commit until it has its place in the tree."""
    async with health.db.transaction(DOCTOR) as tx:
        await tx.leaf(action="fhir.read", **people.about(0))
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


async def find_usage(suite: Suite, portal: str, codes: Sequence[str], *, at_least: int) -> list[float]:
    """Each reader's first page of a hundred, one after another, as a people's portal asks for it."""
    waits: list[float] = []
    headers = {"authorization": f"Bearer {portal}"}
    async with httpx.AsyncClient(base_url=suite.base_url, headers=headers, timeout=60.0) as http:
        for code in codes:
            began = time.perf_counter()
            answer = await http.get(
                "/v2/findUsage",
                params={"userCode": code, "limit": 100},
                headers={"X-Road-UserId": code},
            )
            waits.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
            assert answer.json()["totalUsages"] >= at_least, answer.json()["totalUsages"]
    return waits


if __name__ == "__main__":
    run("accesses", main)
