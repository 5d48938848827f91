"""The roster holds together file by file, as the CSV binding asks."""

import csv
import io
import re
import zipfile

import pytest

from city.numbers import is_citizen_number
from city.school import ABSENT, HEADERS, Roster, grade_code, grade_name
from city.truth import rosters
from tests.city.conftest import Told

Files = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def groups(told: Told) -> list[tuple[Roster, Files]]:
    found = []
    for roster in rosters(told.city):
        with zipfile.ZipFile(io.BytesIO(roster.zip())) as archive:
            assert archive.testzip() is None
            texts = {name: archive.read(name).decode() for name in archive.namelist()}
        found.append(
            (roster, {name[:-4]: list(csv.DictReader(io.StringIO(text))) for name, text in texts.items()})
        )
    return found


def test_the_archive_holds_what_its_manifest_says(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        manifest = {row["propertyName"]: row["value"] for row in files["manifest"]}
        assert manifest["manifest.version"] == "1.0"
        assert manifest["oneroster.version"] == "1.2"
        bulk = {name[5:] for name, value in manifest.items() if name.startswith("file.") and value == "bulk"}
        assert bulk == set(files) - {"manifest"} == set(HEADERS)
        assert sum(value == "absent" for value in manifest.values()) == len(ABSENT)
        # 22 files with the manifest: bulk and absent ones are all the others.
        assert len(HEADERS) + len(ABSENT) == 21


def test_every_column_of_the_binding_is_there(groups: list[tuple[Roster, Files]]) -> None:
    for roster, _ in groups:
        with zipfile.ZipFile(io.BytesIO(roster.zip())) as archive:
            for name, header in HEADERS.items():
                assert archive.read(f"{name}.csv").decode().split("\r\n")[0] == header


def test_references_lead_somewhere(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        ids = {name: {row["sourcedId"] for row in rows} for name, rows in files.items() if name != "manifest"}
        for name, column, target in (
            ("orgs", "parentSourcedId", "orgs"),
            ("academicSessions", "parentSourcedId", "academicSessions"),
            ("courses", "orgSourcedId", "orgs"),
            ("courses", "schoolYearSourcedId", "academicSessions"),
            ("classes", "courseSourcedId", "courses"),
            ("classes", "schoolSourcedId", "orgs"),
            ("classes", "termSourcedIds", "academicSessions"),
            ("users", "agentSourcedIds", "users"),
            ("users", "primaryOrgSourcedId", "orgs"),
            ("roles", "userSourcedId", "users"),
            ("roles", "orgSourcedId", "orgs"),
            ("enrollments", "classSourcedId", "classes"),
            ("enrollments", "schoolSourcedId", "orgs"),
            ("enrollments", "userSourcedId", "users"),
            ("demographics", "sourcedId", "users"),
        ):
            named = {one for row in files[name] for one in row[column].split(",") if one}
            assert named <= ids[target], (name, column)


def test_ids_are_given_once_over_all_groups(groups: list[tuple[Roster, Files]]) -> None:
    for name in HEADERS:
        every = [row["sourcedId"] for _, files in groups for row in files[name]]
        assert len(set(every)) == len(every), name


def test_citizen_numbers_travel_in_user_ids_alone(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        for name, rows in files.items():
            for row in rows:
                for column, value in row.items():
                    digits = re.findall(r"[0-9]{17}[0-9X]", value)
                    if column == "userIds":
                        assert is_citizen_number(digits[0])
                    elif column == "identifier" and name == "orgs":
                        continue
                    else:
                        assert not digits, (name, column)


def test_each_pupil_is_a_student_of_their_class_with_their_guardians(
    told: Told, groups: list[tuple[Roster, Files]]
) -> None:
    for roster, files in groups:
        users = {row["userIds"].split("}")[0].removeprefix("{citizen-number:"): row for row in files["users"]}
        students = {row["userSourcedId"] for row in files["roles"] if row["role"] == "student"}
        assert len(students) == len(roster.pupils)
        for pupil in roster.pupils:
            assert pupil.seat is not None
            user = users[pupil.number]
            assert user["sourcedId"] in students
            assert f"{{student-number:{pupil.seat.student_number}}}" in user["userIds"]
            guardians = {users[told.city.people[at].number]["sourcedId"] for at in pupil.guardians}
            assert set(user["agentSourcedIds"].split(",")) - {""} == guardians
            homerooms = [
                row
                for row in files["enrollments"]
                if row["userSourcedId"] == user["sourcedId"] and row["role"] == "student"
            ]
            assert (
                len(homerooms)
                == {"kindergarten": 1, "primary": 4, "junior": 5, "senior": 6}[pupil.seat.stage]
            )


def test_every_user_has_one_primary_role(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        primary = [row["userSourcedId"] for row in files["roles"] if row["roleType"] == "primary"]
        assert sorted(primary) == sorted(row["sourcedId"] for row in files["users"])


def test_every_class_has_a_teacher_and_pupils(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        for role in ("teacher", "student"):
            taught = {row["classSourcedId"] for row in files["enrollments"] if row["role"] == role}
            assert taught == {row["sourcedId"] for row in files["classes"]}


def test_the_school_year_is_named_by_the_year_it_ends_in(groups: list[tuple[Roster, Files]]) -> None:
    for _, files in groups:
        [year] = [row for row in files["academicSessions"] if row["type"] == "schoolYear"]
        assert (year["startDate"], year["endDate"], year["schoolYear"]) == (
            "2026-09-01",
            "2027-08-31",
            "2027",
        )


@pytest.mark.parametrize(
    ("grade", "code", "name"),
    [(-2, "PR", "小班"), (0, "KG", "大班"), (1, "01", "一年级"), (9, "09", "初三"), (10, "10", "高一")],
)
def test_grades(grade: int, code: str, name: str) -> None:
    assert (grade_code(grade), grade_name(grade)) == (code, name)


def test_the_truth_counts_the_rows(told: Told, groups: list[tuple[Roster, Files]]) -> None:
    for roster, files in groups:
        counted = told.truth["counts"]["oneroster"][roster.group.client]
        assert counted == {name: len(rows) for name, rows in files.items() if name != "manifest"}
    assert sum(told.truth["schooling"]["enrolled"].values()) == sum(
        len(roster.pupils) for roster, _ in groups
    )
