"""Ties across a merge: what is kept under another entry of the same person is reached, until it is undone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from health.repository import reach
from services.identity.repository import people, sectors
from services.identity.vault import vault_of
from services.kit.database import Database
from tests.health.conftest import Hospital
from tests.health.support import locations, observation, patient, post, transaction
from tests.health.test_access import PERSON, Somebody, arrives, found, kept, seen, treating, visit
from tests.support.running import RunningServices

__all__ = ["kept", "treating"]
REASON = {"reason": "both were seen with the same card"}


@pytest.fixture
async def without_papers(treating: Somebody) -> str:
    """What hospital C keeps of somebody taken in without papers."""
    entries = [
        post(patient(("urn:hospital:C:card", "9")), PERSON),
        post(observation(PERSON, code="nameless")),
    ]
    answer = await (await treating("C")).post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())[1]


async def until(there: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Health hears of it by an event."""
    for _ in range(1200):
        if await there() == wanted:
            return
        await asyncio.sleep(0.05)
    assert await there() == wanted


async def merged(house: RunningServices, records: Database) -> tuple[httpx.AsyncClient, str]:
    """Two clerks make the only two people here one; one of them, and the pair."""
    async with records.read() as db:
        ids = [row["sector_id"] for row in await db.fetch("select distinct sector_id from patient_person")]
    kit = house.kit("identity")
    sectors_of = kit.parts["register"].sectors
    async with vault_of(kit).transaction() as tx:
        pids = {row["pid"] for row in await sectors.owners(tx, ids)}
        names = {sectors_of.id_of("identity", pid): pid for pid in pids}
        version = sectors_of.version("identity")
        await people.remember_sector_ids(tx, "identity", version, list(names.items()))
    one, other = names
    for subject in ("clerk-1", "clerk-2"):
        clerk = await house.client(
            "identity",
            kind="staff",
            subject=subject,
            roles=["identity_clerk"],
            areas=["000000"],
            scopes="identity:matches:decide",
            purpose="registration",
        )
        answer = await clerk.post("/identity/merges", json={"person": one, "other": other, **REASON})
        assert answer.status_code == 201, answer.text
    return clerk, answer.json()["id"]


async def test_a_treatment_relation_follows_a_merge_and_its_undoing(
    treating: Somebody,
    kept: dict[str, str],
    without_papers: str,
    house: RunningServices,
    records: Database,
) -> None:
    other = await treating("B")
    await arrives(other, visit(1))
    assert await seen(other) == {kept["open"]}
    clerk, pair = await merged(house, records)
    await until(lambda: found(other), {kept["open"], without_papers})
    assert len(await seen(other)) == 2
    assert (await other.get(f"/fhir/{without_papers}")).status_code == 200
    # Who has no tie to either reads neither, and the hospital without papers nothing of the others'.
    assert await seen(await treating("D")) == set()
    assert await seen(await treating("C")) == {without_papers}
    undone = await clerk.post(f"/identity/match-reviews/{pair}/unmerge", json=REASON)
    assert undone.status_code == 200, undone.text
    await until(lambda: found(other), {kept["open"]})
    assert (await other.get(f"/fhir/{without_papers}")).status_code == 404


async def test_what_was_told_later_stands(house: RunningServices, records: Database) -> None:
    """Events of different pairs may come in another order than they happened, and what is asked at the start
    comes when it comes."""

    async def note(told: int, **now: str) -> None:
        async with house.kit("health").db.transaction() as tx:
            await reach.note_merged(tx, now, told=told)

    async def standing() -> dict[str, str]:
        async with records.read() as db:
            rows = await db.fetch("select sector_id, now from merged_person")
        return {row["sector_id"]: row["now"] for row in rows}

    await note(7, b="b")
    await note(5, b="a")
    await note(0, b="a", c="a")
    assert await standing() == {"b": "b", "c": "a"}
    await note(9, c="c", b="a")
    assert await standing() == {"b": "a", "c": "c"}


async def test_people_without_papers_are_told_by_their_telephone_number(
    hospital: Hospital, records: Database
) -> None:
    """Two hospitals take the same person in; the telephone number and the area go along."""
    said = {
        "name": [{"text": "司徒静怡"}],
        "gender": "female",
        "birthDate": "1971-03-08",
        "telecom": [{"system": "phone", "value": "+86 139-1234-5678", "use": "mobile"}],
        "address": [{"extension": [{"url": "urn:huimin:ext:area", "valueCode": "330106"}]}],
    }
    for name in ("A", "B"):
        client = await hospital(name, purpose="treatment")
        card = (f"urn:hospital:{name}:card", "5")
        answer = await client.post("/fhir/Patient", json=patient(card, **said))
        assert answer.status_code == 201, answer.text
    async with records.read() as db:
        rows = await db.fetch("select sector_id, outcome from patient_person order by pt")
    assert rows[0]["sector_id"] == rows[1]["sector_id"]
    assert [row["outcome"] for row in rows] == ["created", "matched"]


@pytest.mark.parametrize("birth", [{"multipleBirthInteger": 2}, {"multipleBirthBoolean": True}])
async def test_twins_with_their_mothers_number_stay_two(
    hospital: Hospital, records: Database, birth: dict[str, Any]
) -> None:
    client = await hospital("A", purpose="treatment")
    for n, name in enumerate(("诸葛小明", "诸葛晓明")):
        said = {
            "name": [{"text": name}],
            "gender": "male",
            "birthDate": "2026-02-03",
            "telecom": [{"system": "phone", "value": "13912340000"}],
            **birth,
        }
        body = patient(("urn:hospital:A:card", f"twin-{n}-{next(iter(birth))}"), **said)
        assert (await client.post("/fhir/Patient", json=body)).status_code == 201
    async with records.read() as db:
        assert await db.fetchval("select count(distinct sector_id) from patient_person") == 2
