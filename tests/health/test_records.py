"""A person's own record at `/health/records/me`."""

import json
from typing import Any

import httpx
import pytest

from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import observation, organization, patient, post, transaction
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
OTHER = "urn:uuid:00000000-0000-4000-8000-000000000002"
HOSPITAL = "urn:uuid:00000000-0000-4000-8000-000000000003"


@pytest.fixture
async def me(fhir: httpx.AsyncClient, house: RunningServices, hospital: Hospital) -> httpx.AsyncClient:
    """A citizen with a visit and three measurements; somebody else has one too."""
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "type": [{"text": "门诊"}],
        "subject": {"reference": PERSON},
        "period": {"start": "2020-05-01", "end": "2020-05-02"},
        "serviceProvider": {"reference": HOSPITAL},
    }
    measured = [
        observation(
            PERSON, code="a", effectiveDateTime="2019-01-01", valueQuantity={"value": 1, "unit": "kg"}
        ),
        observation(PERSON, code="b", effectiveDateTime="2021-01-01", valueString="阴性"),
        observation(PERSON, code="a", effectiveDateTime="2020-01-01"),
        observation(OTHER, code="a", effectiveDateTime="2022-01-01"),
    ]
    raw = json.dumps(
        transaction(
            post(patient(("urn:mrn", "1"), name=[{"text": "张三"}], gender="male"), PERSON),
            post(patient(("urn:mrn", "2")), OTHER),
            post(organization("A", name="市第一医院"), HOSPITAL),
            post(visit),
            *map(post, measured),
        )
    ).replace('"value": 1', '"value": 72.50')
    response = await fhir.post("/fhir", content=raw)
    assert response.status_code == 200, response.text
    async with house.kit("health").db.read() as db:
        sector_id = await db.fetchval("select sector_id from patient_person order by pt limit 1")
    return await hospital(
        scopes="patient/*.rs", kind="person", subject="me", organisation=None, sector_id=sector_id,
    )  # fmt: skip


async def read(client: httpx.AsyncClient, **params: Any) -> Any:
    response = await client.get("/health/records/me", params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_own_entries_come_latest_first(me: httpx.AsyncClient) -> None:
    found = await read(me, types=["Observation", "Encounter"])
    assert [item["date"] for item in found["items"]] == [
        "2021-01-01",
        "2020-05-01",
        "2020-01-01",
        "2019-01-01",
    ]
    assert found["next"] is None


async def test_an_entry_says_what_it_is_in_plain_facts(me: httpx.AsyncClient) -> None:
    [visit] = (await read(me, types=["Encounter"]))["items"]
    assert (visit["title"], visit["organisation"], visit["end"]) == ("门诊", "市第一医院", "2020-05-02")
    last, _, first = (await read(me, types=["Observation"]))["items"]
    assert last["value"] == {"number": None, "unit": None, "text": "阴性"}
    assert first["value"] == {"number": "72.50", "unit": "kg", "text": None}
    [person] = (await read(me, types=["Patient"]))["items"]
    assert (person["name"], person["gender"]) == ("张三", "male")


async def test_by_code_with_and_without_system(me: httpx.AsyncClient) -> None:
    for code in ("a", "http://loinc.org|a"):
        found = await read(me, types=["Observation"], code=code)
        assert [item["date"] for item in found["items"]] == ["2020-01-01", "2019-01-01"]
    assert (await read(me, types=["Observation"], code="|a"))["items"] == []


async def test_pages_follow_each_other(me: httpx.AsyncClient) -> None:
    seen, after = [], None
    while True:
        params = {"types": ["Observation", "Encounter"], "first": 3, **({"after": after} if after else {})}
        found = await read(me, **params)
        seen += [item["date"] for item in found["items"]]
        after = found["next"]
        if after is None:
            break
    assert seen == ["2021-01-01", "2020-05-01", "2020-01-01", "2019-01-01"]


async def test_several_lists_travel_in_one_call_and_leave_one_leaf(
    me: httpx.AsyncClient, house: RunningServices
) -> None:
    queries = [{"types": ["Observation"], "first": 1}, {"types": ["Encounter"]}]
    response = await me.post(
        "/health/records/me", json={"queries": queries}, headers={"content-type": "application/json"}
    )
    assert response.status_code == 200, response.text
    assert [len(page["items"]) for page in response.json()["pages"]] == [1, 1]
    await flush_leaves(house)
    async with house.kit("health").db.read() as db:
        leaves = [json.loads(row["body"]) for row in await db.fetch("select body from leaf order by seq")]
    leaf = leaves[-1]
    assert len(leaves) == 2
    assert (leaf["action"], leaf["records"], leaf["actor"]) == ("health.record.read", 2, "me")
    assert leaf["resource"] == "Encounter,Observation"


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 422),
        ({"types": "Alien"}, 422),
        ({"types": "Claim"}, 422),
        ({"types": "Observation", "first": 0}, 422),
        ({"types": "Observation", "first": 101}, 422),
        ({"types": "Observation", "after": "x"}, 400),
        ({"types": "Observation", "after": "YQ"}, 400),
        ({"types": "Observation", "after": "YR9i"}, 400),
        ({"types": "Encounter", "code": "x"}, 400),
        ({"types": "Observation", "code": "x|"}, 400),
        ({"types": "Observation", "limit": 3}, 400),
    ],
)
async def test_what_is_not_understood_is_refused(
    me: httpx.AsyncClient, params: dict[str, Any], status: int
) -> None:
    assert (await me.get("/health/records/me", params=params)).status_code == status


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ({"scopes": None}, 401),
        ({"scopes": "system/*.cruds"}, 403),
        ({"scopes": "patient/*.rs", "kind": "person"}, 403),
        ({"scopes": "patient/Encounter.rs", "kind": "person", "sector_id": "s"}, 403),
        ({"scopes": "patient/*.r", "kind": "person", "sector_id": "s"}, 403),
    ],
)
async def test_only_the_person_reads_it(hospital: Hospital, who: dict[str, Any], status: int) -> None:
    client = await hospital(**who)
    response = await client.get("/health/records/me", params={"types": "Observation"})
    assert response.status_code == status
