"""A hospital that says it treats somebody: the person is told once, and an objection holds at once."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from health import treatments
from services.kit.database import Database
from services.kit.principals import unseal
from tests.health.conftest import Hospital
from tests.health.support import CITIZEN_NUMBER, patient, post, transaction
from tests.health.test_access import (
    PERSON,
    Somebody,
    arrives,
    kept,
    leaves,
    sector_id,
    seen,
    treating,
    visit,
)
from tests.support.running import RunningServices

__all__ = ["kept", "treating"]
CLAIMS = "/health/treatment-claims/me"


async def told(house: RunningServices, records: Database, wanted: int) -> list[dict[str, Any]]:
    """The events there are of it, once so many have come."""
    found: list[Any] = []
    for _ in range(1200):
        async with records.read() as db:
            found = await db.fetch("select aggregate, body from outbox where type = $1", treatments.EVENT)
        if len(found) >= wanted:
            break
        await asyncio.sleep(0.05)
    return [dict(row["body"]) for row in found]


async def person(house: RunningServices, records: Database) -> httpx.AsyncClient:
    return await house.client(
        "health",
        kind="person",
        scopes="patient/*.rs",
        purpose="own_records",
        organisation=None,
        sector_id=await sector_id(records),
    )


async def test_the_person_is_told_of_a_new_one_once(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    other = await treating("B")
    await arrives(other, visit(1))
    [event] = await told(house, records, 1)
    assert event["organisation"] == "B"
    secret = house.settings.secret_for("notify", "seal")
    assert unseal(event["recipient"], secret).startswith("h1_")
    assert await sector_id(records) not in orjson.dumps(event).decode()
    await arrives(other, visit(0.5))
    assert await treatments.tell(house.kit("health")) == 0
    assert len(await told(house, records, 1)) == 1


async def test_one_that_opens_nothing_is_not_told(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    await arrives(await treating("B"), visit(2000))
    await arrives(await treating("A"), visit(2000), code="A")
    assert await treatments.tell(house.kit("health")) == 0
    assert await told(house, records, 0) == []


async def test_an_objection_closes_what_the_claim_opened(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    other, me = await treating("B"), await person(house, records)
    await arrives(other, visit(1))
    assert await seen(other) == {kept["open"]}
    [claim] = (await me.get(CLAIMS)).json()["items"]
    assert (claim["organisation"], claim["objected_at"]) == ("B", None)
    said = await me.post(f"{CLAIMS}/objections", json={"organisation": "B"})
    assert said.status_code == 204, said.text
    assert await seen(other) == set()
    assert (await other.get(f"/fhir/{kept['open']}")).status_code == 404
    # Another visit does not open it again, and says nothing new; its own records the hospital keeps.
    await arrives(other, visit(0.1))
    assert await seen(other) == set()
    assert len(await seen(other, "Encounter")) == 2
    [claim] = (await me.get(CLAIMS)).json()["items"]
    assert claim["objected_at"] is not None
    back = await me.post(f"{CLAIMS}/objections", json={"organisation": "B", "objects": False})
    assert back.status_code == 204
    assert await seen(other) == {kept["open"]}
    done = [leaf for leaf in await leaves(house, "permitted") if leaf["action"] == "treatment.object"]
    assert [leaf["reason"] for leaf in done] == ["objected", "objection_withdrawn"]


async def test_nobody_objects_in_anothers_name(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database, hospital: Hospital
) -> None:
    other = await treating("B")
    await arrives(other, visit(1))
    stranger = await house.client(
        "health",
        kind="person",
        scopes="patient/*.rs",
        purpose="own_records",
        organisation=None,
        sector_id="h1_AAAAAAAAAAAAAAAAAAAAAAAAAA",
    )
    assert (await stranger.get(CLAIMS)).json() == {"items": [], "next": None}
    for http, status in ((stranger, 404), (other, 403)):
        answer = await http.post(f"{CLAIMS}/objections", json={"organisation": "B"})
        assert answer.status_code == status, answer.text
    assert await seen(other) == {kept["open"]}


@pytest.mark.parametrize("body", [{}, {"organisation": ""}, {"organisation": "B", "objects": "perhaps"}])
async def test_a_word_that_is_none_is_refused(
    house: RunningServices, kept: dict[str, str], records: Database, body: dict[str, Any]
) -> None:
    me = await person(house, records)
    assert (await me.post(f"{CLAIMS}/objections", json=body)).status_code == 422
    assert (await me.get(CLAIMS, params={"after": "x"})).status_code == 400


async def test_the_list_is_paged(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    for code in ("B", "C", "D"):
        await arrives(await treating(code), visit(1), code=code)
    me = await person(house, records)
    first = (await me.get(CLAIMS, params={"first": 2})).json()
    rest = (await me.get(CLAIMS, params={"first": 2, "after": first["next"]})).json()
    assert [one["organisation"] for one in first["items"] + rest["items"]] == ["B", "C", "D"]
    assert rest["next"] is None


async def test_what_others_keep_later_opens_by_an_earlier_visit_and_the_person_is_told_then(
    hospital: Hospital, house: RunningServices, records: Database
) -> None:
    number = (CITIZEN_NUMBER, "110101199003074514")
    entries = [post(patient(number), PERSON), post(visit(1, at=None))]
    early = await hospital("E", purpose="treatment")
    assert (await early.post("/fhir", json=transaction(*entries))).status_code == 200
    assert await told(house, records, 0) == []
    late = await hospital("F", purpose="treatment")
    assert (await late.post("/fhir", json=transaction(*entries))).status_code == 200
    assert sorted(event["organisation"] for event in await told(house, records, 2)) == ["E", "F"]
