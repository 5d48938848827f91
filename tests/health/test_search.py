"""Search: every form of a token, dates at their precision, pages, and nothing understood halfway."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest

from health.criteria import Pointed
from health.fhir import search
from health.fhir.outcome import Refusal
from tests.health.support import (
    CITIZEN_NUMBER,
    issues,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.support.running import RunningServices

BASE = "http://here/fhir/"
PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
LOINC, OTHER = "http://loinc.org", "urn:other"


def coded(*codings: tuple[str | None, str], **members: Any) -> dict[str, Any]:
    coding = [{k: v for k, v in (("system", s), ("code", c)) if v} for s, c in codings]
    return {"resourceType": "Observation", "status": "final", "code": {"coding": coding}, **members}


async def found(client: httpx.AsyncClient, kind: str = "Observation", **params: str) -> list[str]:
    """The `valueString` (or id) of what a search gives."""
    response = await client.get(f"/fhir/{kind}", params=params)
    assert response.status_code == 200, response.text
    return [e["resource"].get("valueString", e["resource"]["id"]) for e in response.json().get("entry", [])]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("1", "abc"),
        (f"{LOINC}|1", "a"),
        ("|1", "c"),
        (f"{LOINC}|", "ad"),
        (f"{LOINC}|1,{OTHER}|1", "ab"),
        (f"{LOINC}|1,|1,3", "acd"),
        ("nothing", ""),
        (r"x\,y", "e"),
        (r"urn:a\|b|p\|q", "f"),
    ],
)
async def test_a_token_is_found_in_each_form(fhir: httpx.AsyncClient, asked: str, names: str) -> None:
    await fhir.post(
        "/fhir",
        json=transaction(
            post(coded((LOINC, "1"), valueString="a")),
            post(coded((OTHER, "1"), valueString="b")),
            post(coded((None, "1"), valueString="c")),
            post(coded((OTHER, "2"), (LOINC, "3"), valueString="d")),
            post(coded((None, "x,y"), valueString="e")),
            post(coded(("urn:a|b", "p|q"), valueString="f")),
        ),
    )
    assert "".join(await found(fhir, code=asked)) == names


STORED = {
    "a": "2013",
    "b": "2013-01",
    "c": "2013-01-14",
    "d": "2013-01-14T10:00:00Z",
    "e": "2013-01-14T23:30:00-05:00",
    "f": "2014-06-01",
}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("2013", "abcde"),
        ("2013-01-14", "cd"),
        ("2013-01-15", "e"),
        ("ne2013-01-14", "abef"),
        ("gt2013-01-14", "abef"),
        ("lt2013-01-14", "ab"),
        ("ge2013-01-14", "abcdef"),
        ("le2013-01-14", "abcd"),
        ("sa2013-01-14", "ef"),
        ("eb2013-01-15", "cd"),
        ("eb2013-01-14", ""),
        ("2013-01-14T10:00", "d"),
        ("2013-01-14T10:00:00Z", "d"),
        ("2013-01-14T18:00:00+08:00", "d"),
        ("2013-01-14,2014", "cdf"),
        ("ap2014-06-01", "af"),
    ],
)
async def test_a_date_is_compared_at_the_precision_it_is_written_in(
    fhir: httpx.AsyncClient, asked: str, names: str
) -> None:
    entries = [post(observation(valueString=name, effectiveDateTime=at)) for name, at in STORED.items()]
    await fhir.post("/fhir", json=transaction(*entries))
    assert "".join(await found(fhir, date=asked)) == names


async def test_an_open_period_never_equals_and_overlaps_what_follows(fhir: httpx.AsyncClient) -> None:
    encounter = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "period": {"start": "2020-05-01"},
    }
    await fhir.post("/fhir", json=transaction(post(encounter)))
    assert len(await found(fhir, "Encounter", date="2020-05-01")) == 0
    assert len(await found(fhir, "Encounter", date="gt2026")) == 1
    assert len(await found(fhir, "Encounter", date="sa2019")) == 1


async def test_patient_in_each_form_and_parameters_together(
    fhir: httpx.AsyncClient, house: RunningServices
) -> None:
    answer = await fhir.post(
        "/fhir",
        json=transaction(
            post(patient(("urn:mrn", "1")), PERSON),
            post(observation(PERSON, code="1", valueString="a", effectiveDateTime="2020")),
            post(observation(PERSON, code="2", valueString="b", effectiveDateTime="2021")),
            post(observation(code="1", valueString="c")),
        ),
    )
    person = locations(answer.json())[0]
    id = person.partition("/")[2]
    for asked in (id, person, f"{house.settings.public_url}/fhir/{person}"):
        assert await found(fhir, patient=asked) == ["a", "b"]
    assert await found(fhir, **{"patient:Patient": id}) == ["a", "b"]
    assert await found(fhir, patient=id, code="1") == ["a"]
    assert await found(fhir, patient=id, date="ge2021") == ["b"]
    assert await found(fhir, code="1") == ["a", "c"]
    response = await fhir.get("/fhir/Observation", params=[("code", "1"), ("code", "2")])
    assert "entry" not in response.json()
    assert await found(fhir, "Patient", identifier="urn:mrn|1") == [id]
    assert await found(fhir, "Patient", _id=f"{id},other") == [id]


async def test_pages_follow_each_other_without_gap_or_repeat(fhir: httpx.AsyncClient) -> None:
    entries = [post(observation(valueString=f"{i:02}")) for i in range(25)]
    await fhir.post("/fhir", json=transaction(*entries))
    seen: list[list[str]] = []
    url: str | None = "/fhir/Observation?code=8867-4&_count=10"
    while url is not None:
        answer = (await fhir.get(url)).json()
        seen.append([e["resource"]["valueString"] for e in answer["entry"]])
        links = {link["relation"]: link["url"] for link in answer["link"]}
        if len(seen) == 1:
            assert links["self"].endswith("/fhir/Observation?code=8867-4&_count=10")
            await fhir.post("/fhir/Observation", json=observation(valueString="new"))
        url = links.get("next")
    assert [len(page) for page in seen] == [10, 10, 6]
    assert [name for page in seen for name in page] == [f"{i:02}" for i in range(25)] + ["new"]


async def test_a_page_link_cannot_be_made_up_or_used_elsewhere(fhir: httpx.AsyncClient) -> None:
    await fhir.post("/fhir", json=transaction(*(post(observation(valueString=str(i))) for i in range(3))))
    answer = (await fhir.get("/fhir/Observation?_count=1")).json()
    query = urlsplit(answer["link"][1]["url"]).query
    for url in (f"/fhir/Condition?{query}", f"/fhir/Observation?{query}x", "/fhir/Observation?_page=abc"):
        response = await fhir.get(url)
        assert response.status_code == 400
        assert list(issues(response.json())) == [("value", "_page")]


class TestCitizenNumbers:
    NUMBER = "11010519491231002X"

    async def test_they_do_not_stand_in_urls(self, fhir: httpx.AsyncClient) -> None:
        for asked in (f"{CITIZEN_NUMBER}|{self.NUMBER}", self.NUMBER):
            response = await fhir.get("/fhir/Patient", params={"identifier": asked})
            assert response.status_code == 400
            assert list(issues(response.json())) == [("security", "identifier")]
            assert "_search" in response.text

    async def test_they_are_searched_for_by_post(self, fhir: httpx.AsyncClient) -> None:
        for _ in range(2):
            made = await fhir.post("/fhir/Patient", json=patient((CITIZEN_NUMBER, self.NUMBER)))
            assert made.status_code == 201, made.text
        form = {"identifier": f"{CITIZEN_NUMBER}|{self.NUMBER}", "_count": "1"}
        response = await fhir.post(
            "/fhir/Patient/_search",
            data=form,
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        answer = response.json()
        assert len(answer["entry"]) == 1
        links = {link["relation"]: link["url"] for link in answer["link"]}
        assert self.NUMBER not in str(links)
        assert len((await fhir.get(links["next"])).json()["entry"]) == 1


@pytest.mark.parametrize(
    ("params", "code", "expression"),
    [
        ({"name": "x"}, "not-supported", "name"),
        ({"code:exact": "x"}, "not-supported", "code:exact"),
        ({"code:in": "http://nobody.knows/this"}, "not-found", ":in"),
        ({"code:below": "x"}, "value", "code:below"),
        ({"code:missing": "yes"}, "value", "code:missing"),
        ({"_id:missing": "true"}, "not-supported", "_id:missing"),
        ({"patient.shoe": "x"}, "not-supported", "patient.shoe"),
        ({"code.name": "x"}, "not-supported", "code.name"),
        ({"subject:Encounter.date": "2013"}, "not-supported", "subject:Encounter.date"),
        ({"patient.birthdate": "x"}, "value", "patient.birthdate"),
        ({"_has:Encounter:patient": "x"}, "not-supported", "_has:Encounter:patient"),
        ({"_has:Patient:general-practitioner:name": "x"}, "not-supported", None),
        ({"_text": "x"}, "not-supported", "_text"),
        ({"_sort": "shoe"}, "not-supported", "_sort"),
        ({"_sort": "patient"}, "not-supported", "_sort"),
        ({"_sort": ["date", "-date"]}, "value", "_sort"),
        ({"_sort": ",".join(["date"] * 11)}, "value", "_sort"),
        ({"_elements": ["id", "code"]}, "value", "_elements"),
        ({"_include": "Observation:shoe"}, "not-supported", "_include"),
        ({"_include": "Shoe:subject"}, "value", "_include"),
        ({"_include": "Observation:encounter:Patient"}, "value", "_include"),
        ({"_total": "perhaps"}, "value", "_total"),
        ({"_summary": "short"}, "value", "_summary"),
        ({"_elements": "shoe"}, "not-supported", "_elements"),
        ({"_elements": "code", "_summary": "text"}, "invalid", "_elements"),
        ({"value-quantity": "x"}, "value", "value-quantity"),
        ({"value-quantity": "5|mg"}, "value", "value-quantity"),
        ({"value-quantity": "1e999"}, "value", "value-quantity"),
        ({"code-value-quantity": "x"}, "value", "code-value-quantity"),
        ({"code-value-quantity": "urn:x|$5"}, "value", "code-value-quantity"),
        ({"value-string": "a" * 201}, "value", "value-string"),
        ({"value-string": " "}, "value", "value-string"),
        ({"subject": "Shoe/1"}, "value", "subject"),
        ({"_count": "-1"}, "value", "_count"),
        ({"_count": "many"}, "value", "_count"),
        ({"code": ""}, "value", "code"),
        ({"code": "a,,b"}, "value", "code"),
        ({"code": "|"}, "value", "code"),
        ({"date": "yesterday"}, "value", "date"),
        ({"date": "2013-02-30"}, "value", "date"),
        ({"date": "xx2013"}, "value", "date"),
        ({"patient": "a b"}, "value", "patient"),
        ({"code": ",".join("a" * 501)}, "value", "code"),
    ],
)
async def test_what_is_not_understood_is_refused_and_named(
    fhir: httpx.AsyncClient, params: dict[str, Any], code: str, expression: str | None
) -> None:
    response = await fhir.get("/fhir/Observation", params=params)
    assert response.status_code == 400
    assert list(issues(response.json())) == [(code, expression or next(iter(params)))]


@pytest.mark.parametrize("parameter", ["code", "value-string", "patient.name", "code-value-quantity"])
async def test_as_many_parameters_as_can_be_asked_are_and_more_are_refused(
    fhir: httpx.AsyncClient, parameter: str
) -> None:
    value = "8867-4$5" if parameter == "code-value-quantity" else "x"
    form = {"content-type": "application/x-www-form-urlencoded"}
    for number, status in ((500, 200), (501, 400)):
        body = "&".join(f"{parameter}={value}" for _ in range(number))
        response = await fhir.post("/fhir/Observation/_search", content=body, headers=form)
        assert response.status_code == status, response.text


async def test_a_search_is_sorted_by_as_many_parameters_as_can_be(fhir: httpx.AsyncClient) -> None:
    await fhir.post("/fhir/Observation", json=observation())
    response = await fhir.get("/fhir/Observation", params={"_sort": ",".join(["date", "-value-string"] * 5)})
    assert len(response.json()["entry"]) == 1


async def test_lenient_handling_leaves_aside_what_is_unknown_and_reports_it(fhir: httpx.AsyncClient) -> None:
    await fhir.post("/fhir/Observation", json=observation())
    lenient = {"prefer": "handling=lenient"}
    answer = (await fhir.get("/fhir/Observation?shoe=44&code=8867-4", headers=lenient)).json()
    kept, report = answer["entry"]
    assert kept["search"] == {"mode": "match"}
    assert report["search"] == {"mode": "outcome"}
    assert list(issues(report["resource"])) == [("not-supported", "shoe")]
    assert (await fhir.get("/fhir/Observation?date=x", headers=lenient)).status_code == 400


def test_every_unknown_parameter_is_named_at_once() -> None:
    with pytest.raises(Refusal) as refusal:
        search.parsed("Patient", [("a", "1"), ("b", "2")], base=BASE)
    assert [issue.expression for issue in refusal.value.issues] == ["a", "b"]


class TestHere:
    """A reference by search means the entries of its own bundle too, whatever it asks by."""

    ORGANIZATION: ClassVar[dict[str, Any]] = {
        "resourceType": "Organization",
        "identifier": [{"system": "urn:oid:1.2.3", "value": "7"}],
        "name": "Zürich Ost",
        "address": [{"city": "Zürich"}],
        "active": True,
    }
    PERSON: ClassVar[dict[str, Any]] = {"resourceType": "Patient", "birthDate": "1980-05-01"}

    MEANS = (
        ("Organization?name=zurich", True),
        ("Organization?name:exact=zurich", False),
        ("Organization?name:contains=OST&address-city=zü", True),
        ("Organization?active=true&identifier:not=urn:oid:1.2.3|8", True),
        ("Organization?identifier:not=urn:oid:1.2.3|7", False),
        ("Organization?type:missing=true&name:missing=false", True),
        ("Patient?birthdate=lt1981&birthdate=ge1980-05", True),
        ("Patient?birthdate=gt1980-05-01", False),
    )

    async def test_it_finds_what_the_store_would(self, fhir: httpx.AsyncClient) -> None:
        def sent(queries: list[str]) -> dict[str, Any]:
            accounts = [
                {"resourceType": "Account", "status": "active", "subject": [{"reference": query}]}
                for query in queries
            ]
            return transaction(post(self.ORGANIZATION), post(self.PERSON), *map(post, accounts))

        nothing = [query for query, means in self.MEANS if not means]
        answer = await fhir.post("/fhir", json=sent(nothing))
        assert answer.status_code == 422
        assert [where for _, where in issues(answer.json())] == [
            f"Bundle.entry[{2 + n}].resource.subject[0].reference" for n in range(len(nothing))
        ]
        answer = await fhir.post("/fhir", json=sent([query for query, means in self.MEANS if means]))
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize(
        "query",
        ["Patient?organization.name=x", "Patient?_lastUpdated=gt2020", "Patient?_has:Group:member:code=x"],
    )
    async def test_what_it_cannot_tell_is_refused(self, fhir: httpx.AsyncClient, query: str) -> None:
        sent = transaction(post(self.PERSON), post(observation(query)))
        answer = await fhir.post("/fhir", json=sent)
        assert answer.status_code == 400
        assert list(issues(answer.json())) == [
            ("not-supported", "Bundle.entry[1].resource.subject.reference")
        ]


@pytest.mark.parametrize(("kind", "patient"), [("Patient", True), ("Group", False), ("Device", False)])
def test_only_a_patient_is_looked_for_by_compartment(kind: str, patient: bool) -> None:
    """A Group may be the subject of an Observation too, and is in nobody's compartment."""
    asked = search.parsed(kind, [("_has:Observation:subject:code", "x")], base="http://here/fhir/")
    [clause] = asked.criteria.clauses
    assert isinstance(clause, Pointed)
    assert clause.patient is patient
