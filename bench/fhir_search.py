"""FHIR search: reads and searches over HTTP on the suite as shipped, one after another, after Synthea's
bundles were sent again and again until there is enough to search.

Each figure is what a client waits, p50 and p99, with its limit for a million resources beside. Before
anything is reported each kind of search must have found something.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from bench._report import Size, run
from tests.health.synthea import bundles
from tests.support.suite import running_suite

RESOURCES = {"small": 30_000, "full": 1_000_000}
TIMES = {"small": 100, "full": 500}
AT_ONCE = 4
LIMIT_MS = 50
LIMITS = {"read": 10, "everything": 60}
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
HEIGHT, GLUCOSE = "8302-2", "2339-0"


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite.address, suite.token("hospital"), size))


async def _measure(address: str, token: str, size: Size) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/fhir+json"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=300) as http:
        kept = await _loaded(http, RESOURCES[size])
        figures: dict[str, Any] = {"resources": kept}
        peer: dict[str, Any] = {}
        for name, paths in (await _asked(http)).items():
            waits = [
                await _wait(http, path) for path in itertools.islice(itertools.cycle(paths), TIMES[size])
            ]
            waits.sort()
            figures[f"{name}_p50_ms"] = waits[len(waits) // 2]
            figures[f"{name}_p99_ms"] = waits[int(0.99 * (len(waits) - 1))]
            peer[f"{name}_p99_ms"] = LIMITS.get(name, LIMIT_MS)
    return {"figures": figures, "peer": peer}


async def _loaded(http: httpx.AsyncClient, wanted: int) -> int:
    """Sends the bundles until there are as many resources as wanted; how many there are."""
    kept = 0

    async def send() -> None:
        nonlocal kept
        while kept < wanted and (raw := next(waiting, None)) is not None:
            answer = await http.post("/fhir", content=raw)
            assert answer.status_code == 200, answer.text[:500]
            kept += sum(entry["response"]["status"].startswith("201") for entry in answer.json()["entry"])

    waiting = _again_and_again(bundles())
    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    return kept


def _again_and_again(raws: list[bytes]) -> Iterator[bytes]:
    """A bundle sent twice counts once; one more blank makes it another."""
    for n in itertools.count():
        for raw in raws:
            yield raw + b" " * n


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
    await _get(http, path)
    return (time.perf_counter() - began) * 1000


async def _get(http: httpx.AsyncClient, path: str) -> Any:
    answer = await http.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text[:500]}"
    return answer.json()


if __name__ == "__main__":
    run("fhir-search", main)
