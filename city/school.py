"""A school group: writes its roster as a OneRoster 1.2 CSV zip (bulk), in the binding's files and columns."""

import csv
import io
import zipfile
from collections.abc import Iterable
from datetime import date

from city.careers import grade_of, school_year
from city.dice import opaque
from city.institutions import Organisation, SchoolGroup
from city.people import Person, Seat, Stage
from city.population import Population

# CSV Binding 1.2.1, section 4: every column, in the standard's order.
HEADERS: dict[str, str] = {
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
    "academicSessions": "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,"
    "schoolYear",
    "courses": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,"
    "subjects,subjectCodes",
    "classes": "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
    "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods",
    "users": "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,"
    "preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns",
    "roles": "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,"
    "userProfileSourcedId",
    "enrollments": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
    "primary,beginDate,endDate",
    "demographics": "sourcedId,status,dateLastModified,birthDate,sex,americanIndianOrAlaskaNative,asian,"
    "blackOrAfricanAmerican,nativeHawaiianOrOtherPacificIslander,white,demographicRaceTwoOrMoreRaces,"
    "hispanicOrLatinoEthnicity,countryOfBirthCode,stateOfBirthAbbreviation,cityOfBirth,publicSchoolResidenceStatus",
}
ABSENT = [
    "categories",
    "classResources",
    "courseResources",
    "lineItemLearningObjectiveIds",
    "lineItems",
    "lineItemScoreScales",
    "resources",
    "resultLearningObjectiveIds",
    "results",
    "resultScoreScales",
    "scoreScales",
    "userProfiles",
    "userResources",
]
_SUBJECTS: dict[Stage, tuple[tuple[str, str], ...]] = {
    "kindergarten": (),
    "primary": (("CHI", "语文"), ("MAT", "数学"), ("ENG", "英语")),
    "junior": (("CHI", "语文"), ("MAT", "数学"), ("ENG", "英语"), ("SCI", "科学")),
    "senior": (("CHI", "语文"), ("MAT", "数学"), ("ENG", "英语"), ("PHY", "物理"), ("HIS", "历史")),
}
_FIRST_GRADE: dict[Stage, int] = {"kindergarten": -2, "primary": 1, "junior": 7, "senior": 10}
_KINDERGARTEN_CLASSES = {-2: ("PR", "小班"), -1: ("PK", "中班"), 0: ("KG", "大班")}
_NUMERALS = "一二三四五六七八九十"

Row = dict[str, str]


def grade_code(grade: int) -> str:
    """CEDS entry grade level, which OneRoster recommends."""
    return _KINDERGARTEN_CLASSES[grade][0] if grade <= 0 else f"{grade:02d}"


def grade_name(grade: int) -> str:
    if grade <= 0:
        return _KINDERGARTEN_CLASSES[grade][1]
    if grade <= 6:
        return f"{_NUMERALS[grade - 1]}年级"
    return f"初{_NUMERALS[grade - 7]}" if grade <= 9 else f"高{_NUMERALS[grade - 10]}"


