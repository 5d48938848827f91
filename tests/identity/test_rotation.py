"""A sector's next key version: offered, prepared, adopted; the one before understood until its end."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.identity import rotation
from services.identity.vault import vault_of
from services.kit.jobs.running import run
from services.kit.principals import unseal
from tests.identity.conftest import Identity
from tests.identity.parties import CITIZEN_NUMBER, Browser, citizen_number, exchanged, person

PEOPLE = [person(str(n), (CITIZEN_NUMBER, citizen_number(sequence=n))) for n in range(1, 8)]


@pytest.fixture(autouse=True)
async def first_versions(identity: Identity) -> None:
    """Every sector with the one version it starts with."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("delete from vault.sector_key where version > 1")
        await tx.execute("update vault.sector_key set state = 'current', understood_until = null")
        await tx.execute("truncate job")
        await rotation.take(tx, identity.kit.parts["register"])


async def ids(http: httpx.AsyncClient, people: list[dict[str, Any]] = PEOPLE) -> list[str]:
    answer = await http.post("/identity/resolve", json={"people": people})
    assert answer.status_code == 200, answer.text
    return [one["sector_id"] for one in answer.json()["people"]]


async def prepared(identity: Identity, sector: str = "health", **asked: Any) -> int:
    """A version that a job has prepared."""
    answer = await identity.admin.post("/identity/sector-keys/rotations", json={"sector": sector, **asked})
    assert answer.status_code == 202, answer.text
    await run("identity", UUID(answer.json()["job"]))
    async with vault_of(identity.kit).transaction() as tx:
        await rotation.take(tx, identity.kit.parts["register"])
    return int(answer.json()["version"])


async def events(identity: Identity) -> list[dict[str, Any]]:
    return await identity.rows("select body from outbox where type = 'identity.sector.rekeyed' order by seq")


async def versions(identity: Identity, sector: str = "health") -> dict[int, str]:
    answer = await identity.admin.get("/identity/sector-keys")
    return {key["version"]: key["state"] for key in answer.json()["keys"] if key["sector"] == sector}


async def renewed(http: httpx.AsyncClient) -> tuple[int, dict[str, str]]:
    """The version to come, and what each old id becomes, read in pages."""
    found: dict[str, str] = {}
    after: str | None = ""
    while after is not None:
        answer = await http.get("/identity/sector-ids/renewals", params={"after": after, "limit": 3})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert (page["total"] is None) == bool(after)
        found |= {one["old"]: one["new"] for one in page["items"]}
        after = page["next"]
    assert list(found) == sorted(found)
    return page["version"], found


async def test_a_domain_goes_from_one_version_to_the_next(identity: Identity) -> None:
    health = await identity.as_service("health")
    exchange = await identity.as_service("exchange")
    old = await ids(health)

    version = await prepared(identity)
    assert await ids(health) == old, "nothing new is given out before the domain says so"
    told = await events(identity)
    assert told[-1]["body"] == {
        "sector": "health", "version": 2, "from_version": 1, "overlap_days": 30,
    }  # fmt: skip
    at, becomes = await renewed(health)
    new = [becomes[id] for id in old]
    assert at == version
    assert set(new).isdisjoint(becomes)
    assert len(set(new)) == len(PEOPLE)
    assert (await renewed(health))[1] == becomes, "again changes nothing"

    async def elsewhere(here: list[Any]) -> Any:
        body = {"from": "health", "to": "education", "ids": here}
        return (await exchange.post("/identity/translate", json=body)).json()["ids"]

    assert await elsewhere(old) == await elsewhere(new), "both versions are understood"

    answer = await health.post("/identity/sector-ids/adoption", json={"version": version})
    assert answer.status_code == 200, answer.text
    assert await ids(health) == new
    assert await versions(identity) == {1: "leaving", 2: "current"}
    assert await elsewhere(old) == await elsewhere(new), "in the overlap both are understood"
    late = await health.get("/identity/sector-ids/renewals")
    assert (late.status_code, late.json()["code"]) == (409, "version_not_offered")
    assert (await health.post("/identity/sector-ids/adoption", json={"version": version})).status_code == 200

    await over(identity)
    assert await versions(identity) == {1: "retired", 2: "current"}
    assert await elsewhere(old) == [None] * len(old)
    assert None not in await elsewhere(new)


