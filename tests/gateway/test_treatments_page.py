"""/me: who says that they treat one, and the citizen's objection."""

from collections.abc import AsyncIterator
from datetime import date

import pytest

from tests.gateway.visitor import Pages, pages_of
from tests.health.support import CITIZEN_NUMBER, observation, patient, post, transaction
from tests.health.test_access import PERSON, visit
from tests.identity.parties import citizen_number
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

NUMBER = citizen_number(date(1962, 7, 8))
HERE, CLAIMS = "/me", "/me/treatments"


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "health", "gateway"), servers, issuer) as found:
        yield found


async def test_a_citizen_objects_and_the_record_is_closed(pages: Pages) -> None:
    keeper, claims = [
        await pages.house.client(
            "health",
            kind="organisation",
            subject=name,
            organisation=name,
            scopes="system/*.cruds",
            purpose="treatment",
        )
        for name in ("keeper", "<b>elsewhere</b>")
    ]
    person = post(patient((CITIZEN_NUMBER, NUMBER)), PERSON)
    for http, entry in ((keeper, observation(PERSON)), (claims, visit(1, at=None))):
        answer = await http.post("/fhir", json=transaction(person, post(entry)))
        assert answer.status_code == 200, answer.text
    await pages.account("treated", identifier=NUMBER)
    visitor = await pages.signed_in("treated", at=HERE)

    async def read() -> int:
        return int((await claims.get("/fhir/Observation", params={"_count": 0})).json()["total"])

    shown = (await visitor.get(HERE, lang="en")).text
    assert "&lt;b&gt;elsewhere&lt;/b&gt;" in shown
    assert "I am not treated there" in shown
    assert await read() == 1
    said = {"organisation": "<b>elsewhere</b>", "objects": "yes"}
    answer = await visitor.send(CLAIMS, said, at=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, HERE)
    assert "撤回异议" in (await visitor.get(HERE, lang="zh")).text
    assert await read() == 0
    await visitor.send(CLAIMS, said | {"objects": "no"}, at=HERE)
    assert await read() == 1
    await visitor.send(CLAIMS, said | {"organisation": "nobody"}, at=HERE)
    assert 'class="notice bad"' in (await visitor.get(HERE, lang="en")).text
