"""A real district comes in whole, again without change, and its pupils find their school."""

import pytest

from tests.education.conftest import Sender
from tests.education.grand_bend import FOLDER, grand_bend

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason=f"no data at ../shared/data/{FOLDER.name}")


async def test_a_real_district_comes_in_whole(sender: Sender) -> None:
    roster = grand_bend()
    receipt = await sender.pushed(roster)
    counts = {file["file"]: (file["rows_in"], file["inserted"]) for file in receipt["files"]}
    assert counts == {
        "orgs.csv": (4, 4),
        "academicSessions.csv": (7, 7),
        "courses.csv": (84, 84),
        "classes.csv": (532, 532),
        "users.csv": (2901, 2901),
        "roles.csv": (1016, 1016),
        "enrollments.csv": (528, 528),
        "demographics.csv": (960, 960),
    }
    assert receipt["people"] == {"matched": 0, "created": 960}
    assert receipt["episodes"] == {"opened": 227, "closed": 0, "provisional": 0}
    assert receipt["faults"] == []

    # Names never identify: children who share name and birthday stay people of their own.
    learners = await sender.rows("account", "learner_id", "learner_id is not null")
    assert len({row["learner_id"] for row in learners}) == 960
    record = await sender.record("p-604822")
    assert [(e["school"]["name"], e["since"], e["primary"]) for e in record["episodes"]] == [
        ("Grand Bend High School", "2021-08-23", True)
    ]
    agents = (await sender.rows("account", "agent_sourced_ids", "sourced_id = 'p-604822'"))[0]
    assert len(agents["agent_sourced_ids"]) == 2

    roster.rows["users"][0]["middleName"] = "changed"
    again = await sender.pushed(roster)
    assert [(f["inserted"], f["updated"]) for f in again["files"]] == [
        *4 * [(0, 0)], (0, 1), *3 * [(0, 0)]
    ]  # fmt: skip
    assert again["people"] == {"matched": 0, "created": 0}