async def over(identity: Identity) -> None:
    """The overlap's end has come."""
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute(
            "update vault.sector_key set understood_until = now() - $1::interval where state = 'leaving'",
            timedelta(seconds=1),
        )
        await rotation.retire_due(tx, identity.kit.parts["register"])


async def test_an_id_is_not_understood_a_moment_after_its_time(identity: Identity) -> None:
    """The clock decides, not the task that tidies up."""
    health, exchange = await identity.as_service("health"), await identity.as_service("exchange")
    [old] = await ids(health, PEOPLE[:1])
    version = await prepared(identity)
    await health.post("/identity/sector-ids/adoption", json={"version": version})
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("update vault.sector_key set understood_until = now() where state = 'leaving'")
    body = {"from": "health", "to": "education", "ids": [old]}
    assert (await exchange.post("/identity/translate", json=body)).json() == {"ids": [None]}


async def test_a_persons_own_usages_are_found_under_every_id_there_was(identity: Identity) -> None:
    """Access leaves are never rewritten: what was logged under a retired id is still this person's."""
    health, exchange = await identity.as_service("health"), await identity.as_service("exchange")
    [old] = await ids(health, PEOPLE[:1])
    body = {"from": "health", "to": "exchange", "ids": [old]}
    [mine] = (await exchange.post("/identity/translate", json=body)).json()["ids"]
    version = await prepared(identity)
    await health.post("/identity/sector-ids/adoption", json={"version": version})
    await over(identity)
    [new] = await ids(health, PEOPLE[:1])
    asked = {"from": "exchange", "to": ["health", "education"], "ids": [mine, "h1_" + "B" * 26]}
    answer = await exchange.post("/identity/sector-ids", json=asked)
    assert answer.status_code == 200, answer.text
    found, nobody = answer.json()["ids"]
    assert nobody is None
    assert found["health"] == [new, old]
    assert len(found["education"]) == 1


async def test_who_is_new_to_a_sector_while_it_is_prepared_never_has_an_old_id(identity: Identity) -> None:
    """So the domain, once it was told of all old ids, meets no other."""
    health, exchange = await identity.as_service("health"), await identity.as_service("exchange")
    education = await identity.as_service("education")
    strangers = [person(f"s{n}", (CITIZEN_NUMBER, citizen_number(sequence=500 + n))) for n in range(4)]
    await ids(health)
    elsewhere = await ids(education, strangers)
    version = await prepared(identity)
    _, becomes = await renewed(health)
    late = await ids(health, strangers[:2])
    body = {"from": "education", "to": "health", "ids": elsewhere[2:]}
    late += (await exchange.post("/identity/translate", json=body)).json()["ids"]
    assert set(late).isdisjoint(becomes)
    assert (await renewed(health))[1] == becomes
    await health.post("/identity/sector-ids/adoption", json={"version": version})
    assert await ids(health, strangers) == late


