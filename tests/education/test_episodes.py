"""What pushes over the years amount to in a pupil's record."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from education.repository import intake
from tests.education.conftest import NewSender, Sender
from tests.education.rosters import Roster


def days(record: dict[str, Any]) -> list[tuple[str, str, str | None, bool]]:
    """School, beginning, end, whether primary; newest first."""
    return [(e["school"]["name"], e["since"], e["until"], e["primary"]) for e in record["episodes"]]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`on(2027, 9, 3)`: pushes are received on that day."""
    lock = intake.lock

    def at(*day: int) -> None:
        received = datetime(*day, 4, tzinfo=UTC)  # type: ignore[misc, arg-type]

        async def locked(*args: Any) -> dict[str, Any]:
            return {**dict(await lock(*args)), "received_at": received}

        monkeypatch.setattr(intake, "lock", locked)

    return at


def one_pupil(sender: Sender, **changes: Any) -> Roster:
    roster = sender.roster(pupils=1)
    for file, cells in changes.items():
        roster.rows[file][0].update(cells)
    return roster


class TestOneSchool:
    async def test_an_episode_begins_when_the_school_says(self, sender: Sender) -> None:
        await sender.pushed(one_pupil(sender))
        record = await sender.record(f"u-{sender.first}")
        assert days(record) == [("实验小学 s-1", "2026-09-01", None, True)]
        episode = record["episodes"][0]
        assert (episode["stage"], episode["grade"], episode["since_is"]) == ("1", "03", "sent")
        assert episode["grades"] == [{"grade": "03", "since": "2026-09-01"}]
        assert (record["stage"], record["grade"], record["school"]["name"]) == ("1", "03", "实验小学 s-1")

    async def test_else_with_the_school_year(self, sender: Sender) -> None:
        await sender.pushed(one_pupil(sender, roles={"beginDate": ""}))
        episode = (await sender.record(f"u-{sender.first}"))["episodes"][0]
        assert (episode["since"], episode["since_is"]) == ("2026-09-01", "school_year")

    async def test_else_on_the_day_it_was_received(self, sender: Sender, on: Any) -> None:
        on(2026, 11, 2)
        year = {"startDate": "2027-09-01", "endDate": "2028-07-01"}
        await sender.pushed(one_pupil(sender, roles={"beginDate": ""}, academicSessions=year))
        episode = (await sender.record(f"u-{sender.first}"))["episodes"][0]
        assert (episode["since"], episode["since_is"]) == ("2026-11-02", "received")

    async def test_grades_follow_one_another_within_a_stage(self, sender: Sender, on: Any) -> None:
        on(2026, 9, 3)
        await sender.pushed(one_pupil(sender))
        on(2027, 9, 3)
        year = {"startDate": "2027-09-01", "endDate": "2028-07-01", "schoolYear": "2028"}
        await sender.pushed(one_pupil(sender, users={"grades": "04"}, academicSessions=year))
        record = await sender.record(f"u-{sender.first}")
        assert days(record) == [("实验小学 s-1", "2026-09-01", None, True)]
        assert record["episodes"][0]["grades"] == [
            {"grade": "03", "since": "2026-09-01"},
            {"grade": "04", "since": "2027-09-01"},
        ]

    async def test_a_new_stage_is_a_new_episode(self, sender: Sender, on: Any) -> None:
        on(2026, 9, 3)
        await sender.pushed(one_pupil(sender, users={"grades": "06"}))
        on(2027, 9, 3)
        year = {"startDate": "2027-09-01", "endDate": "2028-07-01", "schoolYear": "2028"}
        await sender.pushed(one_pupil(sender, users={"grades": "07"}, academicSessions=year))
        record = await sender.record(f"u-{sender.first}")
        assert [(e["stage"], e["since"], e["until"], e["exit_reason"]) for e in record["episodes"]] == [
            ("2", "2027-09-01", None, None),
            ("1", "2026-09-01", "2027-09-01", "stage_changed"),
        ]

    async def test_a_correction_on_the_same_day_leaves_no_trace(self, sender: Sender, on: Any) -> None:
        on(2026, 9, 1)
        await sender.pushed(one_pupil(sender, users={"grades": "09"}))
        await sender.pushed(one_pupil(sender, users={"grades": "03"}))
        record = await sender.record(f"u-{sender.first}")
        assert [(e["stage"], e["grades"]) for e in record["episodes"]] == [
            ("1", [{"grade": "03", "since": "2026-09-01"}])
        ]

    async def test_an_end_the_school_gives_is_kept_and_may_be_put_off(self, sender: Sender) -> None:
        await sender.pushed(one_pupil(sender, roles={"endDate": "2027-07-01"}))
        assert days(await sender.record(f"u-{sender.first}"))[0][2] == "2027-07-01"
        await sender.pushed(one_pupil(sender, roles={"endDate": "2028-07-01"}))
        assert days(await sender.record(f"u-{sender.first}")) == [
            ("实验小学 s-1", "2026-09-01", "2028-07-01", True)
        ]

    async def test_a_role_that_begins_again_later_leaves_a_gap(self, sender: Sender) -> None:
        await sender.pushed(one_pupil(sender, roles={"endDate": "2027-01-10"}))
        await sender.pushed(one_pupil(sender, roles={"beginDate": "2027-09-01"}))
        assert days(await sender.record(f"u-{sender.first}")) == [
            ("实验小学 s-1", "2027-09-01", None, True),
            ("实验小学 s-1", "2026-09-01", "2027-01-10", True),
        ]

    async def test_only_schools_enrol_and_only_pupils_are_learners(self, sender: Sender) -> None:
        roster = sender.roster(pupils=3)
        roster.rows["roles"][0]["orgSourcedId"] = "d-1"
        roster.rows["roles"][1]["role"] = "teacher"
        receipt = await sender.pushed(roster)
        assert (receipt["people"]["created"], receipt["episodes"]["opened"]) == (2, 1)
        assert await sender.count("account", "learner_id is null") == 1


