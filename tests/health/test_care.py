"""Who treats whom, worked out once more from records that were kept before that was noted."""

from typing import Any

from services.kit.database import Database
from services.kit.jobs.running import run
from tests.health.conftest import Hospital
from tests.health.support import post, transaction
from tests.health.test_access import Somebody, arrives, kept, leaves, seen, treating, visit
from tests.support.running import RunningServices

__all__ = ["kept", "treating"]


async def filled(house: RunningServices) -> dict[str, Any]:
    """What a run of the job comes to."""
    kit = house.kit("health")
    assert kit.jobs is not None
    async with kit.db.transaction() as tx:
        id = await kit.jobs.submit(tx, kind="health.tasks:fill_care")
    await run("health", id)
    async with kit.db.read() as db:
        job = await kit.jobs.get(db, id)
    assert job is not None
    assert job.result is not None, job.error
    return job.result


async def relations(records: Database) -> list[dict[str, Any]]:
    async with records.read() as db:
        return [dict(row) for row in await db.fetch("select * from care order by organisation, pk")]


async def test_what_was_not_noted_is_worked_out_from_the_records(
    treating: Somebody, kept: dict[str, str], house: RunningServices, records: Database
) -> None:
    other = await treating("B")
    stay = visit(3, period={"start": "2026-01-01T08:00:00+08:00"})
    await arrives(other, visit(1), stay, visit(1, at=None), visit(1, status="cancelled"))
    noted = await relations(records)
    assert len(noted) > 2
    async with house.kit("health").db.transaction() as tx:
        await tx.execute("delete from care")
    assert await seen(other) == set()
    before = len(await leaves(house, "permitted"))
    assert (await filled(house))["relations"] == len(noted)
    assert [row | {"until": None} for row in await relations(records)] == [
        row | {"until": None} for row in noted
    ]
    drift = [
        abs((now["until"] - then["until"]).total_seconds())
        for now, then in zip(await relations(records), noted, strict=True)
    ]
    assert max(drift) < 0.001  # the moment of the push, to the millisecond
    assert await seen(other) == {kept["open"]}
    said = [leaf["action"] for leaf in (await leaves(house, "permitted"))[before:]]
    assert "treatment.claimed" in said


async def test_a_second_run_adds_nothing_and_a_cancelled_visit_nobody(
    hospital: Hospital, house: RunningServices, records: Database
) -> None:
    client = await hospital("B", purpose="treatment")
    entries = [post(visit(1, at=None, status="cancelled", subject={"display": "nobody here"}))]
    assert (await client.post("/fhir", json=transaction(*entries))).status_code == 200
    await arrives(client, visit(1))
    noted = await relations(records)
    assert (await filled(house))["relations"] == 0
    assert await relations(records) == noted
