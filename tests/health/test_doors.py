"""`/fhir` over HTTP: single resources, media types, encodings, rights; each refusal an OperationOutcome."""

import json
from typing import Any

import httpx
import pytest

from health.fhir.definitions import definitions
from services.kit.frame import BODY_LIMIT_BYTES
from tests.health.conftest import Hospital
from tests.health.support import (
    FHIR_JSON,
    body,
    issues,
    locations,
    observation,
    organization,
    patient,
    post,
    transaction,
)
from tests.support.running import RunningServices


class TestSingleResources:
    async def test_a_create_always_creates(self, fhir: httpx.AsyncClient) -> None:
        first = await fhir.post("/fhir/Organization", json=organization("A") | {"id": "mine"})
        second = await fhir.post("/fhir/Organization", json=organization("A"))
        assert (first.status_code, second.status_code) == (201, 201)
        made = first.json()
        assert made["id"] != "mine"
        assert first.headers["location"].endswith(f"/fhir/Organization/{made['id']}/_history/1")
        assert first.headers["etag"] == 'W/"1"'
        assert made["meta"]["versionId"] == "1"
        assert second.json()["id"] != made["id"]

    async def test_unless_if_none_exist_finds_one(self, fhir: httpx.AsyncClient) -> None:
        header = {"if-none-exist": "identifier=urn:oid:1.2.3|A"}
        first = await fhir.post("/fhir/Organization", json=organization("A"), headers=header)
        second = await fhir.post("/fhir/Organization", json=organization("A"), headers=header)
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == first.json()

    async def test_an_idempotency_key_is_honoured(self, fhir: httpx.AsyncClient) -> None:
        header = {"idempotency-key": "k1"}
        first = await fhir.post("/fhir/Observation", json=observation(), headers=header)
        second = await fhir.post("/fhir/Observation", json=observation(), headers=header)
        assert second.headers["location"] == first.headers["location"]
        other = await fhir.post("/fhir/Observation", json=observation(code="x"), headers=header)
        assert other.status_code == 422

    async def test_versions_are_kept_as_sent(self, fhir: httpx.AsyncClient) -> None:
        sent = body(observation(id="o1", valueQuantity={"value": 1}))
        one, two = (
            sent.replace(b'"value": 1', b'"value": 72.50'),
            sent.replace(b'"value": 1', b'"value": 5.000'),
        )
        assert (await fhir.put("/fhir/Observation/o1", content=one)).status_code == 201
        response = await fhir.put("/fhir/Observation/o1", content=two, headers={"if-match": 'W/"1"'})
        assert (response.status_code, response.headers["etag"]) == (200, 'W/"2"')
        assert '"value":5.000}' in (await fhir.get("/fhir/Observation/o1")).text
        assert '"value":72.50}' in (await fhir.get("/fhir/Observation/o1/_history/1")).text
        late = await fhir.put("/fhir/Observation/o1", content=one, headers={"if-match": 'W/"1"'})
        assert late.status_code == 412

    async def test_what_the_server_sets_in_meta_is_the_servers_and_the_rest_stays(
        self, fhir: httpx.AsyncClient
    ) -> None:
        meta = {"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z", "tag": [{"code": "x"}]}
        made = (await fhir.post("/fhir/Patient", json=patient(("a", "b"), meta=meta))).json()
        assert made["meta"]["versionId"] == "1"
        assert made["meta"]["lastUpdated"] > "2026"
        assert made["meta"]["tag"] == [{"code": "x"}]

    async def test_the_answer_is_as_short_as_preferred(self, fhir: httpx.AsyncClient) -> None:
        header = {"prefer": "return=minimal"}
        response = await fhir.post("/fhir/Observation", json=observation(), headers=header)
        assert (response.status_code, response.content) == (201, b"")
        header = {"prefer": "return=OperationOutcome"}
        response = await fhir.post("/fhir/Observation", json=observation(), headers=header)
        assert response.json()["resourceType"] == "OperationOutcome"

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/fhir/Patient/nobody", 404),
            ("GET", "/fhir/Patient/nobody/_history/1", 404),
            ("GET", "/fhir/Patient/nobody/_history/x", 404),
            ("GET", "/fhir/Alien/1", 404),
            ("GET", "/fhir/Alien", 404),
            ("POST", "/fhir/Alien", 404),
            ("GET", "/fhir/Patient/1?x=1", 400),
            ("PATCH", "/fhir/Patient/1", 404),
            ("DELETE", "/fhir", 405),
            ("GET", "/fhir/Patient/1/2/3/4", 404),
        ],
    )
    async def test_what_is_not_there_is_told_as_an_outcome(
        self, fhir: httpx.AsyncClient, method: str, path: str, status: int
    ) -> None:
        response = await fhir.request(method, path)
        assert response.status_code == status
        assert response.json()["resourceType"] == "OperationOutcome"

    async def test_a_reference_to_nothing_is_refused(self, fhir: httpx.AsyncClient) -> None:
        response = await fhir.post("/fhir/Observation", json=observation("Patient/nobody"))
        assert response.status_code == 422
        assert list(issues(response.json())) == [("not-found", "Observation.subject.reference")]

    async def test_a_reference_by_search_belongs_in_a_transaction(self, fhir: httpx.AsyncClient) -> None:
        response = await fhir.post("/fhir/Observation", json=observation("Patient?identifier=a|b"))
        assert list(issues(response.json())) == [("not-supported", "Observation.subject.reference")]

    async def test_the_body_must_be_what_the_path_says(self, fhir: httpx.AsyncClient) -> None:
        response = await fhir.post("/fhir/Patient", json=observation())
        assert list(issues(response.json())) == [("invalid", "Patient.resourceType")]
        response = await fhir.put("/fhir/Patient/a", json=patient(id="b"))
        assert list(issues(response.json())) == [("invalid", "Patient.id")]


