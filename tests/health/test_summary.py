"""`$summary`: what an International Patient Summary shows, to whom, and that it stands by itself."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from health.fhir.operations import summary as operation
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    issues,
    locations,
    observation,
    patient,
    post,
    put,
    transaction,
)
from tests.health.synthea import bundles
from tests.health.test_access import NUMBER, RESTRICTED, arrives, leaves, sector_id, visit
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
DOCTOR = "urn:uuid:00000000-0000-4000-8000-000000000003"
DRUG = "urn:uuid:00000000-0000-4000-8000-000000000004"
VALUE = "urn:uuid:00000000-0000-4000-8000-000000000005"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ALLERGIC = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
ALWAYS = ["11450-4", "48765-2", "10160-0"]


def about(kind: str, **members: Any) -> dict[str, Any]:
    who = "patient" if kind in ("AllergyIntolerance", "Immunization") else "subject"
    return {"resourceType": kind, who: {"reference": PERSON}, **members}


def condition(text: str, status: str = "active", **members: Any) -> dict[str, Any]:
    clinical = {"coding": [{"system": CLINICAL, "code": status}]}
    return about("Condition", code={"text": text}, clinicalStatus=clinical, **members)


def medication(status: str, **what: Any) -> dict[str, Any]:
    return about("MedicationRequest", status=status, intent="order", **what)


def measured(code: str, category: str, day: str, value: float, **members: Any) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return observation(
        PERSON,
        code=code,
        category=[{"coding": [{"system": system, "code": category}]}],
        effectiveDateTime=day,
        valueQuantity={"value": value, "unit": "mmol/L"},
        **members,
    )


RECORD = transaction(
    post(patient(NUMBER, name=[{"text": "张三"}], birthDate="1949-12-31"), PERSON),
    post({"resourceType": "Practitioner", "name": [{"text": "李医生"}]}, DOCTOR),
    post({"resourceType": "Medication", "code": {"text": "阿司匹林"}}, DRUG),
    post(condition("高血压 <b>", onsetDateTime="2020-05")),
    post(condition("肺炎", "resolved")),
    post(
        condition(
            "误诊",
            verificationStatus={
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
                        "code": "refuted",
                    }
                ]
            },
        )
    ),
    post(
        medication(
            "active",
            medicationReference={"reference": DRUG},
            requester={"reference": DOCTOR},
            dosageInstruction=[{"text": "每日一次"}],
        )
    ),
    post(medication("stopped", medicationCodeableConcept={"text": "旧药"})),
    post(measured("2339-0", "laboratory", "2024-01-01", 5.5)),
    post(measured("2339-0", "laboratory", "2024-06-01", 6.25), VALUE),
    post(measured("8867-4", "vital-signs", "2024-06-01", 72)),
    post(observation(PERSON, code="82810-3", valueString="否")),
    post(
        about(
            "DiagnosticReport",
            status="final",
            code={"text": "血糖"},
            result=[{"reference": VALUE}],
            conclusion="偏高",
        )
    ),
    post(about("Procedure", status="completed", code={"text": "阑尾切除"})),
    post(about("Procedure", status="not-done", code={"text": "未做"})),
    post(about("CarePlan", status="active", intent="plan", title="随访")),
)


async def summarised(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    response = await client.get(f"/fhir/{path}/$summary")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def shown(bundle: dict[str, Any]) -> dict[str, list[str]]:
    """The rows of each section's narrative, by the section's code."""
    [composition] = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Composition"]
    return {
        one["code"]["coding"][0]["code"]: [
            " | ".join(re.findall("<td>(.*?)</td>", row))
            for row in re.findall("<tr>(.*?)</tr>", one["text"]["div"])[1:]
        ]
        for one in composition["section"]
    }


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from references(one)
    elif isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield node["reference"]
        for one in node.values():
            yield from references(one)


def stands_by_itself(bundle: dict[str, Any]) -> bool:
    """Every reference leads to an entry (FHIR R4, bundle.html#references)."""
    inside = {entry["fullUrl"] for entry in bundle["entry"]}
    wanted = {
        said if ":" in said.partition("/")[0] else urljoin(entry["fullUrl"].rsplit("/", 2)[0] + "/", said)
        for entry in bundle["entry"]
        for said in references(entry["resource"])
        if not said.startswith("#")
    }
    assert len(inside) == len(bundle["entry"])
    return wanted <= inside


@pytest.fixture
async def kept(hospital: Hospital) -> dict[str, str]:
    """What hospital A keeps of a person."""
    client = await hospital("A", purpose="treatment")
    answer = await client.post("/fhir", json=RECORD)
    assert answer.status_code == 200, answer.text
    places = locations(answer.json())
    return {"patient": places[0], "hypertension": places[3]}


class TestWhatItShows:
    async def test_each_in_its_section(self, hospital: Hospital, kept: dict[str, str]) -> None:
        client = await hospital("A", purpose="treatment")
        found = await summarised(client, kept["patient"])
        assert shown(found) == {
            "11450-4": ["高血压 &lt;b&gt; | 进行中 active | 2020-05"],
            "48765-2": [],
            "10160-0": ["阿司匹林 | 剂量 dose 每日一次 | "],
            "10162-6": ["82810-3 | 否 | "],
            "8716-3": ["8867-4 | 72 mmol/L | 2024-06-01"],
            "30954-2": ["血糖 | 偏高 | ", "2339-0 | 6.25 mmol/L | 2024-06-01"],
            "47519-4": ["阑尾切除 | 已完成 completed | "],
            "18776-5": ["随访 | 进行中 active | "],
            "11348-0": ["肺炎 | 已愈 resolved | "],
        }
        composition = found["entry"][0]["resource"]
        empty = [one for one in composition["section"] if "emptyReason" in one]
        assert [one["code"]["coding"][0]["code"] for one in empty] == ["48765-2"]
        assert all("Allergies" in one["title"] and "过敏" in one["title"] for one in empty)
        kinds = [entry["resource"]["resourceType"] for entry in found["entry"]]
        assert kinds[:3] == ["Composition", "Device", "Patient"]
        assert {"Practitioner", "Medication"} <= set(kinds)
        assert "Encounter" not in kinds
        assert stands_by_itself(found)

    async def test_it_is_valid_and_always_the_same(self, hospital: Hospital, kept: dict[str, str]) -> None:
        client = await hospital("A", purpose="treatment")
        path = f"/fhir/{kept['patient']}/$summary"
        first = (await client.get(path)).content
        assert (await client.get(path)).content == first
        checked = await client.post("/fhir/Bundle/$validate", content=first)
        assert list(issues(checked.json())) == [("informational", None)], checked.text
        assert b"6.25" in first
        sent = transaction(post(condition("糖尿病") | {"subject": {"reference": kept["patient"]}}))
        assert (await client.post("/fhir", json=sent)).status_code == 200
        later = (await client.get(path)).json()
        assert later["identifier"] != json.loads(first)["identifier"]
        assert later["timestamp"] > json.loads(first)["timestamp"]

    async def test_what_comes_along_has_a_bound(
        self, hospital: Hospital, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = await hospital("A", purpose="treatment")
        monkeypatch.setattr(operation, "BESIDE_MAX", 1)
        found = await summarised(client, kept["patient"])
        kinds = [entry["resource"]["resourceType"] for entry in found["entry"]]
        assert len({"Practitioner", "Medication"} & set(kinds)) == 1
        assert stands_by_itself(found)

    async def test_of_somebody_of_whom_nothing_is_known(self, fhir: httpx.AsyncClient) -> None:
        made = (await fhir.post("/fhir/Patient", json=patient(("urn:mrn", "1")))).json()
        found = await summarised(fhir, f"Patient/{made['id']}")
        assert shown(found) == {code: [] for code in ALWAYS}
        assert [e["resource"]["resourceType"] for e in found["entry"]] == ["Composition", "Device", "Patient"]

    async def test_of_synthea(self, fhir: httpx.AsyncClient) -> None:
        [raw] = bundles(1)
        answer = await fhir.post("/fhir", content=raw)
        assert answer.status_code == 200, answer.text[:500]
        [place] = [one for one in locations(answer.json()) if one.startswith("Patient/")]
        response = await fhir.get(f"/fhir/{place}/$summary")
        found = response.json()
        assert stands_by_itself(found)
        checked = await fhir.post("/fhir/Bundle/$validate", content=response.content)
        assert list(issues(checked.json())) == [("informational", None)], checked.text
        sent = [entry["resource"] for entry in json.loads(raw)["entry"]]
        doses = [one for one in sent if one["resourceType"] == "Immunization"]
        active = [
            one
            for one in sent
            if one["resourceType"] == "Condition" and one["clinicalStatus"]["coding"][0]["code"] == "active"
        ]
        rows = shown(found)
        assert len(rows.get("11369-6", [])) == len(doses)
        assert len(rows["11450-4"]) == len(active)


class TestWhoseItIs:
    async def test_by_identifier(self, hospital: Hospital, kept: dict[str, str]) -> None:
        client = await hospital("A", purpose="treatment")
        by_id = await summarised(client, kept["patient"])
        body = {
            "resourceType": "Parameters",
            "parameter": [{"name": "identifier", "valueString": "|".join(NUMBER)}],
        }
        assert (await client.post("/fhir/Patient/$summary", json=body)).json() == by_id

    @pytest.mark.parametrize(
        ("asked", "status", "code"),
        [
            ({}, 400, "required"),
            ({"identifier": "urn:mrn|nobody"}, 404, "not-found"),
            ({"identifier": "|".join(NUMBER)}, 400, "security"),
            ({"identifier": "urn:mrn|1", "profile": "http://other"}, 422, "not-supported"),
            ({"graph": "x"}, 400, "not-supported"),
        ],
    )
    async def test_what_is_refused(
        self, fhir: httpx.AsyncClient, asked: dict[str, str], status: int, code: str
    ) -> None:
        response = await fhir.get("/fhir/Patient/$summary", params=asked)
        assert response.status_code == status
        assert [found for found, _ in issues(response.json())] == [code]

    async def test_an_identifier_of_two_people_names_nobody(self, fhir: httpx.AsyncClient) -> None:
        for number in (81, 82):
            own = (CITIZEN_NUMBER, citizen_number(number))
            made = await fhir.post("/fhir/Patient", json=patient(own, ("urn:card", "shared")))
            assert made.status_code == 201, made.text
        response = await fhir.get("/fhir/Patient/$summary", params={"identifier": "urn:card|shared"})
        assert response.status_code == 412

    async def test_a_person_reads_the_own_one(
        self, hospital: Hospital, kept: dict[str, str], records: Database
    ) -> None:
        person = await hospital(scopes="patient/*.rs", kind="person", sector_id=await sector_id(records))
        client = await hospital("A", purpose="treatment")
        own = await summarised(person, kept["patient"])
        assert shown(own) == shown(await summarised(client, kept["patient"]))
        assert stands_by_itself(own)
        narrow = await hospital(
            scopes="patient/Patient.rs patient/Condition.rs",
            kind="person",
            sector_id=await sector_id(records),
        )
        assert set(shown(await summarised(narrow, kept["patient"]))) == {*ALWAYS, "11348-0"}
        stranger = await hospital(scopes="patient/*.rs", kind="person", sector_id="somebody-else")
        assert (await stranger.get(f"/fhir/{kept['patient']}/$summary")).status_code == 404

    async def test_what_two_hospitals_know_is_one_without_what_is_specially_protected(
        self, hospital: Hospital, kept: dict[str, str], house: RunningServices
    ) -> None:
        keeper = await hospital("A", purpose="treatment")
        secret = condition("保密诊断", meta=RESTRICTED) | {"subject": {"reference": kept["patient"]}}
        assert (await keeper.post("/fhir/Condition", json=secret)).status_code == 201
        drug = {"resourceType": "Medication", "id": "drug", "code": {"text": "保密药品"}, "meta": RESTRICTED}
        order = medication("active", medicationReference={"reference": "Medication/drug"})
        order["subject"] = {"reference": kept["patient"]}
        assert (await keeper.post("/fhir", json=transaction(put(drug), post(order)))).status_code == 200
        own = await summarised(keeper, kept["patient"])
        assert "保密诊断 | 进行中 active | " in shown(own)["11450-4"]
        assert own["entry"][0]["resource"]["confidentiality"] == "R"

        other = await hospital("B", purpose="treatment")
        assert (await other.get(f"/fhir/{kept['patient']}/$summary")).status_code == 404
        clinical = {"coding": [{"system": ALLERGIC, "code": "active"}]}
        allergy = about(
            "AllergyIntolerance", code={"text": "青霉素"}, criticality="high", clinicalStatus=clinical
        )
        here = (await arrives(other, visit(1), allergy))[0]
        for path in (here, kept["patient"]):
            response = await other.get(f"/fhir/{path}/$summary")
            assert "保密诊断" not in response.text
            assert "保密药品" not in response.text
            found = response.json()
            rows = shown(found)
            assert rows["48765-2"] == ["青霉素 | 危险度 criticality 高 high | "]
            assert rows["11450-4"] == ["高血压 &lt;b&gt; | 进行中 active | 2020-05"]
            assert stands_by_itself(found)
            assert found["entry"][0]["resource"]["confidentiality"] == "N"
            patients = [e for e in found["entry"] if e["resource"]["resourceType"] == "Patient"]
            assert [e["fullUrl"].rpartition("/fhir/")[2] for e in patients] == [path]
        told = [one for one in await leaves(house, "permitted") if one["resource"] == f"{here}/$summary"]
        relations = {one["relation"] for one in told if one.get("subject")}
        assert relations == {"custodian", "treatment"}

    async def test_nothing_is_kept_of_it(
        self, hospital: Hospital, kept: dict[str, str], records: Database
    ) -> None:
        client = await hospital("A", purpose="treatment")
        count = "select count(*) from history"
        async with records.session() as db:
            before = await db.fetchval(count)
            await summarised(client, kept["patient"])
            assert await db.fetchval(count) == before
