"""AuditEvents are the access leaves: who sees which, in what form, and how they are searched."""

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from health.fhir import searching
from health.fhir.audit_event import PURPOSES, REST, action_of
from services.kit.purposes import PURPOSES as KNOWN
from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    issues,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.support.databases import TestServers
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
NUMBER, OTHER = ((CITIZEN_NUMBER, citizen_number(n)) for n in (81, 82))
OFFICER = {
    "kind": "staff",
    "roles": ["privacy_officer"],
    "scopes": "user/AuditEvent.rs",
    "purpose": "operations",
    "subject": "u_officer",
}


@pytest.fixture
async def kept(hospital: Hospital, house: RunningServices) -> dict[str, str]:
    """A keeps records of two persons and has read one; B tried to."""
    found = {}
    client = await hospital("A", purpose="treatment")
    for name, number in (("mine", NUMBER), ("others", OTHER)):
        answer = await client.post(
            "/fhir", json=transaction(post(patient(number), PERSON), post(observation(PERSON)))
        )
        assert answer.status_code == 200, answer.text
        found[name], found[f"{name}_observation"] = locations(answer.json())
    assert (await client.get(f"/fhir/{found['mine_observation']}")).status_code == 200
    assert (await client.get("/fhir/Observation?code=8867-4")).status_code == 200
    stranger = await hospital("B", purpose="treatment")
    assert (await stranger.get(f"/fhir/{found['mine_observation']}")).status_code == 404
    await flush_leaves(house)
    return found


@pytest.fixture
async def person(house: RunningServices, kept: dict[str, str]) -> httpx.AsyncClient:
    """The one whose Patient is `mine`."""
    async with house.kit("health").db.read() as db:
        sector_id = await db.fetchval(
            "select p.sector_id from patient_person p join resource r on r.pk = p.pt where r.id = $1",
            kept["mine"].partition("/")[2],
        )
    return await house.client(
        "health",
        kind="person",
        subject="u_1",
        sector_id=sector_id,
        scopes="patient/*.rs",
        purpose="own_records",
    )


@pytest.fixture
async def officer(house: RunningServices) -> Any:
    async def client(organisation: str, **who: Any) -> httpx.AsyncClient:
        return await house.client("health", organisation=organisation, **{**OFFICER, **who})

    return client


async def events(
    client: httpx.AsyncClient, path: str = "/fhir/AuditEvent", **params: Any
) -> list[dict[str, Any]]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "searchset"
    return [entry["resource"] for entry in answer.json().get("entry", [])]


def said(event: dict[str, Any]) -> tuple[str, str, str]:
    """The suite's own word for what was done, for whom, and how it ended."""
    [organisation] = [
        a["who"]["identifier"]["value"] for a in event["agent"] if a["who"].get("type") == "Organization"
    ]
    return event["subtype"][-1]["code"], organisation, event["outcome"]


EXPECTED = [
    ("fhir.read", "B", "4"),
    ("fhir.search", "A", "0"),
    ("fhir.read", "A", "0"),
    ("fhir.transaction", "A", "0"),
]


class TestWho:
    async def test_a_person_sees_those_about_themself_the_latest_first(
        self, person: httpx.AsyncClient, kept: dict[str, str]
    ) -> None:
        found = await events(person)
        assert [said(event) for event in found] == EXPECTED
        named = json.dumps(found)
        assert kept["others"] not in named
        assert kept["others_observation"] not in named

    async def test_a_privacy_officer_sees_those_of_the_own_organisation(
        self, officer: Any, kept: dict[str, str]
    ) -> None:
        keeper, elsewhere = await officer("A"), await officer("B")
        assert [said(event) for event in await events(keeper)] == [
            ("fhir.search", "A", "0"),
            ("fhir.read", "A", "0"),
            ("fhir.transaction", "A", "0"),
            ("fhir.transaction", "A", "0"),
        ]
        # B does not keep the Patient: whom it tried to read about it is not told.
        [attempt] = await events(elsewhere, action="R", outcome="4")
        assert said(attempt) == ("fhir.read", "B", "4")
        assert "Patient/" not in json.dumps(attempt)
        assert await events(elsewhere, patient=kept["mine"]) == []

    async def test_of_what_was_refused_an_officer_is_not_told_whose_it_is(
        self, officer: Any, kept: dict[str, str], hospital: Hospital
    ) -> None:
        """Not even where B has a Patient of the same person."""
        stranger = await hospital("B", purpose="treatment")
        [own] = locations(
            (await stranger.post("/fhir", json=transaction(post(patient(NUMBER), PERSON)))).json()
        )
        elsewhere = await officer("B")
        [attempt] = await events(elsewhere, action="R", outcome="4")
        assert "Patient/" not in json.dumps(attempt)
        assert "outcomeDesc" not in attempt
        assert await events(elsewhere, patient=own, outcome="4") == []

    @pytest.mark.parametrize(
        ("who", "status"),
        [
            ({"roles": ["clinician"], "scopes": "user/*.rs"}, None),
            ({"scopes": "user/*.c"}, 403),
            ({"scopes": "user/Observation.rs"}, 403),
            ({"scopes": "user/AuditEvent.rs?action=R"}, 403),
            ({"scopes": "system/*.cruds"}, 403),
        ],
    )
    async def test_nobody_else_sees_any(
        self, officer: Any, kept: dict[str, str], who: dict[str, Any], status: int | None
    ) -> None:
        client = await officer("A", **who)
        answer = await client.get("/fhir/AuditEvent")
        assert answer.status_code == (status or 200)
        assert "entry" not in answer.json()
        log = await client.get(f"/fhir/{kept['mine']}/$access-log")
        assert log.status_code == 403

    async def test_to_a_hospital_it_is_a_resource_like_any_other(
        self, hospital: Hospital, kept: dict[str, str], person: httpx.AsyncClient
    ) -> None:
        client = await hospital("A", purpose="treatment")
        [event] = await events(person, action="R", outcome="0")
        made = await client.post("/fhir/AuditEvent", json=event)
        assert made.status_code == 201, made.text
        id = made.json()["id"]
        assert [e["id"] for e in await events(client)] == [id]
        assert (await person.get(f"/fhir/AuditEvent/{id}")).status_code == 404
        assert (await client.get(f"/fhir/AuditEvent/{event['id']}")).status_code == 404

    async def test_one_by_its_id_is_told_like_none_where_it_is_not_the_callers(
        self, person: httpx.AsyncClient, officer: Any, kept: dict[str, str]
    ) -> None:
        first = (await events(person, action="R", outcome="0"))[0]
        assert (await person.get(f"/fhir/AuditEvent/{first['id']}")).json() == first
        answers = [
            await (await officer("B")).get(f"/fhir/AuditEvent/{id}")
            for id in (first["id"], "access-999999999999", "access-x", "access-", "access-" + "9" * 30)
        ]
        assert {answer.status_code for answer in answers} == {404}
        texts = {answer.text.replace(answer.url.path.rpartition("/")[2], "…") for answer in answers}
        assert len(texts) == 1


