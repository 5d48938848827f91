"""Pushes, deaths and audits that were on their way while the ids of people were renewed."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import pytest

from services.exchange.shapes import ReadPage
from services.kit import renewal
from services.kit.ids import uuid7
from services.kit.subscriptions import Batch
from social_security import process, told
from tests.social_security.conftest import Door
from tests.social_security.pushes import contribution, payment
from tests.social_security.test_benefit_audit import Audited, Exchange, audited, clean, in_process, outcomes
from tests.support import rekeying
from tests.support.rekeying import Switch
from tests.support.running import RunningServices

__all__ = ["audited", "clean", "in_process"]
SECTOR = "social_security"
AFTER_DEATH = payment("p1", 1, period="2026-04", amount="3200.00")


@pytest.fixture
async def switch(house: RunningServices, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Renews the ids that the service stores, and stops before identity adopts them."""
    await rekeying.first_version(house, SECTOR)
    return lambda: rekeying.switch(house, SECTOR, monkeypatch)


async def renewed(door: Door, ids: Iterable[str]) -> set[str]:
    async with door.house.kit(SECTOR).db.read() as db:
        found = await renewal.renewed(db, list(ids))
    assert found.keys() == set(ids)
    return set(found.values())


async def test_a_push_that_asked_before_finds_its_rows_unchanged(door: Door, switch: Switch) -> None:
    rows = [contribution(f"k{n}", n) for n in range(1, 6)]
    assert (await door.push_rows("contributions", *rows)).status_code == 201
    before = {
        row["person"] for row in await door.rows("select person from contribution where organisation = $1")
    }
    await switch()
    more = [*rows[:4], contribution("k5", 5, amount="481.00"), contribution("k6", 6)]
    receipt = (await door.push_rows("contributions", *more)).json()
    [file] = receipt["files"]
    assert (file["inserted"], file["updated"], file["unchanged"]) == (1, 1, 4)
    after = await door.rows("select person, superseded_at from contribution where organisation = $1")
    assert before.isdisjoint(row["person"] for row in after)
    assert await renewed(door, before) < {row["person"] for row in after}


async def test_a_death_withdrawn_under_an_old_id_is_gone(
    house: RunningServices, door: Door, switch: Switch
) -> None:
    await door.push_rows("payments", AFTER_DEATH, payment("p2", 2))
    people = [
        r["person"]
        for r in await door.rows("select person from payment where organisation = $1 order by payment_id")
    ]
    deaths = [{"sector_id": person, "death_date": "2026-03-31"} for person in people]
    await tell(house, *deaths)
    await switch()
    await tell(house, {"sector_id": people[0]}, {"sector_id": people[1], "death_date": "2026-03-30"})
    rows = await door.rows(
        "select person, died_on::text as day from told_death where agreement = 'a-1' or $1 = ''"
    )
    assert [(row["person"], row["day"]) for row in rows] == [(*await renewed(door, people[1:]), "2026-03-30")]


async def tell(house: RunningServices, *rows: dict[str, Any]) -> None:
    batch = Batch(
        subscription=uuid7(),
        agreement="a-1",
        consumer=SECTOR,
        dataset="health.deaths",
        number=1,
        first=False,
        sector_id="sector_id",
        rows=list(rows),
        place="p",
    )
    async with house.kit(SECTOR).db.transaction() as tx:
        await told.take_deaths(tx, batch)


class SwitchedAfter(Exchange):
    """Gives the deaths, and then the ids are renewed."""

    def __init__(self, *deaths: tuple[str, str], switch: Switch) -> None:
        super().__init__(*deaths)
        self._switch = switch

    async def page(self, dataset: str, *, after: str | None = None, limit: int = 5000) -> ReadPage:
        found = await super().page(dataset, after=after, limit=limit)
        await self._switch()
        return found


@pytest.mark.parametrize("moment", ["after the deaths", "after the snapshot"])
async def test_an_audit_that_is_on_its_way_finds_the_same(
    audited: Audited, switch: Switch, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    await audited.push(payments=[AFTER_DEATH])
    dead = await audited.person_of("p1")
    first = await audited.run(Exchange((dead, "2026-03-31")), "payment_after_death")
    assert outcomes(first) == {"payment_after_death": ("run", 1, 0, 0, 0)}
    [before] = await audited.findings()
    exchange, done = Exchange((dead, "2026-03-31")), process.told
    if moment == "after the deaths":
        exchange = SwitchedAfter((dead, "2026-03-31"), switch=switch)

    async def switching(module: str, what: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        if what["do"] == "audit" and moment == "after the snapshot":
            await switch()
        return await done(module, what, deadline_s=deadline_s)

    monkeypatch.setattr(process, "told", switching)
    again = await audited.run(exchange, "payment_after_death")
    assert outcomes(again) == {"payment_after_death": ("run", 0, 1, 0, 0)}
    [after] = await audited.findings()
    assert {after["subject"]} == await renewed(audited.door, [before["subject"]])
    assert after["finding_key"] == before["finding_key"]


async def test_the_migration_gives_findings_the_key_that_the_rules_give(audited: Audited) -> None:
    await audited.push(
        payments=[AFTER_DEATH, payment("p2", 2), payment("p3", 2, scheme="resident_pension", amount="180.00")]
    )
    await audited.run(Exchange((await audited.person_of("p1"), "2026-03-31")))
    keys = [finding["finding_key"] for finding in await audited.findings()]
    assert len(keys) > 1
    async with audited.door.house.kit(SECTOR).db.transaction() as tx:
        await tx.execute("update finding set finding_key = 'of before ' || finding_key")
        await tx.execute(import_module("social_security.migrations.0005_renewal").SCHEMA)
    assert [finding["finding_key"] for finding in await audited.findings()] == keys
