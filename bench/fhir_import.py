"""FHIR bulk import: NDJSON over HTTP, validated, indexed, chained and logged, on the suite as shipped;
then the whole of it exported again.

The clock runs from the first byte uploaded to the moment the manifest is there. Before anything is reported
the resources kept are counted against the lines sent, and the export must give back each of them.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench._bulk import AsHospital, imported, parts, ready, upload
from bench._report import Size, run
from bench._stored import stored
from services.kit.database import Database
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 4_000
BYTES_LIMIT = 6_000
LINES = {"small": 20_000, "full": 1_000_000}


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite, LINES[size]))


async def _measure(suite: Suite, number: int) -> dict[str, Any]:
    headers = {"prefer": "respond-async"}
    database = Database(suite.settings(), "health", max_connections=1)
    await database.start()
    before = await stored(database)
    bodies = list(parts(number))
    async with httpx.AsyncClient(
        base_url=suite.address, headers=headers, auth=AsHospital(suite), timeout=300
    ) as http:
        began = time.perf_counter()
        urls = [await upload(http, part) for part in bodies]
        uploaded = time.perf_counter() - began
        manifest = await imported(http, urls)
        loading = time.perf_counter() - began
        assert sum(file["count"] for file in manifest["output"]) == number, manifest
        assert manifest["error"] == [], manifest
        kept = await stored(database)
        began = time.perf_counter()
        exported = await ready(http, await http.get("/fhir/$export"))
        exporting = time.perf_counter() - began
        lines = sum([await _lines(http, file["url"]) for file in exported["output"]])
    await database.stop()
    assert (
        lines
        == sum(file["count"] for file in exported["output"])
        == kept.resources - before.resources
        == number
    )
    return {
        "figures": {
            "resources": number,
            "resources_per_s": number / loading,
            "upload_resources_per_s": number / uploaded,
            "export_resources_per_s": number / exporting,
            "bytes_per_resource": (kept.bytes - before.bytes) / number,
        },
        "peer": {"resources_per_s": LIMIT_PER_S, "bytes_per_resource": BYTES_LIMIT},
    }


async def _lines(http: httpx.AsyncClient, url: str) -> int:
    found = 0
    async with http.stream("GET", url) as answer:
        assert answer.status_code == 200, answer.status_code
        async for chunk in answer.aiter_bytes():
            found += chunk.count(b"\n")
    return found


if __name__ == "__main__":
    run("fhir-import", main)
