"""A real district's records (Ed-Fi sample, Grand Bend ISD), written as a OneRoster 1.2 push.

The sample has no enrolment file: which school a pupil attends is known of those with attendance events; the
others are enrolled with the district alone.
"""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

from tests.education.rosters import Roster

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "edfi_grand_bend"
DISTRICT = "255901"
YEAR = "y-2022"


def grand_bend() -> Roster:
    roster = Roster()
    _organisations(roster)
    _sessions(roster)
    _courses_and_classes(roster)
    _staff(roster)
    _pupils(roster)
    return roster


def _organisations(roster: Roster) -> None:
    for area in _read("EducationOrganization", "LocalEducationAgency"):
        name = _text(area, "NameOfInstitution")
        roster.add("orgs", sourcedId=DISTRICT, name=name, type="district", identifier=DISTRICT)
    for school in _read("EducationOrganization", "School"):
        code = _text(school, "EducationOrganizationIdentificationCode/IdentificationCode")
        name = _text(school, "NameOfInstitution")
        roster.add(
            "orgs", sourcedId=code, name=name, type="school", identifier=code, parentSourcedId=DISTRICT
        )


def _sessions(roster: Roster) -> None:
    year = {"type": "schoolYear", "startDate": "2021-08-23", "endDate": "2022-05-28", "schoolYear": "2022"}
    roster.add("academicSessions", sourcedId=YEAR, title="2021-2022", **year)
    for session in _read("EducationOrgCalendar", "Session"):
        roster.add(
            "academicSessions",
            sourcedId=_session(session),
            title=_text(session, "SessionName"),
            type="semester",
            startDate=_text(session, "BeginDate"),
            endDate=_text(session, "EndDate"),
            parentSourcedId=YEAR,
            schoolYear=_text(session, "SchoolYear")[-4:],
        )


def _courses_and_classes(roster: Roster) -> None:
    for course in _read("EducationOrganization", "Course"):
        subject = _text(course, "AcademicSubject").rpartition("#")[2]
        roster.add(
            "courses",
            sourcedId=f"c-{_text(course, 'CourseCode')}",
            schoolYearSourcedId=YEAR,
            title=_text(course, "CourseTitle"),
            courseCode=_text(course, "CourseCode"),
            orgSourcedId=DISTRICT,
            subjects=f'"{subject}"' if "," in subject else subject,
        )
    for section in _read("MasterSchedule", "Section"):
        offering = section.find("CourseOfferingReference/CourseOfferingIdentity")
        assert offering is not None
        roster.add(
            "classes",
            sourcedId=_section(section),
            title=_text(section, "SectionName") or _text(offering, "LocalCourseCode"),
            courseSourcedId=f"c-{_text(offering, 'LocalCourseCode')}",
            classType="scheduled",
            location=_text(section, "LocationReference/LocationIdentity/ClassroomIdentificationCode"),
            schoolSourcedId=_text(offering, "SchoolReference/SchoolIdentity/SchoolId"),
            termSourcedIds=_session(offering),
            periods=_text(section, "ClassPeriodReference/ClassPeriodIdentity/ClassPeriodName"),
        )


def _staff(roster: Roster) -> None:
    for staff in _read("StaffAssociation", "Staff"):
        _user(roster, f"t-{_text(staff, 'StaffUniqueId')}", staff, DISTRICT)
    for number, place in enumerate(_read("StaffAssociation", "StaffSchoolAssociation")):
        school = _text(place, "SchoolReference/SchoolIdentity/SchoolId")
        _role(roster, f"rt-{number}", f"t-{_staff_of(place)}", "teacher", school)
    for number, teaching in enumerate(_read("StaffAssociation", "StaffSectionAssociation")):
        section = teaching.find("SectionReference/SectionIdentity")
        assert section is not None
        roster.add(
            "enrollments",
            sourcedId=f"e-{number}",
            classSourcedId=_section(section),
            schoolSourcedId=_text(
                section,
                "CourseOfferingReference/CourseOfferingIdentity/SchoolReference/SchoolIdentity/SchoolId",
            ),
            userSourcedId=f"t-{_staff_of(teaching)}",
            role="teacher",
            primary="true",
            beginDate=_text(teaching, "BeginDate"),
            endDate=_text(teaching, "EndDate"),
        )


def _pupils(roster: Roster) -> None:
    attended = {
        _text(event, ".//StudentUniqueId"): _text(event, "SchoolReference/SchoolIdentity/SchoolId")
        for event in _read("StudentSchoolAttendance", "StudentSchoolAttendanceEvent")
    }
    contacts = {one.get("id", ""): one for one in _read("Contact", "Contact")}
    agents: dict[str, list[str]] = {}
    for bond in _read("Contact", "StudentContactAssociation"):
        reference = bond.find("ContactReference")
        contact = contacts.get(reference.get("ref", "")) if reference is not None else None
        if contact is not None:
            ward = _text(bond, "StudentReference/StudentIdentity/StudentUniqueId")
            agents.setdefault(ward, []).append(f"g-{_text(contact, 'ContactUniqueId')}")
    for contact in contacts.values():
        _user(roster, f"g-{_text(contact, 'ContactUniqueId')}", contact, DISTRICT)
    for pupil in _read("Student", "Student"):
        number = _text(pupil, "StudentUniqueId")
        school = attended.get(number, DISTRICT)
        user = _user(roster, f"p-{number}", pupil, school)
        user["agentSourcedIds"] = ",".join(agents.get(number, []))
        _role(roster, f"rp-{number}", f"p-{number}", "student", school)
        roster.add("demographics", sourcedId=f"p-{number}", birthDate=_text(pupil, "BirthData/BirthDate"))


def _user(roster: Roster, sourced_id: str, person: Element, org: str) -> dict[str, str]:
    roster.add(
        "users",
        sourcedId=sourced_id,
        enabledUser="true",
        username=sourced_id,
        givenName=_text(person, "Name/FirstName"),
        middleName=_text(person, "Name/MiddleName"),
        familyName=_text(person, "Name/LastSurname"),
        primaryOrgSourcedId=org,
    )
    return roster.rows["users"][-1]


def _role(roster: Roster, sourced_id: str, user: str, role: str, org: str) -> None:
    roster.add(
        "roles", sourcedId=sourced_id, userSourcedId=user, roleType="primary", role=role, orgSourcedId=org
    )


def _session(within: Element) -> str:
    """A session's id: its name within its school."""
    found = within.find("SessionReference/SessionIdentity")
    at = within if found is None else found
    name = _text(at, "SessionName").replace(" ", "-")
    return f"{_text(at, 'SchoolReference/SchoolIdentity/SchoolId')}-{name}"


def _section(within: Element) -> str:
    """A section's id: the identifier alone stands for two courses in twelve cases of this district."""
    course = _text(within, "CourseOfferingReference/CourseOfferingIdentity/LocalCourseCode")
    return f"{_text(within, 'SectionIdentifier')}/{course}"


def _staff_of(association: Element) -> str:
    return _text(association, "StaffReference/StaffIdentity/StaffUniqueId")


def _read(file: str, tag: str) -> Iterator[Element]:
    with gzip.open(FOLDER / f"{file}.xml.gz", "rt", encoding="utf-8") as text:
        root = fromstring(re.sub(r' xmlns="[^"]+"', "", text.read(), count=1))
    return iter(root.findall(tag))


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    return (found.text or "").strip() if found is not None else ""
