"""`POST /fhir`: all entries or none, references settled, repeats counted once."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.health.conftest import Hospital
from tests.health.support import (
    CITIZEN_NUMBER,
    issues,
    locations,
    observation,
    organization,
    patient,
    post,
    put,
    statuses,
    transaction,
)
from tests.support.running import RunningServices

PERSON = "urn:uuid:11111111-1111-4111-8111-111111111111"
HOSPITAL = "urn:uuid:22222222-2222-4222-8222-222222222222"


async def total(client: httpx.AsyncClient, kind: str) -> Any:
    return (await client.get(f"/fhir/{kind}", params={"_count": 0})).json()["total"]


async def sent(client: httpx.AsyncClient, *entries: dict[str, Any]) -> Any:
    response = await client.post("/fhir", json=transaction(*entries))
    assert response.status_code == 200, response.text
    return response.json()


async def refused(
    client: httpx.AsyncClient, *entries: dict[str, Any]
) -> tuple[int, list[tuple[str, str | None]]]:
    """Status and issues of a refusal that left nothing behind."""
    response = await client.post("/fhir", json=transaction(*entries))
    assert response.headers["content-type"].startswith("application/fhir+json")
    for kind in ("Patient", "Observation", "Organization"):
        assert await total(client, kind) == 0
    return response.status_code, list(issues(response.json()))


class TestReferences:
    async def test_entries_are_kept_and_their_references_rewritten(self, fhir: httpx.AsyncClient) -> None:
        answer = await sent(fhir, post(observation(PERSON)), post(patient(("urn:mrn", "1")), PERSON))
        assert statuses(answer) == ["201 Created", "201 Created"]
        measured, person = locations(answer)
        response = await fhir.get(f"/fhir/{measured}")
        assert response.json()["subject"] == {"reference": person}
        assert response.headers["etag"] == 'W/"1"' == answer["entry"][0]["response"]["etag"]

    async def test_links_and_uris_are_rewritten_and_plain_strings_are_not(
        self, fhir: httpx.AsyncClient
    ) -> None:
        document = {
            "resourceType": "DocumentReference",
            "status": "current",
            "text": {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{PERSON}">{PERSON}</a></div>',
            },
            "description": PERSON,
            "identifier": [{"system": "urn:x", "value": PERSON}],
            "content": [{"attachment": {"url": PERSON}}],
        }
        place, person = locations(await sent(fhir, post(document), post(patient(("urn:mrn", "1")), PERSON)))
        found = (await fhir.get(f"/fhir/{place}")).json()
        assert f'<a href="{person}">{PERSON}</a>' in found["text"]["div"]
        assert found["content"][0]["attachment"]["url"] == person
        assert found["description"] == PERSON
        assert found["identifier"][0]["value"] == PERSON

    async def test_relative_references_follow_the_full_url(self, fhir: httpx.AsyncClient) -> None:
        base = "http://hospital.example/fhir"
        answer = await sent(
            fhir,
            post(observation("Patient/7"), f"{base}/Observation/1"),
            post(patient(("urn:mrn", "1")), f"{base}/Patient/7"),
        )
        measured, person = locations(answer)
        assert (await fhir.get(f"/fhir/{measured}")).json()["subject"]["reference"] == person

    async def test_this_servers_own_urls_become_relative(
        self, fhir: httpx.AsyncClient, house: RunningServices
    ) -> None:
        [person] = locations(await sent(fhir, post(patient(("urn:mrn", "1")))))
        own = f"{house.settings.public_url}/fhir/{person}"
        [measured] = locations(await sent(fhir, post(observation(own))))
        assert (await fhir.get(f"/fhir/{measured}")).json()["subject"]["reference"] == person

    async def test_another_servers_url_is_left_alone(self, fhir: httpx.AsyncClient) -> None:
        other = "https://elsewhere.example/fhir/Patient/1"
        [measured] = locations(await sent(fhir, post(observation(other))))
        assert (await fhir.get(f"/fhir/{measured}")).json()["subject"]["reference"] == other

    @pytest.mark.parametrize(
        ("reference", "status", "code"),
        [
            (HOSPITAL, 400, "not-found"),
            ("Patient/nobody", 422, "not-found"),
            ("#nothing", 400, "not-found"),
            ("Person of interest", 400, "value"),
            ("Alien/1", 400, "value"),
            ("Patient?identifier=urn:mrn|9", 422, "not-found"),
        ],
    )
    async def test_a_reference_to_nothing_fails_the_bundle_and_is_named(
        self, fhir: httpx.AsyncClient, reference: str, status: int, code: str
    ) -> None:
        entries = (post(patient(("urn:mrn", "1")), PERSON), post(observation(reference)))
        assert await refused(fhir, *entries) == (
            status,
            [(code, "Bundle.entry[1].resource.subject.reference")],
        )


class TestConditionalReferences:
    QUERY = "Organization?identifier=urn:oid:1.2.3|A"

    def measured(self) -> dict[str, Any]:
        return observation(performer=[{"reference": self.QUERY}])

    async def test_one_in_the_bundle(self, fhir: httpx.AsyncClient) -> None:
        measured, hospital = locations(await sent(fhir, post(self.measured()), post(organization("A"))))
        assert (await fhir.get(f"/fhir/{measured}")).json()["performer"] == [{"reference": hospital}]

    async def test_one_in_the_store(self, fhir: httpx.AsyncClient) -> None:
        [hospital] = locations(await sent(fhir, post(organization("A"))))
        [measured] = locations(await sent(fhir, post(self.measured())))
        assert (await fhir.get(f"/fhir/{measured}")).json()["performer"] == [{"reference": hospital}]

    async def test_the_same_one_in_both(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, post(organization("A")))
        answer = await sent(fhir, post(organization("A")), post(self.measured()))
        hospital, measured = locations(answer)
        assert (await fhir.get(f"/fhir/{measured}")).json()["performer"] == [{"reference": hospital}]

    async def test_several_in_the_store_fail_the_bundle(self, fhir: httpx.AsyncClient) -> None:
        for _ in range(2):
            assert (await fhir.post("/fhir/Organization", json=organization("A"))).status_code == 201
        response = await fhir.post("/fhir", json=transaction(post(self.measured())))
        assert response.status_code == 422
        assert list(issues(response.json())) == [
            ("multiple-matches", "Bundle.entry[0].resource.performer[0].reference")
        ]

    async def test_ones_own_comes_before_another_organisations(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        other = await hospital("hospital-2")
        await sent(other, post(organization("A")))
        [own] = locations(await sent(fhir, post(organization("A"))))
        [measured] = locations(await sent(fhir, post(self.measured())))
        assert (await fhir.get(f"/fhir/{measured}")).json()["performer"] == [{"reference": own}]
        third = await hospital("hospital-3")
        assert (await third.post("/fhir", json=transaction(post(self.measured())))).status_code == 422

    async def test_an_unknown_parameter_in_it_is_named(self, fhir: httpx.AsyncClient) -> None:
        measured = observation(performer=[{"reference": "Organization?nickname=x"}])
        assert await refused(fhir, post(measured)) == (
            400,
            [("not-supported", "Bundle.entry[0].resource.performer[0].reference")],
        )


class TestRepeats:
    async def test_organizations_of_one_sender_are_known_again(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        first = await sent(fhir, post(organization("A"), HOSPITAL), post(observation(code="1")))
        again = await sent(fhir, post(organization("A"), HOSPITAL), post(observation(code="2")))
        assert locations(again)[0] == locations(first)[0]
        assert statuses(again) == ["200 OK", "201 Created"]
        assert again["entry"][0]["response"]["etag"] == 'W/"1"'
        await sent(await hospital("hospital-2"), post(organization("A")))
        assert await total(fhir, "Organization") == 2

    async def test_references_to_a_known_one_lead_to_it(self, fhir: httpx.AsyncClient) -> None:
        [hospital] = locations(await sent(fhir, post(organization("A"))))
        measured = observation(performer=[{"reference": HOSPITAL}])
        answer = await sent(fhir, post(measured), post(organization("A"), HOSPITAL))
        found = (await fhir.get(f"/fhir/{locations(answer)[0]}")).json()
        assert found["performer"] == [{"reference": hospital}]

    async def test_what_is_said_anew_is_a_new_version(self, fhir: httpx.AsyncClient) -> None:
        [place] = locations(await sent(fhir, post(organization("A", name="old"))))
        answer = await sent(fhir, post(organization("A", name="new")))
        assert answer["entry"][0]["response"]["location"] == f"{place}/_history/2"
        assert (await fhir.get(f"/fhir/{place}")).json()["name"] == "new"
        assert (await fhir.get(f"/fhir/{place}/_history/1")).json()["name"] == "old"
        assert await total(fhir, "Organization") == 1

    async def test_twice_in_one_bundle_is_one(self, fhir: httpx.AsyncClient) -> None:
        answer = await sent(fhir, post(organization("A")), post(organization("A")))
        assert len(set(locations(answer))) == 1

    async def test_twice_in_one_bundle_and_different_is_refused(self, fhir: httpx.AsyncClient) -> None:
        entries = (post(organization("A")), post(organization("A", name="other")))
        assert await refused(fhir, *entries) == (409, [("conflict", "Bundle.entry[1].resource")])

    async def test_patients_are_never_merged_unasked(self, fhir: httpx.AsyncClient) -> None:
        for _ in range(2):
            await sent(fhir, post(patient(("urn:mrn", "1"), gender="male")), post(observation(code="x")))
            await sent(fhir, post(patient(("urn:mrn", "1"))))
        assert await total(fhir, "Patient") == 2

    async def test_the_same_bytes_count_once(self, fhir: httpx.AsyncClient, hospital: Hospital) -> None:
        bundle = transaction(post(observation()))
        first = await fhir.post("/fhir", json=bundle)
        again = await fhir.post("/fhir", json=bundle, headers={"idempotency-key": "k"})
        assert again.content == first.content
        assert await total(fhir, "Observation") == 1
        other = await hospital("hospital-2")
        await other.post("/fhir", json=bundle)
        assert (await total(fhir, "Observation"), await total(other, "Observation")) == (1, 1)

    async def test_bundles_of_puts_may_change_back(self, fhir: httpx.AsyncClient) -> None:
        one, other = (transaction(put(observation(id="o", code=code))) for code in ("1", "2"))
        for bundle in (one, one, other, one):
            assert (await fhir.post("/fhir", json=bundle)).status_code == 200
        kept = (await fhir.get("/fhir/Observation/o")).json()
        assert kept["code"] == one["entry"][0]["resource"]["code"]
        assert kept["meta"]["versionId"] == "3"

    async def test_a_key_tells_a_late_repetition_from_a_change_back(self, fhir: httpx.AsyncClient) -> None:
        one, other = (transaction(put(observation(id="o", code=code))) for code in ("1", "2"))
        key = {"idempotency-key": "first"}
        first = await fhir.post("/fhir", json=one, headers=key)
        await fhir.post("/fhir", json=other)
        late = await fhir.post("/fhir", json=one, headers=key)
        assert late.content == first.content
        kept = (await fhir.get("/fhir/Observation/o")).json()
        assert kept["code"] == other["entry"][0]["resource"]["code"]

    async def test_the_same_bytes_at_the_same_time_count_once(self, fhir: httpx.AsyncClient) -> None:
        bundle = transaction(post(observation()), post(organization("A")))
        answers = await asyncio.gather(*(fhir.post("/fhir", json=bundle) for _ in range(6)))
        assert len({answer.content for answer in answers}) == 1
        assert await total(fhir, "Observation") == 1

    async def test_one_organization_from_many_bundles_at_once_is_one(self, fhir: httpx.AsyncClient) -> None:
        bundles = [transaction(post(organization("A")), post(observation(code=str(i)))) for i in range(8)]
        answers = await asyncio.gather(*(fhir.post("/fhir", json=bundle) for bundle in bundles))
        assert {answer.status_code for answer in answers} == {200}
        assert await total(fhir, "Organization") == 1

    async def test_a_key_used_for_something_else_is_refused(self, fhir: httpx.AsyncClient) -> None:
        key = {"idempotency-key": "k"}
        await fhir.post("/fhir", json=transaction(post(observation())), headers=key)
        response = await fhir.post("/fhir", json=transaction(post(observation(code="x"))), headers=key)
        assert response.status_code == 422
        assert response.json()["resourceType"] == "OperationOutcome"


class TestConditionalCreate:
    def entry(self, **members: Any) -> dict[str, Any]:
        return post(patient(("urn:mrn", "1"), **members), ifNoneExist="identifier=urn:mrn|1")

    async def test_creates_where_there_is_none_and_finds_it_later(self, fhir: httpx.AsyncClient) -> None:
        [first] = locations(await sent(fhir, self.entry()))
        answer = await sent(fhir, self.entry(gender="male"))
        assert (locations(answer), statuses(answer)) == ([first], ["200 OK"])
        assert "gender" not in (await fhir.get(f"/fhir/{first}")).json()

    async def test_twice_in_one_bundle_is_one(self, fhir: httpx.AsyncClient) -> None:
        answer = await sent(fhir, self.entry(), self.entry())
        assert len(set(locations(answer))) == 1
        assert await total(fhir, "Patient") == 1

    async def test_at_the_same_time_is_one(self, fhir: httpx.AsyncClient) -> None:
        bundles = [transaction(self.entry(birthDate=f"19{70 + i}")) for i in range(6)]
        answers = await asyncio.gather(*(fhir.post("/fhir", json=bundle) for bundle in bundles))
        assert len({tuple(locations(answer.json())) for answer in answers}) == 1

    async def test_several_fail_the_bundle(self, fhir: httpx.AsyncClient) -> None:
        for _ in range(2):
            await fhir.post("/fhir/Patient", json=patient(("urn:mrn", "1")))
        response = await fhir.post("/fhir", json=transaction(self.entry()))
        assert response.status_code == 412
        assert list(issues(response.json())) == [("multiple-matches", "Bundle.entry[0].request.ifNoneExist")]


class TestUpdates:
    async def test_put_makes_a_first_version_and_then_further_ones(self, fhir: httpx.AsyncClient) -> None:
        answer = await sent(fhir, put(patient(id="p1")), post(observation("Patient/p1")))
        assert statuses(answer) == ["201 Created", "201 Created"]
        answer = await sent(fhir, put(patient(id="p1", gender="female")))
        assert answer["entry"][0]["response"]["location"] == "Patient/p1/_history/2"
        assert statuses(answer) == ["200 OK"]

    async def test_what_is_said_already_makes_no_version(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, put(patient(id="p1")))
        answer = await sent(fhir, put(patient(id="p1")), post(observation()))
        assert answer["entry"][0]["response"]["etag"] == 'W/"1"'

    async def test_by_search(self, fhir: httpx.AsyncClient) -> None:
        entry = put(patient(("urn:mrn", "1")), "Patient?identifier=urn:mrn|1")
        [place] = locations(await sent(fhir, entry))
        changed = put(patient(("urn:mrn", "1"), gender="male"), "Patient?identifier=urn:mrn|1")
        answer = await sent(fhir, changed)
        assert answer["entry"][0]["response"]["location"] == f"{place}/_history/2"

    async def test_two_searches_that_ask_the_same_make_one_resource_or_none(
        self, fhir: httpx.AsyncClient
    ) -> None:
        urls = ("Patient?identifier=urn:mrn|2", "Patient?identifier=urn%3Amrn%7C2")
        news = [
            put(patient(("urn:mrn", "2"), gender=gender), url)
            for gender, url in zip(("male", "other"), urls, strict=True)
        ]
        response = await fhir.post("/fhir", json=transaction(*news))
        assert response.status_code == 409
        assert await total(fhir, "Patient") == 0

    async def test_the_version_asked_for_must_be_the_current_one(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, put(patient(id="p1")))
        await sent(fhir, put(patient(id="p1", gender="male"), ifMatch='W/"1"'))
        entry = put(patient(id="p1", gender="female"), ifMatch='W/"1"')
        response = await fhir.post("/fhir", json=transaction(entry))
        assert response.status_code == 412
        assert list(issues(response.json())) == [("conflict", "Bundle.entry[0].request.ifMatch")]

    async def test_another_organisations_resource_stays_as_it_is(
        self, fhir: httpx.AsyncClient, hospital: Hospital
    ) -> None:
        await sent(fhir, put(patient(id="p1")))
        other = await hospital("hospital-2")
        response = await other.post("/fhir", json=transaction(put(patient(id="p1", gender="male"))))
        assert response.status_code == 403
        assert list(issues(response.json())) == [("forbidden", "Bundle.entry[0]")]

    async def test_a_resource_that_two_entries_turn_out_to_mean_is_refused(
        self, fhir: httpx.AsyncClient
    ) -> None:
        await sent(fhir, put(patient(("urn:mrn", "1"), ("urn:mrn", "2"), id="p1")))
        for other in ("Patient?identifier=urn:mrn|2", "Patient/p1"):
            resource = patient(("urn:mrn", "1"), gender="female", **({"id": "p1"} if "/" in other else {}))
            entries = (
                put(patient(("urn:mrn", "1"), gender="male"), "Patient?identifier=urn:mrn|1"),
                put(resource, other),
            )
            response = await fhir.post("/fhir", json=transaction(*entries))
            assert response.status_code == 409, response.text
            assert list(issues(response.json())) == [("conflict", "Bundle.entry[1]")]

    async def test_a_search_without_a_criterion_means_nothing(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, put(patient(id="p1")))
        for query in ("_count=1", "_format=json"):
            response = await fhir.post("/fhir", json=transaction(post(patient(), ifNoneExist=query)))
            assert response.status_code == 400

    async def test_the_index_follows(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, put(observation(id="o1", code="old")))
        await sent(fhir, put(observation(id="o1", code="new")))
        assert "entry" not in (await fhir.get("/fhir/Observation?code=old")).json()
        assert len((await fhir.get("/fhir/Observation?code=new")).json()["entry"]) == 1

    async def test_at_the_same_time_each_counts(self, fhir: httpx.AsyncClient) -> None:
        await sent(fhir, put(patient(id="p1")))
        bundles = [transaction(put(patient(id="p1", birthDate=f"19{70 + i}"))) for i in range(6)]
        answers = await asyncio.gather(*(fhir.post("/fhir", json=bundle) for bundle in bundles))
        etags = {answer.json()["entry"][0]["response"]["etag"] for answer in answers}
        assert etags == {f'W/"{n}"' for n in range(2, 8)}


class TestAllOrNothing:
    @pytest.mark.parametrize(
        ("entry", "status", "code", "expression"),
        [
            pytest.param(
                post(patient(gender="purple")), 400, "code-invalid", "Bundle.entry[1].resource.gender",
                id="invalid resource",
            ),
            pytest.param(
                post({"resourceType": "Alien"}), 400, "code-invalid", "Bundle.entry[1].resource.resourceType",
                id="unknown type",
            ),
            pytest.param(
                {"resource": patient()}, 400, "required", "Bundle.entry[1].request", id="no request"
            ),
            pytest.param(
                {"request": {"method": "POST", "url": "Patient"}}, 400, "required",
                "Bundle.entry[1].resource", id="no resource",
            ),
            pytest.param(
                {"request": {"method": "DELETE", "url": "Patient"}}, 400, "invalid",
                "Bundle.entry[1].request.url", id="delete of nothing in particular",
            ),
            pytest.param(
                {"resource": patient(), "request": {"method": "GET", "url": "Patient"}}, 400, "invalid",
                "Bundle.entry[1].resource", id="a read with a resource",
            ),
            pytest.param(
                {"resource": patient(), "request": {"method": "POST", "url": "Observation"}}, 400, "invalid",
                "Bundle.entry[1].request.url", id="url of another type",
            ),
            pytest.param(
                put(patient(id="a"), "Patient/b"), 400, "invalid", "Bundle.entry[1].resource.id",
                id="ids differ",
            ),
            pytest.param(
                post(patient(), PERSON), 400, "duplicate", "Bundle.entry[1].fullUrl", id="fullUrl twice"
            ),
            pytest.param(
                post(patient((CITIZEN_NUMBER, "110101199003070000"))), 422, "value",
                "Bundle.entry[1].resource.identifier[0].value", id="checksum",
            ),
            pytest.param(
                post(patient(), ifNoneExist="shoe=44"), 400, "not-supported",
                "Bundle.entry[1].request.ifNoneExist", id="unknown parameter in ifNoneExist",
            ),
        ],
    )  # fmt: skip
    async def test_one_bad_entry_refuses_all(
        self,
        fhir: httpx.AsyncClient,
        house: RunningServices,
        entry: Any,
        status: int,
        code: str,
        expression: str | None,
    ) -> None:
        good = post(patient(("urn:mrn", "1")), PERSON)
        assert await refused(fhir, good, entry) == (status, [(code, expression)])
        db = house.kit("health").db
        async with db.read() as connection:
            for table in ("resource", "history", "tok", "patient_person", "outbox", "idempotency"):
                assert await connection.fetchval(f"select count(*) from {table}") == 0, table

    async def test_every_fault_is_named_at_once(self, fhir: httpx.AsyncClient) -> None:
        status, found = await refused(fhir, post(patient(gender="x")), post(observation(status="y")))
        assert status == 400
        assert found == [
            ("code-invalid", "Bundle.entry[0].resource.gender"),
            ("code-invalid", "Bundle.entry[1].resource.status"),
        ]

    @pytest.mark.parametrize("kind", ["history", "document", "collection"])
    async def test_another_bundle_is_no_transaction(self, fhir: httpx.AsyncClient, kind: str) -> None:
        response = await fhir.post("/fhir", json={"resourceType": "Bundle", "type": kind})
        assert response.status_code == 400
        assert list(issues(response.json())) == [("not-supported", "Bundle.type")]

    @pytest.mark.parametrize("wanted", ["minimal", "representation", "OperationOutcome"])
    async def test_an_empty_transaction_is_answered(self, fhir: httpx.AsyncClient, wanted: str) -> None:
        empty = {"resourceType": "Bundle", "type": "transaction"}
        response = await fhir.post("/fhir", json=empty, headers={"prefer": f"return={wanted}"})
        assert response.status_code == 200
        assert response.json() == {"resourceType": "Bundle", "type": "transaction-response"}