class TestTwoSchools:
    async def test_a_move_within_a_sender_ends_one_and_begins_the_other(
        self, sender: Sender, on: Any
    ) -> None:
        on(2026, 9, 3)
        roster = sender.roster(schools=["s-1", "s-2"], pupils=1)
        await sender.pushed(roster)
        on(2026, 11, 20)
        roster.rows["roles"][0]["orgSourcedId"] = roster.rows["users"][0]["primaryOrgSourcedId"] = "s-2"
        await sender.pushed(roster)
        record = await sender.record(f"u-{sender.first}")
        assert days(record) == [
            ("实验小学 s-2", "2026-11-20", None, True),
            ("实验小学 s-1", "2026-09-01", "2026-11-20", True),
        ]
        assert [e["exit_reason"] for e in record["episodes"]] == [None, "moved"]

    async def test_a_second_school_is_not_primary(self, sender: Sender) -> None:
        roster = sender.roster(schools=["s-1", "s-2"], pupils=1)
        second = {**roster.rows["roles"][0], "sourcedId": "r-second", "orgSourcedId": "s-2"}
        roster.rows["roles"].append({**second, "roleType": "secondary"})
        receipt = await sender.pushed(roster)
        assert receipt["faults"] == []
        assert sorted(days(await sender.record(f"u-{sender.first}"))) == [
            ("实验小学 s-1", "2026-09-01", None, True),
            ("实验小学 s-2", "2026-09-01", None, False),
        ]

    async def test_of_two_primary_roles_the_users_own_primary_school_counts(self, sender: Sender) -> None:
        roster = sender.roster(schools=["s-1", "s-2"], pupils=1)
        first = roster.rows["roles"][0]
        roster.rows["roles"].insert(0, {**first, "sourcedId": "r-0", "orgSourcedId": "s-2"})
        await sender.pushed(roster)
        assert sorted(days(await sender.record(f"u-{sender.first}"))) == [
            ("实验小学 s-1", "2026-09-01", None, True),
            ("实验小学 s-2", "2026-09-01", None, False),
        ]


class TestTwoSenders:
    async def test_a_pupil_taken_in_elsewhere_is_provisional_until_let_go(
        self, sender: Sender, new_sender: NewSender, on: Any
    ) -> None:
        on(2026, 9, 3)
        await sender.pushed(one_pupil(sender))
        other = await new_sender()
        on(2026, 10, 8)
        arrived = one_pupil(sender, orgs={"name": "新区教育局"}, roles={"beginDate": "2026-10-08"})
        arrived.rows["orgs"][1]["name"] = "新区小学"
        receipt = await other.pushed(arrived)
        assert receipt["episodes"] == {"opened": 1, "closed": 0, "provisional": 1}
        assert [(f["code"], f["severity"], f["line"]) for f in receipt["faults"]] == [
            ("enrolled_elsewhere", "warning", 2)
        ]
        assert days(await sender.record(f"u-{sender.first}")) == [
            ("新区小学", "2026-10-08", None, False),
            ("实验小学 s-1", "2026-09-01", None, True),
        ]
        on(2026, 10, 20)
        let_go = sender.roster(pupils=1)
        let_go.rows["roles"][0]["endDate"] = "2026-10-15"
        await sender.pushed(let_go)
        record = await sender.record(f"u-{sender.first}")
        assert days(record) == [
            ("新区小学", "2026-10-15", None, True),
            ("新区小学", "2026-10-08", "2026-10-15", False),
            ("实验小学 s-1", "2026-09-01", "2026-10-15", True),
        ]
        assert record["school"]["name"] == "新区小学"

    async def test_both_see_one_learner(self, sender: Sender, new_sender: NewSender) -> None:
        other = await new_sender()
        await sender.pushed(one_pupil(sender))
        await other.pushed(one_pupil(sender))
        user = f"u-{sender.first}"
        assert await other.learner(user) == await sender.learner(user)

    async def test_two_children_of_one_name_are_two(self, sender: Sender) -> None:
        roster = sender.roster(pupils=2)
        for file in ("users", "demographics"):
            for cell in ("givenName", "familyName", "birthDate", "sex"):
                if cell in roster.rows[file][0]:
                    roster.rows[file][1][cell] = roster.rows[file][0][cell]
        for row in roster.rows["users"]:
            row["userIds"] = ""
        await sender.pushed(roster)
        assert await sender.learner(f"u-{sender.first}") != await sender.learner(f"u-{sender.first + 1}")


async def test_the_database_itself_refuses_two_primary_episodes_at_once(sender: Sender) -> None:
    await sender.pushed(one_pupil(sender))
    with pytest.raises(Exception, match="one_primary_episode"):
        await sender.house.db.execute(
            """
            insert into enrolment_episode (learner_id, organisation_id, valid_from, from_basis, entry_reason,
                is_primary, rank, source, role_sourced_id, import_id)
            select learner_id, organisation_id, $2, from_basis, entry_reason, true, 0, source, 'x', import_id
            from enrolment_episode where source = $1
            """,
            sender.name,
            date(2030, 1, 1),
        )