class TestBodies:
    @pytest.mark.parametrize(
        ("raw", "words"),
        [
            pytest.param(b"", "Expecting value", id="empty"),
            pytest.param(b'{"resourceType":\n "Bundle"', "line 2", id="cut off"),
            pytest.param(b"[]", "not a JSON object", id="array"),
            pytest.param(
                b'{"resourceType":"Bundle","type":"transaction","type":"batch"}', "twice", id="twice"
            ),
            pytest.param(b"\xef\xbb\xbf{}", "byte order mark", id="bom"),
            pytest.param('{"a":"惠民"}'.encode("gb18030"), "GB 18030", id="gb18030"),
            pytest.param('{"a":"惠民"}'.encode("utf-16"), "UTF-16", id="utf-16"),
            pytest.param(b'{"a":' * 500 + b"1" + b"}" * 500, "nested deeper", id="deep"),
            pytest.param(b'{"resourceType":"Bundle","a":"\\u0000"}', "control character", id="nul"),
            pytest.param(b'{"resourceType":"Bundle","a":"\\ud800"}', "surrogate", id="half a pair"),
            pytest.param(b'{"resourceType":"Bundle","a":1e999}', "JSON", id="beyond a double"),
            pytest.param(b'{"resourceType":"Patient"}', "takes a Bundle", id="no bundle"),
            pytest.param(
                b'{"resourceType":"Bundle","type":"transaction","entry":{}}', "array", id="no array"
            ),
            pytest.param(
                b'{"resourceType":"Bundle","type":"transaction","entry":[null]}', "object", id="null"
            ),
        ],
    )
    async def test_a_body_that_is_not_fhir_is_refused(
        self, fhir: httpx.AsyncClient, raw: bytes, words: str
    ) -> None:
        response = await fhir.post("/fhir", content=raw)
        assert response.status_code == 400
        assert words in json.dumps(response.json()), response.text

    async def test_a_body_too_large_is_refused(self, fhir: httpx.AsyncClient) -> None:
        response = await fhir.post("/fhir", content=b" " * (BODY_LIMIT_BYTES + 1))
        assert response.status_code == 413
        assert list(issues(response.json())) == [("too-long", None)]

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"content-type": "text/xml"}, 415),
            ({"content-type": "application/fhir+xml"}, 415),
            ({"content-type": "application/fhir+json; fhirVersion=5.0"}, 415),
            ({"content-type": "application/json; charset=gb18030"}, 415),
            ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
            ({"accept": "application/fhir+xml"}, 406),
            ({"accept": "application/fhir+json; fhirVersion=3.0"}, 406),
            ({"accept": "text/html, application/json;q=0"}, 406),
        ],
    )
    async def test_another_media_type_is_refused(
        self, fhir: httpx.AsyncClient, headers: dict[str, str], status: int
    ) -> None:
        response = await fhir.post("/fhir", content=body(transaction()), headers=headers)
        assert response.status_code == status
        assert response.json()["resourceType"] == "OperationOutcome"

    @pytest.mark.parametrize(
        "headers",
        [
            {"content-type": "application/json"},
            {"content-type": "application/fhir+json; fhirVersion=4.0; charset=UTF-8"},
            {"accept": "text/html;q=0.5, application/fhir+json; fhirVersion=4.0"},
            {"accept": "*/*"},
        ],
    )
    async def test_fhir_json_in_all_its_names_is_taken(
        self, fhir: httpx.AsyncClient, headers: dict[str, str]
    ) -> None:
        response = await fhir.post("/fhir", content=body(transaction()), headers=headers)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith(FHIR_JSON)


