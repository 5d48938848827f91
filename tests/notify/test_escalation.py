"""A warning that nobody acknowledges climbs at its times, by a clock that stands where the test puts it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from services.notify.deliveries import Telling
from tests.notify.watch import MINUTE, Watch

Db = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def watch(db: Db) -> Watch:
    return Watch(await db("notify"))


async def test_it_climbs_at_two_five_and_ten_minutes(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2, carl=3)
    roster = await watch.roster()
    await watch.member(roster, "off-duty")
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == {"anna"}
    assert await watch.after(1.99) == set()
    assert await watch.after(0.01) == {"ben"}
    assert await watch.after(2.99) == set()
    assert await watch.after(0.01) == {"carl"}
    assert await watch.after(4.99) == set()
    assert await watch.after(0.01) == {"off-duty"}
    assert await watch.after(60) == set()
    fact = (await watch.facts())["w1"]
    assert (fact["told"], fact["unattended_at"], fact["acknowledged_at"]) == (4, None, None)
    operators = await watch.connection.fetch("select data from message where topic = 'unacknowledged'")
    assert [row["data"]["warning"] for row in operators] == ["w1"]


@pytest.mark.parametrize("what", ["acknowledged", "ended"])
async def test_acknowledging_or_its_end_stops_it_everywhere(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    stopped: list[tuple[str, Any]] = []

    async def stop(_tx: Any, facts: list[str], at: Any) -> None:
        stopped.extend((fact, at) for fact in facts)

    monkeypatch.setattr("services.notify.deliveries.stop", stop)
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == {"anna"}
    watch.now += MINUTE
    await watch.take(watch.event(what, "w1"))
    assert stopped == [("transport.warning/w1", watch.now)]
    assert await watch.after(60) == set()
    assert await watch.told(what) == ["anna"]


async def test_acknowledging_another_warning_stops_nothing(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1"), watch.event("raised", "v1", zone="hill"))
    await watch.climb()
    await watch.take(watch.event("acknowledged", "v1", zone="hill"), watch.event("acknowledged", "w0"))
    assert await watch.after(2) == {"ben"}
    assert (await watch.facts())["w1"]["acknowledged_at"] is None


async def test_a_higher_level_is_told_at_once_to_all_whose_time_has_come(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2, carl=3)
    await watch.take(watch.event("raised", "w1", level="yellow"))
    await watch.after(3)
    await watch.take(watch.event("changed", "w2", level="red", previous="yellow"))
    await watch.climb()
    assert await watch.told("changed") == ["anna", "ben"]
    await watch.after(2)
    assert await watch.told("changed") == ["anna", "ben", "carl"]


async def test_a_higher_level_than_the_acknowledged_one_climbs_anew(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1", level="yellow"))
    await watch.after(1)
    await watch.take(watch.event("acknowledged", "w1", level="yellow"))
    watch.now += 20 * MINUTE
    await watch.take(watch.event("changed", "w2", level="red", previous="yellow"))
    await watch.climb()
    assert await watch.told("changed") == ["anna"]
    await watch.after(2)
    assert await watch.told("changed") == ["anna", "ben"]


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_lower_level_is_news_and_starts_nothing_anew(watch: Watch, acknowledged: bool) -> None:
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1", level="red"))
    await watch.after(0)
    if acknowledged:
        await watch.take(watch.event("acknowledged", "w1", level="red"))
    watch.now += MINUTE
    await watch.take(watch.event("changed", "w2", level="yellow", previous="red"))
    assert await watch.told("changed") == ["anna"]
    await watch.after(1)
    assert await watch.told("changed") == (["anna"] if acknowledged else ["anna", "ben"])


async def test_nobody_in_a_tier_is_no_reason_to_wait(watch: Watch) -> None:
    await watch.staffed(carl=3)
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == {"carl"}


async def test_nobody_on_duty_at_all_goes_to_everybody_of_the_roster(watch: Watch) -> None:
    roster = await watch.roster()
    await watch.member(roster, "off-duty")
    await watch.member(roster, "pending", confirmed=False)
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == {"off-duty"}


async def test_nobody_there_is_counted_shown_and_made_good_when_somebody_comes(watch: Watch) -> None:
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == set()
    assert (await watch.facts())["w1"]["unattended_at"] == watch.now
    assert await watch.connection.fetchval("select count(*) from message where topic = 'unacknowledged'") == 1
    await watch.staffed(anna=1)
    assert await watch.after(10) == {"anna"}


async def test_what_came_and_went_before_anybody_looked_is_told_once_and_does_not_ring(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[Telling] = []

    async def plan(_tx: Any, tellings: list[Telling]) -> None:
        planned.extend(tellings)

    monkeypatch.setattr("services.notify.deliveries.plan", plan)
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1", level="red"), watch.event("ended", "w1", level="red"))
    assert await watch.after(0) == {"anna"}
    assert [one.urgent for one in planned] == [False]
    assert await watch.after(60) == set()


async def test_a_process_that_was_away_catches_up_at_once(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2, carl=3)
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(7) == {"anna", "ben", "carl"}


async def test_a_clock_that_is_turned_back_delays_a_step_by_no_more_than_its_wait(watch: Watch) -> None:
    await watch.staffed(anna=1, ben=2, carl=3)
    await watch.take(watch.event("raised", "w1"))
    assert await watch.after(0) == {"anna"}
    watch.now += MINUTE
    watch.now -= timedelta(hours=3)
    assert await watch.after(0) == set()
    assert await watch.after(2) == {"ben"}
    assert await watch.after(3) == {"carl"}


async def test_a_step_that_is_undone_is_taken_by_whoever_looks_next(watch: Watch) -> None:
    """What a process does that is killed before its commit."""
    await watch.staffed(anna=1, ben=2)
    await watch.take(watch.event("raised", "w1"))
    transaction = watch.connection.transaction()
    await transaction.start()
    await watch.climb()
    assert await watch.told() == ["anna"]
    await transaction.rollback()
    assert await watch.told() == []
    assert await watch.after(0) == {"anna"}
    assert await watch.after(0) == set()


async def test_two_who_look_at_the_same_time_take_different_facts(watch: Watch, db: Db) -> None:
    await watch.staffed(anna=1)
    await watch.take(watch.event("raised", "w1"))
    other = Watch(await watch.another(), watch.now)
    async with watch.connection.transaction():
        await watch.climb()
        await other.climb()
        assert await other.told() == []
    assert await watch.told() == ["anna"]
    await other.connection.close()


async def test_who_is_told_depends_on_area_site_and_level(watch: Watch) -> None:
    city, park = await watch.roster("330100", from_level=3), await watch.roster("330106", sites=["park"])
    elsewhere = await watch.roster("320000")
    for roster, name in ((city, "city"), (park, "park"), (elsewhere, "elsewhere")):
        await watch.member(roster, name)
        await watch.duties(roster, (name, 1))

    async def told(warning: str, **about: Any) -> set[str]:
        await watch.take(watch.event("raised", warning, zone=warning, **about))
        return await watch.after(0)

    assert await told("a", level="orange", site="park") == {"park"}
    assert await told("b", level="red", site="park") == {"park", "city"}
    assert await told("c", level="red", site="zoo") == {"city"}
    assert await told("d", level="red", area="330206") == set()
