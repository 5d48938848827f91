"""The whole register looked through for doubles: a job, its progress, and what joins the queue."""

from typing import Any
from uuid import UUID

import pytest

from services.identity import linkage_runs
from services.identity.vault import vault_of
from services.kit.jobs import JobLostError
from services.kit.jobs.running import RunningJob, run
from services.kit.jobs.table import claim
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, citizen_number
from tests.identity.test_lookalikes import ZHANG, mrn, pushed
from tests.identity.test_reviews import REASON, clerk, one_clerk

RUNS = "/identity/linkage/runs"


@pytest.fixture(autouse=True)
async def no_jobs(identity: Identity) -> None:
    async with identity.kit.db.transaction() as tx:
        await tx.execute("truncate job")


async def ran(identity: Identity) -> dict[str, Any]:
    http = await one_clerk(identity)
    begun = await http.post(RUNS)
    assert begun.status_code == 202, begun.text
    await run("identity", UUID(begun.json()["id"]))
    done: dict[str, Any] = (await http.get(f"{RUNS}/{begun.json()['id']}")).json()
    assert (done["state"], done["error"]) == ("done", None)
    return done


async def unseen(identity: Identity) -> None:
    """As if nobody had been compared with anybody when they came."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("update person set root = null")
        await tx.execute("truncate match_review")


async def test_doubles_join_the_queue_once_and_nobody_is_merged(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, citizen_number()), **ZHANG)
    await pushed(health, mrn(1), **ZHANG | {"name": "張偉明"})
    await pushed(health, mrn(2), **ZHANG | {"name": "张炜明", "phone": None, "birth_date": "1985-03-15"})
    await pushed(health, mrn(3), name="王芳", birth_date="1971-11-02", sex="female", area="330106")
    await unseen(identity)
    first = await ran(identity)
    assert (first["people"], first["pairs"], first["queued"]) == (4, 3, 3)
    assert first["done"] == first["total"] == 8
    pairs = await identity.rows("select state, why, source from match_review")
    assert pairs == [{"state": "open", "why": "model", "source": f"linkage/{first['id']}"}] * 3
    assert await identity.rows("select from person where root is not null") == []
    leaves = [leaf for leaf in await identity.leaves("linkage.run") if "subjects_count" in leaf]
    assert [(leaf["records"], leaf["subjects_count"]) for leaf in leaves] == [(3, 3)]
    second = await ran(identity)
    assert (second["pairs"], second["queued"]) == (3, 0)


async def test_what_is_decided_stays_decided(identity: Identity) -> None:
    """Those who are one person, or two by a clerk's word or by their numbers, are not asked about again."""
    health = await identity.as_service("health")
    await pushed(health, (CITIZEN_NUMBER, citizen_number()), **ZHANG)
    assert (await pushed(health, mrn(1), **ZHANG))["outcome"] == "matched"
    await pushed(health, mrn(2), **ZHANG | {"name": "张炜明", "phone": None, "birth_date": "1985-03-15"})
    clerks = await clerk(identity)
    for pair in (await clerks.get("/identity/match-reviews")).json()["items"]:
        said = {"decision": "different", **REASON}
        await clerks.post(f"/identity/match-reviews/{pair['id']}/decision", json=said)
    before = await identity.rows("select id, state from match_review order by id")
    await pushed(health, (CITIZEN_NUMBER, citizen_number(sequence=3)), **ZHANG)
    assert (await ran(identity))["queued"] <= 1
    after = await identity.rows("select id, state from match_review order by id")
    assert [row for row in after if row in before] == before
    numbers = await identity.rows(
        "select count(*) as n from match_review r join identifier a on a.pid = r.pid"
        " join identifier b on b.pid = r.other"
    )
    assert numbers == [{"n": 0}]


async def test_one_run_at_a_time_and_clerks_alone(identity: Identity) -> None:
    http = await one_clerk(identity)
    begun = (await http.post(RUNS)).json()
    assert (begun["state"], begun["total"]) == ("queued", None)
    assert (await http.post(RUNS)).json()["id"] == begun["id"]
    assert [one["id"] for one in (await http.get(RUNS)).json()["items"]] == [begun["id"]]
    assert (await http.get(f"{RUNS}/{UUID(int=1)}")).status_code == 404
    for who in ({"roles": ["auditor"]}, {"kind": "person", "roles": []}, {"purpose": "statistics"}):
        other = await one_clerk(identity, **who)
        assert (await other.post(RUNS)).status_code == 403
        assert (await other.get(RUNS)).status_code == 403


async def test_a_run_that_lost_its_fence_queues_nothing(identity: Identity) -> None:
    health = await identity.as_service("health")
    await pushed(health, mrn(1), **ZHANG)
    await pushed(health, mrn(2), **ZHANG | {"name": "张炜明", "phone": None})
    await unseen(identity)
    begun = (await (await one_clerk(identity)).post(RUNS)).json()
    async with identity.kit.db.transaction() as tx:
        job = await claim(tx, UUID(begun["id"]))
        assert job is not None
        await tx.execute("update job set fence = fence + 1")
    with pytest.raises(JobLostError):
        await linkage_runs.run(RunningJob(identity.kit, job))
    assert await identity.rows("select from match_review") == []
    assert not list((identity.kit.settings.home / "identity" / "linkage").iterdir())
