"""A roster that was on its way while the ids of learners were renewed."""

from typing import Any

import pytest

from education import learners
from tests.education.conftest import NewSender
from tests.support import rekeying

SECTOR = "education"


async def test_pupils_of_two_schools_stay_one_person_each(
    new_sender: NewSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second school's push has asked who its pupils are, and is written after the switch."""
    first, second = await new_sender(), await new_sender()
    house = first.house
    await rekeying.first_version(house.services, SECTOR)
    await first.pushed(first.roster(pupils=3))
    old = {row["learner_id"] for row in await first.rows("account", "learner_id") if row["learner_id"]}
    people = await house.db.fetchval("select count(*) from learner")
    found = learners.resolve

    async def resolve(*asked: Any) -> Any:
        answer = await found(*asked)
        await rekeying.switch(house.services, SECTOR, monkeypatch)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(learners, "resolve", resolve)
        await second.pushed(second.roster(first=first.first, pupils=3))
    new = {row["learner_id"] for row in await second.rows("account", "learner_id") if row["learner_id"]}
    assert new == {
        row["learner_id"] for row in await first.rows("account", "learner_id") if row["learner_id"]
    }
    assert (len(new), new & old) == (3, set())
    assert await house.db.fetchval("select count(*) from learner") == people
    rows = await house.db.fetch(
        "select learner_id, count(*) filter (where is_primary) as primaries from enrolment_episode "
        "where learner_id = any($1) group by 1",
        list(new),
    )
    assert {row["primaries"] for row in rows} == {1}
    assert len(rows) == 3
    again = await second.pushed(second.roster(first=first.first, pupils=3))
    assert again["sent_before"] is True
