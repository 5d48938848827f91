"""What goes along with a search and in which form: order, pages, totals, includes, parts, places."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx
import pytest

from health.fhir import searching
from tests.health.conftest import Hospital
from tests.health.support import issues, locations, observation, patient, post, transaction
from tests.support.databases import TestServers
from tests.support.running import RunningServices

FORM = {"content-type": "application/x-www-form-urlencoded"}
WARD, LAB, PERSON, OTHER, VISIT = (f"urn:uuid:00000000-0000-4000-8000-00000000000{n}" for n in range(1, 6))
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


@pytest.fixture
async def stored(fhir: httpx.AsyncClient) -> dict[str, str]:
    """Two patients of one ward, a visit, measurements and a panel over two of them."""

    def measured(name: str, who: str, value: float, **members: Any) -> dict[str, Any]:
        quantity = {"value": value, "system": UCUM, "code": "mg/dL"}
        return observation(
            who, code="2339-0", identifier=[{"value": name}], valueQuantity=quantity, **members
        )

    entries: dict[str, tuple[Any, str]] = {
        "ward": ({"resourceType": "Organization", "name": "内科"}, WARD),
        "lab": ({"resourceType": "Organization", "name": "化验", "partOf": {"reference": WARD}}, LAB),
        "chen": (
            patient(
                name=[{"family": "Chen", "given": ["An"]}],
                birthDate="1980-05-01",
                gender="female",
                managingOrganization={"reference": WARD},
                maritalStatus={"text": "married"},
                text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Chen</div>'},
            ),
            PERSON,
        ),
        "wang": (
            patient(
                name=[{"family": "Wang"}, {"family": "Abel"}],
                birthDate="1990",
                managingOrganization={"reference": LAB},
            ),
            OTHER,
        ),
        "nobody": (patient(), "urn:uuid:00000000-0000-4000-8000-000000000009"),
        "visit": (
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "AMB"},
                "subject": {"reference": PERSON},
                "serviceProvider": {"reference": WARD},
            },
            VISIT,
        ),
        "low": (measured("low", PERSON, 72.50, effectiveDateTime="2020-01-01"), "urn:uuid:a"),
        "high": (
            measured("high", PERSON, 140, effectiveDateTime="2021-01-01", encounter={"reference": VISIT}),
            "urn:uuid:b",
        ),
        "else": (measured("else", OTHER, 100), "urn:uuid:c"),
        "report": (
            {
                "resourceType": "DiagnosticReport",
                "status": "final",
                "code": {"text": "panel"},
                "subject": {"reference": PERSON},
                "result": [{"reference": "urn:uuid:a"}, {"reference": "urn:uuid:b"}],
                "performer": [{"reference": LAB}],
            },
            "urn:uuid:d",
        ),
    }
    for n, name in enumerate(("low", "high", "else", "report")):
        entries[name] = (entries[name][0], f"urn:uuid:00000000-0000-4000-8000-0000000000a{n}")
    entries["report"][0]["result"] = [{"reference": entries[name][1]} for name in ("low", "high")]
    answer = await fhir.post("/fhir", json=transaction(*(post(*entry) for entry in entries.values())))
    assert answer.status_code == 200, answer.text
    return dict(zip(locations(answer.json()), entries, strict=True))


async def ask(client: httpx.AsyncClient, url: str, **headers: str) -> dict[str, Any]:
    answer = await client.get(url, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def named(bundle: dict[str, Any], stored: dict[str, str], mode: str = "match") -> list[str]:
    return [
        stored[f"{e['resource']['resourceType']}/{e['resource']['id']}"]
        for e in bundle.get("entry", [])
        if e["search"]["mode"] == mode
    ]


FOUND = [
    # along references, over several steps, with and without a type
    ("Observation?subject:Patient.family=chen", "low high"),
    ("Observation?patient.family=abel", "else"),
    ("Observation?subject.organization.name=内科", "low high"),
    ("Observation?subject:Patient.organization:Organization.partof.name=内科", "else"),
    ("Observation?patient.gender:missing=true", "else"),
    ("Observation?patient.family=chen,wang&date:missing=true", "else"),
    ("Observation?patient.family=nobody", ""),
    ("Observation?identifier=low,else&patient.family=chen", "low"),
    ("Observation?identifier=low&patient.family=chen,abel&_sort=-date", "low"),
    ("DiagnosticReport?result.value-quantity=gt130", "report"),
    # and back
    ("Patient?_has:Observation:patient:value-quantity=gt90", "chen wang"),
    ("Patient?_has:Observation:patient:date=2020&family=chen", "chen"),
    ("Patient?_has:Observation:patient:code=2339-0", "chen wang"),
    ("Patient?_has:Observation:subject:identifier=low,high", "chen"),
    ("Patient?_has:Observation:performer:identifier=low", ""),
    ("Encounter?_has:Observation:encounter:identifier=high", "visit"),
    ("Patient?_has:Observation:patient:encounter.class=AMB", "chen"),
    ("Organization?_has:Patient:organization:_has:Observation:patient:value-quantity=gt130", "ward"),
    ("Observation?_has:DiagnosticReport:result:performer.name=化验", "low high"),
    ("Patient?_has:DiagnosticReport:patient:status:not=final", ""),
    # composites, one system and unit
    (f"Observation?code-value-quantity={LOINC}|2339-0$gt100", "high"),
    (f"Observation?code-value-quantity=2339-0$le1|{UCUM}|g/L", "low else"),
    ("Observation?combo-code-value-quantity=2339-0$72.5,none$72.5", "low"),
    ("Observation?combo-code=2339-0&value-quantity=ap105", "else"),
    # identifiers of references, missing things, an identifier that nobody has
    ("Observation?encounter:missing=false", "high"),
    ("Patient?family:missing=true", "nobody"),
    ("Observation?identifier:not=low,high", "else"),
    # order
    ("Observation?_sort=-date", "high low else"),
    ("Observation?_sort=date", "low high else"),
    ("Observation?_sort=-value-quantity", "high else low"),
    ("Patient?_sort=family", "wang chen nobody"),
    ("Patient?_sort=-family", "wang chen nobody"),
    ("Patient?_sort=-birthdate,family", "wang chen nobody"),
    ("Patient?_sort=gender,-family", "chen wang nobody"),
    ("Patient?_sort=-_lastUpdated", "chen wang nobody"),
    ("Observation?patient.family=chen,wang&_sort=value-quantity", "low else high"),
]


async def test_what_is_found_and_in_which_order(fhir: httpx.AsyncClient, stored: dict[str, str]) -> None:
    for url, names in FOUND:
        assert " ".join(named(await ask(fhir, f"/fhir/{url}"), stored)) == names, url
        if "_sort" not in url:
            assert (await ask(fhir, f"/fhir/{url}&_summary=count"))["total"] == len(names.split()), url
        # One at a time the pages come to the same.
        following, seen = f"/fhir/{url}&_count=1", []
        while following:
            page = await ask(fhir, following)
            seen += named(page, stored)
            following = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
        assert " ".join(seen) == names, url


ALONG = [
    ("Observation?date=2021&_include=Observation:subject", "chen"),
    ("Observation?date=2021&_include=Observation:subject:Patient", "chen"),
    ("Observation?date=2021&_include=Observation:subject&_include=Observation:encounter", "chen visit"),
    ("Observation?date=2021&_include=Observation:subject:Group", ""),
    ("Observation?date=2021&_include=Observation:*", "chen visit"),
    ("Observation?date=2021&_include=*", "chen visit"),
    ("Observation?date=2021&_include=Observation:subject&_include:iterate=Patient:organization", "ward chen"),
    ("Observation?_include=Observation:subject", "chen wang"),
    ("Patient?family=chen&_revinclude=Observation:subject", "low high"),
    ("Patient?family=chen&_revinclude=*", "visit low high report"),
    ("Patient?family=wang&_include=Patient:organization&_include:iterate=Organization:partof", "ward lab"),
    ("Encounter?_revinclude=Observation:encounter&_revinclude:iterate=DiagnosticReport:*", "high report"),
    ("DiagnosticReport?_include=DiagnosticReport:result&_count=1", "low high"),
    ("Encounter?_revinclude=Observation:encounter&_include=Encounter:service-provider", "ward high"),
]  # fmt: skip


async def test_what_goes_along(fhir: httpx.AsyncClient, stored: dict[str, str]) -> None:
    for url, names in ALONG:
        bundle = await ask(fhir, f"/fhir/{url}")
        assert sorted(named(bundle, stored, "include")) == sorted(names.split()), url


async def test_what_goes_along_has_an_end_and_says_so(
    fhir: httpx.AsyncClient, stored: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "INCLUDED_MAX", 2)
    bundle = await ask(fhir, "/fhir/Patient?family=chen&_revinclude=*")
    assert [e["search"]["mode"] for e in bundle["entry"]] == ["match", "include", "include", "outcome"]
    assert [code for code, _ in issues(bundle["entry"][-1]["resource"])] == ["incomplete"]


async def test_totals_are_told_when_they_are_asked_for(
    fhir: httpx.AsyncClient, stored: dict[str, str]
) -> None:
    for asked, total in (("none", None), ("estimate", 3), ("accurate", 3)):
        bundle = await ask(fhir, f"/fhir/Observation?_total={asked}&_count=1")
        assert bundle.get("total") == total
        assert len(bundle["entry"]) == 1
    for asked in ("_count=0", "_summary=count"):
        bundle = await ask(fhir, f"/fhir/Observation?{asked}&code=2339-0")
        assert bundle["total"] == 3
        assert "entry" not in bundle


async def test_parts_of_resources_keep_numbers_and_say_that_they_are_parts(
    fhir: httpx.AsyncClient, stored: dict[str, str]
) -> None:
    async def part(url: str) -> tuple[set[str], str]:
        answer = await fhir.get(f"/fhir/{url}")
        assert answer.status_code == 200, answer.text
        [entry] = answer.json()["entry"]
        resource = entry["resource"]
        tags = [tag["code"] for tag in resource["meta"].get("tag", [])]
        assert (tags == ["SUBSETTED"]) == ("false" not in url)
        assert resource["meta"]["versionId"] == "1"
        return {name for name in resource if name not in ("resourceType", "id", "meta")}, answer.text

    assert (await part("Patient?family=chen&_elements=birthDate"))[0] == {"birthDate"}
    names, text = await part("Observation?date=2020&_elements=value,identifier")
    assert names == {"status", "code", "valueQuantity", "identifier"}
    assert '"value":72.5,' in text
    assert (await part("Patient?family=chen&_summary=true"))[0] == {
        "name", "birthDate", "gender", "managingOrganization",
    }  # fmt: skip
    assert (await part("Patient?family=chen&_summary=text"))[0] == {"text"}
    assert "text" not in (await part("Patient?family=chen&_summary=data"))[0]
    assert "maritalStatus" in (await part("Patient?family=chen&_summary=data"))[0]
    assert "text" in (await part("Patient?family=chen&_summary=false"))[0]


async def test_decimals_of_a_part_are_as_they_were_sent(fhir: httpx.AsyncClient) -> None:
    raw = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":72.500}}'
    )
    await fhir.post("/fhir/Observation", content=raw)
    assert '"value":72.500' in (await fhir.get("/fhir/Observation?_summary=true")).text
    assert '"value":72.500' in (await fhir.get("/fhir/Observation?_elements=value")).text


async def test_several_types_at_once(fhir: httpx.AsyncClient, stored: dict[str, str]) -> None:
    found = await ask(fhir, "/fhir?_type=Patient,Observation&_lastUpdated=gt2020&_count=2")
    assert named(found, stored) == ["chen", "wang"]
    last = found
    seen = named(found, stored)
    while following := next((link["url"] for link in last["link"] if link["relation"] == "next"), None):
        last = await ask(fhir, following)
        seen += named(last, stored)
    assert seen == ["chen", "wang", "nobody", "low", "high", "else"]
    assert (await ask(fhir, "/fhir?_type=Patient,Observation&_summary=count"))["total"] == 6
    assert len((await ask(fhir, "/fhir"))["entry"]) == 10
    assert named(await ask(fhir, "/fhir?_type=Observation,DiagnosticReport&patient.family=chen"), stored) == [
        "low", "high", "report",
    ]  # fmt: skip
    posted = await fhir.post("/fhir/_search", data={"_type": "Encounter,Group"}, headers=FORM)
    assert named(posted.json(), stored) == ["visit"]
    for url, expression in (("/fhir?_type=Shoe", "_type"), ("/fhir?_type=Patient,Group&family=x", "family")):
        answer = await fhir.get(url)
        assert answer.status_code == 400
        assert [where for _, where in issues(answer.json())] == [expression]


async def test_a_patients_compartment(fhir: httpx.AsyncClient, stored: dict[str, str]) -> None:
    by_name = {name: local for local, name in stored.items()}
    own = f"/fhir/{by_name['chen']}"
    assert named(await ask(fhir, f"{own}/Observation"), stored) == ["low", "high"]
    assert named(await ask(fhir, f"{own}/Observation?date=2021"), stored) == ["high"]
    found = await ask(fhir, f"{own}/*?_count=3")
    assert named(found, stored) == ["visit", "low", "high"]
    following = next(link["url"] for link in found["link"] if link["relation"] == "next")
    assert named(await ask(fhir, following), stored) == ["report"]
    for path in (f"{own}/Organization", f"{own}/Shoe"):
        assert (await fhir.get(path)).status_code == 404


async def test_self_says_what_was_understood(fhir: httpx.AsyncClient, stored: dict[str, str]) -> None:
    lenient = {"prefer": "handling=lenient"}
    bundle = await ask(fhir, "/fhir/Patient?family=chen&shoe=44&birthdate=ge1970&_count=1", **lenient)
    own = urlsplit(bundle["link"][0]["url"])
    assert parse_qsl(own.query) == [("family", "chen"), ("birthdate", "ge1970"), ("_count", "1")]
    form = {"identifier": "urn:huimin:id:citizen-number|11010519491231002X", "gender": "female"}
    answer = await fhir.post("/fhir/Patient/_search", data=form, headers=FORM)
    assert parse_qsl(urlsplit(answer.json()["link"][0]["url"]).query) == [("gender", "female")]


async def test_a_lenient_search_goes_on_over_its_pages(
    fhir: httpx.AsyncClient, stored: dict[str, str]
) -> None:
    bundle = await ask(fhir, "/fhir/Observation?shoe=44&_count=2", prefer="handling=lenient")
    following = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
    assert named(await ask(fhir, following), stored) == ["else"]


async def test_a_search_that_takes_too_long_is_given_up(
    fhir: httpx.AsyncClient,
    stored: dict[str, str],
    house: RunningServices,
    servers: TestServers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searching, "SEARCH_MS", 200)
    admin = await asyncpg.connect(servers.admin_url(urlsplit(house.settings.database_url).path[1:]))
    try:
        async with admin.transaction():
            await admin.execute("lock table health.tok in access exclusive mode")
            answer = await fhir.get("/fhir/Observation?code=2339-0")
    finally:
        await admin.close()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert [code for code, _ in issues(answer.json())] == ["too-costly"]


class TestReach:
    """What somebody may not see tells nothing by where it leads, what leads to it, how it sorts or counts."""

    HIDDEN = (
        "Patient?_has:Observation:patient:code=2339-0",
        "Organization?_has:Patient:organization:family=chen",
        "Observation?patient.family=chen",
        "Patient",
        "Patient?_sort=-birthdate",
        "Observation?_sort=value-quantity",
        "Patient?family:missing=false&_sort=family",
    )

    async def test_another_hospital_finds_nothing(self, hospital: Hospital, stored: dict[str, str]) -> None:
        other = await hospital("hospital-2")
        for url in self.HIDDEN:
            bundle = await ask(other, f"/fhir/{url}")
            assert "entry" not in bundle, url
            glue = "&" if "?" in url else "?"
            assert (await ask(other, f"/fhir/{url}{glue}_summary=count"))["total"] == 0, url

    async def test_nothing_of_others_goes_along(self, hospital: Hospital, stored: dict[str, str]) -> None:
        other = await hospital("hospital-2")
        bundle = await ask(other, "/fhir/Organization?_revinclude=*&_revinclude:iterate=*")
        assert sorted(named(bundle, stored)) == ["lab", "ward"]
        assert named(bundle, stored, "include") == []

    async def test_a_token_for_some_types_reaches_no_others_through_them(
        self, hospital: Hospital, stored: dict[str, str]
    ) -> None:
        narrow = await hospital(scopes="system/Observation.rs")
        bundle = await ask(narrow, "/fhir/Observation?_include=*&_count=10")
        assert sorted(named(bundle, stored)) == ["else", "high", "low"]
        assert named(bundle, stored, "include") == []
        assert "entry" not in await ask(narrow, "/fhir/Observation?patient.family=chen")
        assert (await narrow.get("/fhir?_type=Observation,Patient")).status_code == 403
        assert sorted(named(await ask(narrow, "/fhir"), stored)) == ["else", "high", "low"]
