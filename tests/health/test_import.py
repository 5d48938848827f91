"""`$import`: every line is taken or refused with its place, in any order, whatever happens on the way."""

import json
from typing import Any, cast
from uuid import UUID

import httpx
import pytest

from health.fhir.bulk import load
from health.fhir.workers import Workers
from health.repository import imports
from services.kit.canonical import chain
from services.kit.database import Connection, Database
from services.kit.jobs.running import run
from tests.health.bulk import ASYNC, asked, done, job_of, killed_when, lines
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    body,
    citizen_number,
    observation,
    organization,
    patient,
)
from tests.health.synthea import as_lines, bundles

NDJSON = {"content-type": "application/fhir+ndjson"}
SLOWED = """
from health.fhir.bulk import load
load.CHUNK, append = 20, load.append
load.append = lambda *said: (time.sleep(0.1), append(*said))[1]
"""
TABLES = ("resource", "history", "tok", "ref", "dat", "str", "num", "qty", "uri", "patient_person", "care")


@pytest.fixture(autouse=True)
def kept_workers(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "Workers", lambda: workers)


def ndjson(*resources: Any) -> bytes:
    return b"".join((one if isinstance(one, bytes) else body(one)) + b"\n" for one in resources)


async def loaded(client: httpx.AsyncClient, records: Database, *resources: Any) -> dict[str, Any]:
    """The manifest of an import of these lines."""
    location = await asked(client, "/fhir/$import", method="POST", content=ndjson(*resources), headers=NDJSON)
    return await done(client, records, location)


