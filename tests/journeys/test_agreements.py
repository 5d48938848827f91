"""Agreements: a department asks, another decides, data move while it is in force, and only what was agreed.

Through the public doors of the real suite, as the departments' staff would; what arrives is held to the
city's own truth.
"""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from city import doors
from city.build import dumped
from city.doors import Caller, Credentials
from city.simulation import City
from city.truth import stories
from services.exchange.client import ExchangeClient
from services.identity.client import IdentityClient
from services.identity.shapes import CITIZEN_NUMBER, Identifier, PersonPush
from services.kit.calls import Calls, DomainError
from services.kit.settings import Settings
from tests.support.suite import Suite, in_thread

DATASET = "health.deaths"
ORGANISATIONS = {"health": "11330100MB0000011X", "education": "11330100MB0000013Q"}
REQUEST = "mutation($input: AgreementRequest!) { requestAgreement(input: $input) { id state dueAt } }"
DECIDE = """mutation($id: ID!, $approve: Boolean!) {
    decideAgreement(id: $id, approve: $approve, reason: "journey") { state inForce } }"""
END = """mutation($id: ID!) { endAgreement(id: $id, reason: "no longer needed") { state } }"""
FILE = """query($id: ID!) { agreement(id: $id) {
    agreement { state overdue } steps { state organisation } use { day reads rows } } }"""


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=300, seed=23)


@pytest.fixture(scope="module")
def died(suite: Suite, city: City) -> dict[str, date]:
    """The city's dead by citizen number, as the hospital has pushed them."""
    key = suite.client_file("hospital", "agreements-hospital")
    caller = Credentials(key.client_id, key.issuer, key.kind, key.jwk)
    dead = [story for story in stories(city) if story.person.death is not None]

    async def push() -> None:
        async with httpx.AsyncClient(base_url=suite.base_url, timeout=120.0) as http:
            for story in dead:
                body = dumped(story.bundle).encode()
                await doors.push_bundle(
                    Caller(http, caller), body, key=f"agreements-{story.person.number[-8:]}"
                )

    asyncio.run(push())
    return {story.person.number: story.person.death for story in dead if story.person.death is not None}


@pytest.fixture(scope="module")
def desks(suite: Suite) -> None:
    for service, organisation in ORGANISATIONS.items():
        names = {
            "organisation": organisation,
            "name_zh": f"{service}部门",
            "name_en": f"{service} department",
        }
        suite.as_stack("PUT", "exchange", f"/exchange/departments/{service}", names)
        for number in (1, 2):
            suite.account(
                f"agreements-{service}-{number}",
                kind="staff",
                roles=["exchange_staff"],
                areas=["330100"],
                organisation=organisation,
            )


def asked(**changed: Any) -> dict[str, Any]:
    until = datetime.now(UTC) + timedelta(days=90)
    return {
        "dataset": DATASET,
        "consumer": "education",
        "items": ["sector_id", "death_date"],
        "filter": [],
        "purpose": "education",
        "details": "注销已故学生学籍",
        "legalBasis": "《中小学生学籍管理办法》",
        "validUntil": until.isoformat(),
        **changed,
    }


def requested(suite: Suite, **changed: Any) -> str:
    answer = suite.graphql(REQUEST, {"input": asked(**changed)}, as_="agreements-education-1")
    assert "errors" not in answer, answer
    found = answer["data"]["requestAgreement"]
    assert found["state"] in {"requested", "active"}
    return str(found["id"])


def approved(suite: Suite, **changed: Any) -> str:
    id = requested(suite, **changed)
    answer = suite.graphql(DECIDE, {"id": id, "approve": True}, as_="agreements-health-1")
    assert answer["data"]["decideAgreement"] == {"state": "active", "inForce": True}, answer
    return id


async def _calls(suite: Suite) -> Calls:
    """Calls as the service education makes them, from outside: over HTTP, with its derived key."""
    settings = Settings(
        mode="separate",
        secret=suite.home.secret(),
        public_url=suite.base_url,
        service_url_template=suite.base_url,
    )
    return Calls(settings, "education")


