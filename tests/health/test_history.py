"""`_history` of a resource, a type and everything (FHIR R4 http.html#history)."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.health.conftest import Hospital
from tests.health.support import observation, organization, patient

MRN = "urn:mrn"


async def told(client: httpx.AsyncClient, path: str, **params: Any) -> list[tuple[str, str, str]]:
    """Method, id and ETag of each entry, over all pages."""
    found: list[tuple[str, str, str]] = []
    url = str(httpx.URL(f"/fhir/{path}", params=params))
    while url:
        response = await client.get(url)
        assert response.status_code == 200, response.text
        page = response.json()
        assert page["type"] == "history"
        for entry in page.get("entry", ()):
            method, id = entry["request"]["method"], entry["fullUrl"].rpartition("/")[2]
            assert ("resource" in entry) == (method != "DELETE")
            found.append((method, id, entry["response"]["etag"]))
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return found


async def changed(fhir: httpx.AsyncClient) -> list[tuple[str, str, str]]:
    """What `told` tells of three versions and a deletion, the latest first."""
    for code in ("a", "b"):
        await fhir.put("/fhir/Observation/o1", json=observation(id="o1", code=code))
    await fhir.put("/fhir/Organization/g1", json=organization("A") | {"id": "g1"})
    await fhir.delete("/fhir/Observation/o1")
    return [
        ("DELETE", "o1", 'W/"3"'),
        ("PUT", "g1", 'W/"1"'),
        ("PUT", "o1", 'W/"2"'),
        ("PUT", "o1", 'W/"1"'),
    ]


async def test_all_versions_the_latest_first(fhir: httpx.AsyncClient) -> None:
    everything = await changed(fhir)
    of_type = [one for one in everything if one[1] == "o1"]
    assert await told(fhir, "_history") == everything
    assert await told(fhir, "Observation/_history") == of_type
    assert await told(fhir, "Observation/o1/_history") == of_type
    assert await told(fhir, "Patient/_history") == []


async def test_page_by_page_and_nothing_twice(fhir: httpx.AsyncClient) -> None:
    everything = await changed(fhir)
    for count in (1, 3, 4):
        assert await told(fhir, "_history", _count=count) == everything
    first = (await fhir.get("/fhir/_history", params={"_count": 1})).json()
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    # What comes meanwhile is not among the older ones; a link is good for its own list alone.
    await fhir.put("/fhir/Organization/g2", json=organization("B") | {"id": "g2"})
    assert (await fhir.get(url)).json()["entry"][0]["fullUrl"].endswith("g1")
    other = url.replace("/_history", "/Observation/_history")
    assert (await fhir.get(other)).status_code == 400


async def test_since_and_at(fhir: httpx.AsyncClient) -> None:
    everything = await changed(fhir)
    page = (await fhir.get("/fhir/_history")).json()["entry"]
    stamps = [entry["response"]["lastModified"] for entry in page]
    assert await told(fhir, "_history", _since=stamps[1]) == everything[:2]
    assert await told(fhir, "_history", _since="2999-01-01T00:00:00Z") == []
    # At the moment at which g1 came, the second version of o1 was the current one.
    moment = datetime.fromisoformat(stamps[1]) - timedelta(milliseconds=1)
    assert await told(fhir, "Observation/_history", _at=moment.isoformat(timespec="milliseconds")) in (
        [everything[2]],
        everything[2:4],
    )
    assert await told(fhir, "_history", _at="1999") == []


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_count=x", "_count=0", "_sort=_id", "_count=1&_count=2", "_page=x"]
)
async def test_what_is_not_understood_is_refused(fhir: httpx.AsyncClient, query: str) -> None:
    assert (await fhir.get(f"/fhir/_history?{query}")).status_code == 400


async def test_what_never_was_has_no_history(fhir: httpx.AsyncClient) -> None:
    assert (await fhir.get("/fhir/Observation/never/_history")).status_code == 404
    assert (await fhir.get("/fhir/Alien/_history")).status_code == 404


class TestReach:
    async def test_nothing_of_others(self, fhir: httpx.AsyncClient, hospital: Hospital) -> None:
        other = await hospital("other")
        await fhir.put("/fhir/Patient/p", json=patient((MRN, "1"), id="p"))
        await fhir.put("/fhir/Patient/q", json=patient((MRN, "2"), id="q"))
        await fhir.delete("/fhir/Patient/q")
        for path in ("_history", "Patient/_history"):
            assert await told(other, path) == []
        for id in ("p", "q"):
            assert (await other.get(f"/fhir/Patient/{id}/_history")).status_code == 404

    async def test_registers_show_others_their_last_version_alone(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        for name in ("旧", "新"):
            await fhir.put("/fhir/Organization/g", json=organization("A", name=name) | {"id": "g"})
        other = await hospital("other")
        assert await told(other, "Organization/g/_history") == [("PUT", "g", 'W/"2"')]
        assert (await other.get("/fhir/Organization/g/_history/1")).status_code == 404

    async def test_an_earlier_version_about_somebody_else_is_the_keepers(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        other = await hospital("other")
        for id in ("wrong", "right"):
            await fhir.put(f"/fhir/Patient/{id}", json=patient((MRN, id), id=id))
            await fhir.put("/fhir/Observation/o", json=observation(f"Patient/{id}", id="o"))
        assert await told(fhir, "Observation/o/_history") == [("PUT", "o", 'W/"2"'), ("PUT", "o", 'W/"1"')]
        assert await told(other, "Observation/_history") == []

    async def test_a_token_for_other_types_sees_none_of_it(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        await changed(fhir)
        narrow = await hospital(scopes="system/Organization.rs")
        assert await told(narrow, "_history") == [("PUT", "g1", 'W/"1"')]
        assert (await narrow.get("/fhir/Observation/_history")).status_code == 403
        nobody = await hospital(scopes=None)
        assert (await nobody.get("/fhir/_history")).status_code == 401
