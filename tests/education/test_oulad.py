"""A university's four terms in one push: 118,984 rows, students who repeat, nobody counted twice."""

import pytest

from tests.education.conftest import Sender
from tests.education.oulad import FOLDER, oulad

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not FOLDER.exists(), reason=f"no data at ../shared/data/{FOLDER.name}"),
]


async def test_students_repeat_and_are_one_learner_each(sender: Sender) -> None:
    receipt = await sender.pushed(oulad())
    counts = {file["file"]: file["inserted"] for file in receipt["files"]}
    assert counts == {
        "orgs.csv": 1,
        "academicSessions.csv": 4,
        "courses.csv": 7,
        "classes.csv": 22,
        "users.csv": 28785,
        "roles.csv": 28785,
        "enrollments.csv": 32593,
        "demographics.csv": 28785,
    }
    assert receipt["people"] == {"matched": 0, "created": 28785}
    assert receipt["episodes"]["opened"] == 28785
    assert await sender.count("class_enrolment", "end_date is not null") == 10072
    most = await sender.house.db.fetchrow(
        """
        select user_sourced_id as student, count(*) as places from class_enrolment where source = $1
        group by 1 order by 2 desc, 1 limit 1
        """,
        sender.name,
    )
    record = await sender.record(most["student"])
    assert len(record["classes"]["items"]) == most["places"] == 5
    assert [(e["stage"], e["grade"], e["primary"]) for e in record["episodes"]] == [("6", "UG", True)]
