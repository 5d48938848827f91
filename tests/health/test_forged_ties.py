"""Hospitals and clinicians that make up a tie to somebody else's patient."""

from typing import Any

import httpx

from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import CITIZEN_NUMBER, citizen_number, observation, patient, post, transaction
from tests.health.test_access import (
    HERE,
    PERSON,
    Somebody,
    arrives,
    kept,
    leaves,
    organisation,
    sector_id,
    seen,
    treating,
    visit,
)
from tests.support.running import RunningServices

__all__ = ["kept", "treating"]
CARD = ("urn:hospital:A:card", "000123")


async def keeps(client: httpx.AsyncClient, *identifiers: tuple[str, str]) -> None:
    answer = await client.post(
        "/fhir", json=transaction(post(patient(*identifiers), PERSON), post(observation(PERSON, code="open")))
    )
    assert answer.status_code == 200, answer.text


async def test_another_hospitals_card_number_brings_no_treatment_relation(treating: Somebody) -> None:
    """Card numbers can be counted up: whoever guesses one must not read what its hospital keeps."""
    await keeps(await treating("A"), CARD, (CITIZEN_NUMBER, citizen_number(64)))
    other = await treating("B")
    entries = [post(patient(CARD), PERSON), post(organisation("B"), HERE), post(visit(1))]
    answer = await other.post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    assert await seen(other) == set()


async def test_a_visit_that_opens_others_records_says_so_in_the_persons_list(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    await arrives(await treating("B"), visit(1))
    claimed = [leaf for leaf in await leaves(house, "permitted") if leaf["action"] == "treatment.claimed"]
    said = [(leaf["subject"], leaf["organisation"], leaf["resource"], leaf["relation"]) for leaf in claimed]
    assert said == [(await sector_id(records), "B", "care/B", "treatment")]


async def test_where_it_opens_nothing_it_is_not_said(
    treating: Somebody, kept: dict[str, str], house: RunningServices
) -> None:
    await arrives(await treating("A"), visit(1), code="A")
    await arrives(await treating("B"), visit(2000))
    assert not [leaf for leaf in await leaves(house, "permitted") if leaf["action"] == "treatment.claimed"]


async def test_a_referral_that_opens_records_is_said_too(
    treating: Somebody, kept: dict[str, str], house: RunningServices
) -> None:
    await arrives(await treating("A"), visit(1), code="C")
    [claimed] = [leaf for leaf in await leaves(house, "permitted") if leaf["action"] == "treatment.claimed"]
    assert (claimed["organisation"], claimed["resource"]) == ("A", "care/C")


async def test_broken_glass_does_not_move_to_another_person(
    treating: Somebody, kept: dict[str, str], house: RunningServices, hospital: Hospital
) -> None:
    """A Patient of one's own is opened, nobody is alarmed, and then it is said to be somebody else's."""
    other = await treating("B")
    made = await other.post("/fhir/Patient", json=patient(("urn:hospital:B:card", "77")))
    own = made.json()["id"]
    who: dict[str, Any] = {"kind": "staff", "roles": ["clinician"], "subject": "u_7", "organisation": "B"}
    scopes = "user/*.rs health:emergency-accesses:write"
    doctor = await house.client("health", scopes=scopes, purpose="treatment", **who)
    asked = {"patient": own, "reason": "昏迷，急诊抢救"}
    opened = await doctor.post("/health/emergency-accesses", json=asked)
    assert opened.status_code == 201, opened.text
    victim = citizen_number(61)
    changed = patient((CITIZEN_NUMBER, victim), id=own)
    assert (await other.put(f"/fhir/Patient/{own}", json=changed)).status_code == 200
    assert (await doctor.get(f"/fhir/{kept['open']}")).status_code == 404
