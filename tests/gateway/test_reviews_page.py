"""/console/access-reviews: what was opened in an emergency, and the privacy officer's word on it."""

import re
from collections.abc import AsyncIterator
from datetime import date

import pytest

from tests.gateway.visitor import Pages, pages_of
from tests.identity.parties import CITIZEN_NUMBER, citizen_number
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

HERE = "/console/access-reviews"
HOSPITAL, OTHER = "91330106MA27XW0001", "91330106MA27XW0002"
REVIEW = re.compile(r'name="id" value="([0-9a-f-]{36})"')
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": CITIZEN_NUMBER, "value": citizen_number(date(1960, 5, 6))}],
}


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "health", "gateway"), servers, issuer) as found:
        for username, role, organisation in (
            ("doctor", "clinician", HOSPITAL),
            ("officer", "privacy_officer", HOSPITAL),
            ("officer-elsewhere", "privacy_officer", OTHER),
        ):
            await found.account(
                username, kind="staff", roles=[role], areas=["330100"], organisation=organisation
            )
        yield found


async def opened(pages: Pages, reason: str) -> None:
    """A record of another hospital's, opened by the doctor."""
    sender = await pages.house.client(
        "health", kind="organisation", organisation=OTHER, scopes="system/*.cruds", purpose="treatment"
    )
    patient = await sender.post("/fhir/Patient", json=PATIENT)
    assert patient.status_code == 201, patient.text
    doctor = await pages.house.client(
        "health",
        kind="staff",
        subject="doctor-1",
        roles=["clinician"],
        organisation=HOSPITAL,
        areas=["330100"],
        scopes="health:emergency-accesses:write",
        purpose="treatment",
    )
    said = {"patient": f"Patient/{patient.json()['id']}", "reason": reason}
    answer = await doctor.post("/health/emergency-accesses", json=said)
    assert answer.status_code == 201, answer.text


async def test_an_officer_answers_for_an_opening(pages: Pages) -> None:
    await opened(pages, "unconscious, <b>no</b> papers")
    visitor = await pages.signed_in("officer", at=HERE)
    shown = (await visitor.get(HERE, lang="zh")).text
    for words in (
        "紧急查阅复核",
        "unconscious, &lt;b&gt;no&lt;/b&gt; papers",
        "复核期限",
        "该次查阅是否正当",
    ):
        assert words in shown, words
    [id] = REVIEW.findall(shown)
    answer = await visitor.send(
        HERE, {"id": id, "decision": "justified", "words": "a real emergency"}, at=HERE
    )
    assert (answer.status_code, answer.headers["location"]) == (303, HERE)
    assert "The outcome has been recorded." in (await visitor.get(HERE, lang="en")).text
    done = (await visitor.get(HERE, state="justified", lang="en")).text
    assert "a real emergency" in done
    assert REVIEW.findall(done) == []


async def test_what_cannot_be_taken_is_said(pages: Pages) -> None:
    await opened(pages, "a second emergency")
    visitor = await pages.signed_in("officer", at=HERE)
    [id] = REVIEW.findall((await visitor.get(HERE)).text)
    for fields in (
        {"id": id, "decision": "maybe", "words": "words"},
        {"id": id, "decision": "justified", "words": ""},
        {"id": "x", "decision": "justified", "words": "words"},
        {"id": id, "decision": "justified", "words": f"of {citizen_number()}"},
    ):
        answer = await visitor.send(HERE, fields, at=HERE)
        assert answer.status_code == 303
        assert 'class="notice bad"' in (await visitor.get(HERE, lang="en")).text, fields
    assert REVIEW.findall((await visitor.get(HERE)).text) == [id]


async def test_it_is_for_the_hospitals_own_officer(pages: Pages) -> None:
    await opened(pages, "a third emergency")
    elsewhere = await pages.signed_in("officer-elsewhere", at=HERE)
    assert REVIEW.findall((await elsewhere.get(HERE)).text) == []
    doctor = await pages.signed_in("doctor")
    assert (await doctor.get(HERE)).status_code == 403
    nobody = await pages.visitor()
    assert "password" in (await nobody.get(HERE)).text
