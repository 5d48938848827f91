"""`$export`: everything the asker may see and nothing else, byte by byte, whatever happens on the way."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from health.fhir.bulk import files as bulk_files
from health.repository.bulk import OVER
from services.kit.database import Database
from services.kit.jobs.running import run
from tests.health.bulk import ASYNC, asked, done, job_of, killed_when, lines, resources
from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import (
    body,
    citizen_number,
    issues,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.support.running import RunningServices

MRN = "urn:test:mrn"
SLOWED = """
from health.fhir.bulk import files
files.PART_BYTES, packed = 20_000, files._packed
files._packed = lambda *said: (time.sleep(0.2), packed(*said))[1]
"""
Exporter = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def exporter(hospital: Hospital) -> Exporter:
    """A hospital's client that says what its export is for."""

    async def client(name: str = "hospital-1", **who: Any) -> httpx.AsyncClient:
        return await hospital(name, **{"purpose": "operations", **who})

    return client


async def kept(client: httpx.AsyncClient, number: int, *, measured: int = 2) -> list[str]:
    """`Type/id` of a patient and some measurements."""
    who = f"urn:uuid:00000000-0000-4000-8000-{number:012d}"
    entries = [post(patient((MRN, str(number))), who)]
    entries += [post(observation(who, valueQuantity={"value": 72.5 + n})) for n in range(measured)]
    answer = await client.post("/fhir", content=body(transaction(*entries)))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())


async def leaves(records: Database, action: str) -> list[dict[str, Any]]:
    async with records.read() as db:
        rows = await db.fetch("select body from leaf order by seq")
    return [leaf for row in rows if (leaf := json.loads(row["body"]))["action"] == action]


async def test_everything_comes_out_as_it_is_read(
    exporter: Exporter, records: Database, house: RunningServices
) -> None:
    hospital = await exporter()
    mine = [*await kept(hospital, 1), *await kept(hospital, 2)]
    precise = observation(mine[0]).copy()
    raw = body(precise)[:-1] + b', "valueQuantity": {"value": 72.50}}'
    mine.append(
        (await hospital.post("/fhir/Observation", content=raw)).headers["location"].split("/fhir/")[1]
    )
    mine[-1] = mine[-1].partition("/_history")[0]
    other = await kept(await exporter("other"), 3)
    location = await asked(hospital, "/fhir/$export")
    waiting = await hospital.get(location)
    assert waiting.status_code == 202
    assert {"x-progress", "retry-after"} <= waiting.headers.keys()
    manifest = await done(hospital, records, location)
    assert manifest["request"].endswith("/fhir/$export")
    assert manifest["requiresAccessToken"] is True
    assert manifest["error"] == manifest["deleted"] == []
    written = await lines(hospital, manifest["output"])
    read = {local: (await hospital.get(f"/fhir/{local}")).text for local in mine}
    assert sorted(written) == sorted(read.values())
    assert not set(other) & set(resources(written))
    assert all(
        one["meta"]["lastUpdated"] <= manifest["transactionTime"] for one in resources(written).values()
    )
    [leaf] = await leaves(records, "fhir.export")
    assert (leaf["records"], leaf["relation"], leaf["subjects_count"]) == (7, "custodian", 2)
    assert leaf["purpose"] == "operations"


