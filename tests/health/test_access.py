"""Who may read whose records, and that nothing else tells that they are there."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from health.fhir.access import tied
from services.kit.database import Database
from services.kit.policy import Policies
from services.kit.principals import Principal
from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    issues,
    locations,
    observation,
    patient,
    post,
    put,
    transaction,
)
from tests.support.databases import TestServers
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
HERE = "urn:uuid:00000000-0000-4000-8000-000000000002"
USCC = "urn:huimin:id:uscc"
NUMBER = (CITIZEN_NUMBER, citizen_number(61))
RESTRICTED = {
    "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]
}
Somebody = Callable[..., Awaitable[httpx.AsyncClient]]


def organisation(code: str) -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "identifier": [{"system": USCC, "value": code}],
        "name": f"医院 {code}",
    }


def visit(days_ago: float, *, at: str | None = HERE, **members: Any) -> dict[str, Any]:
    day = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(timespec="seconds")
    found: dict[str, Any] = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": PERSON},
        "period": {"start": day, "end": day},
        **members,
    }
    if at is not None:
        found["serviceProvider"] = {"reference": at}
    return found


@pytest.fixture
async def treating(hospital: Hospital) -> Somebody:
    """A hospital's client that reads for treatment."""

    async def client(name: str, **who: Any) -> httpx.AsyncClient:
        return await hospital(name, purpose="treatment", **who)

    return client


@pytest.fixture
async def kept(treating: Somebody) -> dict[str, str]:
    """What hospital A keeps of a person: Patient, Observation, one that is specially protected."""
    answer = await (await treating("A")).post(
        "/fhir",
        json=transaction(
            post(patient(NUMBER, name=[{"text": "张三"}]), PERSON),
            post(observation(PERSON, code="open")),
            post(observation(PERSON, code="restricted", meta=RESTRICTED)),
            post(visit(2000, at=None)),
        ),
    )
    assert answer.status_code == 200, answer.text
    return dict(zip(("patient", "open", "restricted", "visit"), locations(answer.json()), strict=True))


async def found(client: httpx.AsyncClient, kind: str = "Observation", **params: Any) -> set[str]:
    response = await client.get(f"/fhir/{kind}", params=params)
    assert response.status_code == 200, response.text
    return {f"{kind}/{e['resource']['id']}" for e in response.json().get("entry", [])}


async def seen(client: httpx.AsyncClient, kind: str = "Observation", **params: Any) -> set[str]:
    """What is found, and its number told alone is the same: two requests, so nothing may change between."""
    listed = await found(client, kind, **params)
    response = await client.get(f"/fhir/{kind}", params={**params, "_count": 0})
    assert response.json()["total"] == len(listed)
    return listed


async def arrives(client: httpx.AsyncClient, *resources: dict[str, Any], code: str = "B") -> list[str]:
    """The person comes to a hospital, which keeps a Patient of its own."""
    entries = [post(patient(NUMBER), PERSON), post(organisation(code), HERE), *map(post, resources)]
    answer = await client.post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())


async def leaves(house: RunningServices, outcome: str = "refused") -> list[dict[str, Any]]:
    await flush_leaves(house)
    async with house.kit("health").db.read() as db:
        found = [json.loads(row["body"]) for row in await db.fetch("select body from leaf order by seq")]
    return [leaf for leaf in found if leaf["outcome"] == outcome]


async def sector_id(records: Database) -> str:
    async with records.read() as db:
        return str(await db.fetchval("select distinct sector_id from patient_person"))


