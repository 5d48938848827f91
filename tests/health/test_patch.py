"""PATCH: JSON Patch and FHIRPath Patch (FHIR R4 http.html#patch)."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.outcome import Refusal
from health.fhir.patching import json_patch, patched
from tests.health.support import body, issues, observation, organization, patient, transaction

JSON_PATCH = {"content-type": "application/json-patch+json"}
PATH = "/fhir/Patient/p"
PERSON = patient(("urn:mrn", "1"), id="p", birthDate="1990-01-01", name=[{"family": "王", "given": ["小明"]}])


def operation(type: str, path: str, **parts: Any) -> dict[str, Any]:
    """Of a FHIRPath Patch; a part is a value[x], or for `value` a whole part."""
    found: list[dict[str, Any]] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, said in parts.items():
        if name == "value":
            found.append({"name": name, **said})
        else:
            kind = "valueInteger" if isinstance(said, int) else "valueString"
            found.append({"name": name, kind: said})
    return {"name": "operation", "part": found}


def parameters(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(operations)}


@pytest.fixture
async def kept(fhir: httpx.AsyncClient) -> httpx.AsyncClient:
    response = await fhir.put(PATH, json=PERSON)
    assert response.status_code == 201, response.text
    return fhir


class TestJsonPatch:
    async def test_a_resource_is_changed_in_parts(self, kept: httpx.AsyncClient) -> None:
        operations = [
            {"op": "test", "path": "/birthDate", "value": "1990-01-01"},
            {"op": "replace", "path": "/birthDate", "value": "1990-01-02"},
            {"op": "add", "path": "/name/0/given/-", "value": "明"},
            {"op": "add", "path": "/gender", "value": "male"},
        ]
        response = await kept.patch(PATH, content=body(operations), headers=JSON_PATCH)
        assert (response.status_code, response.headers["etag"]) == (200, 'W/"2"'), response.text
        found = response.json()
        assert (found["birthDate"], found["gender"]) == ("1990-01-02", "male")
        assert found["name"] == [{"family": "王", "given": ["小明", "明"]}]
        by_date = await kept.get("/fhir/Patient", params={"birthdate": "1990-01-02"})
        assert len(by_date.json()["entry"]) == 1
        history = (await kept.get(f"{PATH}/_history")).json()
        assert [entry["request"]["method"] for entry in history["entry"]] == ["PATCH", "PUT"]

    @pytest.mark.parametrize(
        ("operations", "status"),
        [
            ([{"op": "test", "path": "/birthDate", "value": "1980-01-01"}], 412),
            ([{"op": "remove", "path": "/telecom/0"}], 422),
            ([{"op": "remove", "path": "/birthDate/0"}], 422),
            ([{"op": "move", "path": "/birthDate", "from": "/id/7"}], 422),
            ([{"op": "add", "path": "/a/b", "value": 1}], 422),
            ([{"op": "replace", "path": "/gender", "value": "male"}], 422),
            ([{"op": "replace", "path": "/birthDate", "value": "spring"}], 422),
            ([{"op": "add", "path": "/shoe", "value": 44}], 422),
            ([{"op": "replace", "path": "/id", "value": "q"}], 422),
            ([{"op": "replace", "path": "/resourceType", "value": "Person"}], 422),
            ([{"op": "replace", "path": "", "value": []}], 422),
            ([{"op": "fly", "path": "/birthDate"}], 400),
            ([{"op": [], "path": "/birthDate"}], 400),
            ([{"op": "add", "path": "/birthDate"}], 400),
            ([{"op": "remove", "path": "birthDate"}], 400),
            (["remove"], 400),
            ("remove", 400),
        ],
    )
    async def test_what_cannot_be_applied_changes_nothing(
        self, kept: httpx.AsyncClient, operations: Any, status: int
    ) -> None:
        response = await kept.patch(PATH, content=body(operations), headers=JSON_PATCH)
        assert response.status_code == status, response.text
        assert list(issues(response.json()))
        assert (await kept.get(PATH)).headers["etag"] == 'W/"1"'

    async def test_numbers_stay_as_they_were_written(self, fhir: httpx.AsyncClient) -> None:
        sent = body(observation(id="o", valueQuantity={"value": 1})).replace(b'"value": 1', b'"value": 72.50')
        await fhir.put("/fhir/Observation/o", content=sent)
        patch = b'[{"op":"test","path":"/valueQuantity/value","value":72.5},{"op":"add","path":"/component",'
        patch += b'"value":[{"code":{"text":"x"},"valueQuantity":{"value":5.000}}]}]'
        response = await fhir.patch("/fhir/Observation/o", content=patch, headers=JSON_PATCH)
        assert response.status_code == 200, response.text
        assert '"value":72.50' in response.text
        assert '"value":5.000' in response.text

    async def test_what_grows_by_copies_or_in_depth_is_cut_off(self, kept: httpx.AsyncClient) -> None:
        doubling = [{"op": "copy", "from": "/name", "path": "/name/-"}] * 60
        nested = [
            {"op": "add", "path": "/extension" + "/0/extension" * n, "value": [{"url": "urn:x"}]}
            for n in range(300)
        ]
        for operations, status, code in ((doubling, 422, "too-costly"), (nested, 400, "too-long")):
            response = await kept.patch(PATH, content=body(operations), headers=JSON_PATCH)
            assert response.status_code == status, response.text
            assert [found for found, _ in issues(response.json())] == [code]

    async def test_references_are_checked_as_in_an_update(self, kept: httpx.AsyncClient) -> None:
        add = [{"op": "add", "path": "/managingOrganization", "value": {"reference": "Organization/none"}}]
        assert (await kept.patch(PATH, content=body(add), headers=JSON_PATCH)).status_code == 422

    async def test_conditions_are_those_of_an_update(self, kept: httpx.AsyncClient) -> None:
        male = body([{"op": "add", "path": "/gender", "value": "male"}])
        stale = await kept.patch(PATH, content=male, headers={**JSON_PATCH, "if-match": 'W/"7"'})
        assert stale.status_code == 412
        right = await kept.patch(PATH, content=male, headers={**JSON_PATCH, "if-match": 'W/"1"'})
        assert right.status_code == 200
        again = await kept.patch(PATH, content=male, headers=JSON_PATCH)
        assert again.headers["etag"] == 'W/"2"'
        by_search = await kept.patch(
            "/fhir/Patient", params={"identifier": "urn:mrn|1"}, content=male, headers=JSON_PATCH
        )
        assert by_search.status_code == 200
        none = await kept.patch(
            "/fhir/Patient", params={"identifier": "urn:mrn|2"}, content=male, headers=JSON_PATCH
        )
        assert none.status_code == 404
        assert (await kept.patch("/fhir/Patient/q", content=male, headers=JSON_PATCH)).status_code == 404
        assert (
            await kept.patch(PATH, content=male, headers={"content-type": "text/plain"})
        ).status_code == 415
        await kept.delete(PATH)
        assert (await kept.patch(PATH, content=male, headers=JSON_PATCH)).status_code == 410

    async def test_of_two_at_once_both_count(self, kept: httpx.AsyncClient) -> None:
        patches = [body([{"op": "add", "path": "/name/0/given/-", "value": str(n)}]) for n in range(3)]
        responses = await asyncio.gather(*(kept.patch(PATH, content=p, headers=JSON_PATCH) for p in patches))
        assert [response.status_code for response in responses] == [200] * 3
        given = (await kept.get(PATH)).json()["name"][0]["given"]
        assert sorted(given) == ["0", "1", "2", "小明"]


class TestFhirPathPatch:
    async def test_a_resource_is_changed_in_parts(self, kept: httpx.AsyncClient) -> None:
        contact = {"part": [{"name": "name", "valueHumanName": {"text": "母亲"}}]}
        patch = parameters(
            operation("replace", "Patient.birthDate", value={"valueDate": "1990-01-02"}),
            operation("add", "Patient", name="contact", value=contact),
            operation("insert", "Patient.name[0].given", index=0, value={"valueString": "大"}),
            operation("add", "Patient", name="deceased", value={"valueBoolean": False}),
            operation("delete", "Patient.identifier.where(system = 'urn:mrn')"),
            operation("delete", "Patient.photo"),
        )
        response = await kept.patch(PATH, json=patch)
        assert response.status_code == 200, response.text
        found = {name: value for name, value in response.json().items() if name not in {"meta", "id"}}
        assert found == {
            "resourceType": "Patient",
            "birthDate": "1990-01-02",
            "name": [{"family": "王", "given": ["大", "小明"]}],
            "contact": [{"name": {"text": "母亲"}}],
            "deceasedBoolean": False,
        }

    @pytest.mark.parametrize(
        ("patch", "status"),
        [
            (parameters(operation("replace", "Patient.gender", value={"valueCode": "male"})), 422),
            (parameters(operation("add", "Patient", name="birthDate", value={"valueDate": "1990"})), 422),
            (parameters(operation("add", "Patient", name="shoe", value={"valueInteger": 44})), 422),
            (parameters(operation("insert", "Patient.name", index=7, value={"valueString": "x"})), 422),
            (parameters(operation("delete", "Patient")), 422),
            (parameters(operation("replace", "Patient.(", value={"valueCode": "male"})), 400),
            (parameters(operation("delete", "(" * 900 + "Patient" + ")" * 900)), 400),
            (parameters(operation("fly", "Patient")), 400),
            (parameters({"name": "operation"}), 400),
            (PERSON, 400),
        ],
    )
    async def test_what_cannot_be_applied_changes_nothing(
        self, kept: httpx.AsyncClient, patch: Any, status: int
    ) -> None:
        response = await kept.patch(PATH, json=patch)
        assert response.status_code == status, response.text
        assert (await kept.get(PATH)).headers["etag"] == 'W/"1"'

    def test_a_choice_changes_its_type_and_extensions_stay_beside(self) -> None:
        extension = {"url": "urn:x", "valueCode": "y"}
        name = {"given": ["a", "b"], "_given": [None, {"extension": [extension]}]}
        resource = {"resourceType": "Patient", "deceasedBoolean": True, "name": [name]}
        date = {"valueDateTime": "2020"}
        found = patched(resource, parameters(operation("replace", "Patient.deceased", value=date)))
        assert found["deceasedDateTime"] == "2020"
        assert "deceasedBoolean" not in found
        found = patched(found, parameters(operation("delete", "Patient.name.given[0]")))
        assert found["name"] == [{"given": ["b"], "_given": [{"extension": [extension]}]}]


async def test_patches_stand_in_transactions(kept: httpx.AsyncClient) -> None:
    new = "urn:uuid:11111111-1111-4111-8111-111111111111"
    link = [{"op": "add", "path": "/managingOrganization", "value": {"reference": new}}]
    data = base64.b64encode(json.dumps(link).encode()).decode()
    binary = {"resourceType": "Binary", "contentType": JSON_PATCH["content-type"], "data": data}
    birth = parameters(operation("replace", "Patient.birthDate", value={"valueDate": "2000"}))
    await kept.put("/fhir/Patient/q", json=PERSON | {"id": "q"})
    sent = transaction(
        {"resource": binary, "request": {"method": "PATCH", "url": "Patient/p", "ifMatch": 'W/"1"'}},
        {"resource": birth, "request": {"method": "PATCH", "url": "Patient/q"}},
        {"fullUrl": new, "resource": organization("A"), "request": {"method": "POST", "url": "Organization"}},
    )
    response = await kept.post("/fhir", json=sent)
    assert response.status_code == 200, response.text
    place = response.json()["entry"][2]["response"]["location"].partition("/_history")[0]
    assert (await kept.get(PATH)).json()["managingOrganization"] == {"reference": place}
    assert (await kept.get("/fhir/Patient/q")).json()["birthDate"] == "2000"
    missing = transaction({"resource": birth, "request": {"method": "PATCH", "url": "Patient/r"}})
    refused = await kept.post("/fhir", json=missing)
    assert (refused.status_code, list(issues(refused.json()))) == (404, [("not-found", "Bundle.entry[0]")])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(node: Any, pointer: str = "") -> list[str]:
    """Every place in a document, as a JSON Pointer."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    inner = [(f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}", value) for step, value in items]
    return [pointer, *(place for at, value in inner for place in places(value, at))]


