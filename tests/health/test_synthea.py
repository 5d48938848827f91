"""A hospital's real load: whole bundles of Synthea, twice, read back as sent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.health.support import locations
from tests.health.synthea import as_kept, bundles, expected_counts, literal

AT_ONCE = 4


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(10, id="ten"),
        pytest.param(None, id="all", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_bundles_sent_twice_are_kept_once_and_as_sent(
    fhir: httpx.AsyncClient, number: int | None
) -> None:
    raws = bundles(number)
    first = await _send(fhir, raws)
    counts = expected_counts(raws)
    assert await _counts(fhir, counts) == counts
    again = await _send(fhir, raws)
    assert again == first
    assert await _counts(fhir, counts) == counts
    kept = {place: found for kind in counts async for place, found in _all(fhir, kind)}
    assert len(kept) == counts.total()
    for raw, answer in zip(raws, first, strict=True):
        _check_bodies(kept, raw, answer)
    for place in locations(literal(first[0]))[:50]:
        assert literal((await fhir.get(f"/fhir/{place}")).content) == kept[place]


async def _send(fhir: httpx.AsyncClient, raws: list[bytes]) -> list[bytes]:
    places = asyncio.Semaphore(AT_ONCE)

    async def send(raw: bytes) -> bytes:
        async with places:
            response = await fhir.post("/fhir", content=raw)
        assert response.status_code == 200, response.text[:500]
        return response.content

    return await asyncio.gather(*map(send, raws))


async def _counts(fhir: httpx.AsyncClient, types: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for kind in types:
        found[kind] = (await fhir.get(f"/fhir/{kind}", params={"_count": 0})).json()["total"]
    return found


async def _all(fhir: httpx.AsyncClient, kind: str) -> AsyncIterator[tuple[str, Any]]:
    """Everything of a type, page by page."""
    url: str | None = f"/fhir/{kind}?_count=500"
    while url is not None:
        page = literal((await fhir.get(url)).content)
        for entry in page.get("entry", ()):
            yield f"{kind}/{entry['resource']['id']}", entry["resource"]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)


def _check_bodies(kept: dict[str, Any], raw: bytes, answer: bytes) -> None:
    entries = literal(raw)["entry"]
    places = locations(literal(answer))
    stored = {entry["fullUrl"]: place for entry, place in zip(entries, places, strict=True)}
    for entry, place in zip(entries, places, strict=True):
        found = dict(kept[place])
        assert f"{found['resourceType']}/{found.pop('id')}" == place
        meta = dict(found.pop("meta"))
        assert meta.pop("versionId") == "1"
        assert meta.pop("lastUpdated")
        assert meta == entry["resource"].get("meta", {})
        assert found == as_kept(entry, stored)
