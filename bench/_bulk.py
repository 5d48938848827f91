"""Synthea as NDJSON, taken in and given back in bulk."""

import asyncio
import re
import time
from collections.abc import Generator, Iterator, Sequence
from itertools import count, islice
from typing import Any

import httpx

from tests.health.synthea import as_lines, bundles
from tests.support.suite import Suite

UPLOAD_BYTES = 8 * 1024 * 1024
POLL_S = 0.25
_UUID = re.compile(rb"[0-9a-f]{8}-([0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")
_NPI = re.compile(rb'(us-npi",\s*"value":\s*")')
"""Before the number by which a Practitioner is known again."""


class AsHospital(httpx.Auth):
    """A hospital that asks for a new token every four minutes: loading may take longer than one lasts."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._until = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if time.monotonic() > self._until:
            self._token = self._suite.token("hospital")
            self._until = time.monotonic() + 240
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request


def of_others(raw: bytes, copy: int) -> bytes:
    """The same under other ids and identifiers."""
    return _NPI.sub(rb"\g<1>%d-" % copy, _UUID.sub(rb"%08x-\1" % copy, raw))


def parts(number: int, *, first: int = 0) -> Iterator[bytes]:
    """Lines for uploads: Synthea's, again and again as others'; `first` is the first copy."""
    part: list[bytes] = []
    size = 0
    lines = list(as_lines(bundles()))
    for line in islice((of_others(line, copy) for copy in count(first) for line in lines), number):
        part.append(line)
        size += len(line) + 1
        if size > UPLOAD_BYTES:
            yield b"\n".join([*part, b""])
            part, size = [], 0
    yield b"\n".join([*part, b""])


async def upload(http: httpx.AsyncClient, part: bytes) -> str:
    answer = await http.post(
        "/fhir/bulk/uploads", content=part, headers={"content-type": "application/fhir+ndjson"}
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def ready(http: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    """The manifest, once it is there."""
    assert answer.status_code == 202, answer.text
    while True:
        found = await http.get(answer.headers["content-location"])
        if found.status_code == 200:
            manifest: dict[str, Any] = found.json()
            return manifest
        assert found.status_code == 202, found.text
        await asyncio.sleep(POLL_S)


async def imported(http: httpx.AsyncClient, urls: Sequence[str]) -> dict[str, Any]:
    """The manifest of an import of these uploads."""
    inputs = [{"name": "input", "part": [{"name": "url", "valueUri": url}]} for url in urls]
    answer = await http.post(
        "/fhir/$import",
        json={"resourceType": "Parameters", "parameter": inputs},
        headers={"prefer": "respond-async"},
    )
    return await ready(http, answer)
