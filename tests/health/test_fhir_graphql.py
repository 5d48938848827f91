"""FHIR GraphQL: the forms of the specification, its directives, its bounds, and the same reach as by REST."""

import json
from typing import Any

import httpx
import pytest

from health import repository
from health.fhir.graphql import Asked, loading, understood
from health.fhir.graphql.rendering import AtHand, rendered
from health.fhir.outcome import Refusal
from health.repository import fitting
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.health.test_access import RESTRICTED, leaves
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
NUMBER = (CITIZEN_NUMBER, citizen_number(91))
EXAMPLE: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "example",
    "identifier": [{"use": "usual", "system": "urn:oid:1.2.36.146.595.217.0.1", "value": "12345"}],
    "active": True,
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"]},
    ],
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "urn:t", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "extension": [{"url": "urn:a", "valueDecimal": 1}, {"url": "urn:b", "valueString": "x"}],
    "contained": [{"resourceType": "Practitioner", "id": "p1", "active": True}],
    "generalPractitioner": [{"reference": "#p1"}],
}
NAMES = [
    {"given": ["Peter", "James"], "family": "Chalmers"},
    {"given": ["Jim"]},
    {"given": ["Peter", "James"], "family": "Windsor"},
]


def of_example(query: str, **variables: Any) -> dict[str, Any]:
    """What a query of the example gives that needs nothing else."""
    at_hand = AtHand()
    found = rendered(understood(Asked(query, variables=variables, root="Patient")), at_hand, EXAMPLE)
    assert not at_hand.reads
    assert not at_hand.searches
    return found


