"""What holds of every push: A then B is B; a delta is the difference; every row is accounted for."""

import itertools
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.education.conftest import House, Sender
from tests.education.rosters import Roster, Row, pupil, school_roster

_SENDERS = itertools.count(1)
SCHOOLS = ("s-1", "s-2")
PUPILS = 6
STAMP = "2026-11-0{}T00:00:00Z"


@dataclass(frozen=True)
class Pupil:
    school: str
    grade: str
    name: str
    classes: int


pupils = st.builds(
    Pupil,
    school=st.sampled_from(SCHOOLS),
    grade=st.sampled_from(["01", "06", "07"]),
    name=st.sampled_from(["小明", 'a"b', "多,名", "换\n行", "\\N", "\\."]),
    classes=st.integers(0, 2),
)
worlds = st.dictionaries(st.integers(0, PUPILS - 1), pupils, max_size=PUPILS)
World = dict[int, Pupil]
through_doors = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def roster_of(world: World, first: int) -> Roster:
    """The world as a sender writes it whose pupils are numbered from `first`."""
    roster = school_roster(schools=SCHOOLS, pupils=0, classes=2)
    for number, one in sorted(world.items()):
        user = pupil(roster, first + number, one.school, grade=one.grade, givenName=one.name)
        for index in range(one.classes):
            roster.add(
                "enrollments",
                sourcedId=f"e-{first + number}-{index}",
                classSourcedId=f"{one.school}-k-{index}",
                schoolSourcedId=one.school,
                userSourcedId=user,
                role="student",
            )
    return roster


def delta_of(before: Roster, after: Roster) -> Roster:
    """What has to be told of to come from the one to the other."""
    delta = Roster(modes=dict.fromkeys(after.rows, "delta"))
    for file in after.rows:
        old = {row["sourcedId"]: row for row in before.rows[file]}
        new = {row["sourcedId"]: row for row in after.rows[file]}
        delta.rows[file] = [
            {**row, "status": "active", "dateLastModified": STAMP.format(2)}
            for key, row in new.items()
            if old.get(key) != row
        ] + [
            {**row, "status": "tobedeleted", "dateLastModified": STAMP.format(2)}
            for key, row in old.items()
            if key not in new
        ]
    return delta


async def a_sender(house: House) -> Sender:
    number = next(_SENDERS)
    name = f"property-{number}"
    http = await house.client(
        scopes="education:imports:write", organisation=name, subject=name, client_id=name
    )
    return Sender(house, name, http, first=1_000_000 + number * 1000)


async def state(sender: Sender) -> dict[str, Any]:
    """Everything active the sender keeps, and who is enrolled where, free of numbers, digests and imports."""
    ours = {"source", "digest", "import_id", "line", "id", "learner_id", "identity_digest", "modified"}
    found: dict[str, Any] = {}
    for table in ("organisation", "class", "account", "role", "class_enrolment", "demographics"):
        rows = await sender.rows(table, where="status = 'active'")
        found[table] = [
            {k: _plain(v, sender.first) for k, v in row.items() if k not in ours and k != "birth_date"}
            for row in rows
        ]
    episodes = await sender.house.db.fetch(
        """
        select a.sourced_id, o.sourced_id as school, e.stage, e.grade, e.is_primary
        from enrolment_episode e join organisation o on o.id = e.organisation_id
        join account a on a.learner_id = e.learner_id and a.source = e.source
        where e.source = $1 and e.valid_to is null order by a.sourced_id
        """,
        sender.name,
    )
    found["enrolled"] = [[_plain(value, sender.first) for value in row.values()] for row in episodes]
    return found


def _plain(value: Any, first: int) -> Any:
    """Ids and user names without the sender's own numbering."""
    if not isinstance(value, str):
        return value
    for number in range(first, first + PUPILS):
        value = value.replace(str(number), f"#{number - first}")
    return value