class TestRights:
    @pytest.mark.parametrize(
        ("who", "status"),
        [
            pytest.param({"scopes": None}, 401, id="nobody"),
            pytest.param({"scopes": ""}, 403, id="no scope"),
            pytest.param({"scopes": "system/*.rs"}, 403, id="reader"),
            pytest.param({"scopes": "system/Patient.cruds"}, 403, id="another type"),
            pytest.param(
                {"scopes": "patient/*.cruds", "sector_id": "s1", "kind": "person"}, 403, id="person"
            ),
            pytest.param({"scopes": "system/Observation.c?category=x"}, 403, id="scope not understood"),
            pytest.param({"scopes": "system/*.cruds", "lifetime_s": -60}, 401, id="expired"),
            pytest.param({"scopes": "system/*.cruds", "aud": "education"}, 401, id="another audience"),
            pytest.param({"token": "nonsense"}, 401, id="nonsense"),
        ],
    )
    async def test_who_may_not_write_is_told_so(
        self, hospital: Hospital, who: dict[str, Any], status: int
    ) -> None:
        client = await hospital(**who)
        for path, sent in (("/fhir", transaction(post(observation()))), ("/fhir/Observation", observation())):
            response = await client.post(path, json=sent)
            assert response.status_code == status
            [(code, _)] = issues(response.json())
            assert code == {401: "login", 403: "forbidden"}[status]

    async def test_not_even_nothing_at_all(self, hospital: Hospital) -> None:
        for who, status in (({"scopes": None}, 401), ({"scopes": "system/*.rs"}, 403)):
            client = await hospital(**who)
            response = await client.post("/fhir", json={"resourceType": "Bundle", "type": "transaction"})
            assert response.status_code == status

    async def test_an_earlier_version_about_somebody_else_is_not_shown(
        self, fhir: httpx.AsyncClient, house: RunningServices, hospital: Hospital
    ) -> None:
        for mrn, name in (("w1", "wrong"), ("r1", "right")):
            await fhir.put(f"/fhir/Patient/{name}", json=patient(("urn:mrn", mrn), id=name))
        for name in ("wrong", "right"):
            made = await fhir.put("/fhir/Observation/o1", json=observation(f"Patient/{name}", id="o1"))
            assert made.status_code in {200, 201}, made.text
        async with house.kit("health").db.read() as db:
            sector_id = await db.fetchval(
                "select sector_id from patient_person join resource on pk = patient_person.pt "
                "where id = 'right'"
            )
        client = await hospital(scopes="patient/*.rs", kind="person", sector_id=sector_id)
        assert (await client.get("/fhir/Observation/o1/_history/2")).status_code == 200
        assert (await client.get("/fhir/Observation/o1/_history/1")).status_code == 404

    async def test_a_citizen_number_is_no_id(self, fhir: httpx.AsyncClient) -> None:
        number = "11010519491231002X"
        response = await fhir.put(f"/fhir/Patient/{number}", json=patient(id=number))
        assert response.status_code == 400
        assert list(issues(response.json())) == [("security", "Patient.id")]

    async def test_a_narrow_scope_is_enough_for_its_type(self, hospital: Hospital) -> None:
        client = await hospital(scopes="system/Observation.cr")
        response = await client.post("/fhir/Observation", json=observation())
        assert response.status_code == 201
        place = response.headers["location"].partition("/fhir/")[2]
        assert (await client.get(f"/fhir/{place}")).status_code == 200
        assert (await client.get("/fhir/Observation")).status_code == 403

    async def test_a_person_reads_the_own_record_and_nothing_else(
        self, fhir: httpx.AsyncClient, house: RunningServices, hospital: Hospital
    ) -> None:
        answer = await fhir.post(
            "/fhir",
            json=transaction(
                post(patient(("urn:mrn", "1")), "urn:uuid:00000000-0000-4000-8000-000000000001"),
                post(observation("urn:uuid:00000000-0000-4000-8000-000000000001", code="mine")),
                post(patient(("urn:mrn", "2")), "urn:uuid:00000000-0000-4000-8000-000000000002"),
                post(observation("urn:uuid:00000000-0000-4000-8000-000000000002", code="other")),
                post(observation(code="nobodys")),
            ),
        )
        person, mine, _, others, nobodys = locations(answer.json())
        async with house.kit("health").db.read() as db:
            sector_id = await db.fetchval(
                """select sector_id from patient_person join resource on pk = patient_person.pt
                   where type || '/' || id = $1""",
                person,
            )
        client = await hospital(scopes="patient/*.rs", kind="person", sector_id=sector_id)
        assert (await client.get(f"/fhir/{mine}")).status_code == 200
        assert (await client.get(f"/fhir/{mine}/_history/1")).status_code == 200
        for place in (others, nobodys):
            assert (await client.get(f"/fhir/{place}")).status_code == 404
            assert (await client.get(f"/fhir/{place}/_history/1")).status_code == 404
        found = (await client.get("/fhir/Observation")).json()
        assert [e["fullUrl"].rpartition("/fhir/")[2] for e in found["entry"]] == [mine]
        assert (await client.get("/fhir/Observation?_count=0")).json()["total"] == 1
        assert (await client.get("/fhir/Observation?code=other")).json().get("entry") is None