class Roster:
    """One group's rows, file by file. No citizen number stands anywhere but in `userIds`."""

    def __init__(
        self, population: Population, group_at: int, group: SchoolGroup, employers: list[Organisation]
    ):
        self.population, self.group_at, self.group = population, group_at, group
        self.year = school_year(population.today)
        self.rows: dict[str, list[Row]] = {name: [] for name in HEADERS}
        self._users: dict[int, Row] = {}
        self._roles: dict[int, int] = {}
        self.pupils = [p for p in population.people if p.seat is not None and p.seat.group == group_at]
        self._schools = {school.organisation.code: school.organisation for school in group.schools}
        self._staff = self._teachers(employers)
        self._write()

    def _teachers(self, employers: list[Organisation]) -> dict[str, list[Person]]:
        staff: dict[str, list[Person]] = {code: [] for code in self._schools}
        for person in self.population.people:
            if person.job is not None and person.job.title == "teacher" and person.death is None:
                code = employers[person.job.employer].code
                if code in staff:
                    staff[code].append(person)
        return staff

    def _id(self, *labels: object) -> str:
        return opaque(self.population.seed, self.group.client, *labels, length=12)

    def _add(self, file: str, /, **values: str) -> Row:
        self.rows[file].append(values)
        return values

    def _write(self) -> None:
        self._write_orgs()
        self._write_sessions()
        for pupil in self.pupils:
            self._write_pupil(pupil)
        for code, teachers in self._staff.items():
            for teacher in teachers:
                self._user(teacher, self._id(code), role="teacher", since=self._year_start())
        self._write_classes()

    def _write_orgs(self) -> None:
        group = self.group.organisation
        top = self._id(group.code)
        self._add("orgs", sourcedId=top, name=group.name, type="district", identifier=group.code)
        for school in self.group.schools:
            organisation = school.organisation
            self._add(
                "orgs",
                sourcedId=self._id(organisation.code),
                name=organisation.name,
                type="school",
                identifier=organisation.code,
                parentSourcedId=top,
            )

    def _year_start(self) -> date:
        return date(self.year, 9, 1)

    def _session(self, kind: str) -> str:
        return self._id("session", self.year, kind)

    def _write_sessions(self) -> None:
        """The school year and its two terms; a year is named by the one it ends in."""
        after, year = self.year + 1, self._session("year")
        spans = (
            (year, f"{self.year}-{after}学年", "schoolYear", self._year_start(), date(after, 8, 31), ""),
            (self._session("first"), "第一学期", "term", self._year_start(), date(after, 1, 29), year),
            (self._session("second"), "第二学期", "term", date(after, 2, 22), date(after, 7, 2), year),
        )
        for source, title, kind, first, last, parent in spans:
            self._add(
                "academicSessions",
                sourcedId=source,
                title=title,
                type=kind,
                startDate=first.isoformat(),
                endDate=last.isoformat(),
                parentSourcedId=parent,
                schoolYear=str(after),
            )

    def _user(self, person: Person, org: str, *, role: str, since: date | None) -> Row:
        """The user, made on first meeting; each further role is a secondary one."""
        user = self._users.get(person.index)
        if user is None:
            source = self._id("user", person.index)
            user = self._add(
                "users",
                sourcedId=source,
                enabledUser="true",
                username=f"u{source.lower()}",
                userIds=f"{{citizen-number:{person.number}}}",
                givenName=person.name.given,
                familyName=person.name.family,
                primaryOrgSourcedId=org,
            )
            self._users[person.index] = user
            self._add(
                "demographics",
                sourcedId=source,
                birthDate=person.birth.isoformat(),
                sex=person.sex,
                countryOfBirthCode="CN",
            )
        count = self._roles[person.index] = self._roles.get(person.index, 0) + 1
        self._add(
            "roles",
            sourcedId=self._id("role", person.index, count),
            userSourcedId=user["sourcedId"],
            roleType="primary" if count == 1 else "secondary",
            role=role,
            beginDate=since.isoformat() if since is not None else "",
            orgSourcedId=org,
        )
        return user

    def _write_pupil(self, pupil: Person) -> None:
        seat = self._seat(pupil)
        org = self._id(self.group.schools[seat.school].organisation.code)
        entered = date(self.year - (seat.grade - _FIRST_GRADE[seat.stage]), 9, 1)
        user = self._user(pupil, org, role="student", since=entered)
        user["userIds"] += f",{{student-number:{seat.student_number}}}"
        user["grades"] = grade_code(seat.grade)
        agents = []
        for at in pupil.guardians:
            guardian = self.population.people[at]
            known = self._users.get(at)
            parent = at in (pupil.father, pupil.mother)
            if known is None:
                known = self._user(guardian, org, role="parent" if parent else "guardian", since=None)
            agents.append(known["sourcedId"])
        user["agentSourcedIds"] = ",".join(agents)

    def _seat(self, pupil: Person) -> Seat:
        assert pupil.seat is not None
        return pupil.seat

    def _write_classes(self) -> None:
        rooms: dict[tuple[int, int, int], list[Person]] = {}
        for pupil in self.pupils:
            seat = self._seat(pupil)
            rooms.setdefault((seat.school, seat.grade, seat.division), []).append(pupil)
        courses: set[str] = set()
        turn: dict[str, int] = {}
        for (school_at, grade, division), pupils in sorted(rooms.items()):
            school = self.group.schools[school_at]
            for code, subject in (("HR", "班级"), *_SUBJECTS[school.stage]):
                course = self._course(school_at, grade, code, subject, courses)
                room = self._class(school_at, grade, division, code, subject, course)
                staff = self._staff[school.organisation.code]
                if staff:
                    at = turn[school.organisation.code] = turn.get(school.organisation.code, -1) + 1
                    self._enrol(room, school_at, staff[at % len(staff)], "teacher")
                for pupil in pupils:
                    self._enrol(room, school_at, pupil, "student")

    def _course(self, school_at: int, grade: int, code: str, subject: str, known: set[str]) -> str:
        course = self._id("course", school_at, grade, code)
        if course not in known:
            known.add(course)
            self._add(
                "courses",
                sourcedId=course,
                schoolYearSourcedId=self._session("year"),
                title=f"{grade_name(grade)}{subject}",
                courseCode=f"{code}{grade_code(grade)}",
                grades=grade_code(grade),
                orgSourcedId=self._id(self.group.schools[school_at].organisation.code),
                subjects="" if code == "HR" else subject,
                subjectCodes="" if code == "HR" else code,
            )
        return course

    def _class(self, school_at: int, grade: int, division: int, code: str, subject: str, course: str) -> str:
        room = self._id("class", school_at, grade, division, code)
        homeroom = code == "HR"
        name = f"{grade_name(grade)}（{division}）班"
        self._add(
            "classes",
            sourcedId=room,
            title=name if homeroom else name + subject,
            grades=grade_code(grade),
            courseSourcedId=course,
            classCode=f"{code}{grade_code(grade)}-{division}",
            classType="homeroom" if homeroom else "scheduled",
            schoolSourcedId=self._id(self.group.schools[school_at].organisation.code),
            termSourcedIds=f"{self._session('first')},{self._session('second')}",
            subjects="" if homeroom else subject,
            subjectCodes="" if homeroom else code,
        )
        return room

    def _enrol(self, room: str, school_at: int, person: Person, role: str) -> None:
        self._add(
            "enrollments",
            sourcedId=self._id("enrollment", room, person.index),
            classSourcedId=room,
            schoolSourcedId=self._id(self.group.schools[school_at].organisation.code),
            userSourcedId=self._users[person.index]["sourcedId"],
            role=role,
            primary="true" if role == "teacher" else "",
            beginDate=self._year_start().isoformat(),
        )

    def counts(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.rows.items()}

    def zip(self) -> bytes:
        """The archive, stored and not deflated: zlib's output differs between its versions."""
        files = {"manifest": _csv("propertyName,value", self._manifest())}
        files |= {name: _csv(HEADERS[name], rows) for name, rows in self.rows.items()}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for name, text in files.items():
                entry = zipfile.ZipInfo(f"{name}.csv", (1980, 1, 1, 0, 0, 0))
                entry.create_system = 3
                archive.writestr(entry, text.encode())
        return out.getvalue()

    def _manifest(self) -> list[Row]:
        values = {"manifest.version": "1.0", "oneroster.version": "1.2"}
        values |= {f"file.{name}": "bulk" for name in HEADERS}
        values |= {f"file.{name}": "absent" for name in ABSENT}
        values |= {
            "source.systemName": self.group.organisation.name_en,
            "source.systemCode": self.group.client,
        }
        return [{"propertyName": name, "value": value} for name, value in values.items()]


def _csv(header: str, rows: Iterable[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, header.split(","), restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def compulsory_age(person: Person, today: date) -> bool:
    """Of an age for the nine years of compulsory school in the running school year."""
    return 1 <= grade_of(person, today) <= 9