class TestForms:
    """By the examples of graphql.html."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("{ active name { text given family } }", {"active": True, "name": NAMES}),
            ("{ resourceType __typename }", {"resourceType": "Patient", "__typename": "Patient"}),
            ('{ name(use: "official") { family } }', {"name": [{"family": "Chalmers"}]}),
            ("{ name(use: official) { family } }", {"name": [{"family": "Chalmers"}]}),
            ("{ name(given: Jim) { use } }", {"name": [{"use": "usual"}]}),
            ("{ name(use: old) { family } active }", {"active": True}),
            (
                '{ name(fhirpath: "family.exists()") { family } }',
                {"name": [{"family": "Chalmers"}, {"family": "Windsor"}]},
            ),
            ('{ name(fhirpath: "$index = 1") { use } }', {"name": [{"use": "usual"}]}),
            ("{ name(_offset: 1, _count: 1) { use } }", {"name": [{"use": "usual"}]}),
            ('{ b: extension(url: "urn:b") { value: valueString } }', {"b": [{"value": "x"}]}),
            ("{ extension(valueDecimal: 1) { url } }", {"extension": [{"url": "urn:a"}]}),
            (
                "{ birthDate _birthDate { extension { valueDateTime } } }",
                {
                    "birthDate": "1974-12-25",
                    "_birthDate": {"extension": [{"valueDateTime": "1974-12-25T14:35:45-05:00"}]},
                },
            ),
            (
                "{ generalPractitioner { resource { ...on Practitioner { active } } } }",
                {"generalPractitioner": [{"resource": {"active": True}}]},
            ),
            (
                "{ generalPractitioner { resource(type: Organization) { name } reference } }",
                {"generalPractitioner": [{"reference": "#p1"}]},
            ),
            (
                "{ contained { resourceType ...on Practitioner { active } } }",
                {"contained": [{"resourceType": "Practitioner", "active": True}]},
            ),
            (
                "{ name(_count: 2) { family } name(_count: 2) { use } }",
                {"name": [{"family": "Chalmers", "use": "official"}, {"use": "usual"}]},
            ),
            ("{ ...f } fragment f on Patient { active }", {"active": True}),
            ("{ ...on Observation { status } active }", {"active": True}),
        ],
    )  # fmt: skip
    def test_fields_and_arguments(self, query: str, expected: dict[str, Any]) -> None:
        assert of_example(query) == expected

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (
                "{ identifier @flatten { system value } active name @flatten { text given family } }",
                {
                    "system": ["urn:oid:1.2.36.146.595.217.0.1"],
                    "value": ["12345"],
                    "active": True,
                    "given": ["Peter", "James", "Jim", "Peter", "James"],
                    "family": ["Chalmers", "Windsor"],
                },
            ),
            (
                "{ name @flatten { text given @first family } }",
                {"given": ["Peter", "Jim", "Peter"], "family": ["Chalmers", "Windsor"]},
            ),
            (
                "{ identifier @flatten { system @singleton } "
                "name @flatten @first { given family @singleton } }",
                {
                    "system": "urn:oid:1.2.36.146.595.217.0.1",
                    "given": ["Peter", "James"],
                    "family": "Chalmers",
                },
            ),
            (
                '{ name @flatten @slice(path: "use") { given family @singleton } }',
                {
                    "given.official": ["Peter", "James"],
                    "family.official": "Chalmers",
                    "given.usual": ["Jim"],
                    "given.maiden": ["Peter", "James"],
                    "family.maiden": "Windsor",
                },
            ),
            (
                '{ name @flatten @slice(path: "$index") { given @first @singleton family } }',
                {
                    "given.0": "Peter",
                    "family.0": ["Chalmers"],
                    "given.1": "Jim",
                    "given.2": "Peter",
                    "family.2": ["Windsor"],
                },
            ),
            (
                '{ name @slice(path: "use") { family } }',
                {
                    "name.official": [{"family": "Chalmers"}],
                    "name.usual": [{}],
                    "name.maiden": [{"family": "Windsor"}],
                },
            ),
            ("{ active @skip(if: true) id @include(if: false) birthDate }", {"birthDate": "1974-12-25"}),
        ],
    )
    def test_directives(self, query: str, expected: dict[str, Any]) -> None:
        assert of_example(query) == expected

    def test_variables(self) -> None:
        query = (
            'query q($of: code = "usual", $all: Boolean!) { name(use: $of) { use } id @include(if: $all) }'
        )
        assert of_example(query, all=False) == {"name": [{"use": "usual"}]}
        assert of_example(query, all=True, of="maiden") == {"name": [{"use": "maiden"}], "id": "example"}

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("{ name { something } }", "HumanName has no field 'something'"),
            ("{ nam }", "Patient has no field 'nam'"),
            ("{ name }", "say which fields"),
            ("{ active { value } }", "single value"),
            ("{ active(use: 1) }", "takes no arguments"),
            ("{ name(shoe: 44) { family } }", "shoe is no argument"),
            ("{ name(period: 1) { family } }", "period is no argument"),
            ("{ name(_count: -1) { family } }", "_count is a whole number"),
            ('{ name(fhirpath: "family.") { family } }', "family."),
            ("{ name(fhirpath: \"family.matches('(a+)+$')\") { family } }", "matches() is not taken"),
            ('{ name(fhirpath: "select($this & $this)") { family } }', "select() is not taken"),
            (f'{{ name(fhirpath: "{"(" * 290}") {{ family }} }}', "((("),
            ("{ name @shiny { family } }", "@shiny is not known"),
            ("{ name @slice { family } }", "@slice needs"),
            ("{ active @skip }", "@skip needs"),
            ("{ name @flatten { given family @singleton } }", "is to be one value"),
            (
                "{ a: name @flatten { x: family } b: extension @flatten { x: valueDecimal } }",
                "different types",
            ),
            ("{ x: active x: id }", "asked for twice"),
            ("{ ...f } fragment f on Patient { ...g } fragment g on Patient { ...f }", "holds itself"),
            ("{ ...f }", "no fragment f"),
            ("{ ...on Shoe { size } }", "Shoe is no type"),
            ("{ name(use: $u) { family } }", "no variable $u"),
            ("query q($u: code!) { name(use: $u) { family } }", "needs a value"),
            ("mutation { PatientDelete(id: 1) }", "mutation is not supported"),
            ("{ __schema { types { name } } }", "introspection is not supported"),
            ('{ __type(name: "Patient") { name } }', "introspection is not supported"),
            ("query a { id } query b { id }", "operationName"),
            ("{ active", "Expected Name"),
            ("{ ObservationList { status } }", "needs _reference"),
            ("{ generalPractitioner { resource(shoe: 1) { id } } }", "takes `optional` and `type`"),
            ("{ generalPractitioner { resource(type: Shoe) { id } } }", "is no resource type"),
            ("{" + "extension{" * 30 + "url" + "}" * 31, "nested deeper"),
            ("{" + "name{family}" * 600 + "}", "more than 1000"),
            ("{" + "partOf{resource{" * 6 + "id" + "}}" * 6 + "}", "nested deeper"),
        ],
    )
    def test_what_is_wrong_is_named(self, query: str, words: str) -> None:
        root = "Organization" if "partOf" in query else "Patient"
        with pytest.raises(Refusal) as refusal:
            rendered(understood(Asked(query, root=root)), AtHand(), EXAMPLE)
        assert refusal.value.status == 400
        assert words in refusal.value.detail

    def test_an_answer_is_bounded(self) -> None:
        """Aliases multiply what is shown: 900 of them of a list of 200."""
        large = {**EXAMPLE, "name": EXAMPLE["name"] * 70}
        query = "{" + " ".join(f"a{i}: name {{ family }}" for i in range(490)) + "}"
        with pytest.raises(Refusal, match="more than 100000 values"):
            rendered(understood(Asked(query, root="Patient")), AtHand(), large)


async def asked(client: httpx.AsyncClient, query: str, path: str = "", **variables: Any) -> Any:
    answer = await client.post(f"/fhir{path}/$graphql", json={"query": query, "variables": variables})
    assert answer.headers["content-type"] == "application/json"
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"data"}
    return answer.json()["data"]


async def wrong(client: httpx.AsyncClient, query: str, path: str = "") -> tuple[int, str]:
    """Status and message of the one error, which is an OperationOutcome too."""
    answer = await client.post(f"/fhir{path}/$graphql", json={"query": query})
    body = answer.json()
    assert body["data"] is None
    [error] = body["errors"]
    [issue] = error["extensions"]["resource"]["issue"]
    assert issue["diagnostics"] == error["message"]
    return answer.status_code, error["message"]


@pytest.fixture
async def treating(hospital: Hospital) -> httpx.AsyncClient:
    return await hospital("A", purpose="treatment")


@pytest.fixture
async def kept(treating: httpx.AsyncClient) -> list[str]:
    """`Type/id` of a Patient, of three Observations of it, one protected, and of an Organization."""
    answer = await treating.post(
        "/fhir",
        json=transaction(
            post(patient(NUMBER, name=[{"family": "张", "given": ["三"]}]), PERSON),
            post(observation(PERSON, code="1", valueQuantity={"value": 1.5, "unit": "kg"})),
            post(observation(PERSON, code="2", effectiveDateTime="2020-01-01")),
            post(observation(PERSON, code="3", meta=RESTRICTED)),
            post({"resourceType": "Organization", "name": "医院"}),
        ),
    )
    assert answer.status_code == 200, answer.text
    return locations(answer.json())


def id_of(local: str) -> str:
    return local.partition("/")[2]


class TestServer:
    async def test_a_resource_is_read_in_each_way_of_asking(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        id = id_of(kept[0])
        query = f'{{ Patient(id: "{id}") {{ id name {{ family }} }} }}'
        expected = {"data": {"Patient": {"id": id, "name": [{"family": "张"}]}}}
        assert (await treating.get("/fhir/$graphql", params={"query": query})).json() == expected
        plain = {"content-type": "application/graphql"}
        answer = await treating.post("/fhir/$graphql", content=query, headers=plain)
        assert answer.json() == expected
        body = {"query": "query a($p: ID!) { Patient(id: $p) { id name { family } } } query b { x }",
                "operationName": "a", "variables": {"p": id}}  # fmt: skip
        assert (await treating.post("/fhir/$graphql", json=body)).json() == expected
        params = {"query": str(body["query"]), "operationName": "a", "variables": json.dumps({"p": id})}
        assert (await treating.get("/fhir/$graphql", params=params)).json() == expected
        found = await treating.get(f"/fhir/{kept[0]}/$graphql", params={"query": "{ name { family } }"})
        assert found.json() == {"data": {"name": [{"family": "张"}]}}

    async def test_numbers_stay_as_they_were_written(self, treating: httpx.AsyncClient) -> None:
        body = json.dumps(observation(valueQuantity={"value": 0, "unit": "kg"})).replace(": 0,", ": 72.50,")
        made = await treating.post("/fhir/Observation", content=body)
        path = f"/fhir/Observation/{made.json()['id']}/$graphql"
        answer = await treating.get(path, params={"query": "{ valueQuantity { value } }"})
        assert answer.text == '{"data":{"valueQuantity":{"value":72.50}}}'

    async def test_lists_and_reverse_references(self, treating: httpx.AsyncClient, kept: list[str]) -> None:
        person, first, second, third, _ = map(id_of, kept)
        found = await asked(
            treating, "query($p: ID) { ObservationList(patient: $p, code: [1, 2]) { id } }", p=person
        )
        assert found == {"ObservationList": [{"id": first}, {"id": second}]}
        query = "{ id ObservationList(_reference: patient, code: 3) { id subject { resource { id } } } }"
        assert await asked(treating, query, f"/{kept[0]}") == {
            "id": person,
            "ObservationList": [{"id": third, "subject": {"resource": {"id": person}}}],
        }
        query = '{ ObservationList(_reference: patient, _sort: "-date", _count: 1) { id } }'
        assert await asked(treating, query, f"/{kept[0]}") == {"ObservationList": [{"id": second}]}
        assert await asked(treating, '{ ObservationList(code: "1,2") { id } }') == {"ObservationList": []}
        query = '{ ObservationList(code: [1, 2], fhirpath: "value.exists()") { id } }'
        assert await asked(treating, query) == {"ObservationList": [{"id": first}]}

    async def test_a_connection_goes_on_by_its_cursor(
        self, treating: httpx.AsyncClient, kept: list[str]
    ) -> None:
        fields = "count offset pagesize edges { mode resource { id } } first next"
        query = f"{{ ObservationConnection(_reference: subject, _count: 2) {{ {fields} }} }}"
        page = (await asked(treating, query, f"/{kept[0]}"))["ObservationConnection"]
        assert (page["count"], page["offset"], page["pagesize"]) == (3, 0, 2)
        assert page["edges"] == [{"mode": "match", "resource": {"id": id_of(one)}} for one in kept[1:3]]
        follow = f"query($c: String) {{ ObservationConnection(_cursor: $c) {{ {fields} }} }}"
        rest = (await asked(treating, follow, c=page["next"]))["ObservationConnection"]
        assert (rest["count"], rest["offset"], rest["pagesize"]) == (3, 2, 2)
        assert [edge["resource"]["id"] for edge in rest["edges"]] == [id_of(kept[3])]
        assert "next" not in rest
        again = (await asked(treating, follow, c=page["first"]))["ObservationConnection"]
        assert again["edges"] == page["edges"]
        made_up = f'{{ ObservationConnection(_cursor: "x") {{ {fields} }} }}'
        assert (await wrong(treating, made_up))[0] == 400

    async def test_a_level_costs_a_statement_however_many_there_are(
        self, treating: httpx.AsyncClient, kept: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        for name in ("resolved", "referring", "search"):
            real = getattr(repository, name)

            async def counted(*args: Any, _name: str = name, _real: Any = real, **kwargs: Any) -> Any:
                calls.append(_name)
                return await _real(*args, **kwargs)

            monkeypatch.setattr(repository, name, counted)
        another = (await treating.post("/fhir/Patient", json=patient(("urn:mrn", "2")))).json()["id"]
        await treating.post("/fhir/Observation", json=observation(f"Patient/{another}", code="4"))
        query = """{ PatientList { id ObservationList(_reference: patient) {
            code { coding { code } } subject { resource { id } } } } }"""
        found = (await asked(treating, query))["PatientList"]
        assert [len(one["ObservationList"]) for one in found] == [3, 1]
        codes = [[o["code"]["coding"][0]["code"] for o in one["ObservationList"]] for one in found]
        assert codes == [["1", "2", "3"], ["4"]]
        assert calls == ["search", "referring", "resolved"]

    async def test_what_refers_to_many_is_not_fetched_beyond_the_bound(
        self, treating: httpx.AsyncClient, kept: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        another = (await treating.post("/fhir/Patient", json=patient(("urn:mrn", "2")))).json()["id"]
        await treating.post("/fhir/Observation", json=observation(f"Patient/{another}", code="4"))
        fetched: list[int] = []
        real = repository.referring

        async def counted(*args: Any, **kwargs: Any) -> Any:
            rows = await real(*args, **kwargs)
            fetched.append(len(rows))
            return rows

        monkeypatch.setattr(repository, "referring", counted)
        monkeypatch.setattr(loading, "LOADED_MAX", 2)
        status, message = await wrong(
            treating, "{ PatientList { ObservationList(_reference: patient) { id } } }"
        )
        assert (status, message, fetched) == (400, "more than 2 resources would be loaded", [3])

    @pytest.mark.parametrize("inner", ["", "ObservationList(_reference: patient) { id }"])
    async def test_bytes_have_a_bound_too(
        self, treating: httpx.AsyncClient, kept: list[str], inner: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await treating.post("/fhir/Patient", json=patient(("urn:mrn", "2")))
        monkeypatch.setattr(fitting, "ANSWER_BYTES", 700 if inner else 1)
        status, words = await wrong(treating, f"{{ PatientList {{ id {inner} }} }}")
        assert (status, words.partition(" would")[0][-5:]) == (400, "bytes")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("{ Shoe(id: 1) { id } }", "'Shoe' is no query"),
            ("{ Patient(name: x) { id } }", "read by its id alone"),
            ('{ Patient(id: "a\\u0000") { id } }', "no resource has such an id"),
            ("{ PatientList(shoe: 44) { id } }", "no argument 'shoe'"),
            ("{ PatientList(_reference: x) { id } }", "takes no _reference"),
            ("{ ObservationList(date: soon) { id } }", "date"),
            ("{ ObservationConnection(code: 1, _cursor: x) { next } }", "_cursor stands alone"),
            ("{" + " ".join(f"a{i}: PatientList {{ id }}" for i in range(21)) + "}", "more than 20 searches"),
            ("{ PatientList { ConditionConnection(_reference: subject) { next } } }", "ask for a List"),
            ("{ PatientList { ConditionList(_reference: code) { id } } }", "no reference parameter 'code'"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, treating: httpx.AsyncClient, kept: list[str], query: str, words: str
    ) -> None:
        await treating.post("/fhir/Patient", json=patient(("urn:mrn", "2")))
        status, message = await wrong(treating, query)
        assert status == 400
        assert words in message

    async def test_what_is_sent_wrongly(self, treating: httpx.AsyncClient) -> None:
        for body in ({}, {"query": 1}, {"query": "{ id }", "shoe": 44}, {"query": "{ id }", "variables": []}):
            assert (await treating.post("/fhir/$graphql", json=body)).status_code == 400
        half = b'{"query": "query ($v: String) {PatientList(name: $v) {id}}", "variables": {"v": "\\ud800"}}'
        answer = await treating.post("/fhir/$graphql", content=half)
        assert (answer.status_code, answer.json()["data"]) == (400, None)
        answer = await treating.post("/fhir/$graphql", content=b"{", headers={"content-type": "text/css"})
        assert answer.status_code == 415
        assert answer.json()["errors"]
        number = f'{{ PatientList(identifier: "{NUMBER[1]}") {{ id }} }}'
        assert (await treating.get("/fhir/$graphql", params={"query": number})).status_code == 400
        assert await asked(treating, number) == {"PatientList": []}


class TestReach:
    async def test_another_hospital_learns_nothing(
        self, hospital: Hospital, kept: list[str], house: RunningServices
    ) -> None:
        other = await hospital("B", purpose="treatment")
        for local in kept[:4]:
            kind, id = local.split("/")
            for query, path in ((f'{{ {kind}(id: "%s") {{ id }} }}', ""), ("{ id }", f"/{kind}/%s")):
                there = await wrong(other, query.replace("%s", id), path.replace("%s", id))
                absent = await wrong(other, query.replace("%s", "nothing"), path.replace("%s", "nothing"))
                assert there[0] == absent[0] == 404
                assert there[1].replace(id, "nothing") == absent[1]
        query = "{ PatientList { id } ObservationList { id } ObservationConnection { count edges { mode } } }"
        assert await asked(other, query) == {
            "PatientList": [],
            "ObservationList": [],
            "ObservationConnection": {"count": 0},
        }
        told = {leaf["resource"] for leaf in await leaves(house)}
        assert told == set(kept[:4])

    async def test_a_reference_opens_nothing(
        self, treating: httpx.AsyncClient, hospital: Hospital, kept: list[str], records: Database
    ) -> None:
        other = await hospital("B", purpose="treatment")
        mine = (await other.post("/fhir/Patient", json=patient(("urn:mrn", "1")))).json()["id"]
        theirs = (await other.post("/fhir/Observation", json=observation(f"Patient/{mine}"))).json()["id"]
        query = "{ subject { reference resource { id } } }"
        found = {}
        for target in (kept[0], "Patient/nothing"):
            async with records.transaction() as tx:
                await tx.execute(
                    "update resource set body = regexp_replace(body, 'Patient/[^\"]+', $1) where id = $2",
                    target,
                    theirs,
                )
            found[target] = await wrong(other, query, f"/Observation/{theirs}")
            optional = "{ subject { resource(optional: true) { id } } }"
            assert await asked(other, optional, f"/Observation/{theirs}") == {"subject": {}}
        there, absent = found.values()
        assert there[0] == absent[0] == 404
        assert there[1].replace(kept[0], "Patient/nothing") == absent[1]

    async def test_scopes_hold_at_every_level(self, hospital: Hospital, kept: list[str]) -> None:
        narrow = await hospital("A", purpose="treatment", scopes="system/Observation.rs system/Patient.s")
        assert (await wrong(narrow, f'{{ Patient(id: "{id_of(kept[0])}") {{ id }} }}'))[0] == 403
        assert (await wrong(narrow, "{ id }", f"/{kept[0]}"))[0] == 403
        assert (await wrong(narrow, "{ OrganizationList { id } }"))[0] == 403
        assert (await wrong(narrow, "{ subject { resource { id } } }", f"/{kept[1]}"))[0] == 404
        found = await asked(narrow, "{ PatientList { ObservationList(_reference: patient) { id } } }")
        assert [len(one["ObservationList"]) for one in found["PatientList"]] == [3]
        reads = await hospital("A", purpose="treatment", scopes="system/Patient.r system/Observation.r")
        assert (await wrong(reads, "{ ObservationList(_reference: patient) { id } }", f"/{kept[0]}"))[
            0
        ] == 403

    async def test_nobody_is_let_in_without_a_token(self, house: RunningServices) -> None:
        client = await house.client("health", scopes=None)
        assert (await wrong(client, "{ __typename }"))[0] == 401

    async def test_what_is_shown_is_on_record(
        self, treating: httpx.AsyncClient, kept: list[str], house: RunningServices, records: Database
    ) -> None:
        await asked(treating, "{ ObservationList(_reference: patient) { id } }", f"/{kept[0]}")
        async with records.read() as db:
            person = await db.fetchval("select sector_id from patient_person")
        found = [leaf for leaf in await leaves(house, "permitted") if "$graphql" in str(leaf.get("resource"))]
        assert [(one["action"], one["subject"], one["records"]) for one in found] == [
            ("fhir.read", person, 4)
        ]
        assert found[0]["resource"] == f"{kept[0]}/$graphql"