class TestAnotherHospital:
    async def test_it_sees_nothing_of_what_the_first_one_keeps(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        other = await treating("B")
        id = kept["patient"].partition("/")[2]
        for local in kept.values():
            assert (await other.get(f"/fhir/{local}")).status_code == 404
            assert (await other.get(f"/fhir/{local}/_history/1")).status_code == 404
        for kind in ("Patient", "Observation", "Encounter"):
            assert await seen(other, kind) == set()
        for params in ({"code": "open"}, {"patient": id}, {"_id": kept["open"].partition("/")[2]}):
            assert await seen(other, **params) == set()
        assert await seen(await treating("A")) == {kept["open"], kept["restricted"]}

    async def test_what_it_may_not_see_is_told_like_what_is_not_there(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        other = await treating("B")
        for local in kept.values():
            kind = local.partition("/")[0]
            there, absent = await other.get(f"/fhir/{local}"), await other.get(f"/fhir/{kind}/nothing")
            assert there.status_code == absent.status_code
            assert there.text.replace(local, f"{kind}/nothing") == absent.text
            assert set(there.headers) == set(absent.headers)

    async def test_the_attempt_is_on_record_under_the_person(
        self, treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
    ) -> None:
        other = await treating("B")
        await other.get(f"/fhir/{kept['open']}")
        await other.get("/fhir/Observation/nothing")
        await other.get(f"/fhir/{kept['restricted']}")
        said = [
            (leaf["action"], leaf["subject"], leaf["resource"], leaf["reason"], leaf["organisation"])
            for leaf in await leaves(house)
        ]
        person = await sector_id(records)
        assert said == [
            ("fhir.read", person, kept["open"], "no_treatment_relation", "B"),
            ("fhir.read", person, kept["restricted"], "specially_protected", "B"),
        ]

    async def test_so_is_one_to_write_what_is_anothers_or_was(
        self, treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
    ) -> None:
        other, person = await treating("B"), await sector_id(records)
        sent = observation(id=kept["open"].partition("/")[2])
        by_search = await other.put("/fhir/Observation", params={"code": "nothing"}, json=sent)
        assert (await (await treating("A")).delete(f"/fhir/{kept['open']}")).status_code == 204
        deleted = await other.put(f"/fhir/{kept['open']}", json=sent)
        assert (by_search.status_code, by_search.text) == (403, deleted.text)
        said = [(leaf["action"], leaf["subject"], leaf["resource"]) for leaf in await leaves(house)]
        assert said == [("fhir.update", person, kept["open"])] * 2

    async def test_references_and_searches_inside_a_push_tell_nothing(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        other = await treating("B")
        there = await other.post("/fhir/Observation", json=observation(kept["patient"]))
        absent = await other.post("/fhir/Observation", json=observation("Patient/nothing"))
        assert there.status_code == absent.status_code == 422
        assert list(issues(there.json())) == list(issues(absent.json()))
        texts = []
        for number in (NUMBER[1], citizen_number(62)):
            query = f"Patient?identifier={CITIZEN_NUMBER}|{number}"
            answer = await other.post("/fhir", json=transaction(post(observation(query))))
            assert answer.status_code == 422
            texts.append(answer.text.replace(number, "…"))
        assert texts[0] == texts[1]

    async def test_a_conditional_create_finds_only_its_own(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        other = await treating("B")
        unless = {"if-none-exist": f"identifier={CITIZEN_NUMBER}|{NUMBER[1]}"}
        answers = [await other.post("/fhir/Patient", json=patient(NUMBER), headers=unless) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 200]
        assert answers[0].json()["id"] != kept["patient"].partition("/")[2]
        condition = f"Patient?identifier={CITIZEN_NUMBER}|{NUMBER[1]}"
        changed = await other.post("/fhir", json=transaction(put(patient(NUMBER, gender="male"), condition)))
        assert changed.status_code == 200, changed.text
        untouched = (await (await treating("A")).get(f"/fhir/{kept['patient']}")).json()
        assert "gender" not in untouched

    async def test_it_cannot_change_what_another_keeps_and_the_attempt_is_on_record(
        self, treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
    ) -> None:
        other = await treating("B")
        id = kept["open"].partition("/")[2]
        for answer in (
            await other.put(f"/fhir/{kept['open']}", json=observation(id=id)),
            await other.post("/fhir", json=transaction(put(observation(id=id)))),
        ):
            assert answer.status_code == 403
            assert "张三" not in answer.text
        said = [(leaf["action"], leaf["subject"], leaf["resource"]) for leaf in await leaves(house)]
        person = await sector_id(records)
        assert said == [("fhir.update", person, kept["open"]), ("fhir.transaction", person, kept["open"])]

    async def test_registers_are_open_to_all_hospitals(self, treating: Somebody) -> None:
        made = await (await treating("A")).post("/fhir/Organization", json=organisation("A"))
        other = await treating("B")
        assert await seen(other, "Organization") == {f"Organization/{made.json()['id']}"}

    async def test_pages_of_a_mixed_store_hold_only_what_may_be_seen(self, treating: Somebody) -> None:
        clients = [await treating(name) for name in "AB"]
        for n in range(6):
            await clients[n % 2].post("/fhir/Observation", json=observation(code=f"c{n}"))
        page = (await clients[0].get("/fhir/Observation?_count=2")).json()
        codes = [e["resource"]["code"]["coding"][0]["code"] for e in page["entry"]]
        following = next(link["url"] for link in page["link"] if link["relation"] == "next")
        path = urlsplit(following)
        rest = (await clients[0].get(f"{path.path}?{path.query}")).json()
        codes += [e["resource"]["code"]["coding"][0]["code"] for e in rest["entry"]]
        assert codes == ["c0", "c2", "c4"]
        stolen = (await clients[1].get(f"{path.path}?{path.query}")).json()
        assert [e["resource"]["code"]["coding"][0]["code"] for e in stolen["entry"]] == ["c3", "c5"]


class TestTreatment:
    async def test_a_visit_opens_the_record_but_not_what_is_specially_protected(
        self, treating: Somebody, kept: dict[str, str], house: RunningServices
    ) -> None:
        other = await treating("B")
        await arrives(other, visit(3))
        assert (await other.get(f"/fhir/{kept['open']}")).status_code == 200
        assert (await other.get(f"/fhir/{kept['restricted']}")).status_code == 404
        assert await seen(other) == {kept["open"]}
        assert kept["patient"] in await seen(other, "Patient")
        assert (await leaves(house))[-1]["reason"] == "specially_protected"
        read = next(leaf for leaf in await leaves(house, "permitted") if leaf.get("resource") == kept["open"])
        assert (read["relation"], read["purpose"]) == ("treatment", "treatment")
        assert "病历管理" in read["legal_basis"]

    @pytest.mark.parametrize(
        ("resource", "opens"),
        [
            pytest.param(visit(364), True, id="within a year"),
            pytest.param(visit(366), False, id="more than a year ago"),
            pytest.param(visit(1, status="entered-in-error"), False, id="entered in error"),
            pytest.param(visit(1, status="cancelled"), False, id="cancelled"),
            pytest.param(visit(1, at=None), True, id="no provider named: its keeper"),
            pytest.param(visit(-4000), True, id="dated to come, and open for a year at most"),
        ],
    )
    async def test_for_how_long(
        self,
        treating: Somebody,
        kept: dict[str, str],
        records: Database,
        resource: dict[str, Any],
        opens: bool,
    ) -> None:
        other = await treating("B")
        await arrives(other, resource)
        assert await seen(other) == ({kept["open"]} if opens else set())
        async with records.read() as db:
            until = await db.fetchval("select max(until) from care where organisation = 'B'")
        assert until is None or until <= datetime.now(UTC) + timedelta(days=366)

    @pytest.mark.parametrize(
        ("resource", "opens"),
        [
            pytest.param(
                {
                    "resourceType": "ServiceRequest",
                    "status": "active",
                    "intent": "order",
                    "subject": {"reference": PERSON},
                    "performer": [{"reference": HERE}],
                },
                True,
                id="request",
            ),
            pytest.param(
                {
                    "resourceType": "ServiceRequest",
                    "status": "revoked",
                    "intent": "order",
                    "subject": {"reference": PERSON},
                    "performer": [{"reference": HERE}],
                },
                False,
                id="request revoked",
            ),
            pytest.param(
                {
                    "resourceType": "Appointment",
                    "status": "booked",
                    "start": "2026-03-02T09:00:00+08:00",
                    "end": "2026-03-02T09:15:00+08:00",
                    "participant": [
                        {"actor": {"reference": PERSON}, "status": "accepted"},
                        {"actor": {"reference": HERE}, "status": "accepted"},
                    ],
                },
                True,
                id="appointment",
            ),
            pytest.param(
                {
                    "resourceType": "EpisodeOfCare",
                    "status": "active",
                    "patient": {"reference": PERSON},
                    "managingOrganization": {"reference": HERE},
                },
                True,
                id="episode",
            ),
        ],
    )
    async def test_another_hospital_may_bring_it_about(
        self, treating: Somebody, kept: dict[str, str], resource: dict[str, Any], opens: bool
    ) -> None:
        """A referral from A to B: A writes it on its own Patient and names B."""
        await arrives(await treating("A"), resource, code="B")
        assert kept["open"] not in await seen(await treating("C"))
        assert (kept["open"] in await seen(await treating("B"))) is opens

    async def test_a_correction_takes_it_back(self, treating: Somebody, kept: dict[str, str]) -> None:
        other = await treating("B")
        _, _, encounter = await arrives(other, visit(1))
        assert await seen(other) == {kept["open"]}
        body = (await other.get(f"/fhir/{encounter}")).json()
        body["status"] = "entered-in-error"
        assert (await other.put(f"/fhir/{encounter}", json=body)).status_code == 200
        assert await seen(other) == set()

    @pytest.mark.parametrize("purpose", [None, "statistics", "research", "operations"])
    async def test_it_is_for_treatment_alone(
        self, treating: Somebody, hospital: Hospital, kept: dict[str, str], purpose: str | None
    ) -> None:
        await arrives(await treating("B"), visit(1))
        other = await hospital("B", purpose=purpose)
        assert kept["open"] not in await seen(other)
        assert (await other.get(f"/fhir/{kept['open']}")).status_code == 404

    async def test_an_earlier_version_is_its_keepers_alone(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        first, other = await treating("A"), await treating("B")
        await arrives(other, visit(1))
        id = kept["open"].partition("/")[2]
        changed = observation(kept["patient"], code="changed", id=id)
        assert (await first.put(f"/fhir/{kept['open']}", json=changed)).status_code == 200
        assert (await other.get(f"/fhir/{kept['open']}/_history/2")).status_code == 200
        assert (await other.get(f"/fhir/{kept['open']}/_history/1")).status_code == 404
        assert (await first.get(f"/fhir/{kept['open']}/_history/1")).status_code == 200

    async def test_a_treating_hospital_writes_its_results_to_the_record(
        self, treating: Somebody, kept: dict[str, str]
    ) -> None:
        other = await treating("B")
        await arrives(other, visit(1))
        made = await other.post("/fhir/Observation", json=observation(kept["patient"], code="result"))
        assert made.status_code == 201, made.text
        own = f"Observation/{made.json()['id']}"
        assert own in await seen(other)
        assert own not in await seen(await treating("A"), code="result")


class TestStaff:
    async def test_clinicians_read_what_their_hospital_keeps_and_others_do_not(
        self, treating: Somebody, house: RunningServices, hospital: Hospital, kept: dict[str, str]
    ) -> None:
        who: dict[str, Any] = {
            "scopes": "user/*.rs",
            "kind": "staff",
            "roles": ["clinician"],
            "subject": "u_1",
        }
        doctor = await house.client("health", organisation="A", purpose="treatment", **who)
        assert await seen(doctor) == {kept["open"], kept["restricted"]}
        elsewhere = await house.client("health", organisation="B", purpose="treatment", **who)
        assert await seen(elsewhere) == set()
        idle = await house.client("health", organisation="A", purpose="statistics", **who)
        assert (await idle.get("/fhir/Observation")).json().get("entry") is None
        clerk = await house.client("health", organisation="A", **{**who, "roles": ["privacy_officer"]})
        assert (await clerk.get("/fhir/Observation")).status_code == 403
        assert (await doctor.post("/fhir/Observation", json=observation())).status_code == 403
        posted = {"queries": [{"types": ["Observation"]}], "patient": kept["patient"]}
        found = (await doctor.post("/health/records/patients", json=posted)).json()
        assert len(found["pages"][0]["items"]) == 2
        assert (await elsewhere.post("/health/records/patients", json=posted)).status_code == 404


async def test_specially_protected_data_is_on_record_before_it_is_shown(
    treating: Somebody, kept: dict[str, str], house: RunningServices, servers: TestServers
) -> None:
    """The leaves table is locked: an ordinary read answers, a protected one waits for its leaf."""
    client = await treating("A")
    admin = await asyncpg.connect(servers.admin_url(urlsplit(house.settings.database_url).path[1:]))
    try:
        async with admin.transaction():
            await admin.execute("lock table health.leaf in exclusive mode")
            assert (await client.get(f"/fhir/{kept['open']}")).status_code == 200
            protected = asyncio.create_task(client.get(f"/fhir/{kept['restricted']}"))
            done, _ = await asyncio.wait({protected}, timeout=0.5)
            assert not done
        assert (await protected).status_code == 200
    finally:
        await admin.close()


@given(
    st.sampled_from(["organisation", "staff", "person", "service", "anonymous"]),
    st.sets(st.sampled_from(["clinician", "privacy_officer", "auditor"])),
    st.sampled_from([None, "treatment", "emergency", "research"]),
)
def test_no_tie_no_record(kind: Any, roles: set[str], purpose: str | None) -> None:
    """Whoever asks, the reach is made of ties that the access policies know, and never of everybody."""
    who = Principal(
        kind=kind, subject="x", client_id="x", organisation="O", roles=frozenset(roles), purpose=purpose
    )
    found = tied(Policies.of("health"), who, "fhir.search")
    assert not found.everybody
    assert found.special <= found.relations <= {"custodian", "treatment", "consent", "break_glass"}
    assert "treatment" not in found.special
    if kind not in {"organisation", "staff"}:
        assert found.relations == frozenset()
    if purpose != "treatment":
        assert "treatment" not in found.relations
    if kind != "staff" or "clinician" not in roles:
        assert "break_glass" not in found.relations
