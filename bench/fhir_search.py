"""FHIR search: reads and searches over HTTP on the suite as shipped, one after another, in as many
resources as were sent: Synthea's as transactions, as others' in bulk again and again, as transactions again.

Each figure is what a client waits, p50 and p99, with its limit for a million resources beside; how fast the
first bundles were taken and the last; and in between how fast the bulk came in, and the bundles right behind
it, while PostgreSQL still cleans up after it. Before anything is reported each kind of search must have found
something.
"""

import asyncio
import gc
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench._bulk import AsHospital, imported, of_others, parts, upload
from bench._report import Size, run
from tests.health.synthea import bundles
from tests.support.suite import Suite, running_suite

RESOURCES = {"small": 30_000, "full": 1_000_000}
TIMES = {"small": 100, "full": 500}
AT_ONCE = 4
LIMIT_MS = 50
LIMITS = {"read": 10, "everything": 60}
SLOWER_LIMIT = 0.15
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
HEIGHT, GLUCOSE = "8302-2", "2339-0"


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite, size))


async def _measure(suite: Suite, size: Size) -> dict[str, Any]:
    headers = {"content-type": "application/fhir+json"}
    hospital = AsHospital(suite)
    async with httpx.AsyncClient(base_url=suite.address, headers=headers, auth=hospital, timeout=300) as http:
        kept, loading = await _loaded(http, RESOURCES[size])
        slower = 1 - loading["last_resources_per_s"] / loading["first_resources_per_s"]
        figures: dict[str, Any] = {"resources": kept, **loading, "slower": slower}
        peer: dict[str, Any] = {"slower": SLOWER_LIMIT}
        asked = await _asked(http)
        gc.collect()
        gc.freeze()  # what this process holds by now would have its own collector count as waiting
        for name, paths in asked.items():
            waits = [
                await _wait(http, path) for path in itertools.islice(itertools.cycle(paths), TIMES[size])
            ]
            waits.sort()
            figures[f"{name}_p50_ms"] = waits[len(waits) // 2]
            figures[f"{name}_p99_ms"] = waits[int(0.99 * (len(waits) - 1))]
            peer[f"{name}_p99_ms"] = LIMITS.get(name, LIMIT_MS)
    return {"figures": figures, "peer": peer}


async def _loaded(http: httpx.AsyncClient, wanted: int) -> tuple[int, dict[str, float]]:
    """How many resources there are now, and how many a second each way of loading brought."""
    # The first of all starts the validating processes.
    kept = await _sent(http, bundles(1)[0])
    brought, rate = await _pass(http, 1)
    kept += brought
    loading = {"first_resources_per_s": rate}
    if wanted > kept + 2 * brought:
        bodies = list(parts(wanted - kept - 2 * brought, first=4))
        began = time.perf_counter()
        manifest = await imported(http, [await upload(http, part) for part in bodies])
        seconds = time.perf_counter() - began
        assert manifest["error"] == [], manifest
        more = sum(file["count"] for file in manifest["output"])
        loading["imported_resources_per_s"] = more / seconds
        brought, loading["next_resources_per_s"] = await _pass(http, 2)
        kept += more + brought
    brought, loading["last_resources_per_s"] = await _pass(http, 3)
    return kept + brought, loading


async def _pass(http: httpx.AsyncClient, copy: int) -> tuple[int, float]:
    """All bundles as others' transactions: how many resources they brought, and how many a second."""
    waiting = iter([of_others(raw, copy) for raw in bundles()])
    began = time.perf_counter()
    kept = sum(await asyncio.gather(*(_all_sent(http, waiting) for _ in range(AT_ONCE))))
    return kept, kept / (time.perf_counter() - began)


async def _all_sent(http: httpx.AsyncClient, waiting: Iterator[bytes]) -> int:
    return sum([await _sent(http, raw) for raw in waiting])


async def _sent(http: httpx.AsyncClient, raw: bytes) -> int:
    """How many resources a bundle added."""
    answer = await http.post("/fhir", content=raw)
    assert answer.status_code == 200, answer.text[:500]
    return sum(entry["response"]["status"].startswith("201") for entry in answer.json()["entry"])


async def _asked(http: httpx.AsyncClient) -> dict[str, list[str]]:
    """What is asked, by kind: of different people and codes, as far as there are."""
    people = [e["resource"] for e in (await _get(http, "/fhir/Patient?_count=100"))["entry"]]
    ids = [one["id"] for one in people]
    page = (await _get(http, "/fhir/Observation?_count=500"))["entry"]
    codes = sorted({e["resource"]["code"]["coding"][0]["code"] for e in page})
    many = ",".join(f"{LOINC}|{code}" for code in [*codes, *(f"none-{n}" for n in range(113))][:113])
    families = sorted({one["name"][0]["family"] for one in people})
    asked = {
        "read": [f"/fhir/Observation/{e['resource']['id']}" for e in page],
        "patient_code_date": [
            f"/fhir/Observation?patient={id}&code={LOINC}|{HEIGHT}&date=ge2010&_sort=-date" for id in ids
        ],
        "quantity": [
            f"/fhir/Observation?code={LOINC}|{HEIGHT}&value-quantity=gt{170 + n}|{UCUM}|cm" for n in range(15)
        ],
        "composite": [
            f"/fhir/Observation?code-value-quantity={LOINC}|{GLUCOSE}$gt{90 + n}" for n in range(10)
        ],
        "chained": [
            f"/fhir/Observation?subject:Patient.family={name}&code={LOINC}|{HEIGHT}" for name in families
        ],
        "has": [f"/fhir/Patient?_has:Observation:patient:code={LOINC}|{code}" for code in codes],
        "or_113": [f"/fhir/Observation?code={many}", f"/fhir/Observation?code={many}&date=ge2015"],
    }
    for name, paths in asked.items():
        answers = [await _get(http, path) for path in paths[:15]]
        assert any(answer.get("entry") or "id" in answer for answer in answers), name
    everything = f"/fhir/Patient/{ids[0]}/$everything"
    if (await http.get(everything)).status_code == 200:
        asked["everything"] = [f"/fhir/Patient/{id}/$everything?_count=300" for id in ids]
    return asked


async def _wait(http: httpx.AsyncClient, path: str) -> float:
    began = time.perf_counter()
    answer = await http.get(path)
    waited = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
    return waited


async def _get(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
    return answer.json()


if __name__ == "__main__":
    run("fhir-search", main)
