"""What stands in the database after a push: versions in their chain, one leaf, one event, a person."""

import hashlib
import json
from typing import Any

import asyncpg
import httpx
import pytest

from services.kit.canonical import chain, leaf_hash, tree_root
from services.kit.database import Database
from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import (
    CITIZEN_NUMBER,
    body,
    citizen_number,
    observation,
    organization,
    patient,
    post,
    put,
    transaction,
)
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"


async def test_versions_are_chained_and_cannot_be_changed(fhir: httpx.AsyncClient, records: Database) -> None:
    for gender in ("male", "female", "other"):
        await fhir.post("/fhir", json=transaction(put(patient(id="p1", gender=gender))))
    async with records.read() as db:
        rows = await db.fetch(
            """select h.version, h.client, h.method, h.link, coalesce(s.body, r.body) as body
               from history h join resource r on r.pk = h.pk
               left join superseded s on s.pk = h.pk and s.version = h.version
               order by h.version"""
        )
    assert [(row["version"], row["method"]) for row in rows] == [(1, "PUT"), (2, "PUT"), (3, "PUT")]
    bodies = [json.loads(row["body"]) for row in rows]
    assert [found["gender"] for found in bodies] == ["male", "female", "other"]
    assert [found["meta"]["versionId"] for found in bodies] == ["1", "2", "3"]
    link = None
    for row in rows:
        link = chain(link, f"{row['client']}\n{row['body']}".encode())
        assert row["link"] == link
    for statement in ("update history set client = 'x'", "delete from superseded", "truncate history"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with records.transaction() as tx:
                await tx.execute(statement)


async def test_a_push_leaves_one_leaf_and_one_event(fhir: httpx.AsyncClient, records: Database) -> None:
    raw = body(transaction(post(patient(("urn:mrn", "1")), PERSON), post(observation(PERSON))))
    await fhir.post("/fhir", content=raw)
    await fhir.post("/fhir", content=raw)
    digest = hashlib.sha256(raw).hexdigest()
    async with records.read() as db:
        [leaf] = [json.loads(row["body"]) for row in await db.fetch("select body from leaf")]
        [event] = await db.fetch("select type, aggregate, body from outbox")
        links = await db.fetch("select link from history order by pk")
        sector_id = await db.fetchval("select sector_id from patient_person")
    root = tree_root([leaf_hash(row["link"]) for row in links]).hex()
    assert leaf["action"] == "fhir.transaction"
    assert (leaf["records"], leaf["batch_hash"], leaf["subject"]) == (2, digest, sector_id)
    assert leaf["resource"] == f"history:{root}"
    assert leaf["organisation"] == "hospital-1"
    assert event["type"] == "health.records.accepted"
    assert event["body"] == {
        "batch": digest,
        "count": 2,
        "types": {"Patient": 1, "Observation": 1},
        "history": root,
    }


async def test_a_record_belongs_to_the_patient_it_is_about(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    await fhir.post("/fhir", json=transaction(put(patient(id="p1"))))
    await fhir.post("/fhir", json=transaction(post(observation("Patient/p1")), post(organization("A"))))
    async with records.read() as db:
        rows = await db.fetch("select type, pt, pk from resource order by pk")
        tokens = await db.fetch("select distinct pk, pt from tok")
    person, measured, hospital = rows
    assert person["pt"] == person["pk"] == measured["pt"]
    assert hospital["pt"] == 0
    assert {tuple(row) for row in tokens} == {
        (person["pk"], person["pk"]),
        (measured["pk"], person["pk"]),
        (hospital["pk"], 0),
    }


async def test_reads_leave_a_leaf_that_names_whose_record_it_was(
    fhir: httpx.AsyncClient, house: RunningServices, records: Database
) -> None:
    answer = await fhir.post(
        "/fhir",
        json=transaction(
            post(patient(("urn:mrn", "1"), name=[{"family": "Zhang"}]), PERSON), post(observation(PERSON))
        ),
    )
    place = answer.json()["entry"][1]["response"]["location"].partition("/_history/")[0]
    await fhir.get(f"/fhir/{place}")
    await fhir.get("/fhir/Observation?code=8867-4&subject:Patient.family=Zhang")
    await fhir.get("/fhir/Condition")
    await flush_leaves(house)
    async with records.read() as db:
        found = [json.loads(row["body"]) for row in await db.fetch("select body from leaf order by seq")]
        sector_id = await db.fetchval("select sector_id from patient_person")
    said = [(leaf["action"], leaf["resource"], leaf["records"], leaf.get("subject")) for leaf in found[1:]]
    assert said == [
        ("fhir.read", place, 1, sector_id),
        ("fhir.search", "Observation?code=8867-4&subject%3APatient.family=", 1, sector_id),
        ("fhir.search", "Condition", 0, None),
    ]


class TestPersons:
    async def linked(self, records: Database) -> list[Any]:
        async with records.read() as db:
            return await db.fetch(
                "select sector_id, outcome, deceased, death_date from patient_person order by pt"
            )

    async def test_hospitals_that_know_one_person_share_the_sector_id(
        self, fhir: httpx.AsyncClient, hospital: Hospital, records: Database
    ) -> None:
        number = (CITIZEN_NUMBER, citizen_number(2))
        await fhir.post("/fhir/Patient", json=patient(number))
        other = await hospital("hospital-2")
        await other.post("/fhir/Patient", json=patient(("urn:other", "9"), number))
        first, second = await self.linked(records)
        assert first["sector_id"] == second["sector_id"]
        assert (first["outcome"], second["outcome"]) == ("created", "matched")

    async def test_a_patient_without_identifier_is_a_person_too(
        self, fhir: httpx.AsyncClient, records: Database
    ) -> None:
        for _ in range(2):
            await fhir.post("/fhir/Patient", json=patient(gender="male"))
        first, second = await self.linked(records)
        assert first["sector_id"] != second["sector_id"]

    async def test_contradicting_identifiers_are_kept_without_a_person(
        self, fhir: httpx.AsyncClient, records: Database
    ) -> None:
        one, two = ((CITIZEN_NUMBER, citizen_number(n)) for n in (3, 4))
        await fhir.post("/fhir/Patient", json=patient(one, ("urn:conflict", "1")))
        response = await fhir.post("/fhir", json=transaction(post(patient(two, ("urn:conflict", "1")))))
        [entry] = response.json()["entry"]
        assert entry["response"]["status"] == "201 Created"
        assert entry["response"]["outcome"]["issue"][0]["severity"] == "warning"
        assert [row["outcome"] for row in await self.linked(records)] == ["created", "conflict"]

    @pytest.mark.parametrize(
        ("member", "day"),
        [
            ({"deceasedDateTime": "2020-03-05T23:30:00+08:00"}, "2020-03-05"),
            ({"deceasedDateTime": "2020-02"}, "2020-02-29"),
            ({"deceasedDateTime": "2020"}, "2020-12-31"),
            ({"deceasedBoolean": True}, None),
            ({}, None),
        ],
    )
    async def test_deaths_are_offered_with_the_last_possible_day(
        self,
        fhir: httpx.AsyncClient,
        hospital: Hospital,
        house: RunningServices,
        member: dict[str, Any],
        day: str | None,
    ) -> None:
        await fhir.post("/fhir/Patient", json=patient((CITIZEN_NUMBER, citizen_number(5)), **member))
        exchange = await hospital(
            kind="service", subject="service:exchange", scopes="exchange:offers:read", organisation=None
        )
        response = await exchange.get("/health/offers/deaths")
        assert response.status_code == 200, response.text
        rows = response.json()["rows"]
        assert [row["death_date"] for row in rows] == ([day] if day else [])

    async def test_only_the_exchange_reads_offers(self, fhir: httpx.AsyncClient) -> None:
        assert (await fhir.get("/health/offers/deaths")).status_code == 403

    async def test_deaths_come_in_pages_and_a_correction_takes_one_back(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        entries = [put(patient(id=f"p{i}", deceasedDateTime=f"2020-01-0{i + 1}")) for i in range(5)]
        await fhir.post("/fhir", json=transaction(*entries))
        await fhir.post("/fhir", json=transaction(put(patient(id="p0"))))
        exchange = await hospital(
            kind="service", subject="service:exchange", scopes="exchange:offers:read", organisation=None
        )
        days, after = [], None
        for _ in range(3):
            params = {"limit": 2, **({"after": after} if after else {})}
            answer = (await exchange.get("/health/offers/deaths", params=params)).json()
            days += [row["death_date"] for row in answer["rows"]]
            after = answer["next"]
            if after is None:
                break
        assert after is None
        assert sorted(days) == ["2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05"]
