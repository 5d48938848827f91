"""FHIR bulk import: NDJSON over HTTP, validated, indexed, chained and logged, on the suite as shipped;
then the whole of it exported again.

The clock runs from the first byte uploaded to the moment the manifest is there. Before anything is reported
the resources kept are counted against the lines sent, and the export must give back each of them.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import httpx

from bench._report import Size, run
from bench._stored import stored
from services.kit.database import Database
from tests.health.synthea import as_lines, bundles
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 4_000
BYTES_LIMIT = 6_000
LINES = {"small": 20_000, "full": 1_000_000}
UPLOAD_BYTES = 8 * 1024 * 1024
POLL_S = 0.25
_UUID = re.compile(rb"[0-9a-f]{8}-([0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite, LINES[size]))


async def _measure(suite: Suite, number: int) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {suite.token('hospital')}", "prefer": "respond-async"}
    database = Database(suite.settings(), "health", max_connections=1)
    await database.start()
    before = await stored(database)
    parts = list(_parts(number))
    async with httpx.AsyncClient(base_url=suite.address, headers=headers, timeout=300) as http:
        began = time.perf_counter()
        urls = [await _upload(http, part) for part in parts]
        uploaded = time.perf_counter() - began
        inputs = [{"name": "input", "part": [{"name": "url", "valueUri": url}]} for url in urls]
        answer = await http.post("/fhir/$import", json={"resourceType": "Parameters", "parameter": inputs})
        manifest = await _ready(http, answer)
        loading = time.perf_counter() - began
        assert sum(file["count"] for file in manifest["output"]) == number, manifest
        assert manifest["error"] == [], manifest
        kept = await stored(database)
        began = time.perf_counter()
        exported = await _ready(http, await http.get("/fhir/$export"))
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


def _parts(number: int) -> Iterator[bytes]:
    """Lines for uploads; more than Synthea has come again under other ids."""
    part: list[bytes] = []
    size = 0
    for line in islice(_lines_of(list(as_lines(bundles()))), number):
        part.append(line)
        size += len(line) + 1
        if size > UPLOAD_BYTES:
            yield b"\n".join([*part, b""])
            part, size = [], 0
    yield b"\n".join([*part, b""])


def _lines_of(lines: Sequence[bytes]) -> Iterator[bytes]:
    yield from lines
    for copy in count(1):
        other = b"%08x-\\1" % copy
        yield from (_UUID.sub(other, line) for line in lines)


async def _upload(http: httpx.AsyncClient, part: bytes) -> str:
    answer = await http.post(
        "/fhir/bulk/uploads", content=part, headers={"content-type": "application/fhir+ndjson"}
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def _ready(http: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    """The manifest, once it is there."""
    assert answer.status_code == 202, answer.text
    while True:
        found = await http.get(answer.headers["content-location"])
        if found.status_code == 200:
            manifest: dict[str, Any] = found.json()
            return manifest
        assert found.status_code == 202, found.text
        await asyncio.sleep(POLL_S)


async def _lines(http: httpx.AsyncClient, url: str) -> int:
    found = 0
    async with http.stream("GET", url) as answer:
        assert answer.status_code == 200, answer.status_code
        async for chunk in answer.aiter_bytes():
            found += chunk.count(b"\n")
    return found


if __name__ == "__main__":
    run("fhir-import", main)