def accounted(receipt: dict[str, Any]) -> None:
    for file in receipt["files"]:
        parts = ("inserted", "updated", "unchanged", "ended", "quarantined")
        assert file["rows_in"] == sum(file[part] for part in parts), file


@given(before=worlds, after=worlds)
@through_doors
async def test_a_then_b_is_b(house: House, before: World, after: World) -> None:
    through, fresh = await a_sender(house), await a_sender(house)
    accounted(await through.pushed(roster_of(before, through.first)))
    receipt = await through.pushed(roster_of(after, through.first))
    accounted(receipt)
    await through.confirm(receipt)
    await fresh.pushed(roster_of(after, fresh.first))
    assert await state(through) == await state(fresh)


@given(before=worlds, after=worlds)
@through_doors
async def test_a_and_the_difference_is_b(house: House, before: World, after: World) -> None:
    through, fresh = await a_sender(house), await a_sender(house)
    first, second = roster_of(before, through.first), roster_of(after, through.first)
    await through.pushed(first)
    receipt = await through.pushed(delta_of(first, second))
    accounted(receipt)
    assert receipt["proposals"] == []
    await fresh.pushed(roster_of(after, fresh.first))
    assert await state(through) == await state(fresh)


FLAWS: list[tuple[str, str, str]] = [
    ("users", "enabledUser", "maybe"),
    ("users", "userIds", "{citizen-number:1}"),
    ("users", "sourcedId", ""),
    ("users", "agentSourcedIds", "u-404"),
    ("roles", "orgSourcedId", "s-404"),
    ("roles", "beginDate", "2026-13-01"),
    ("enrollments", "classSourcedId", "k-404"),
    ("demographics", "sex", "boy"),
    ("classes", "courseSourcedId", "c-404"),
    ("orgs", "type", "academy"),
]


@given(
    world=worlds,
    flaws=st.lists(st.tuples(st.sampled_from(FLAWS), st.integers(0, 20)), max_size=4),
    doubled=st.booleans(),
)
@through_doors
async def test_every_row_is_taken_or_set_aside_and_nothing_dangles(
    house: House, world: World, flaws: list[tuple[tuple[str, str, str], int]], doubled: bool
) -> None:
    sender = await a_sender(house)
    roster = roster_of(world, sender.first)
    for (file, column, cell), at in flaws:
        if roster.rows[file]:
            roster.rows[file][at % len(roster.rows[file])][column] = cell
    if doubled and roster.rows["users"]:
        twin: Row = {**roster.rows["users"][0], "familyName": "又"}
        roster.rows["users"].append(twin)
    receipt = await sender.pushed(roster, "accept-valid")
    accounted(receipt)
    for file, table in (
        ("users.csv", "account"),
        ("roles.csv", "role"),
        ("enrollments.csv", "class_enrolment"),
    ):
        found = next(one for one in receipt["files"] if one["file"] == file)
        lines = {f["line"] for f in receipt["faults"] if f["file"] == file and f["severity"] == "error"}
        assert (found["quarantined"], found["inserted"]) == (len(lines), await sender.count(table))
    assert await dangling(sender) == 0


async def dangling(sender: Sender) -> int:
    """References of active rows to nothing active: there is no foreign key that would refuse them."""
    references = (
        ("account", "primary_org_sourced_id", "organisation"),
        ("role", "user_sourced_id", "account"),
        ("role", "org_sourced_id", "organisation"),
        ("class", "course_sourced_id", "course"),
        ("class", "org_sourced_id", "organisation"),
        ("class_enrolment", "class_sourced_id", "class"),
        ("class_enrolment", "user_sourced_id", "account"),
        ("demographics", "sourced_id", "account"),
    )
    found = 0
    for table, column, target in references:
        missing = f"""
            status = 'active' and {column} is not null and not exists (
                select from {target} x where x.source = {table}.source and x.sourced_id = {table}.{column}
                and x.status = 'active')
        """
        found += await sender.count(table, missing)
    return found
