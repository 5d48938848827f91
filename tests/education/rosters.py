"""Rosters to push: small ones said in a line, big ones made by number, written as OneRoster zips."""

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from education.oneroster.files import ALL_NAMES, BY_FILE, KEPT

Row = dict[str, str]


def citizen_number(area: str, born: date, order: int) -> str:
    """A valid number, worked out from GB 11643's text."""
    body = f"{area}{born:%Y%m%d}{order:03d}"
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
    return body + "10X98765432"[total % 11]


@dataclass
class Roster:
    """What one zip says: rows by file, and how the manifest announces each file."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)

    def add(self, file: str, **cells: str) -> "Roster":
        self.rows.setdefault(file, []).append(cells)
        return self

    def zip(self, **manifest: str) -> bytes:
        files = {f"{name}.csv": written(f"{name}.csv", rows) for name, rows in self.rows.items()}
        modes = {name: self.modes.get(name, "bulk") for name in self.rows} | self.modes
        return zipped({"manifest.csv": manifest_csv(modes, **manifest), **files})


def written(file: str, rows: Iterable[Mapping[str, str]]) -> str:
    """A file with the standard's header; unknown cells become columns of their own at the end."""
    rows = list(rows)
    headers = list(BY_FILE[file].headers)
    headers.remove("resourceSourcedIds") if "resourceSourcedIds" in headers else None
    headers += sorted({name for row in rows for name in row} - set(headers))
    out = io.StringIO()
    writer = csv.DictWriter(out, headers, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def manifest_csv(modes: Mapping[str, str], **properties: str) -> str:
    said = {"manifest.version": "1.0", "oneroster.version": "1.2"}
    said |= {f"file.{name}": modes.get(name, "absent") for name in ALL_NAMES}
    said |= {"source.systemName": "测试学籍系统", "source.systemCode": "test"}
    said |= {name.replace("_", "."): value for name, value in properties.items()}
    return "propertyName,value\r\n" + "".join(f"{name},{value}\r\n" for name, value in said.items())


def zipped(files: Mapping[str, str | bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            # Without the time of day: the same files are the same bytes.
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return out.getvalue()


AREA = "330102"


def pupil(
    roster: Roster, number: int, school: str, *, grade: str = "03", born: date | None = None, **user: str
) -> str:
    """A pupil at a school: user, role, demographics. Returns its sourcedId."""
    sourced_id = f"u-{number}"
    born = born or date(2014, 1, 1) + timedelta(days=number // 999)
    citizen = citizen_number(AREA, born, 1 + number % 999)
    roster.add(
        "users",
        **{
            "sourcedId": sourced_id,
            "enabledUser": "true",
            "username": f"pupil{number}",
            "userIds": f"{{citizen-number:{citizen}}}",
            "givenName": "小明",
            "familyName": "王",
            "grades": grade,
            "primaryOrgSourcedId": school,
            **user,
        },
    )
    roster.add(
        "roles",
        sourcedId=f"r-{number}",
        userSourcedId=sourced_id,
        roleType="primary",
        role="student",
        orgSourcedId=school,
        beginDate="2026-09-01",
    )
    roster.add(
        "demographics",
        sourcedId=sourced_id,
        birthDate=born.isoformat(),
        sex="male" if number % 2 else "female",
    )
    return sourced_id


def school_roster(
    *, schools: Sequence[str] = ("s-1",), pupils: int = 4, classes: int = 1, first: int = 1
) -> Roster:
    """A district with schools, a school year, a course, classes, and pupils enrolled in them."""
    roster = Roster(
        {name: [] for name in ("orgs", "academicSessions", "courses", "classes", "users", "roles")}
    )
    roster.rows |= {"enrollments": [], "demographics": []}
    roster.add("orgs", sourcedId="d-1", name="上城区教育局", type="district", identifier="330102")
    roster.add(
        "academicSessions",
        sourcedId="y-2027",
        title="2026-2027学年",
        type="schoolYear",
        startDate="2026-09-01",
        endDate="2027-07-10",
        schoolYear="2027",
    )
    roster.add("courses", sourcedId="c-math", title="数学", courseCode="M3", orgSourcedId="d-1", grades="03")
    number = first
    for school in schools:
        roster.add("orgs", sourcedId=school, name=f"实验小学 {school}", type="school", parentSourcedId="d-1")
        for index in range(classes):
            roster.add(
                "classes",
                sourcedId=f"{school}-k-{index}",
                title=f"三年级{index + 1}班 数学",
                classType="scheduled",
                courseSourcedId="c-math",
                schoolSourcedId=school,
                termSourcedIds="y-2027",
                grades="03",
            )
        for _ in range(pupils):
            user = pupil(roster, number, school)
            roster.add(
                "enrollments",
                sourcedId=f"e-{number}",
                classSourcedId=f"{school}-k-{number % classes}",
                schoolSourcedId=school,
                userSourcedId=user,
                role="student",
                primary="false",
                beginDate="2026-09-01",
            )
            number += 1
    return roster


__all__ = [
    "KEPT",
    "Roster",
    "Row",
    "citizen_number",
    "manifest_csv",
    "pupil",
    "school_roster",
    "written",
    "zipped",
]
