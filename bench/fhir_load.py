"""FHIR load: transaction bundles over HTTP, validated, indexed, chained and logged, on the suite as shipped.

The hospital's side is measured, with four bundles on their way at a time. Before anything is reported the
resources kept are counted against those sent, and a second sending must add none.
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from bench._report import Size, run
from bench._stored import Stored, stored
from services.kit.database import Database
from tests.health.synthea import ARCHIVE, bundles, expected_counts
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 1_200
BYTES_LIMIT = 6_000
AT_ONCE = 4
BUNDLES = {"small": 25, "full": 103}
VISITS = {"small": 200, "full": 1_000}
READS = {"small": 400, "full": 2_000}
MRN = "urn:bench:mrn"


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite, size))


async def _measure(suite: Suite, size: Size) -> dict[str, Any]:
    headers = {
        "authorization": f"Bearer {suite.token('hospital')}",
        "content-type": "application/fhir+json",
    }
    async with httpx.AsyncClient(base_url=suite.address, headers=headers, timeout=120) as http:
        raws = _bundles(BUNDLES[size])
        counts = expected_counts(raws)
        sent = sum(len(json.loads(raw)["entry"]) for raw in raws)
        # The first bundle starts the validating processes.
        await _push(http, json.dumps(_visit(-1)).encode())
        seconds, waits = await _sent(http, raws)
        await _check(http, counts)
        kept = await _stored(suite)
        again, _ = await _sent(http, raws)
        await _check(http, counts)
        visits = [json.dumps(_visit(n)).encode() for n in range(VISITS[size])]
        small, small_waits = await _sent(http, visits)
        reads = await _reads(http, READS[size])
    return {
        "figures": {
            "resources": sent,
            "resources_per_s": sent / seconds,
            "bundle_p50_ms": _quantile(waits, 0.5),
            "bundle_p95_ms": _quantile(waits, 0.95),
            "repeated_resources_per_s": sent / again,
            "visit_resources_per_s": len(visits) * len(_visit(0)["entry"]) / small,
            "visit_p50_ms": _quantile(small_waits, 0.5),
            "visit_p95_ms": _quantile(small_waits, 0.95),
            "bytes_per_resource": kept.bytes / kept.resources,
            "index_rows_per_resource": kept.rows / kept.resources,
            **reads,
        },
        "peer": {"resources_per_s": LIMIT_PER_S, "bytes_per_resource": BYTES_LIMIT},
    }


async def _stored(suite: Suite) -> Stored:
    database = Database(suite.settings(), "health", max_connections=1)
    await database.start()
    try:
        return await stored(database)
    finally:
        await database.stop()


def _bundles(number: int) -> list[bytes]:
    """Bundles of Synthea, small and large mixed; without ../shared/data, visits as long as those."""
    if not ARCHIVE.exists():
        return [json.dumps(_visit(10**6 + n, measured=300)).encode() for n in range(number)]
    found = bundles()
    return found[:: max(1, len(found) // number)][:number]


def _visit(number: int, measured: int = 12) -> dict[str, Any]:
    """A visit as a city hospital sends it: the patient by identifier, an encounter, some measurements."""
    person, visit = (
        f"urn:uuid:{number % 2**31:08x}-0000-4000-8000-000000000001",
        f"urn:oid:2.999.{abs(number)}",
    )
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": MRN, "value": str(number)}],
        "name": [{"family": "张", "given": ["三"]}],
    }
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": person},
        "period": {"start": "2026-05-01T08:00:00+08:00", "end": "2026-05-01T08:30:00+08:00"},
    }
    found = [
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": f"{n}-4"}]},
            "subject": {"reference": person},
            "encounter": {"reference": visit},
            "effectiveDateTime": "2026-05-01T08:10:00+08:00",
            "valueQuantity": {"value": 72.5, "unit": "/min"},
        }
        for n in range(measured)
    ]
    identifier = {"ifNoneExist": f"identifier={MRN}|{number}"}
    entries = [_entry(patient, person, **identifier), _entry(encounter, visit), *map(_entry, found)]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _entry(resource: dict[str, Any], full_url: str | None = None, **request: str) -> dict[str, Any]:
    entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], **request}}
    return entry if full_url is None else {"fullUrl": full_url, **entry}


async def _sent(http: httpx.AsyncClient, raws: Sequence[bytes]) -> tuple[float, list[float]]:
    return await _by_senders(raws, lambda raw: _push(http, raw))


async def _by_senders(
    parts: Sequence[Any], send: Callable[[Any], Awaitable[None]]
) -> tuple[float, list[float]]:
    """All parts, a few at a time: how long in all, and each."""
    waits: list[float] = []
    waiting = iter(parts)

    async def work() -> None:
        for part in waiting:
            began = time.perf_counter()
            await send(part)
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return time.perf_counter() - began, waits


async def _push(http: httpx.AsyncClient, raw: bytes) -> None:
    answer = await http.post("/fhir", content=raw)
    assert answer.status_code == 200, answer.text[:500]


async def _get(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text[:500]
    return answer.json()


async def _check(http: httpx.AsyncClient, counts: Counter[str]) -> None:
    """Every type but those the visits add to."""
    for kind in counts.keys() - {"Patient", "Encounter", "Observation"}:
        assert (await _get(http, f"/fhir/{kind}?_count=0"))["total"] == counts[kind], kind
    visit = {"Patient": 1, "Encounter": 1, "Observation": 12}
    for kind, added in visit.items():
        assert (await _get(http, f"/fhir/{kind}?_count=0"))["total"] == counts[kind] + added, kind


async def _reads(http: httpx.AsyncClient, number: int) -> dict[str, float]:
    people = [e["resource"]["id"] for e in (await _get(http, "/fhir/Patient?_count=100"))["entry"]]
    page = (await _get(http, "/fhir/Observation?_count=500"))["entry"]
    ids = [entry["resource"]["id"] for entry in page]
    codes = sorted({entry["resource"]["code"]["coding"][0]["code"] for entry in page})
    reads = [f"/fhir/Observation/{ids[n % len(ids)]}" for n in range(number)]
    searches = [
        f"/fhir/Observation?patient={people[n % len(people)]}&code=http://loinc.org|{codes[n % len(codes)]}"
        for n in range(number)
    ]
    seconds, waits = await _by_senders(reads, lambda path: _get(http, path))
    searching, search_waits = await _by_senders(searches, lambda path: _get(http, path))
    return {
        "reads_per_s": number / seconds,
        "read_p95_ms": _quantile(waits, 0.95),
        "patient_code_searches_per_s": number / searching,
        "patient_code_search_p95_ms": _quantile(search_waits, 0.95),
    }


def _quantile(waits: Sequence[float], part: float) -> float:
    return sorted(waits)[int(part * (len(waits) - 1))] * 1000


if __name__ == "__main__":
    run("fhir-load", main)
