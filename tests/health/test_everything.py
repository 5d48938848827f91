"""`$everything`: a whole record and what it refers to, once each, and nothing the caller may not see."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    issues,
    locations,
    observation,
    organization,
    patient,
    post,
    transaction,
)
from tests.health.test_access import RESTRICTED, leaves
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
VISIT = "urn:uuid:00000000-0000-4000-8000-000000000002"
DOCTOR = "urn:uuid:00000000-0000-4000-8000-000000000003"
HOUSE = "urn:uuid:00000000-0000-4000-8000-000000000004"
NUMBER = (CITIZEN_NUMBER, citizen_number(71))


def visit(day: str, **members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": PERSON},
        "period": {"start": day, "end": f"{day[:5]}12-31"},
        **members,
    }


def record() -> list[dict[str, Any]]:
    """A person with a visit, three measurements (one of them at the visit, one protected) and an allergy."""
    doctor = {"resourceType": "Practitioner", "name": [{"text": "李医生"}]}
    at_visit = {"encounter": {"reference": VISIT}, "performer": [{"reference": DOCTOR}]}
    active = {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}
        ]
    }
    allergy = {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": PERSON},
        "clinicalStatus": active,
    }
    return [
        post(observation(PERSON, code="1", effectiveDateTime="2020-03-01", **at_visit)),
        post(patient(NUMBER, managingOrganization={"reference": HOUSE}), PERSON),
        post(visit("2020-03-01", serviceProvider={"reference": HOUSE}), VISIT),
        post(observation(PERSON, code="2", effectiveDateTime="2021-06-01")),
        post(observation(PERSON, code="3", effectiveDateTime="2022", meta=RESTRICTED)),
        post(allergy),
        post(doctor, DOCTOR),
        post(organization("1"), HOUSE),
        post({"resourceType": "Organization", "name": "别处"}),
        post(observation(code="nobody's")),
    ]


@pytest.fixture
async def treating(hospital: Hospital) -> httpx.AsyncClient:
    return await hospital("A", purpose="treatment")


@pytest.fixture
async def kept(treating: httpx.AsyncClient) -> list[str]:
    """`Type/id` of the record, in the order of `record`."""
    answer = await treating.post("/fhir", json=transaction(*record()))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())


async def everything(client: httpx.AsyncClient, path: str, **params: Any) -> list[str]:
    """`Type/id` of all pages, those that are included after a `+`."""
    found: list[str] = []
    url: str | None = f"/fhir/{path}/$everything"
    while url is not None:
        answer = await client.get(url, params=params or None)
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        assert bundle["type"] == "searchset"
        for entry in bundle.get("entry", []):
            local = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
            assert entry["fullUrl"].endswith(f"/fhir/{local}")
            found.append(("+" if entry["search"]["mode"] == "include" else "") + local)
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        params = {}
    return found


def whole(kept: list[str]) -> list[str]:
    measured, person, visited, second, third, allergy, doctor, house, *_ = kept
    return [person, measured, visited, second, third, allergy, f"+{doctor}", f"+{house}"]


class TestPatient:
    async def test_the_patient_first_then_the_record_then_what_it_refers_to(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        assert await everything(treating, kept[1]) == whole(kept)

    @pytest.mark.parametrize("count", [1, 3, 6])
    async def test_pages_give_the_same_once_each(
        self, treating: httpx.AsyncClient, kept: list[str], count: int
    ) -> None:
        assert await everything(treating, kept[1], _count=count) == whole(kept)

    async def test_a_page_is_not_moved_by_what_comes_meanwhile(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        first = (await treating.get(f"/fhir/{kept[1]}/$everything?_count=2")).json()
        await treating.put(
            f"/fhir/{kept[0]}",
            json=observation(kept[1], id=kept[0].partition("/")[2], effectiveDateTime="2023"),
        )
        second = (await treating.get(first["link"][1]["url"])).json()
        assert [e["resource"]["id"] for e in second["entry"]] == [
            local.partition("/")[2] for local in (kept[2], kept[3])
        ]

    async def test_dates_are_those_of_care_and_what_has_none_stays(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        measured, person, visited, second, third, allergy, doctor, house, *_ = kept
        assert await everything(treating, person, start="2021", end="2021") == [
            person, second, allergy, f"+{house}",
        ]  # fmt: skip
        # The visit goes on until the end of its year; what it and the measurement refer to comes along.
        assert await everything(treating, person, start="2020-07-01", end="2020-07-31") == [
            person, visited, allergy, f"+{house}",
        ]  # fmt: skip
        assert third in await everything(treating, person, start="2022-05-01")
        assert doctor not in str(await everything(treating, person, start="2022-05-01"))
        assert measured in await everything(treating, person, end="2020-03-01")

    async def test_types_and_since_choose_what_is_shown(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        _, person, visited, second, _, _, doctor, *_ = kept
        found = await everything(treating, person, _type="Encounter,Practitioner")
        assert found == [visited, f"+{doctor}"]
        assert await everything(treating, person, _type=["Encounter", "Practitioner"], _count=1) == found
        changed = await treating.put(
            f"/fhir/{second}", json=observation(person, id=second.partition("/")[2], code="4")
        )
        since = changed.json()["meta"]["lastUpdated"]
        assert await everything(treating, person, _since=since) == [second]

    async def test_parameters_may_come_in_a_body(self, treating: httpx.AsyncClient, kept: list[str]) -> None:
        body = {
            "resourceType": "Parameters",
            "parameter": [{"name": "_type", "valueCode": "Encounter"}, {"name": "_count", "valueInteger": 1}],
        }
        answer = await treating.post(f"/fhir/{kept[1]}/$everything", json=body)
        assert [e["resource"]["resourceType"] for e in answer.json()["entry"]] == ["Encounter"]

    @pytest.mark.parametrize(
        ("query", "named"),
        [
            ("_count=0", "_count"),
            ("_count=x", "_count"),
            ("_type=Pateint", "_type"),
            ("start=soon", "start, end and _since"),
            ("_since=2020-13-01T00:00:00Z", "start, end and _since"),
            ("shoe=44", "shoe"),
            ("_page=abc", "_page"),
        ],
    )
    async def test_what_is_not_understood_is_refused(
        self, treating: httpx.AsyncClient, kept: list[str], query: str, named: str
    ) -> None:
        answer = await treating.get(f"/fhir/{kept[1]}/$everything?{query}")
        assert answer.status_code == 400
        assert [path for _, path in issues(answer.json())] == [named]

    async def test_a_link_is_for_its_own_patient(self, treating: httpx.AsyncClient, kept: list[str]) -> None:
        first = (await treating.get(f"/fhir/{kept[1]}/$everything?_count=2")).json()
        query = urlsplit(first["link"][1]["url"]).query
        assert (await treating.put("/fhir/Patient/other", json=patient(id="other"))).status_code == 201
        assert (await treating.get(f"/fhir/Patient/other/$everything?{query}")).status_code == 400


async def test_an_encounter_with_what_was_done_at_it(treating: httpx.AsyncClient, kept: list[str]) -> None:
    measured, person, visited, _, _, _, doctor, house, *_ = kept
    found = await everything(treating, visited)
    assert found == [visited, measured, f"+{person}", f"+{doctor}", f"+{house}"]
    assert await everything(treating, visited, _count=1) == found


async def test_what_is_attached_comes_along(treating: httpx.AsyncClient) -> None:
    person = (await treating.post("/fhir/Patient", json=patient(("urn:mrn", "7")))).json()["id"]
    scan = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGFsbG8="}
    binary = (await treating.post("/fhir/Binary", json=scan)).json()["id"]
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{person}"},
        "content": [{"attachment": {"url": f"Binary/{binary}"}}],
    }
    made = await treating.post("/fhir/DocumentReference", json=document)
    assert made.status_code == 201, made.text
    found = await everything(treating, f"Patient/{person}")
    assert found == [f"Patient/{person}", f"DocumentReference/{made.json()['id']}", f"+Binary/{binary}"]


class TestReach:
    async def test_another_hospital_learns_nothing(
        self, treating: httpx.AsyncClient, hospital: Hospital, kept: list[str], house: RunningServices
    ) -> None:
        other = await hospital("B", purpose="treatment")
        for kind, local in (("Patient", kept[1]), ("Encounter", kept[2])):
            there = await other.get(f"/fhir/{local}/$everything")
            absent = await other.get(f"/fhir/{kind}/nothing/$everything")
            assert there.status_code == absent.status_code == 404
            assert there.text.replace(local, f"{kind}/nothing") == absent.text
        told = [leaf["resource"] for leaf in await leaves(house)]
        assert told == [kept[1], kept[2]]

    async def test_who_treats_the_person_sees_all_but_what_is_specially_protected(
        self, hospital: Hospital, kept: list[str]
    ) -> None:
        other = await hospital("B", purpose="treatment")
        uscc = {"system": "urn:huimin:id:uscc", "value": "B"}
        here = {"resourceType": "Organization", "identifier": [uscc]}
        comes = transaction(
            post(patient(NUMBER), PERSON),
            post(here, HOUSE),
            post(visit("2026-01-01", serviceProvider={"reference": HOUSE})),
        )
        assert (await other.post("/fhir", json=comes)).status_code == 200
        found = await everything(other, kept[1])
        assert found == [local for local in whole(kept) if local != kept[4]]

    async def test_a_reference_opens_nothing(
        self, treating: httpx.AsyncClient, hospital: Hospital, records: Database
    ) -> None:
        """A resource that another hospital keeps is not shown because a record here names it."""
        other = await hospital("B")
        theirs = (await other.post("/fhir/Patient", json=patient(("urn:mrn", "9")))).json()["id"]
        mine = (await treating.post("/fhir/Patient", json=patient(("urn:mrn", "1")))).json()["id"]
        seen = (await treating.post("/fhir/Observation", json=observation(f"Patient/{mine}"))).json()["id"]
        async with records.transaction() as tx:
            await tx.execute(
                "update resource set body = replace(body, $1, $2) where id = $3",
                f'"reference":"Patient/{mine}"',
                f'"reference":"Patient/{theirs}"',
                seen,
            )
        assert await everything(treating, f"Patient/{mine}") == [f"Patient/{mine}", f"Observation/{seen}"]

    async def test_scopes_hold_for_each_type(self, hospital: Hospital, kept: list[str]) -> None:
        scopes = "system/Patient.rs system/Observation.rs system/Practitioner.r"
        narrow = await hospital("A", purpose="treatment", scopes=scopes)
        measured, person, _, second, third, *_ = kept
        assert await everything(narrow, person) == [person, measured, second, third]
        none = await hospital("A", purpose="treatment", scopes="system/Observation.rs")
        assert (await none.get(f"/fhir/{person}/$everything")).status_code == 403

    async def test_what_is_shown_is_on_record(
        self, treating: httpx.AsyncClient, kept: list[str], house: RunningServices
    ) -> None:
        await everything(treating, kept[1])
        [leaf] = [
            leaf for leaf in await leaves(house, "permitted") if "$everything" in str(leaf.get("resource"))
        ]
        assert leaf["action"] == "fhir.search"
        assert leaf["resource"] == f"{kept[1]}/$everything"


async def test_a_person_asks_for_their_own(
    house: RunningServices, treating: httpx.AsyncClient, kept: list[str], records: Database
) -> None:
    async with records.read() as db:
        sector_id = await db.fetchval("select sector_id from patient_person")
    person = await house.client(
        "health", kind="person", subject="p", scopes="patient/*.rs", sector_id=sector_id
    )
    # Who and where is no record of the person's own.
    own = [local for local in whole(kept) if not local.startswith("+")]
    assert await everything(person, "Patient") == own
    assert await everything(person, kept[1], _count=2) == own
    refused = await treating.get("/fhir/Patient/$everything")
    assert refused.status_code == 400
    assert list(issues(refused.json())) == [("required", None)]


async def test_who_may_not_is_told_so_before_a_body_is_looked_at(hospital: Hospital, kept: list[str]) -> None:
    stranger = await hospital("B", scopes="system/Observation.rs")
    answer = await stranger.post(f"/fhir/{kept[1]}/$everything", content=b"[")
    assert answer.status_code == 403