async def test_a_file_is_sent_compressed_to_who_takes_that(
    exporter: Exporter, records: Database, house: RunningServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital = await exporter()
    await kept(hospital, 1, measured=40)
    monkeypatch.setattr(bulk_files, "PART_BYTES", 5_000)
    manifest = await done(hospital, records, await asked(hospital, "/fhir/$export?_type=Observation"))
    [file] = manifest["output"]
    packed = await hospital.get(file["url"], headers={"accept-encoding": "gzip"})
    plain = await hospital.get(file["url"], headers={"accept-encoding": "identity"})
    refused = await hospital.get(file["url"], headers={"accept-encoding": "gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.content == plain.content == refused.content
    assert plain.headers["content-type"].startswith("application/fhir+ndjson")
    chunks = [
        chunk async for chunk in bulk_files.ndjson(records, UUID(file["url"].split("/")[-2]), "Observation")
    ]
    assert b"".join(chunks) == plain.content
    assert len(chunks) > 1
    assert (await hospital.get(file["url"], headers={"accept": "text/html"})).status_code == 406
    await flush_leaves(house)
    assert len(await leaves(records, "fhir.export.fetched")) == 3


@pytest.mark.parametrize(
    ("path", "headers", "status", "named"),
    [
        ("/fhir/$export", {"prefer": ""}, 400, "Prefer"),
        ("/fhir/$export?_elements=id", {}, 400, "_elements"),
        ("/fhir/$export?includeAssociatedData=x", {}, 400, "includeAssociatedData"),
        ("/fhir/$export?_outputFormat=text/csv", {}, 400, "_outputFormat"),
        ("/fhir/$export?_since=yesterday", {}, 400, "_since"),
        ("/fhir/$export?_since=2026-05-01", {}, 400, "_since"),
        ("/fhir/$export?_type=Patiente", {}, 400, "_type"),
        ("/fhir/Patient/$export?patient=Patient/1", {}, 400, "patient"),
        ("/fhir/$export?_typeFilter=Observation", {}, 400, "_typeFilter"),
        ("/fhir/$export?_type=Patient&_typeFilter=Observation%3Fcode%3Dx", {}, 400, "_typeFilter"),
        ("/fhir/$export?_typeFilter=Observation%3Fcolour%3Dred", {}, 400, "_typeFilter"),
        (f"/fhir/$export?_typeFilter=Patient%3Fidentifier%3D{citizen_number(1)}", {}, 400, "_typeFilter"),
        ("/fhir/Group/none/$export", {}, 404, None),
    ],
)
async def test_what_cannot_be_done_is_refused(
    exporter: Exporter, path: str, headers: dict[str, str], status: int, named: str | None
) -> None:
    answer = await (await exporter()).get(path, headers={**ASYNC, **headers})
    assert answer.status_code == status, answer.text
    assert [where for _, where in issues(answer.json())] == [named]


async def test_only_an_organisation_with_the_right_and_a_purpose_may(
    exporter: Exporter, records: Database
) -> None:
    hospital = await exporter()
    callers: list[tuple[int, dict[str, Any]]] = [
        (401, {"scopes": None}),
        (403, {"purpose": None}),
        (403, {"scopes": "system/*.c"}),
        (403, {"scopes": "patient/*.rs", "kind": "person", "sector_id": "h1_x"}),
        (403, {"scopes": "user/*.rs", "kind": "staff", "roles": ["clinician"], "purpose": "treatment"}),
    ]
    for status, who in callers:
        answer = await (await exporter(**who)).get("/fhir/$export", headers=ASYNC)
        assert answer.status_code == status, (who, answer.text)
    research = await exporter(purpose="research")
    await kept(hospital, 9)
    manifest = await done(research, records, await asked(research, "/fhir/$export"))
    assert manifest["output"] == [], "for research a person's consent is needed, or the exchange"
    narrow = await exporter(scopes="system/Patient.rs")
    assert (await narrow.get("/fhir/$export?_type=Observation", headers=ASYNC)).status_code == 403
    manifest = await done(narrow, records, await asked(narrow, "/fhir/$export"))
    assert [file["type"] for file in manifest["output"]] == ["Patient"]
    wide = await done(hospital, records, await asked(hospital, "/fhir/$export?_type=Observation"))
    assert (await narrow.get(wide["output"][0]["url"])).status_code == 403
    assert (await (await exporter(purpose=None)).get(wide["output"][0]["url"])).status_code == 403
    # nor what one asked for by wider scopes, or for another purpose
    narrowed = await exporter(scopes="system/Observation.rs?category=vital-signs")
    assert (await narrowed.get(wide["output"][0]["url"])).status_code == 403
    assert (await (await exporter(purpose="treatment")).get(wide["output"][0]["url"])).status_code == 403
    assert (await hospital.get(wide["output"][0]["url"])).status_code == 200


async def test_nobody_else_has_anything_of_it(exporter: Exporter, records: Database) -> None:
    hospital, other = await exporter(), await exporter("other")
    await kept(hospital, 1)
    location = await asked(hospital, "/fhir/$export")
    manifest = await done(hospital, records, location)
    for path in (location, manifest["output"][0]["url"]):
        assert (await other.get(path)).status_code == 404
        assert (await (await exporter(scopes=None)).get(path)).status_code == 401
    assert (await other.delete(location)).status_code == 404
    assert (await hospital.get(location)).status_code == 200


async def test_rights_are_looked_at_again_when_it_runs(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    await kept(hospital, 1)
    location = await asked(hospital, "/fhir/$export")
    async with records.transaction() as tx:
        await tx.execute("update bulk set who = who - 'purpose' || '{\"purpose\": null}'")
    await run("health", await job_of(records, location))
    answer = await hospital.get(location)
    assert answer.status_code == 500
    assert list(issues(answer.json())) == [("exception", None)]


async def test_a_group_is_its_members_as_far_as_one_may_see_them(
    exporter: Exporter, records: Database
) -> None:
    hospital = await exporter()
    first, second, left = [await kept(hospital, n) for n in (1, 2, 3)]
    other = await exporter("other")
    elsewhere = await kept(other, 4)
    nobodys = await hospital.post("/fhir/Observation", content=body(observation()))
    members: list[dict[str, Any]] = [{"entity": {"reference": one[0]}} for one in (first, second)]
    members.append({"entity": {"reference": left[0]}, "inactive": True})
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": members}
    path = (await hospital.post("/fhir/Group", content=body(group))).headers["location"]
    id = path.split("/Group/")[1].partition("/")[0]
    manifest = await done(hospital, records, await asked(hospital, f"/fhir/Group/{id}/$export"))
    itself = f"Group/{id}"
    assert resources(await lines(hospital, manifest["output"])).keys() == {*first, *second, itself}
    answer = await other.get(f"/fhir/Group/{id}/$export", headers=ASYNC)
    assert answer.status_code == 404
    manifest = await done(hospital, records, await asked(hospital, "/fhir/Patient/$export"))
    everybody = resources(await lines(hospital, manifest["output"])).keys()
    assert everybody == {*first, *second, *left, itself}
    assert nobodys.json()["id"] not in str(everybody)
    chosen = {"resourceType": "Parameters", "parameter": [_patient(second[0])]}
    location = await asked(hospital, "/fhir/Patient/$export", method="POST", json=chosen)
    manifest = await done(hospital, records, location)
    assert resources(await lines(hospital, manifest["output"])).keys() == {*second}
    hidden = {"resourceType": "Parameters", "parameter": [_patient(elsewhere[0])]}
    answer = await hospital.post("/fhir/Patient/$export", json=hidden, headers=ASYNC)
    assert answer.status_code == 404


def _patient(local: str) -> dict[str, Any]:
    return {"name": "patient", "valueReference": {"reference": local}}


async def test_a_filter_chooses_among_its_type(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    [who, _, second] = await kept(hospital, 1)
    third = await hospital.post("/fhir/Observation", content=body(observation(who, "29463-7")))
    third_id = third.headers["location"].split("/fhir/")[1].partition("/_history")[0]
    asked_for = {"_typeFilter": ["Observation?code=29463-7", "Observation?value-quantity=gt73"]}
    location = await asked(hospital, "/fhir/$export", params=asked_for)
    manifest = await done(hospital, records, location)
    assert resources(await lines(hospital, manifest["output"])).keys() == {who, second, third_id}


async def test_what_changed_and_what_went_since_an_export(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    before = await kept(hospital, 1)
    first = await done(hospital, records, await asked(hospital, "/fhir/$export"))
    since = first["transactionTime"]
    after = await kept(hospital, 2, measured=1)
    gone = before[1]
    assert (await hospital.delete(f"/fhir/{gone}")).status_code == 204
    location = await asked(hospital, "/fhir/$export", params={"_since": since})
    manifest = await done(hospital, records, location)
    assert resources(await lines(hospital, manifest["output"])).keys() == {*after}
    bundles = [json.loads(line) for line in await lines(hospital, manifest["deleted"])]
    assert [entry["request"] for bundle in bundles for entry in bundle["entry"]] == [
        {"method": "DELETE", "url": gone}
    ]
    other = await exporter("other")
    manifest = await done(other, records, await asked(other, "/fhir/$export", params={"_since": since}))
    assert manifest["output"] == manifest["deleted"] == []
    until = await asked(hospital, "/fhir/$export", params={"_until": since})
    manifest = await done(hospital, records, until)
    assert resources(await lines(hospital, manifest["output"])).keys() == {*before} - {gone}


async def test_a_commit_under_way_moves_the_time_up_to_which_all_is_there(
    exporter: Exporter, records: Database
) -> None:
    hospital = await exporter()
    async with records.transaction() as tx:
        began = await tx.fetchval("select now()")
        manifest = await done(hospital, records, await asked(hospital, "/fhir/$export"))
    assert manifest["transactionTime"] < began.isoformat()


async def test_a_killed_worker_costs_time_and_nothing_else(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    mine = [local for n in range(4) for local in await kept(hospital, n, measured=300)]
    location = await asked(hospital, "/fhir/$export")
    job = await job_of(records, location)

    async def begun() -> bool:
        async with records.read() as db:
            return bool(await db.fetchval("select count(*) from bulk_part"))

    await killed_when(begun, job, records, slowed=SLOWED)
    assert (await hospital.get(location)).status_code == 202
    manifest = await done(hospital, records, location)
    assert resources(await lines(hospital, manifest["output"])).keys() == {*mine}
    assert len(await lines(hospital, manifest["output"])) == len(mine)


async def test_too_many_at_once_and_one_that_is_deleted(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    await kept(hospital, 1)
    waiting = [await asked(hospital, "/fhir/$export") for _ in range(3)]
    refused = await hospital.get("/fhir/$export", headers=ASYNC)
    assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
    assert (await hospital.delete(waiting[0])).status_code == 202
    assert (await hospital.get(waiting[0])).status_code == 404
    manifest = await done(hospital, records, await asked(hospital, "/fhir/$export"))
    file = manifest["output"][0]["url"]
    assert (await hospital.delete(file.rpartition("/")[0])).status_code == 202
    assert (await hospital.get(file)).status_code == 404
    async with records.read() as db:
        assert await db.fetchval("select count(*) from bulk_part") == 0


async def test_files_are_kept_for_a_while(exporter: Exporter, records: Database) -> None:
    hospital = await exporter()
    await kept(hospital, 1)
    location = await asked(hospital, "/fhir/$export")
    file = (await done(hospital, records, location))["output"][0]["url"]
    assert "expires" in (await hospital.get(location)).headers
    async with records.transaction() as tx:
        await tx.execute("update bulk set expires_at = now() - interval '1 second'")
        await tx.execute("update bulk_file set expires_at = now() - interval '1 second'")
    assert (await hospital.get(file)).status_code == 404
    async with records.transaction() as tx:
        for statement in OVER.values():
            await tx.execute(statement, 100)
        assert await tx.fetchval("select count(*) from bulk_part") == 0
    assert (await hospital.get(location)).status_code == 404
