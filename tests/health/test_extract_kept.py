"""Index rows in the store: what a push writes, what a new version replaces, what a job makes anew."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from health.fhir import bundle, custom, interactions, reindexing
from services.kit.database import Database
from services.kit.jobs import Job
from services.kit.jobs.running import run
from tests.health.bulk import done, lines
from tests.health.conftest import Hospital
from tests.health.support import issues, locations, observation, organization, patient, post, transaction
from tests.health.synthea import bundles
from tests.support.running import RunningServices

TABLES = ("tok", "ref", "dat", "str", "num", "qty", "uri", "pos")
LOCATION = {
    "resourceType": "Location",
    "meta": {"profile": ["http://example.org/place"]},
    "position": {"longitude": 116.4, "latitude": 39.9},
}
RISK = {
    "resourceType": "RiskAssessment",
    "status": "final",
    "subject": {"display": "nobody here"},
    "prediction": [{"probabilityDecimal": 0.02}],
}


async def rows_in(records: Database) -> dict[str, list[tuple[Any, ...]]]:
    async with records.read() as db:
        return {
            table: sorted((tuple(row) for row in await db.fetch(f"select * from {table}")), key=repr)
            for table in TABLES
        }


async def jobs_in(records: Database) -> list[UUID]:
    async with records.read() as db:
        rows = await db.fetch(
            "select id from job where kind = $1 and state = 'queued' order by id", reindexing.KIND
        )
    return [row["id"] for row in rows]


async def worked_off(house: RunningServices, records: Database) -> list[Job]:
    """Runs the jobs that are waiting."""
    kit = house.kit("health")
    assert kit.jobs is not None
    found: list[Job] = []
    for id in await jobs_in(records):
        await run("health", id)
        async with records.read() as db:
            job = await kit.jobs.get(db, id)
        assert job is not None
        assert job.state == "done", job.error
        found.append(job)
    return found


async def total(fhir: httpx.AsyncClient, query: str) -> int:
    answer = await fhir.get(f"/fhir/{query}&_total=accurate")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["total"])


async def job_of(house: RunningServices, **args: Any) -> None:
    kit = house.kit("health")
    assert kit.jobs is not None
    async with kit.db.transaction() as tx:
        await kit.jobs.submit(tx, kind=reindexing.KIND, args=args)


@pytest.fixture(autouse=True)
async def _no_parameters(house: RunningServices, records: Database) -> AsyncIterator[None]:
    """No parameter of an earlier test is known, and no job of one waits."""
    async with house.kit("health").db.transaction() as tx:
        await tx.execute("update job set state = 'cancelled' where state = 'queued'")
    yield
    custom.use(custom.Known())


async def test_a_job_makes_the_rows_that_the_pushes_made(
    fhir: httpx.AsyncClient, house: RunningServices, records: Database
) -> None:
    [raw] = bundles(1)
    assert (await fhir.post("/fhir", content=raw)).status_code == 200
    more = transaction(post(LOCATION), post(RISK))
    assert (await fhir.post("/fhir", json=more)).status_code == 200
    written = await rows_in(records)
    assert all(written[table] for table in TABLES)
    async with house.kit("health").db.transaction() as tx:
        for table in TABLES:
            await tx.execute(f"delete from {table}")
    await job_of(house)
    [job] = await worked_off(house, records)
    assert await rows_in(records) == written
    assert job.result == {"records": job.progress_done}
    assert job.progress_total == job.progress_done


async def test_a_job_finds_the_patient_who_came_later(
    fhir: httpx.AsyncClient, house: RunningServices, records: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = bundle.sender_of
    # As without authentication, where alone references may be left unchecked.
    monkeypatch.setattr(
        interactions,
        "sender_of",
        lambda policies, who, *, unchecked=False: replace(checked(policies, who), unchecked=unchecked),
    )
    early = await fhir.post(
        "/fhir/Observation", json=observation("Patient/late"), headers={"x-references": "unchecked"}
    )
    assert early.status_code == 201, early.text
    await fhir.put("/fhir/Patient/late", json=patient(id="late"))
    await job_of(house)
    await worked_off(house, records)
    assert await total(fhir, "Patient?_has:Observation:patient:code=8867-4") == 1
    assert await total(fhir, "Patient?_has:Observation:subject:status=final") == 1
    everything = (await fhir.get("/fhir/Patient/late/$everything")).json()
    assert [entry["resource"]["resourceType"] for entry in everything["entry"]] == ["Patient", "Observation"]


async def test_a_job_goes_on_where_it_was(
    fhir: httpx.AsyncClient, house: RunningServices, records: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "AT_ONCE", 2)
    for value in "abcde":
        await fhir.post("/fhir/Organization", json=organization(value))
    await job_of(house, types=["Organization"])
    [id] = await jobs_in(records)
    async with house.kit("health").db.transaction() as tx:
        [third] = await tx.fetch("select pk from resource order by pk offset 2 limit 1")
        await tx.execute("insert into reindexing (job, after) values ($1, $2)", id, third["pk"])
    [job] = await worked_off(house, records)
    assert job.result == {"records": 2}


async def test_a_reference_knows_the_resource_it_leads_to(fhir: httpx.AsyncClient, records: Database) -> None:
    await fhir.put("/fhir/Patient/p1", json=patient(id="p1"))
    entries = [
        post(observation("urn:uuid:6d3ad5f6-2a41-4f0c-9d53-f46a43d8d6a5")),
        post(patient(), "urn:uuid:6d3ad5f6-2a41-4f0c-9d53-f46a43d8d6a5"),
        post(observation("Patient/p1", performer=[{"reference": "http://elsewhere/Practitioner/1"}])),
    ]
    answer = (await fhir.post("/fhir", json=transaction(*entries))).json()
    _, new, _ = locations(answer)
    async with records.read() as db:
        led = await db.fetch(
            """select t.type || '/' || t.id as target, count(*)
               from ref left join resource t on t.pk = ref.target group by 1"""
        )
    assert {row["target"]: row["count"] for row in led} == {new: 2, "Patient/p1": 2, None: 1}


async def test_a_new_version_is_found_by_what_it_says_alone(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    await fhir.put("/fhir/RiskAssessment/r", json=RISK | {"id": "r"})
    before = await rows_in(records)
    changed = RISK | {"id": "r", "prediction": [{"probabilityDecimal": 0.5}]}
    assert (await fhir.put("/fhir/RiskAssessment/r", json=changed)).status_code == 200
    after = await rows_in(records)
    assert [len(rows) for rows in after.values()] == [len(rows) for rows in before.values()]
    assert [row[1] for row in after["num"]] != [row[1] for row in before["num"]]


async def test_a_composite_whose_code_stands_second(fhir: httpx.AsyncClient) -> None:
    content = [{"attachment": {"url": "http://example.org/1"}}]
    first = {"resourceType": "DocumentReference", "status": "current", "content": content}
    old = (await fhir.post("/fhir/DocumentReference", json=first)).json()["id"]
    relation = {"code": "replaces", "target": {"reference": f"DocumentReference/{old}"}}
    await fhir.post("/fhir/DocumentReference", json=first | {"relatesTo": [relation]})
    asked = f"DocumentReference?relationship=DocumentReference/{old}$"
    assert [await total(fhir, f"{asked}{code}") for code in ("replaces", "appends")] == [1, 0]


# Parameters of one's own


@pytest.fixture
async def registry(hospital: Hospital) -> httpx.AsyncClient:
    """May say what everybody can search by."""
    return await hospital("registry", scopes="system/SearchParameter.cruds health:search-parameters:write")


PARAMETER = {
    "resourceType": "SearchParameter",
    "url": "http://example.org/eye-colour",
    "name": "eye_colour",
    "status": "active",
    "description": "eye colour",
    "code": "eye-colour",
    "base": ["Patient"],
    "type": "token",
    "expression": "Patient.extension.where(url = 'http://example.org/eye').value.as(code)",
}
EYES = {"extension": [{"url": "http://example.org/eye", "valueCode": "brown"}]}


async def test_a_parameter_of_ones_own_finds_what_was_there_and_what_comes(
    fhir: httpx.AsyncClient, registry: httpx.AsyncClient, house: RunningServices, records: Database
) -> None:
    assert (await fhir.post("/fhir/Patient", json=patient(**EYES))).status_code == 201
    assert (await fhir.get("/fhir/Patient?eye-colour=brown")).status_code == 400
    assert (await registry.post("/fhir/SearchParameter", json=PARAMETER)).status_code == 201
    async with records.read() as db:
        custom.use(await reindexing.found_in(db))
    refused = await fhir.get("/fhir/Patient?eye-colour=brown")
    assert refused.status_code == 400
    assert "being indexed" in refused.text
    [job] = await worked_off(house, records)
    assert job.args == {"types": ["Patient"]}
    async with records.read() as db:
        custom.use(await reindexing.found_in(db))
    assert await total(fhir, "Patient?eye-colour=brown") == 1
    assert (await fhir.post("/fhir/Patient", json=patient(**EYES))).status_code == 201
    assert await total(fhir, "Patient?eye-colour=brown") == 2
    assert await jobs_in(records) == []


async def test_what_was_indexed_by_an_older_table_is_indexed_again(
    fhir: httpx.AsyncClient,
    registry: httpx.AsyncClient,
    house: RunningServices,
    records: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await registry.post("/fhir/SearchParameter", json=PARAMETER)
    await worked_off(house, records)
    monkeypatch.setattr(custom, "spoken", lambda: {"version": "", "kept": {}})
    custom.use(custom.Known())
    location = (await fhir.post("/fhir/Patient", json=patient(**EYES))).headers["location"]
    [job] = await worked_off(house, records)
    async with records.read() as db:
        [row] = await db.fetch("select pk, id from resource where type = 'Patient'")
        custom.use(await reindexing.found_in(db))
    assert row["id"] in location
    assert job.args == {"pks": [row["pk"]]}
    assert await total(fhir, "Patient?eye-colour=brown") == 1


async def test_a_withdrawn_parameter_is_unknown(
    registry: httpx.AsyncClient, house: RunningServices, records: Database
) -> None:
    await registry.put("/fhir/SearchParameter/eyes", json=PARAMETER | {"id": "eyes"})
    await worked_off(house, records)
    again = await registry.put(
        "/fhir/SearchParameter/eyes", json=PARAMETER | {"id": "eyes", "status": "retired"}
    )
    assert again.status_code == 200
    async with records.read() as db:
        custom.use(await reindexing.found_in(db))
    assert custom.known() == custom.Known()


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        ({"expression": "Patient.nosuch"}, "expression"),
        ({"expression": "Patient.name.("}, "expression"),
        ({"expression": "Observation.code"}, "expression"),
        ({"expression": "(" * 900 + "Patient.name" + ")" * 900}, "expression"),
        ({"expression": "Patient.name" + " | Patient.name" * 200}, "expression"),
        ({"expression": "Patient.descendants().where($this = 'x')"}, "expression"),
        ({"expression": "Patient.descendants/* */().where($this = 'x')"}, "expression"),
        ({"expression": "Patient.name.family.where($this.matches('^(a+)+$'))"}, "expression"),
        ({"expression": "Patient.name.family.select($this & $this)"}, "expression"),
        ({"expression": "Patient.name.where(%resource.name.exists())"}, "expression"),
        ({"code": "a:b"}, "code"),
        ({"code": "a.b"}, "code"),
        ({"code": "a b"}, "code"),
        ({"code": "_count"}, "code"),
        ({"type": "composite"}, "type"),
        ({"type": "special"}, "type"),
    ],
)
async def test_a_parameter_that_finds_nothing_is_refused(
    registry: httpx.AsyncClient, changes: dict[str, str], element: str
) -> None:
    answer = await registry.post("/fhir/SearchParameter", json=PARAMETER | changes)
    assert answer.status_code == 400, answer.text
    assert [path for _, path in issues(answer.json())] == [f"SearchParameter.{element}"]


async def test_a_code_is_given_once_and_those_of_fhir_hold(
    registry: httpx.AsyncClient, records: Database
) -> None:
    assert (await registry.post("/fhir/SearchParameter", json=PARAMETER)).status_code == 201
    other = PARAMETER | {"url": "http://example.org/other"}
    assert (await registry.post("/fhir/SearchParameter", json=other)).status_code == 409
    own = PARAMETER | {"code": "name", "url": "http://example.org/name"}
    assert (await registry.post("/fhir/SearchParameter", json=own)).status_code == 201
    async with records.read() as db:
        codes = [row["code"] for row in await db.fetch("select code from search_parameter")]
    assert codes == ["eye-colour"]


async def test_only_who_may_says_what_everybody_can_search_by(
    fhir: httpx.AsyncClient, registry: httpx.AsyncClient, records: Database
) -> None:
    made = await registry.post("/fhir/SearchParameter", json=PARAMETER)
    place = f"SearchParameter/{made.json()['id']}"
    mine = PARAMETER | {"code": "mine"}
    changes = [{"op": "replace", "path": "/status", "value": "retired"}]
    entry = {"resource": mine, "request": {"method": "POST", "url": "SearchParameter"}}
    patched = {"content-type": "application/json-patch+json"}
    for answer in (
        await fhir.post("/fhir/SearchParameter", json=mine),
        await fhir.put("/fhir/SearchParameter/mine", json=mine | {"id": "mine"}),
        await fhir.put(f"/fhir/{place}", json=made.json() | {"status": "retired"}),
        await fhir.patch(f"/fhir/{place}", json=changes, headers=patched),
        await fhir.delete(f"/fhir/{place}"),
        await fhir.delete(f"/fhir/SearchParameter?url={PARAMETER['url']}"),
        await fhir.post("/fhir", json=transaction(entry)),
    ):
        assert answer.status_code == 403, answer.text
        assert "health:search-parameters:write" in answer.text
    batch = await fhir.post("/fhir", json=transaction(entry) | {"type": "batch"})
    assert [one["response"]["status"] for one in batch.json()["entry"]] == ["403 Forbidden"]
    asked = await fhir.post(
        "/fhir/$import",
        content=orjson.dumps(mine),
        headers={"content-type": "application/fhir+ndjson", "prefer": "respond-async"},
    )
    said = await done(fhir, records, asked.headers["content-location"])
    assert "health:search-parameters:write" in "".join(await lines(fhir, said["error"]))
    async with records.read() as db:
        codes = [row["code"] for row in await db.fetch("select code from search_parameter")]
    assert codes == ["eye-colour"]