@pytest.mark.parametrize("path", ["Patient.name.where(text.matches('^(a+)+$'))", "Patient.repeat($this)"])
async def test_a_path_that_may_never_end_is_no_patch(fhir: httpx.AsyncClient, path: str) -> None:
    await fhir.put("/fhir/Patient/endless", json=patient(id="endless", name=[{"text": "a" * 40 + "!"}]))
    parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    answer = await fhir.patch("/fhir/Patient/endless", json=patch)
    assert answer.status_code == 400, answer.text
    assert "a patch's path uses no" in answer.json()["issue"][0]["diagnostics"]


@given(document=VALUES, data=st.data())
def test_json_patches_undo_each_other(document: Any, data: st.DataObject) -> None:
    before = json.dumps(document)
    place = data.draw(st.sampled_from(places(document)))
    value = data.draw(VALUES)
    seen = {"op": "test", "path": place, "value": _at(document, place)}
    swap = [seen, {"op": "replace", "path": place, "value": value}, {**seen, "value": value}]
    changed = json_patch.patched(document, swap)
    back = json_patch.patched(changed, [{"op": "replace", "path": place, "value": seen["value"]}])
    assert json.dumps(back) == before
    with pytest.raises(Refusal):
        json_patch.patched(back, [{"op": "test", "path": place, "value": [seen["value"]]}])


def _at(document: Any, place: str) -> Any:
    for step in place.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        document = document[int(key)] if isinstance(document, list) else document[key]
    return json.loads(json.dumps(document))
