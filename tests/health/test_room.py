"""What one answer holds in bytes: a page ends early and the next goes on, a document is refused."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from health.reaching import EVERYBODY
from health.repository import exports, fitting
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import issues, locations, observation, organization, patient, post, transaction
from tests.support.running import RunningServices

PERSON, HOUSE, LAB = (f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in range(1, 4))


@pytest.fixture
async def kept(fhir: httpx.AsyncClient) -> list[str]:
    """`Type/id` of a person, their measurements (two without a date), and two organisations."""
    days: list[Mapping[str, Any]] = [
        {},
        {"effectiveDateTime": "2020-01-02"},
        {"effectiveDateTime": "2020"},
        {},
    ]
    answer = await fhir.post(
        "/fhir",
        json=transaction(
            post(patient(managingOrganization={"reference": HOUSE}), PERSON),
            *(post(observation(PERSON, performer=[{"reference": LAB}], **day)) for day in days),
            post(organization("A"), HOUSE),
            post(organization("B"), LAB),
        ),
    )
    assert answer.status_code == 200, answer.text
    return locations(answer.json())


@pytest.fixture
def narrow(kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first resource fills an answer."""
    monkeypatch.setattr(fitting, "ANSWER_BYTES", 1)


async def pages(client: httpx.AsyncClient, url: str) -> list[list[str]]:
    """`Type/id` of each entry of each page."""
    found = []
    following: str | None = url
    while following is not None:
        answer = await client.get(following)
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        entries = [entry for entry in bundle.get("entry", ()) if "fullUrl" in entry]
        found.append([entry["fullUrl"].partition("/fhir/")[2] for entry in entries])
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


@pytest.mark.parametrize(
    ("url", "order"),
    [
        ("Observation?_total=accurate", (1, 2, 3, 4)),
        ("Observation?patient={person}&_sort=date", (3, 2, 1, 4)),
        ("Observation?_sort=-date,_lastUpdated&_count=3", (2, 3, 1, 4)),
        ("Observation?code=8867-4&_sort=status,-date", (2, 3, 1, 4)),
        ("{person}/$everything", (0, 1, 2, 3, 4, 5, 6)),
        ("_history", (6, 5, 4, 3, 2, 1, 0)),
        ("Observation/_history?_count=3", (4, 3, 2, 1)),
    ],
)
async def test_a_page_ends_early_and_the_next_goes_on(
    fhir: httpx.AsyncClient, kept: list[str], narrow: None, url: str, order: tuple[int, ...]
) -> None:
    found = await pages(fhir, f"/fhir/{url.format(person=kept[0])}")
    assert found == [[kept[n]] for n in order]


async def test_the_total_is_of_all_pages(fhir: httpx.AsyncClient, narrow: None) -> None:
    assert (await fhir.get("/fhir/Observation?_total=accurate")).json()["total"] == 4


async def test_a_page_is_filled_as_far_as_it_holds(
    fhir: httpx.AsyncClient, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len((await fhir.get(f"/fhir/{one}")).content) for one in kept[1:5]]
    monkeypatch.setattr(fitting, "ANSWER_BYTES", max(sizes))
    assert [len(page) for page in await pages(fhir, "/fhir/Observation")] == [2, 2]
    monkeypatch.setattr(fitting, "ANSWER_BYTES", sum(sizes))
    assert [len(page) for page in await pages(fhir, "/fhir/Observation")] == [4]


@pytest.mark.parametrize("url", ["Observation?_sort=date", "{person}/$everything"])
async def test_nothing_is_left_out_where_characters_are_several_bytes(
    fhir: httpx.AsyncClient, kept: list[str], monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    path, text = f"/fhir/{url.format(person=kept[0])}", {"valueString": "惠民" * 300}
    for local in kept[2:4]:
        written = (await fhir.get(f"/fhir/{local}")).json() | text
        assert (await fhir.put(f"/fhir/{local}", json=written)).status_code == 200
    [whole] = await pages(fhir, path)
    assert len(whole) >= 4
    for room in (1000, 1500, 2500, 3000, 4000):
        monkeypatch.setattr(fitting, "ANSWER_BYTES", room)
        assert [one for page in await pages(fhir, path) for one in page] == whole, room


async def test_what_goes_along_has_room_of_its_own(
    fhir: httpx.AsyncClient, kept: list[str], narrow: None
) -> None:
    along = (
        "_include=Patient:organization&_revinclude=Observation:patient&_include:iterate=Observation:performer"
    )
    bundle = (await fhir.get(f"/fhir/Patient?{along}")).json()
    assert [e["search"]["mode"] for e in bundle["entry"]] == ["match", "include", "outcome"]
    assert bundle["entry"][1]["fullUrl"].endswith(kept[5])
    assert list(issues(bundle["entry"][2]["resource"])) == [("incomplete", "_include")]


async def test_a_persons_own_record_goes_on_too(
    house: RunningServices, hospital: Hospital, kept: list[str], narrow: None
) -> None:
    async with house.kit("health").db.read() as db:
        sector_id = await db.fetchval("select sector_id from patient_person")
    me = await hospital(
        scopes="patient/*.rs", kind="person", subject="me", organisation=None, sector_id=sector_id
    )
    found, params = [], {"types": "Observation"}
    while params:
        page = (await me.get("/health/records/me", params=params)).json()
        found.append([one["id"] for one in page["items"]])
        params = {**params, "after": page["next"]} if page["next"] else {}
    assert [len(ids) for ids in found] == [1] * 4
    assert sorted(ids[0] for ids in found) == sorted(one.partition("/")[2] for one in kept[1:5])


@pytest.mark.parametrize("path", ["Observation/$lastn?max=9&patient={person}", "{person}/$summary"])
async def test_what_is_one_document_is_refused(
    fhir: httpx.AsyncClient, kept: list[str], narrow: None, path: str
) -> None:
    for text in ("哮喘", "糖尿病"):
        condition = {"resourceType": "Condition", "code": {"text": text}, "subject": {"reference": kept[0]}}
        assert (await fhir.post("/fhir/Condition", json=condition)).status_code == 201
    answer = await fhir.get(f"/fhir/{path.format(person=kept[0])}")
    assert answer.status_code == 422
    assert [code for code, _ in issues(answer.json())] == ["too-costly"]


async def test_an_export_reads_large_resources_one_by_one(
    fhir: httpx.AsyncClient, kept: list[str], records: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = {(await fhir.get(f"/fhir/{one}")).text for one in kept[1:5]}
    wanted = exports.Wanted("Observation")

    async def batches() -> list[list[str]]:
        async with records.read() as db:
            return [
                [row["body"] for row in rows]
                async for rows in exports.exported(db, EVERYBODY, wanted)
                if rows
            ]

    [together] = await batches()
    monkeypatch.setattr(exports, "LARGE_BYTES", 1)
    alone = await batches()
    assert [len(rows) for rows in alone] == [1] * 4
    assert {body for [body] in alone} == set(together) == bodies
