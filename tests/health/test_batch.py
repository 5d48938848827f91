"""`batch` Bundles: each entry by itself (FHIR R4 http.html#transaction)."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse
from starlette.routing import Route

from health.fhir import batch as doors
from health.fhir.entries import Request
from tests.health.conftest import Hospital
from tests.health.support import (
    FHIR_JSON,
    observation,
    organization,
    patient,
    post,
    put,
    statuses,
    transaction,
)


def batch(*entries: dict[str, Any]) -> dict[str, Any]:
    return {**transaction(*entries), "type": "batch"}


def ask(method: str, url: str, **request: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url, **request}}


async def sent(client: httpx.AsyncClient, *entries: dict[str, Any], **headers: str) -> Any:
    response = await client.post("/fhir", json=batch(*entries), headers=headers)
    assert response.status_code == 200, response.text
    found = response.json()
    assert found["type"] == "batch-response"
    return found


async def test_what_is_wrong_with_one_is_no_concern_of_the_others(fhir: httpx.AsyncClient) -> None:
    await fhir.put("/fhir/Organization/g", json=organization("G") | {"id": "g"})
    answer = await sent(
        fhir,
        post(organization("A")),
        post(patient(gender="purple")),
        put(observation("Patient/none", id="o")),
        ask("GET", "Organization?identifier=urn:oid:1.2.3|A"),
        ask("GET", "Organization/never"),
        ask("DELETE", "Organization/g", ifMatch='W/"7"'),
        ask("GET", "Organization/g", ifNoneMatch='W/"1"'),
        ask("GET", "Organization/g/_history"),
        ask("HEAD", "Organization/g"),
        post(organization("A"), ifNoneExist="identifier=urn:oid:1.2.3|A"),
        ask("GET", "http://elsewhere.example/fhir/Organization/g"),
        ask("POST", ""),
    )
    said = [status[:3] for status in statuses(answer)]
    assert said[1:9] == ["400", "422", "200", "404", "412", "304", "200", "200"]
    assert said[10:] == ["400", "400"]
    created, wrong, dangling, found, *_ = answer["entry"]
    # Of the two that may make it one does.
    assert {said[0], said[9]} <= {"201", "200"}
    assert wrong["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert dangling["response"]["outcome"]["issue"][0]["code"] == "not-found"
    assert found["resource"]["type"] == "searchset"
    assert created["response"]["location"].startswith("Organization/")
    assert created["response"]["etag"] == 'W/"1"'
    assert answer["entry"][6]["response"]["etag"] == 'W/"1"'
    assert answer["entry"][7]["resource"]["type"] == "history"
    assert "resource" not in answer["entry"][8]


async def test_sent_again_it_makes_nothing_twice(fhir: httpx.AsyncClient) -> None:
    entries = (post(observation(code="x")), post(patient(gender="purple")))
    first, second = await sent(fhir, *entries), await sent(fhir, *entries)
    assert first["entry"][0]["response"]["location"] == second["entry"][0]["response"]["location"]
    other = await sent(fhir, *entries, **{"idempotency-key": "another"})
    assert other["entry"][0]["response"]["location"] != first["entry"][0]["response"]["location"]


async def test_a_key_counts_for_every_change(fhir: httpx.AsyncClient) -> None:
    await fhir.put("/fhir/Patient/p", json=patient(id="p"))
    data = base64.b64encode(b'[{"op":"add","path":"/note","value":[{"text":"a"}]}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    await fhir.put("/fhir/Observation/q", json=observation(id="q"))
    entries = (
        put(observation(id="o")),
        {"resource": binary, **ask("PATCH", "Observation/q")},
        ask("DELETE", "Patient/p"),
    )
    key = {"idempotency-key": "k"}
    await sent(fhir, *entries, **key)
    await fhir.put("/fhir/Observation/o", json=observation(id="o", code="x"))
    await fhir.put("/fhir/Observation/q", json=observation(id="q"))
    await fhir.put("/fhir/Patient/p", json=patient(id="p"))
    assert [status[:3] for status in statuses(await sent(fhir, *entries, **key))] == ["201", "200", "204"]
    versions = [
        (await fhir.get(f"/fhir/{one}")).headers["etag"]
        for one in ("Observation/o", "Observation/q", "Patient/p")
    ]
    assert versions == ['W/"2"', 'W/"3"', 'W/"3"']
    # Without one, a change back is one.
    await sent(fhir, entries[0])
    assert (await fhir.get("/fhir/Observation/o")).headers["etag"] == 'W/"3"'


async def test_entries_mean_nothing_to_each_other(fhir: httpx.AsyncClient) -> None:
    new = "urn:uuid:11111111-1111-4111-8111-111111111111"
    answer = await sent(fhir, post(patient(), new), post(observation(new)))
    made, dangling = statuses(answer)
    assert made == "201 Created"
    assert dangling.startswith("400")


async def test_patches_and_numbers_are_as_by_themselves(fhir: httpx.AsyncClient) -> None:
    await fhir.put("/fhir/Observation/o", json=observation(id="o"))
    data = base64.b64encode(b'[{"op":"add","path":"/valueQuantity","value":{"value":72.50}}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}
    patch = {"resource": binary, **ask("PATCH", "Observation/o")}
    answer = await sent(fhir, patch, prefer="return=representation")
    assert statuses(answer) == ["200 OK"]
    assert answer["entry"][0]["resource"]["meta"]["versionId"] == "2"
    assert '"value":72.50' in (await fhir.get("/fhir/Observation/o")).text


async def test_each_entry_needs_its_own_right(hospital: Hospital) -> None:
    reader = await hospital(scopes="system/Organization.rs")
    answer = await sent(reader, ask("GET", "Organization"), ask("GET", "Patient"), post(organization("A")))
    assert statuses(answer) == ["200 OK", "403 Forbidden", "403 Forbidden"]
    nobody = await hospital(scopes=None)
    assert (await nobody.post("/fhir", json=batch(ask("GET", "Organization")))).status_code == 401


async def test_a_bundle_that_is_none_is_refused_whole(fhir: httpx.AsyncClient) -> None:
    response = await fhir.post("/fhir", json=batch(post(organization("A")), {"resource": patient()}))
    assert response.status_code == 400
    assert (await fhir.get("/fhir/Organization")).json().get("entry") is None


@pytest.mark.parametrize("url", ["http://[bad/", "//[x", "Patient?name=a%00b", "Patient/%00"])
async def test_a_url_that_is_none_is_its_own_entrys_concern(fhir: httpx.AsyncClient, url: str) -> None:
    answer = await sent(fhir, ask("GET", url), ask("GET", "Organization"))
    assert [one[:3] for one in statuses(answer)] == ["400", "200"]


async def test_answers_have_a_bound_together(
    fhir: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "ANSWER_BYTES", 10)
    await fhir.put("/fhir/Patient/a", json=patient(id="a"))
    answer = await sent(fhir, post(organization("B")), *[ask("GET", "Patient/a")] * 8)
    made, *read = statuses(answer)
    assert made == "201 Created"
    # Four are read at the same time.
    assert [one[:3] for one in read] == ["200"] * 4 + ["413"] * 4
    assert (await fhir.get("/fhir/Organization")).json()["entry"]


async def test_what_is_no_json_has_no_place_in_a_bundle(fhir: httpx.AsyncClient) -> None:
    file = "bulk/00000000-0000-4000-8000-000000000000/Patient.0.ndjson"
    answer = await sent(fhir, ask("GET", file), ask("GET", f"{file}?_format=json"))
    assert [status[:3] for status in statuses(answer)] == ["406", "406"]


async def test_an_answer_that_is_streamed_is_waited_for() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0)
        yield b"}"

    def streamed(_: HttpRequest) -> StreamingResponse:
        return StreamingResponse(parts(), media_type=FHIR_JSON)

    app = Starlette(routes=[Route("/Patient", streamed)])
    scope = {"type": "http", "app": app, "headers": [], "asgi": {"spec_version": "2.3"}}
    entry = await doors.Doors(HttpRequest(scope), "http://h/fhir/", "minimal").one(
        Request(0, "GET", "Patient", {})
    )
    assert orjson.loads(orjson.dumps(entry)) == {"resource": {}, "response": {"status": "200 OK"}}


@pytest.mark.parametrize("form", ["csv", "ndjson", "json"])
async def test_an_answer_that_is_no_resource_is_in_no_bundle(hospital: Hospital, form: str) -> None:
    client = await hospital(purpose="operations")
    columns = {"column": [{"name": "id", "path": "id"}]}
    view = {"resourceType": "ViewDefinition", "resource": "Patient", "select": [columns]}
    given = [
        {"name": "viewResource", "resource": view},
        {"name": "resource", "resource": patient(id="z")},
        {"name": "_format", "valueCode": form},
    ]
    asked = {"resourceType": "Parameters", "parameter": given}
    answer = await sent(
        client,
        {"resource": asked, "request": {"method": "POST", "url": "$viewdefinition-run"}},
        ask("GET", "$graphql?query={PatientList{id}}"),
        ask("GET", "$graphql?query={x}"),
        ask("GET", "Patient"),
    )
    assert [status[:3] for status in statuses(answer)] == ["406", "406", "400", "200"]
    for entry in answer["entry"][:3]:
        assert entry["response"]["outcome"]["resourceType"] == "OperationOutcome"
        assert "resource" not in entry


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("0001-01-01T00:00:00+14:00", "200 OK"),
        ("9999-12-31T23:59:59-12:00", "304 Not Modified"),
        ("2016-12-31T23:59:60Z", "200 OK"),
    ],
)
async def test_a_read_is_bound_to_any_moment_there_is(
    fhir: httpx.AsyncClient, kind: str, since: str, status: str
) -> None:
    await fhir.put("/fhir/Organization/g", json=organization("G") | {"id": "g"})
    asked = {**batch(ask("GET", "Organization/g", ifModifiedSince=since)), "type": kind}
    answer = await fhir.post("/fhir", json=asked)
    assert answer.status_code == 200, answer.text
    assert statuses(answer.json()) == [status]
