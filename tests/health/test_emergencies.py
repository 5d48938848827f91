"""Emergency accesses at the doors of health: who may, for how long, what is told, how it is reviewed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from health import emergencies
from services.kit.principals import unseal
from tests.health.conftest import Hospital, flush_leaves
from tests.health.support import CITIZEN_NUMBER, citizen_number, locations, observation, patient, post
from tests.health.support import transaction as bundle
from tests.support.databases import TestServers
from tests.support.running import RunningServices

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
REASON = "昏迷送急诊"
ROLES = {
    "clinician": "user/*.rs health:emergency-accesses:write",
    "privacy_officer": "health:access-reviews:read health:access-reviews:decide",
}


async def staff(
    house: RunningServices, role: str, organisation: str = "B", subject: str | None = None
) -> httpx.AsyncClient:
    return await house.client(
        "health",
        kind="staff",
        roles=[role],
        scopes=ROLES[role],
        organisation=organisation,
        subject=subject or f"u_{role}_{organisation}",
        purpose="treatment" if role == "clinician" else "operations",
    )


@pytest.fixture
async def record(hospital: Hospital) -> dict[str, str]:
    """A person's Patient and a result at hospital A, and the same person's Patient at hospital C."""
    number = (CITIZEN_NUMBER, citizen_number(71))
    answer = await (await hospital("A")).post(
        "/fhir", json=bundle(post(patient(number), PERSON), post(observation(PERSON)))
    )
    found = dict(zip(("patient", "result"), locations(answer.json()), strict=True))
    other = await (await hospital("C")).post("/fhir/Patient", json=patient(number))
    return found | {"elsewhere": f"Patient/{other.json()['id']}"}


async def opened(client: httpx.AsyncClient, patient: str, reason: str = REASON) -> dict[str, Any]:
    answer = await client.post("/health/emergency-accesses", json={"patient": patient, "reason": reason})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def as_administrator(house: RunningServices, servers: TestServers, statement: str) -> None:
    connection = await asyncpg.connect(servers.admin_url(urlsplit(house.settings.database_url).path[1:]))
    try:
        await connection.execute("alter table health.emergency_access disable trigger user")
        await connection.execute(statement)
        await connection.execute(
            "alter table health.emergency_access enable always trigger emergency_access_append_only"
        )
    finally:
        await connection.close()


async def rows(house: RunningServices, query: str) -> list[Any]:
    await flush_leaves(house)
    async with house.kit("health").db.read() as db:
        return await db.fetch(query)


async def test_it_opens_one_persons_records_everywhere_to_one_clinician_for_a_time(
    house: RunningServices, record: dict[str, str], servers: TestServers
) -> None:
    doctor, colleague = [await staff(house, "clinician", subject=name) for name in ("u_1", "u_2")]
    assert (await doctor.get(f"/fhir/{record['result']}")).status_code == 404
    found = await opened(doctor, record["elsewhere"])
    begun, ends = (datetime.fromisoformat(found[name]) for name in ("begun_at", "ends_at"))
    assert ends - begun == timedelta(hours=house.settings.emergency_access_hours)
    assert (await doctor.get(f"/fhir/{record['result']}")).status_code == 200
    assert (await doctor.get("/fhir/Observation?_count=0")).json()["total"] == 1
    assert (await colleague.get(f"/fhir/{record['result']}")).status_code == 404
    past = "update health.emergency_access set ends_at = now() - interval '1 second'"
    await as_administrator(house, servers, past)
    assert (await doctor.get(f"/fhir/{record['result']}")).status_code == 404
    assert (await doctor.get("/fhir/Observation?_count=0")).json()["total"] == 0


async def test_each_read_under_it_says_so_and_why(house: RunningServices, record: dict[str, str]) -> None:
    doctor = await staff(house, "clinician")
    await opened(doctor, record["patient"])
    await doctor.get(f"/fhir/{record['result']}")
    await doctor.get("/fhir/Observation")
    leaves = [json.loads(row["body"]) for row in await rows(house, "select body from leaf order by seq")]
    under = [leaf for leaf in leaves if leaf.get("relation") == "break_glass"]
    assert [leaf["action"] for leaf in under] == ["break_glass", "fhir.read", "fhir.search"]
    for leaf in under:
        assert (leaf["reason"], leaf["purpose"], leaf["organisation"]) == (REASON, "emergency", "B")
        assert leaf["subject"] == under[0]["subject"]
        assert "个人信息保护法" in leaf["legal_basis"]


async def test_the_event_names_nobody_but_to_notify(house: RunningServices, record: dict[str, str]) -> None:
    found = await opened(await staff(house, "clinician"), record["patient"])
    [event] = await rows(house, "select * from outbox where type like 'health.emergency_access.%'")
    assert event["type"] == "health.emergency_access.opened"
    body = event["body"]
    assert set(body) == {"id", "organisation", "ends_at", "due_at", "recipient"}
    assert (body["id"], body["organisation"]) == (found["id"], "B")
    [person] = await rows(house, "select distinct sector_id from patient_person")
    recipient = unseal(body["recipient"], house.settings.secret_for("notify", "seal"))
    assert recipient.startswith("h1_")
    assert recipient != person["sector_id"]
    assert person["sector_id"] not in json.dumps(body)


@pytest.mark.parametrize(
    ("who", "asked", "status"),
    [
        ("clinician", {"patient": "Patient/nobody"}, 404),
        ("clinician", {"reason": "x"}, 422),
        ("clinician", {"reason": f"{citizen_number(1)} 昏迷"}, 422),
        ("clinician", {"patient": "Observation/1"}, 422),
        ("clinician", {"hours": 99}, 422),
        ("privacy_officer", {}, 403),
    ],
)
async def test_what_is_refused(
    house: RunningServices, record: dict[str, str], who: str, asked: dict[str, Any], status: int
) -> None:
    body = {"patient": record["patient"], "reason": REASON, **asked}
    answer = await (await staff(house, who)).post("/health/emergency-accesses", json=body)
    assert answer.status_code == status, answer.text
    assert await rows(house, "select from emergency_access") == []


async def test_a_token_with_the_scope_and_without_the_role_is_refused_on_record(
    house: RunningServices, record: dict[str, str]
) -> None:
    forged = await house.client(
        "health", kind="staff", roles=["auditor"], scopes=ROLES["clinician"], organisation="B"
    )
    body = {"patient": record["patient"], "reason": REASON}
    assert (await forged.post("/health/emergency-accesses", json=body)).status_code == 403
    organisation = await house.client("health", scopes=ROLES["clinician"], organisation="B")
    assert (await organisation.post("/health/emergency-accesses", json=body)).status_code == 403
    leaves = [json.loads(row["body"]) for row in await rows(house, "select body from leaf order by seq")]
    [refused] = [leaf for leaf in leaves if leaf["action"] == "break_glass"]
    assert refused["outcome"] == "refused"
    assert refused["resource"] == record["patient"]


async def test_only_another_one_of_the_same_organisation_reviews_and_only_once(
    house: RunningServices, record: dict[str, str]
) -> None:
    doctor = await staff(house, "clinician", subject="u_both")
    found = await opened(doctor, record["patient"])
    path = f"/health/access-reviews/{found['id']}/decision"
    said = {"decision": "unjustified", "words": "没有急救记录"}
    own = await staff(house, "privacy_officer", subject="u_both")
    assert (await own.post(path, json=said)).json()["code"] == "own_access"
    assert (await (await staff(house, "privacy_officer", "A")).post(path, json=said)).status_code == 404
    assert (await doctor.post(path, json=said)).status_code == 403
    officer = await staff(house, "privacy_officer")
    assert (await officer.post(path, json={**said, "decision": "pending"})).status_code == 422
    [waiting] = (await officer.get("/health/access-reviews?state=pending")).json()["items"]
    assert (waiting["id"], waiting["patient"], waiting["actor"]) == (found["id"], record["patient"], "u_both")
    done = (await officer.post(path, json=said)).json()
    assert (done["state"], done["words"], done["decided_by"]) == (
        "unjustified", said["words"], "u_privacy_officer_B",
    )  # fmt: skip
    assert (await officer.post(path, json=said)).status_code == 409
    assert (await officer.get("/health/access-reviews?state=pending")).json()["items"] == []
    events = await rows(house, "select type from outbox where type like 'health.emergency%' order by seq")
    assert [event["type"].rpartition(".")[2] for event in events] == ["opened", "decided"]


async def test_reviews_and_ones_own_openings_come_in_pages(
    house: RunningServices, hospital: Hospital, record: dict[str, str]
) -> None:
    doctor, officer = await staff(house, "clinician"), await staff(house, "privacy_officer")
    ids = [(await opened(doctor, record["patient"], f"理由第 {n} 次"))["id"] for n in range(5)]
    [person] = await rows(house, "select distinct sector_id from patient_person")
    me = await hospital(
        scopes="patient/*.rs", kind="person", subject="me", organisation=None,
        sector_id=person["sector_id"], purpose="own_records",
    )  # fmt: skip
    assert await paged(officer, "/health/access-reviews") == ids
    assert await paged(me, "/health/emergency-accesses/me") == ids[::-1]
    assert (await officer.get("/health/access-reviews?after=YQ")).status_code == 400
    somebody = await hospital(
        scopes="patient/*.rs", kind="person", subject="x", organisation=None, sector_id="h1_X"
    )
    assert await paged(somebody, "/health/emergency-accesses/me") == []


async def paged(client: httpx.AsyncClient, path: str) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        params = {"first": 2, **({"after": after} if after else {})}
        page = (await client.get(path, params=params)).json()
        found += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            return found


async def test_an_overdue_review_is_told_once(
    house: RunningServices,
    record: dict[str, str],
    servers: TestServers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await opened(await staff(house, "clinician"), record["patient"])
    await as_administrator(house, servers, "update health.access_review set due_at = now()")
    for _ in range(2):
        async with house.kit("health").db.transaction() as tx:
            await emergencies.tell_overdue(tx)
    events = await rows(house, "select body from outbox where type = 'health.emergency_access.overdue'")
    assert [event["body"]["id"] for event in events] == [found["id"]]
    [review] = (await (await staff(house, "privacy_officer")).get("/health/access-reviews")).json()["items"]
    assert review["overdue"]
    assert datetime.fromisoformat(review["due_at"]) <= datetime.now(UTC)


async def test_accesses_cannot_be_taken_back(house: RunningServices, record: dict[str, str]) -> None:
    await opened(await staff(house, "clinician"), record["patient"])
    for statement in ("delete from emergency_access", "update emergency_access set reason = ''"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with house.kit("health").db.transaction() as tx:
                await tx.execute(statement)
