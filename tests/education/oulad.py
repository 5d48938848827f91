"""A real university's registrations (OULAD), written as a OneRoster 1.2 push.

A student number repeats for every module somebody took: 28,785 students, 32,593 enrolments.
"""

import csv
import gzip
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from tests.education.rosters import Roster, Row

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "oulad"
UNIVERSITY = "ou"
_STARTS = {"B": (2, 1), "J": (10, 1)}


def oulad() -> Roster:
    roster = Roster()
    roster.add("orgs", sourcedId=UNIVERSITY, name="Open University", type="ext:university")
    starts = _sessions_and_classes(roster)
    registered = {_key(row): row for row in _read("student_registration")}
    seen: set[str] = set()
    for row in _read("student"):
        student = row["id_student"]
        if student not in seen:
            seen.add(student)
            _student(roster, row)
        _enrolment(roster, row, registered[_key(row)], starts[row["code_presentation"]])
    return roster


def _sessions_and_classes(roster: Roster) -> dict[str, date]:
    rows = list(_read("course"))
    starts: dict[str, date] = {}
    for presentation in sorted({row["code_presentation"] for row in rows}):
        start = date(int(presentation[:4]), *_STARTS[presentation[4]])
        days = max(
            int(r["module_presentation_length"]) for r in rows if r["code_presentation"] == presentation
        )
        starts[presentation] = start
        roster.add(
            "academicSessions",
            sourcedId=presentation,
            title=presentation,
            type="semester",
            startDate=start.isoformat(),
            endDate=(start + timedelta(days=days)).isoformat(),
            schoolYear=str(start.year + 1),
        )
    for module in sorted({row["code_module"] for row in rows}):
        roster.add("courses", sourcedId=module, title=f"Module {module}", orgSourcedId=UNIVERSITY)
    for row in rows:
        roster.add(
            "classes",
            sourcedId=f"{row['code_module']}-{row['code_presentation']}",
            title=f"{row['code_module']} {row['code_presentation']}",
            courseSourcedId=row["code_module"],
            classType="scheduled",
            schoolSourcedId=UNIVERSITY,
            termSourcedIds=row["code_presentation"],
        )
    return starts


def _student(roster: Roster, row: Row) -> None:
    student = row["id_student"]
    roster.add(
        "users",
        sourcedId=student,
        enabledUser="true",
        username=student,
        givenName="Student",
        familyName=student,
        grades="UG",
        primaryOrgSourcedId=UNIVERSITY,
        identifier=student,
    )
    roster.add(
        "roles",
        sourcedId=f"r-{student}",
        userSourcedId=student,
        roleType="primary",
        role="student",
        orgSourcedId=UNIVERSITY,
    )
    sex = {"M": "male", "F": "female"}[row["gender"]]
    roster.add("demographics", sourcedId=student, sex=sex)


def _enrolment(roster: Roster, row: Row, registration: Row, start: date) -> None:
    roster.add(
        "enrollments",
        sourcedId=f"{row['code_module']}-{row['code_presentation']}-{row['id_student']}",
        classSourcedId=f"{row['code_module']}-{row['code_presentation']}",
        schoolSourcedId=UNIVERSITY,
        userSourcedId=row["id_student"],
        role="student",
        beginDate=_day(start, registration["date_registration"]),
        endDate=_day(start, registration["date_unregistration"]),
    )


def _key(row: Row) -> tuple[str, str, str]:
    return row["code_module"], row["code_presentation"], row["id_student"]


def _day(start: date, offset: str) -> str:
    return (start + timedelta(days=int(float(offset)))).isoformat() if offset else ""


def _read(name: str) -> Iterator[Row]:
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as text:
        yield from csv.DictReader(text)