def read(suite: Suite) -> list[dict[str, Any]]:
    async def rows() -> list[dict[str, Any]]:
        calls = await _calls(suite)
        try:
            client = calls.client(ExchangeClient)
            return [row async for page in client.read(DATASET, limit=3) for row in page]
        finally:
            await calls.close()

    return in_thread(rows)


def resolved(suite: Suite, numbers: list[str]) -> list[str | None]:
    async def ids() -> list[str | None]:
        calls = await _calls(suite)
        try:
            pushes = [
                PersonPush(ref=number, identifiers=[Identifier(system=CITIZEN_NUMBER, value=number)])
                for number in numbers
            ]
            found = await calls.client(IdentityClient).resolve(pushes, organisation=None)
            return [one.sector_id for one in found]
        finally:
            await calls.close()

    return in_thread(ids)


def test_what_was_agreed_arrives_and_nothing_else(suite: Suite, died: dict[str, date], desks: None) -> None:
    with pytest.raises(DomainError) as refused:
        read(suite)
    assert refused.value.problem["code"] == "no_agreement"
    since = sorted(died.values())[len(died) // 2]
    id = approved(suite, filter=[{"item": "death_date", "op": "ge", "value": since.isoformat()}])
    found = read(suite)
    assert {frozenset(row) for row in found} == {frozenset({"sector_id", "death_date"})}
    assert min(row["death_date"] for row in found) == since.isoformat()
    ids = dict(zip(died, resolved(suite, list(died)), strict=True))
    mine = set(ids.values())  # other journeys' dead may be there too
    assert {(row["sector_id"], row["death_date"]) for row in found if row["sector_id"] in mine} == {
        (ids[number], day.isoformat()) for number, day in died.items() if day >= since
    }
    file = suite.graphql(FILE, {"id": id}, as_="agreements-health-1")["data"]["agreement"]
    assert [step["state"] for step in file["steps"]] == ["requested", "active"]
    assert (file["use"][-1]["reads"] > 1, file["use"][-1]["rows"]) == (True, len(found))
    ended = suite.graphql(END, {"id": id}, as_="agreements-education-2")
    assert ended["data"]["endAgreement"] == {"state": "ended"}
    with pytest.raises(DomainError):
        read(suite)


def test_a_refused_request_gives_nothing(suite: Suite, desks: None) -> None:
    id = requested(suite)
    answer = suite.graphql(DECIDE, {"id": id, "approve": False}, as_="agreements-health-2")
    assert answer["data"]["decideAgreement"] == {"state": "refused", "inForce": False}
    with pytest.raises(DomainError) as refused:
        read(suite)
    assert refused.value.problem["code"] == "no_agreement"


def test_past_its_last_second_an_agreement_gives_nothing(suite: Suite, desks: None) -> None:
    for seconds in (4, 15, 60):
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            approved(suite, validUntil=end.isoformat())
            read(suite)
            break
        except (AssertionError, DomainError):
            if datetime.now(UTC) < end:
                raise
            # This machine was too busy to be there in time: once more, with more of it.
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.05)
    with pytest.raises(DomainError) as refused:
        read(suite)
    assert (refused.value.status, refused.value.problem["code"]) == (403, "no_agreement")


@pytest.mark.parametrize("who", ["agreements-education-1", "agreements-education-2", "agreements-auditor"])
def test_only_the_provider_decides(suite: Suite, desks: None, who: str) -> None:
    if who == "agreements-auditor":
        suite.account(
            who, kind="staff", roles=["auditor"], areas=["330100"], organisation="11330100MB0000011X"
        )
    id = requested(suite)
    answer = suite.graphql(DECIDE, {"id": id, "approve": True}, as_=who)
    assert answer["data"] == {"decideAgreement": None}
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    state = suite.graphql(FILE, {"id": id}, as_="agreements-health-1")["data"]["agreement"]["agreement"]
    assert state == {"state": "requested", "overdue": False}


def test_counts_that_name_nobody_are_agreed_at_once(suite: Suite, desks: None) -> None:
    id = requested(suite, dataset="transport.zone_flows", items=["zone", "hour", "n_in"])
    file = suite.graphql(FILE, {"id": id}, as_="agreements-education-1")["data"]["agreement"]
    assert (file["agreement"]["state"], [step["state"] for step in file["steps"]]) == (
        "active",
        ["requested", "active"],
    )
