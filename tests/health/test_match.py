"""`$match`: whom a Patient may be, of those the caller may see; asking makes nothing and is on record."""

from typing import Any

import httpx
import pytest

from health.fhir.operations import match
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import CITIZEN_NUMBER, FHIR_JSON, citizen_number, issues, patient
from tests.health.test_access import leaves
from tests.support.running import RunningServices

KNOWN = {
    "name": [{"text": "欧阳若男"}],
    "birthDate": "1949-12-31",
    "gender": "female",
    "telecom": [{"system": "phone", "value": "13800138111"}],
}


def number(sequence: int) -> tuple[str, str]:
    return CITIZEN_NUMBER, citizen_number(sequence)


async def matched(client: httpx.AsyncClient, resource: dict[str, Any], **parameters: Any) -> list[Any]:
    """Id, grade and score of what comes back, in its order."""
    answer = await client.post("/fhir/Patient/$match", json=asked(resource, **parameters))
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    found = []
    for entry in bundle.get("entry", []):
        [extension] = entry["search"]["extension"]
        assert extension["url"] == "http://hl7.org/fhir/StructureDefinition/match-grade"
        assert entry["search"]["mode"] == "match"
        found.append((entry["resource"]["id"], extension["valueCode"], entry["search"]["score"]))
    return found