SAMPLES = {
    "token": "x",
    "reference": "Patient/1",
    "date": "2020",
    "string": "x",
    "number": "1",
    "quantity": "1||mg",
    "uri": "urn:x",
}


def sample(kind: str, name: str) -> str:
    """What this parameter takes."""
    parts = definitions().parameters[kind][name].components
    return (
        "$".join(SAMPLES[part.kind] for part in parts) or SAMPLES[definitions().parameters[kind][name].kind]
    )


async def test_the_capability_statement_is_valid_and_true(
    fhir: httpx.AsyncClient, hospital: Hospital
) -> None:
    nobody = await hospital(scopes=None)
    statement = (await nobody.get("/fhir/metadata")).json()
    made = await fhir.post("/fhir/CapabilityStatement", json=statement)
    assert made.status_code == 201, made.text
    [rest] = statement["rest"]
    resources = {resource["type"]: resource for resource in rest["resource"]}
    assert len(resources) == 146
    for kind, resource in resources.items():
        for parameter in resource["searchParam"]:
            name = parameter["name"]
            if kind in ("Observation", "Encounter", "Patient", "Task"):
                answer = await fhir.get(f"/fhir/{kind}", params={name: sample(kind, name)})
                assert answer.status_code == 200, (kind, parameter, answer.text)