class TestForm:
    async def test_each_is_a_valid_audit_event_in_the_form_of_balp(
        self, person: httpx.AsyncClient, fhir: httpx.AsyncClient, kept: dict[str, str]
    ) -> None:
        refused, searched, read, pushed = await events(person)
        for event in (refused, searched, read, pushed):
            outcome = (await fhir.post("/fhir/AuditEvent/$validate", json=event)).json()
            assert [i for i in outcome["issue"] if i["severity"] in ("error", "fatal")] == [], event
        profile = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
        assert read["meta"]["profile"] == [f"{profile}PatientRead"]
        assert searched["meta"]["profile"] == [f"{profile}PatientQuery"]
        assert "meta" not in refused
        assert "meta" not in pushed
        assert read["action"] == "R"
        assert read["type"]["code"] == "rest"
        assert read["subtype"][0]["code"] == "read"
        assert read["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
        types = [agent["type"]["coding"][0]["code"] for agent in read["agent"]]
        assert types == ["110152", "110153", "RESP"]
        entities = {entity["type"]["code"]: entity for entity in read["entity"]}
        assert entities["1"]["what"]["reference"] == kept["mine"]
        assert entities["2"]["what"]["reference"] == kept["mine_observation"]
        assert "XrequestId" in entities

    async def test_what_was_searched_for_is_told_but_not_whom(
        self, hospital: Hospital, person: httpx.AsyncClient, kept: dict[str, str], house: RunningServices
    ) -> None:
        client = await hospital("A", purpose="treatment")
        await client.get("/fhir/Observation", params={"code": "8867-4", "patient": kept["others"]})
        await client.get(
            "/fhir/Observation", params={"code": "8867-4", "patient": f"{kept['others']},{kept['mine']}"}
        )
        await flush_leaves(house)
        [latest] = await events(person, subtype="search-type", _count=1)
        [query] = [e["query"] for e in latest["entity"] if e["type"]["code"] == "2"]
        told = base64.b64decode(query).decode()
        assert told.startswith("GET http")
        assert told.endswith("/fhir/Observation?code=8867-4&patient=")

    def test_every_purpose_and_action_has_its_words(self) -> None:
        assert set(PURPOSES) == set(KNOWN) - {"education", "statistics"}
        assert {action_of(action) for action in REST} == set("CRUDE")
        assert action_of("something.new") == "E"


class TestSearch:
    @pytest.mark.parametrize(
        ("params", "wanted"),
        [
            ({"action": "R"}, [0, 2]),
            ({"action": "E"}, [1, 3]),
            ({"action": "R,E"}, [0, 1, 2, 3]),
            ({"action": "C"}, []),
            ({"outcome": "4"}, [0]),
            ({"outcome": "0", "action": "R"}, [2]),
            ({"agent": "B"}, [0]),
            ({"agent:identifier": "urn:huimin:id:uscc|A"}, [1, 2, 3]),
            ({"agent": "nobody"}, []),
            ({"subtype": "read"}, [0, 2]),
            ({"subtype": "urn:huimin:access-action|fhir.search"}, [1]),
            ({"date": "ge2020-01-01"}, [0, 1, 2, 3]),
            ({"date": "lt2020-01-01"}, []),
            ({"date": "gt2099-01-01"}, []),
            ({"_sort": "-date", "_count": "2"}, [0, 1]),
        ],
    )
    async def test_by_what_it_says(
        self, person: httpx.AsyncClient, params: dict[str, str], wanted: list[int]
    ) -> None:
        assert [said(event) for event in await events(person, **params)] == [EXPECTED[n] for n in wanted]

    async def test_by_whom_and_what_it_is_about(
        self, person: httpx.AsyncClient, officer: Any, kept: dict[str, str]
    ) -> None:
        keeper = await officer("A")
        by_entity = await events(keeper, entity=kept["mine_observation"])
        assert [said(event) for event in by_entity] == [("fhir.read", "A", "0")]
        for params in ({"patient": kept["mine"]}, {"entity": kept["mine"]}):
            assert len(await events(keeper, **params)) == 3
            assert len(await events(person, agent="A,B", **params)) == 4
        assert await events(person, patient=kept["others"]) == []
        assert await events(keeper, patient=kept["mine"], entity=kept["others"], action="R") == []

    async def test_pages_follow_each_other_and_the_total_is_theirs(
        self, person: httpx.AsyncClient, kept: dict[str, str]
    ) -> None:
        found, path = [], "/fhir/AuditEvent?_count=1"
        total = (await person.get("/fhir/AuditEvent", params={"_count": 0, "agent": "A,B"})).json()["total"]
        while path:
            bundle = (await person.get(path)).json()
            found += [entry["resource"] for entry in bundle["entry"]]
            urls = [urlsplit(link["url"]) for link in bundle["link"] if link["relation"] == "next"]
            path = f"{urls[0].path}?{urls[0].query}" if urls else ""
        assert [said(event) for event in found][-total:] == EXPECTED

    @pytest.mark.parametrize(
        "query",
        [
            "nothing=1",
            "_count=x",
            "_count=-1",
            "date=yesterday",
            "_sort=date",
            "_page=forged",
            "start=2020",
            "_include=*",
        ],
    )
    async def test_what_is_not_understood_is_refused(self, person: httpx.AsyncClient, query: str) -> None:
        answer = await person.get(f"/fhir/AuditEvent?{query}")
        assert answer.status_code == 400
        assert [path for _, path in issues(answer.json())] == [query.partition("=")[0]]


class TestAccessLog:
    async def test_the_patient_and_the_keepers_officer_read_it(
        self, person: httpx.AsyncClient, officer: Any, kept: dict[str, str]
    ) -> None:
        path = f"/fhir/{kept['mine']}/$access-log"
        assert [said(event) for event in await events(person, path)] == EXPECTED
        assert [said(event) for event in await events(await officer("A"), path)] == EXPECTED[1:]
        assert len(await events(person, path, start="2020-01-01", end="2021")) == 0
        assert len(await events(person, path, _count=1)) == 1

    async def test_to_all_others_the_patient_is_not_there(
        self, person: httpx.AsyncClient, officer: Any, kept: dict[str, str]
    ) -> None:
        for client, local in ((person, kept["others"]), (await officer("B"), kept["mine"])):
            there, absent = [
                await client.get(f"/fhir/{one}/$access-log") for one in (local, "Patient/nothing")
            ]
            assert there.status_code == absent.status_code == 404
            assert there.text.replace(local, "Patient/nothing") == absent.text

    async def test_looking_is_an_access_too(
        self, person: httpx.AsyncClient, kept: dict[str, str], house: RunningServices
    ) -> None:
        await events(person)
        await flush_leaves(house)
        latest = (await events(person))[0]
        assert latest["subtype"][-1]["code"] == "accesses.read"
        assert latest["purposeOfEvent"][0]["coding"][0]["code"] == "PATRQT"


async def test_nobody_writes_an_event_under_the_id_of_a_leaf(fhir: httpx.AsyncClient) -> None:
    forged = {"resourceType": "AuditEvent", "id": "access-1"}
    answer = await fhir.put("/fhir/AuditEvent/access-1", json=forged)
    assert answer.status_code == 400
    whole = {
        **forged,
        "type": {"code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "x"}},
    }
    answer = await fhir.put("/fhir/AuditEvent/access-1", json=whole)
    assert answer.status_code == 400
    assert "access log" in answer.json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("query", ["entity=a%00", "agent=%00", "patient=%00", "outcome=%00"])
async def test_no_value_holds_a_nul(person: httpx.AsyncClient, query: str) -> None:
    assert (await person.get(f"/fhir/AuditEvent?{query}")).status_code == 400


async def test_a_question_that_takes_too_long_is_given_up(
    officer: Any,
    kept: dict[str, str],
    house: RunningServices,
    servers: TestServers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = await officer("A")
    monkeypatch.setattr(searching, "SEARCH_MS", 200)
    admin = await asyncpg.connect(servers.admin_url(urlsplit(house.settings.database_url).path[1:]))
    try:
        async with admin.transaction():
            await admin.execute("lock table health.leaf in access exclusive mode")
            answer = await client.get("/fhir/AuditEvent")
    finally:
        await admin.close()
    assert answer.status_code == 503