async def test_a_session_has_the_id_that_is_given_out(identity: Identity) -> None:
    health, gateway = await identity.as_service("health"), identity.service("gateway")
    [old] = await ids(health, PEOPLE[:1])
    [named] = PEOPLE[0]["identifiers"]
    await identity.account("zhang", identifier=named)
    session = (await Browser(identity.http).session("zhang"))["access_token"]

    async def sids() -> list[str]:
        answer = await exchanged(identity.http, gateway, session, "health")
        payload = answer.json()["access_token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return unseal(claims["sid"], identity.kit.settings.secret_for("health", "seal")).split()

    assert await sids() == [old]
    version = await prepared(identity)
    new = (await renewed(health))[1][old]
    assert await sids() == [old, new], "the one given out first; what is stored may have either"
    await health.post("/identity/sector-ids/adoption", json={"version": version})
    assert await sids() == [new, old]
    await over(identity)
    assert await sids() == [new]


async def test_one_version_comes_at_a_time(identity: Identity) -> None:
    health = await identity.as_service("health")
    await ids(health)
    ask = {"sector": "health"}
    first = await identity.admin.post("/identity/sector-keys/rotations", json=ask)
    assert first.status_code == 202
    again = await identity.admin.post("/identity/sector-keys/rotations", json=ask)
    assert (again.status_code, again.json()["code"]) == (409, "rotation_under_way")
    early = await health.post("/identity/sector-ids/adoption", json={"version": 2})
    assert (early.status_code, early.json()["code"]) == (409, "version_not_offered")
    await run("identity", UUID(first.json()["job"]))
    await health.post("/identity/sector-ids/adoption", json={"version": 2})
    leaving = await identity.admin.post("/identity/sector-keys/rotations", json=ask)
    assert leaving.json()["code"] == "rotation_under_way"
    await over(identity)
    assert (await identity.admin.post("/identity/sector-keys/rotations", json=ask)).json()["version"] == 3


async def test_the_job_may_be_run_again(identity: Identity) -> None:
    health = await identity.as_service("health")
    await ids(health)
    version = await prepared(identity)
    told = await events(identity)
    async with vault_of(identity.kit).transaction() as tx:
        await tx.execute("update job set state = 'queued', fence = fence + 1, finished_at = null")
        [job] = await tx.fetch("select id from job")
    await run("identity", job["id"])
    made = await identity.rows(
        "select from vault.sector_id where sector = 'health' and version = $1", version
    )
    assert len(made) == len(PEOPLE)
    assert await events(identity) == told != [], "told once"


@pytest.mark.parametrize("sector", ["tourism", "transport"])
async def test_a_sector_that_nobody_else_stores_is_adopted_at_once(identity: Identity, sector: str) -> None:
    await ids(await identity.as_service("health"))
    await prepared(identity, sector)
    assert await versions(identity, sector) == {1: "leaving", 2: "current"}


@pytest.mark.parametrize(("sector", "status", "code"), [("nowhere", 422, "unknown_sector"), ("", 422, None)])
async def test_a_sector_there_is_not(identity: Identity, sector: str, status: int, code: str | None) -> None:
    answer = await identity.admin.post("/identity/sector-keys/rotations", json={"sector": sector})
    assert answer.status_code == status
    assert code is None or answer.json()["code"] == code


async def test_only_the_sectors_own_service_adopts_and_renews(identity: Identity) -> None:
    health, education = await identity.as_service("health"), await identity.as_service("education")
    old = await ids(health, PEOPLE[:1])
    version = await prepared(identity)
    refused = await education.post("/identity/sector-ids/adoption", json={"version": version})
    assert refused.json()["code"] == "version_not_offered", "education's own sector has no such version"
    refused = await education.get("/identity/sector-ids/renewals")
    assert refused.json()["code"] == "version_not_offered"
    assert (await identity.http.get("/identity/sector-ids/renewals")).status_code == 401
    assert old[0] in (await renewed(health))[1]
    assert (
        await health.post("/identity/sector-keys/rotations", json={"sector": "health"})
    ).status_code == 403


# --- an id of another sector -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "path", "body"),
    [
        ("exchange", "/identity/translate", {"from": "education", "to": "transport"}),
        ("exchange", "/identity/sector-ids", {"from": "exchange", "to": ["health"]}),
    ],
)
async def test_an_id_of_another_sector_is_refused_and_logged(
    identity: Identity, caller: str, path: str, body: dict[str, Any]
) -> None:
    health = await identity.as_service("health")
    [id] = await ids(health, PEOPLE[:1])
    http = await identity.as_service(caller)
    answer = await http.post(path, json={**body, "ids": ["h1_" + "C" * 26, id]})
    assert (answer.status_code, answer.json()["code"]) == (422, "foreign_sector_id")
    [fault] = answer.json()["errors"]
    assert fault["path"] == "ids.1"
    assert id not in answer.text
    [leaf] = await identity.leaves("sector_ids.presented")
    assert (leaf["outcome"], leaf["reason"], leaf["client"]) == (
        "refused", "foreign_sector_id", f"service:{caller}",
    )  # fmt: skip
    assert leaf["subjects_count"] == 1


async def test_sector_ids_are_for_the_exchange_alone(identity: Identity) -> None:
    body = {"from": "exchange", "to": ["health"], "ids": []}
    health = await identity.as_service("health")
    assert (await health.post("/identity/sector-ids", json=body)).status_code == 403
    exchange = await identity.as_service("exchange")
    assert (await exchange.post("/identity/sector-ids", json=body)).json() == {"ids": []}
    unknown = await exchange.post("/identity/sector-ids", json={**body, "to": ["nowhere"]})
    assert unknown.json()["code"] == "unknown_sector"