def places(answer: httpx.Response) -> list[str | None]:
    return [place for _, place in issues(answer.json())]


class TestValidate:
    """`$validate` says what would be refused, and stores nothing."""

    async def test_a_resource_by_itself_or_among_parameters(self, fhir: httpx.AsyncClient) -> None:
        wrong = patient(contact=[{"gender": "male"}])
        wrapped = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": wrong}]}
        for path, sent in (
            ("/fhir/Patient/$validate", wrong),
            ("/fhir/Patient/$validate", wrapped),
            ("/fhir/$validate", wrong),
            ("/fhir/$validate", wrapped),
        ):
            answer = await fhir.post(path, json=sent)
            assert (answer.status_code, places(answer)) == (200, ["Patient.contact[0]"])
        assert "entry" not in (await fhir.get("/fhir/Patient")).json()

    async def test_what_is_right_is_said_to_be(self, fhir: httpx.AsyncClient) -> None:
        answer = await fhir.post("/fhir/Patient/$validate", json=patient())
        assert [issue["severity"] for issue in answer.json()["issue"]] == ["information"]

    async def test_another_type_than_the_path_says_is_wrong(self, fhir: httpx.AsyncClient) -> None:
        answer = await fhir.post("/fhir/Patient/$validate", json=observation())
        assert (answer.status_code, places(answer)) == (200, ["Patient.resourceType"])

    @pytest.mark.parametrize("kind", [["Patient"], {}, 1, None, "Patients", "\ud800", {"\ud800": 1}])
    async def test_what_says_no_type_is_wrong_there(self, fhir: httpx.AsyncClient, kind: Any) -> None:
        answer = await fhir.post("/fhir/$validate", content=json.dumps({"resourceType": kind}))
        assert (answer.status_code, places(answer)) == (200, ["Resource.resourceType"])

    async def test_what_is_not_checked_here_is_refused(self, fhir: httpx.AsyncClient) -> None:
        profile = {"name": "profile", "valueUri": "http://hl7.org/fhir/us/core/x"}
        parameters = [{"name": "resource", "resource": patient()}, profile]
        body = {"resourceType": "Parameters", "parameter": parameters}
        answer = await fhir.post("/fhir/Patient/$validate", json=body)
        assert (answer.status_code, places(answer)) == (400, ["Parameters.parameter[1]"])
        assert (await fhir.post("/fhir/Nothing/$validate", json={})).status_code == 404

    async def test_it_is_for_who_may_send_such_a_resource(
        self, hospital: Hospital, house: RunningServices
    ) -> None:
        reader = await hospital(scopes="system/*.rs")
        answer = await reader.post("/fhir/Patient/$validate", json=patient())
        assert (answer.status_code, [*issues(answer.json())]) == (403, [("forbidden", None)])


async def test_a_refusal_says_line_and_column(fhir: httpx.AsyncClient) -> None:
    sent = b'{"resourceType": "Patient",\n "gender": "x"}'
    answer = await fhir.post("/fhir/Patient", content=sent, headers={"content-type": FHIR_JSON})
    assert [issue["location"] for issue in answer.json()["issue"]] == [["line 2, column 12"]]


@pytest.mark.parametrize("wrong", [b'"x\\ud800"', b'"a\\u0000b"', b"1e999"])
async def test_what_no_text_can_carry_is_told_and_not_a_fault_of_ours(
    fhir: httpx.AsyncClient, wrong: bytes
) -> None:
    sent = b'{"resourceType": "Patient", "multipleBirthInteger": 1, "language": ' + wrong + b"}"
    wrapped = (
        b'{"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": ' + sent + b"}]}"
    )
    for path, content in (
        ("/fhir/Patient", sent),
        ("/fhir/Patient/$validate", sent),
        ("/fhir/$validate", wrapped),
    ):
        answer = await fhir.post(path, content=content, headers={"content-type": FHIR_JSON})
        assert answer.status_code in ({400} if path == "/fhir/Patient" else {200, 400})
        assert any(issue["severity"] == "error" for issue in answer.json()["issue"])