def asked(resource: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    given = [{"name": "resource", "resource": resource}]
    for name, value in parameters.items():
        kind = "valueBoolean" if isinstance(value, bool) else "valueInteger"
        given.append({"name": name, kind: value})
    return {"resourceType": "Parameters", "parameter": given}


@pytest.fixture
async def kept(fhir: httpx.AsyncClient) -> str:
    """A Patient of hospital-1, known by a citizen number."""
    answer = await fhir.post("/fhir/Patient", json=patient(number(81), **KNOWN))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_an_identifier_is_certain(fhir: httpx.AsyncClient, kept: str) -> None:
    assert await matched(fhir, patient(number(81))) == [(kept, "certain", 1)]
    raw = await fhir.post("/fhir/Patient/$match", json=patient(number(81)))
    assert [entry["resource"]["id"] for entry in raw.json()["entry"]] == [kept]


async def test_likeness_is_weighed_and_never_certain(fhir: httpx.AsyncClient, kept: str) -> None:
    [(id, grade, score)] = await matched(fhir, patient(**KNOWN))
    assert id == kept
    assert grade in {"probable", "possible"}
    assert 0 < score < 1
    assert await matched(fhir, patient(**KNOWN), onlyCertainMatches=True) == []
    assert await matched(fhir, patient(number(81), **KNOWN), onlyCertainMatches=True) == [
        (kept, "certain", 1)
    ]
    stranger = {"name": [{"text": "完颜不破"}], "birthDate": "1990-01-01"}
    assert await matched(fhir, patient(**stranger)) == []


async def test_no_more_than_asked_for(fhir: httpx.AsyncClient, kept: str) -> None:
    again = await fhir.post("/fhir/Patient", json=patient(number(81), **KNOWN))
    both = await matched(fhir, patient(number(81)))
    assert {id for id, _, _ in both} == {kept, again.json()["id"]}
    assert len(await matched(fhir, patient(number(81)), count=1)) == 1


async def test_likelier_people_of_other_sectors_take_no_place(
    fhir: httpx.AsyncClient, house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"name": [{"text": "夏侯望舒"}], "birthDate": "1949-12-31", "gender": "female"}
    phone = "13900139222"
    here = await fhir.post("/fhir/Patient", json=patient(number(85), **about))
    school = await house.client(
        "identity", kind="service", subject="service:education", scopes="identity:persons:resolve"
    )
    system, value = number(84)
    person = {"ref": "a", "identifiers": [{"system": system, "value": value}], "name": "夏侯望舒"}
    person |= {"birth_date": "1949-12-31", "sex": "female", "phone": phone}
    resolved = await school.post(
        "/identity/resolve", json={"people": [person], "create": True, "organisation": "school"}
    )
    assert resolved.status_code == 200, resolved.text
    monkeypatch.setattr(match, "CANDIDATES_MAX", 1)
    wanted = patient(**about, telecom=[{"system": "phone", "value": phone}])
    assert [id for id, _, _ in await matched(fhir, wanted)] == [here.json()["id"]]


async def test_what_contradicts_is_no_match_for_certain(fhir: httpx.AsyncClient, kept: str) -> None:
    other = await fhir.post("/fhir/Patient", json=patient(number(82), name=[{"text": "司徒无忌"}]))
    assert other.status_code == 201
    found = await matched(fhir, patient(number(81), ("urn:mrn", "x"), name=[{"text": "司徒无忌"}]))
    assert [grade for id, grade, _ in found if id == kept] == ["certain"]
    assert other.json()["id"] not in {id for id, grade, _ in found if grade == "certain"}


class TestReach:
    async def test_a_hospital_learns_nothing_of_patients_it_may_not_see(
        self, hospital: Hospital, kept: str, house: RunningServices, records: Database
    ) -> None:
        other = await hospital("hospital-2")
        for resource in (patient(number(81)), patient(**KNOWN)):
            there = await other.post("/fhir/Patient/$match", json=asked(resource))
            nobody = await other.post("/fhir/Patient/$match", json=asked(patient(number(83))))
            assert there.status_code == nobody.status_code == 200
            assert there.content == nobody.content
        async with records.read() as db:
            person = await db.fetchval("select sector_id from patient_person")
        told = [
            (leaf["subject"], leaf["resource"], leaf["organisation"], leaf["reason"])
            for leaf in await leaves(house)
        ]
        assert told == [(person, "Patient/$match", "hospital-2", "no_treatment_relation")] * 2

    async def test_what_is_shown_is_on_record(
        self, fhir: httpx.AsyncClient, kept: str, house: RunningServices, records: Database
    ) -> None:
        await matched(fhir, patient(number(81)))
        async with records.read() as db:
            person = await db.fetchval("select sector_id from patient_person")
        found = await leaves(house, "permitted")
        [leaf] = [leaf for leaf in found if leaf.get("resource") == "Patient/$match"]
        assert (leaf["action"], leaf["subject"], leaf["records"]) == ("fhir.search", person, 1)

    async def test_it_takes_the_right_to_search_patients(self, hospital: Hospital) -> None:
        client = await hospital(scopes="system/Patient.r")
        answer = await client.post("/fhir/Patient/$match", json=asked(patient(number(81))))
        assert answer.status_code == 403

    async def test_it_is_not_for_patients(self, house: RunningServices, kept: str, records: Database) -> None:
        async with records.read() as db:
            sector_id = await db.fetchval("select sector_id from patient_person")
        who = {"kind": "person", "subject": "p", "scopes": "patient/*.rs", "sector_id": sector_id}
        client = await house.client("health", headers={"content-type": FHIR_JSON}, **who)
        answer = await client.post("/fhir/Patient/$match", json=asked(patient(number(81))))
        assert answer.status_code == 403

    async def test_nobody_is_made_by_asking(self, fhir: httpx.AsyncClient, house: RunningServices) -> None:
        async def people() -> int:
            async with house.kit("identity").db.read() as db:
                return int(await db.fetchval("select count(*) from person"))

        before = await people()
        assert await matched(fhir, patient(number(84), ("urn:mrn", "84"), name=[{"text": "诸葛大力"}])) == []
        assert await people() == before

    async def test_whoever_fishes_is_stopped(
        self, fhir: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(match, "PER_MINUTE", 0)
        answer = await fhir.post("/fhir/Patient/$match", json=asked(patient(number(85))))
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert list(issues(answer.json())) == [("throttled", None)]


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (asked(patient(gender="male")), 400, "Patient"),
        (asked(patient(name=[{"text": "欧阳若男"}])), 400, "Patient"),
        (asked(patient((CITIZEN_NUMBER, "110105194912310021"))), 422, "Patient.identifier"),
        (asked(patient(name="x")), 400, "Patient.name"),
        (asked(patient(number(81)), count=0), 400, "count"),
        ({"resourceType": "Parameters"}, 400, "Parameters.parameter"),
        ({"resourceType": "Observation"}, 400, "resourceType"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    fhir: httpx.AsyncClient, body: dict[str, Any], status: int, named: str
) -> None:
    answer = await fhir.post("/fhir/Patient/$match", json=body)
    assert answer.status_code == status, answer.text
    assert named in {path for _, path in issues(answer.json())}
