"""A record read because the person lets it be read, and no longer once the person does not."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.identity.client import IdentityClient
from services.identity.shapes import OrganisationPush
from tests.exchange.persons import HOSPITAL, OTHER, House, Person
from tests.health.support import FHIR_JSON, locations, observation, patient, post, transaction
from tests.identity.parties import CITIZEN_NUMBER
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import running_services

PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"


@pytest.fixture
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[House]:
    names = ("identity", "audit", "exchange", "health")
    async with running_services(names, servers, issuer) as running:
        found = House(running)
        push = OrganisationPush(
            uscc=OTHER, name="二院", name_en="Second", kind="hospital", area="330106", parent=None
        )
        await found.calls("stack").client(IdentityClient).add_organisations([push])
        yield found


async def hospital(house: House, code: str, purpose: str = "treatment") -> httpx.AsyncClient:
    return await house.running.client(
        "health",
        headers={"content-type": FHIR_JSON},
        scopes="system/*.cruds",
        subject=f"client-{code}",
        organisation=code,
        purpose=purpose,
    )


async def given(house: House, person: Person, **said: Any) -> str:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    asked = {"organisation": OTHER, "purpose": "treatment", "valid_until": until, **said}
    answer = await (await house.citizen(person)).post("/exchange/consents", json=asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_consent_opens_the_record_for_its_purpose_until_it_is_revoked(house: House) -> None:
    person, other = await house.person(), await house.person()
    first = await hospital(house, HOSPITAL)
    places = {}
    for one in (person, other):
        entries = [post(patient((CITIZEN_NUMBER, one.number)), PERSON), post(observation(PERSON))]
        answer = await first.post("/fhir", json=transaction(*entries))
        places[one.name] = locations(answer.json())
    local, result = places[person.name]
    second = await hospital(house, OTHER)
    assert (await second.get(f"/fhir/{result}")).status_code == 404

    consent = await given(house, person, actions=["fhir.read", "fhir.search"])
    assert (await second.get(f"/fhir/{result}")).status_code == 200
    found = await second.get("/fhir/Observation", params={"patient": local})
    assert [f"Observation/{e['resource']['id']}" for e in found.json()["entry"]] == [result]
    assert (await second.get(f"/fhir/{places[other.name][1]}")).status_code == 404
    research = await hospital(house, OTHER, purpose="research")
    assert (await research.get(f"/fhir/{result}")).status_code == 404

    leaves = house.running.kit("health").leaves
    assert leaves is not None
    await leaves.flush()
    async with house.running.kit("health").db.read() as db:
        rows = await db.fetch('select body from leaf where body like \'%"relation":"consent"%\' order by seq')
    said = [json.loads(row["body"]) for row in rows]
    assert [(leaf["action"], leaf["subject"]) for leaf in said] == [
        ("fhir.read", person.ids["health"]),
        ("fhir.search", person.ids["health"]),
    ]

    citizen = await house.citizen(person)
    revoked = await citizen.post(f"/exchange/consents/{consent}/revocation")
    assert revoked.status_code == 200, revoked.text
    assert (await second.get(f"/fhir/{result}")).status_code == 404
    assert (await second.get("/fhir/Observation", params={"patient": local})).json().get("entry") is None


async def test_a_consent_for_reading_is_none_for_searching(house: House) -> None:
    person = await house.person()
    entries = [post(patient((CITIZEN_NUMBER, person.number)), PERSON), post(observation(PERSON))]
    answer = await (await hospital(house, HOSPITAL)).post("/fhir", json=transaction(*entries))
    local, result = locations(answer.json())
    second = await hospital(house, OTHER)
    await given(house, person, actions=["fhir.read"])
    assert (await second.get(f"/fhir/{result}")).status_code == 200
    assert (await second.get("/fhir/Observation", params={"patient": local})).json().get("entry") is None