async def outcomes(client: httpx.AsyncClient, manifest: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    """Of each place what was said of it: what was taken and what was refused."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for line in await lines(client, [*manifest["output"], *manifest["error"]]):
        for issue in json.loads(line)["issue"]:
            place = issue["location"][0]
            about = issue["diagnostics"] if issue["severity"] == "information" else issue.get("expression")
            found.setdefault(place, []).append((issue["code"], about))
    return found


async def state(records: Database) -> dict[str, Any]:
    """Everything that is kept, but for times and the keys that were given out."""
    async with records.read() as db:
        rows = await db.fetch(
            """select r.type, r.id, r.version, p.type || '/' || p.id as patient, r.organisation, r.client,
                   replace(r.body, substring(r.body from '"lastUpdated":"[^"]*"'), '') as body
               from resource r left join resource p on p.pk = r.pt order by 1, 2"""
        )
        counts = {table: await db.fetchval(f"select count(*) from {table}") for table in TABLES}
        keys = await db.fetch(
            """select r.type, r.id, t.hash from tok t join resource r using (pk) order by 1, 2, 3"""
        )
        leads = await db.fetch(
            """select r.type, r.id, f.hash, o.type, o.id from ref f join resource r using (pk)
               left join resource o on o.pk = f.target order by 1, 2, 3"""
        )
    return {"kept": rows, "counts": counts, "keys": keys, "leads": leads}


def family(number: int, *, measured: int = 3) -> list[dict[str, Any]]:
    """Measurements before the patient they are of, and the patient before the organisation."""
    found = [
        observation(f"Patient/p{number}", id=f"o{number}-{n}", valueQuantity={"value": n})
        for n in range(measured)
    ]
    who = patient(("urn:test:mrn", str(number)), id=f"p{number}")
    who["managingOrganization"] = {"reference": f"Organization/h{number}"}
    return [*found, who, organization(str(number)) | {"id": f"h{number}"}]


def hospitals(number: int) -> list[dict[str, Any]]:
    """What is kept first, and without identity, which a process beside this one does not reach."""
    return [organization(f"more-{n}") | {"id": f"more-{n}"} for n in range(number)]


async def test_lines_may_refer_to_lines_in_any_order(fhir: httpx.AsyncClient, records: Database) -> None:
    manifest = await loaded(fhir, records, *family(1), b"", observation("Patient/p1"))
    assert [(file["type"], file["count"]) for file in manifest["output"]] == [("OperationOutcome", 6)]
    assert manifest["error"] == []
    said = await outcomes(fhir, manifest)
    assert said["input 1, line 4"] == [("informational", "201 Created: Patient/p1/_history/1")]
    assert "input 1, line 6" not in said
    found = (await fhir.get("/fhir/Observation?patient=Patient/p1")).json()
    assert len(found["entry"]) == 4
    async with records.read() as db:
        row = await db.fetchrow(
            """select h.link, r.client, r.body, p.sector_id from resource r join history h using (pk)
               join patient_person p on p.pt = r.pk where r.type = 'Patient'"""
        )
        leaves = [json.loads(one["body"]) for one in await db.fetch("select body from leaf")]
        events = [one["type"] for one in await db.fetch("select type from outbox")]
    assert row is not None
    assert row["link"] == chain(None, f"{row['client']}\n{row['body']}".encode())
    assert row["sector_id"].startswith("h1_")
    taken = [leaf for leaf in leaves if leaf["action"] == "fhir.import"]
    assert [(leaf["records"], leaf["subject"]) for leaf in taken] == [(6, row["sector_id"])]
    assert events.count("health.records.accepted") == 1


async def test_it_comes_to_what_single_updates_come_to(hospital: Hospital, records: Database) -> None:
    fhir = await hospital()
    everything = [one for n in range(3) for one in family(n)]
    for one in reversed(everything):
        answer = await fhir.put(f"/fhir/{one['resourceType']}/{one['id']}", json=one)
        assert answer.status_code == 201, answer.text
    singly = await state(records)
    manifest = await loaded(fhir, records, *everything)
    assert all("200 OK" in about for said in (await outcomes(fhir, manifest)).values() for _, about in said)
    assert await state(records) == singly


async def test_every_line_is_refused_for_itself_and_with_its_place(
    hospital: Hospital, records: Database
) -> None:
    fhir, other = await hospital(), await hospital("other")
    await other.put("/fhir/Patient/theirs", json=patient(id="theirs"))
    await other.put("/fhir/Observation/gone", json=observation("Patient/theirs", id="gone"))
    await other.delete("/fhir/Observation/gone")
    wrong = patient((CITIZEN_NUMBER, citizen_number(1)[:-1] + "#"), id="wrong")
    manifest = await loaded(
        fhir,
        records,
        b'{"resourceType": "Patient", ',
        {"resourceType": "Patienten"},
        patient(id="a", gender="purple"),
        patient(id="theirs"),
        patient(id="good"),
        patient(id="good", active=True),
        observation("Patient/nobody", id="lost"),
        observation("Patient/wrong", id="lost-with-it"),
        {"resourceType": "Provenance", "id": "lost-too", "recorded": "2026-05-01T08:00:00Z",
         "target": [{"reference": "Observation/lost"}], "agent": [{"who": {"reference": "Patient/good"}}]},
        wrong,
        observation("Patient/theirs", id="not-theirs"),
        observation("Patient/good", id="gone"),
    )  # fmt: skip
    said = await outcomes(fhir, manifest)
    assert said == {
        "input 1, line 1, column 29": [("structure", None)],
        "input 1, line 2, column 1": [("structure", ["resourceType"])],
        "input 1, line 3, column 50": [("code-invalid", ["Patient.gender"])],
        "input 1, line 4": [("forbidden", None)],
        "input 1, line 5": [("informational", "201 Created: Patient/good/_history/1")],
        "input 1, line 6": [("duplicate", None)],
        "input 1, line 7": [("not-found", ["Observation.subject.reference"])],
        "input 1, line 8": [("not-found", ["Observation.subject.reference"])],
        "input 1, line 9": [("not-found", ["Provenance.target[0].reference"])],
        "input 1, line 10": [("value", ["Patient.identifier[0].value"])],
        "input 1, line 11": [("not-found", ["Observation.subject.reference"])],
        "input 1, line 12": [("forbidden", None)],
    }
    assert (sum(f["count"] for f in manifest["output"]), sum(f["count"] for f in manifest["error"])) == (
        1,
        11,
    )
    async with records.read() as db:
        assert await db.fetchval("select count(*) from resource where client = 'hospital-1'") == 1
        assert await db.fetchval("select count(*) from bulk_line") == 0
        leaves = [json.loads(one["body"]) for one in await db.fetch("select body from leaf")]
    [refused] = [leaf for leaf in leaves if leaf["outcome"] == "refused"]
    assert (refused["action"], refused["subjects_count"]) == ("fhir.import", 1)


async def test_the_same_file_again_adds_nothing(fhir: httpx.AsyncClient, records: Database) -> None:
    same = [*family(1), observation("Patient/p1")]
    await loaded(fhir, records, *same)
    first = await state(records)
    changed = next(one for one in first["kept"] if one["type"] == "Observation" and len(one["id"]) == 36)
    again = await loaded(fhir, records, *same)
    assert await state(records) == first
    said = [about for one in (await outcomes(fhir, again)).values() for _, about in one]
    assert len(said) == 6
    assert all("200 OK" in about for about in said)
    path = f"/fhir/Observation/{changed['id']}"
    later = json.loads((await fhir.get(path)).text) | {"status": "amended"}
    assert (await fhir.put(path, json=later)).status_code == 200
    await loaded(fhir, records, *same)
    assert (await fhir.get(path)).json()["status"] == "amended", (
        "a line without an id makes, it never changes"
    )


async def test_a_request_that_is_under_way_is_not_taken_twice(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    both = [
        await asked(fhir, "/fhir/$import", method="POST", content=ndjson(*family(1)), headers=NDJSON)
        for _ in range(2)
    ]
    assert both[0] == both[1]


async def test_however_many_lines_there_are_each_is_looked_for_by_its_id(records: Database) -> None:
    plan = []

    class Explained:
        async def fetch(self, sql: str, *values: Any) -> list[Any]:
            plan.extend(await tx.fetch(f"explain {sql}", *values))
            return []

    async with records.transaction() as tx:
        await tx.execute("set local enable_seqscan = off")
        connection = cast("Connection", Explained())
        await imports.of_others(connection, UUID(int=1), client="x", organisation=None)
    entered = [row[0] for row in plan if "Index Cond: ((type = " in row[0]]
    assert len(entered) == 2, plan
    assert all("AND (id = " in condition for condition in entered)


async def test_uploads_are_taken_in_the_order_named(fhir: httpx.AsyncClient, records: Database) -> None:
    *measured, who, organisation = family(1)
    urls = []
    for some in (measured, [who], [organisation]):
        answer = await fhir.post("/fhir/bulk/uploads", content=ndjson(*some), headers=NDJSON)
        assert answer.status_code == 201, answer.text
        urls.append(answer.headers["location"])
    named = [_input(urls[0], "Observation"), _input(urls[1], "Observation"), _input(urls[2])]
    location = await asked(fhir, "/fhir/$import", method="POST", json=_parameters(*named))
    said = await outcomes(fhir, await done(fhir, records, location))
    assert said["input 3, line 1"] == [("informational", "201 Created: Organization/h1/_history/1")]
    assert said["input 2, line 1, column 18"] == [("invalid", ["Patient.resourceType"])]
    assert said["input 1, line 2"] == [("not-found", ["Observation.subject.reference"])]
    answer = await fhir.post("/fhir/$import", json=_parameters(*named), headers=ASYNC)
    assert answer.status_code == 404, "an upload is imported once"


def _input(url: str, kind: str | None = None) -> dict[str, Any]:
    parts = [{"name": "url", "valueUri": url}]
    return {"name": "input", "part": parts + ([{"name": "type", "valueCode": kind}] if kind else [])}


def _parameters(*inputs: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(inputs)}


async def test_what_cannot_be_done_is_refused(hospital: Hospital) -> None:
    fhir = await hospital()
    nothing = _parameters(_input(f"{str(fhir.base_url).rstrip('/')}/fhir/bulk/uploads/{UUID(int=1)}"))
    foreign = _parameters(_input("https://elsewhere.example/Patient.ndjson"))
    asked_for: list[tuple[int, str, dict[str, Any], dict[str, str]]] = [
        (400, "/fhir/$import", {"content": b"{}"}, NDJSON),
        (415, "/fhir/$import", {"content": b"{}"}, {"content-type": "text/csv", **ASYNC}),
        (415, "/fhir/bulk/uploads", {"json": {}}, {}),
        (400, "/fhir/$import", {"json": _parameters()}, ASYNC),
        (400, "/fhir/$import", {"json": foreign}, ASYNC),
        (404, "/fhir/$import", {"json": nothing}, ASYNC),
        (400, "/fhir/$import", {"json": _parameters({"name": "mode", "valueCode": "x"})}, ASYNC),
    ]
    for status, path, how, headers in asked_for:
        answer = await fhir.request("POST", path, headers=headers, **how)
        assert answer.status_code == status, (path, how, answer.text)
        assert answer.json()["resourceType"] == "OperationOutcome"
    for scopes in ("system/*.rs", "patient/*.rs", None):
        reader = await hospital(scopes=scopes)
        answer = await reader.post("/fhir/bulk/uploads", content=b"{}", headers=NDJSON)
        assert answer.status_code == (401 if scopes is None else 403)


async def test_lines_beyond_the_scopes_are_refused(hospital: Hospital, records: Database) -> None:
    narrow = await hospital(scopes="system/Patient.cu")
    said = await outcomes(narrow, await loaded(narrow, records, patient(id="p"), organization("1")))
    assert said["input 1, line 1"] == [("informational", "201 Created: Patient/p/_history/1")]
    assert said["input 1, line 2, column 1"] == [("forbidden", ["Organization"])]


async def test_a_killed_worker_costs_time_and_nothing_else(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    everything = [*(one for n in range(20) for one in family(n)), *hospitals(80)]
    expected = sorted(f"{one['resourceType']}/{one['id']}" for one in everything)
    location = await asked(fhir, "/fhir/$import", method="POST", content=ndjson(*everything), headers=NDJSON)

    async def some_are_kept() -> bool:
        async with records.read() as db:
            return int(await db.fetchval("select count(*) from resource")) > 30

    await killed_when(some_are_kept, await job_of(records, location), records, slowed=SLOWED)
    async with records.read() as db:
        assert await db.fetchval("select count(*) from resource") < len(everything)
    manifest = await done(fhir, records, location)
    said = await outcomes(fhir, manifest)
    assert all("201 Created" in about for one in said.values() for _, about in one)
    assert len(said) == len(everything)
    killed = await state(records)
    assert sorted(f"{row['type']}/{row['id']}" for row in killed["kept"]) == expected
    assert {row["version"] for row in killed["kept"]} == {1}
    await loaded(fhir, records, *everything)
    assert await state(records) == killed


async def test_after_a_crash_of_the_database_it_goes_on_from_the_files(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    everything = [*(one for n in range(5) for one in family(n)), *hospitals(80)]
    location = await asked(fhir, "/fhir/$import", method="POST", content=ndjson(*everything), headers=NDJSON)

    async def some_are_kept() -> bool:
        async with records.read() as db:
            return int(await db.fetchval("select count(*) from resource")) > 30

    await killed_when(some_are_kept, await job_of(records, location), records, slowed=SLOWED)
    async with records.transaction() as tx:
        for unlogged in ("bulk_line", "bulk_staged"):
            await tx.execute(f"delete from {unlogged}")
    said = await outcomes(fhir, await done(fhir, records, location))
    assert len(said) == len(everything)
    assert {row["version"] for row in (await state(records))["kept"]} == {1}


async def test_one_that_is_deleted_ends_and_what_was_taken_stays(
    fhir: httpx.AsyncClient, records: Database
) -> None:
    location = await asked(fhir, "/fhir/$import", method="POST", content=ndjson(*family(1)), headers=NDJSON)
    job = await job_of(records, location)
    assert (await fhir.delete(location)).status_code == 202
    await run("health", job)
    assert (await fhir.get(location)).status_code == 404
    async with records.read() as db:
        for table in ("resource", "bulk", "bulk_file", "bulk_part", "bulk_line"):
            assert await db.fetchval(f"select count(*) from {table}") == 0, table


@pytest.mark.long
async def test_a_synthea_population_comes_in_and_out_as_it_is(hospital: Hospital, records: Database) -> None:
    fhir = await hospital(purpose="operations")
    sent = list(as_lines(bundles(5)))
    manifest = await loaded(fhir, records, *sent)
    assert manifest["error"] == []
    location = await asked(fhir, "/fhir/$export")
    out = await lines(fhir, (await done(fhir, records, location))["output"])
    assert sorted(map(bare, out)) == sorted(map(bare, sent))


def bare(line: bytes | str) -> str:
    """A line without what the server sets, decimals as they are written."""
    found = json.loads(line, parse_float=lambda digits: f"decimal {digits}")
    found.pop("meta", None)
    return json.dumps(found, sort_keys=True)
