"""The 22 files of the CSV binding and the columns of those this suite keeps.

`to` is the column of our own table that a column goes to; one without it is kept in the row's `extra`, so
that nothing that was sent is lost. `metadata.…` columns are the standard's way to extend any file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from education.oneroster import vocabularies as words
from education.oneroster.vocabularies import Vocabulary


class Kind(Enum):
    """What a cell holds, and so how it is checked and written."""

    ID = "id"
    REFERENCE = "reference"
    REFERENCES = "references"
    TEXT = "text"
    TEXTS = "texts"
    DATE = "date"
    BIRTH_DATE = "birth date"
    BOOLEAN = "boolean"
    WORD = "word"
    GRADES = "grades"
    YEAR = "year"
    USER_IDS = "user ids"
    NUMBER = "number"
    """Any identifier; some systems put a national number into `identifier` or `userMasterIdentifier`."""
    PASSWORD = "password"  # noqa: S105 - the kind of a column, not a secret


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind = Kind.TEXT
    to: str | None = None
    required: bool = False
    words: Vocabulary | None = None
    personal: bool = False
    """Its value is masked in receipts."""
    optional_header: bool = False
    """Known from a neighbouring release or profile of the standard; may stand in the header, need not."""


@dataclass(frozen=True)
class FileSpec:
    name: str
    table: str
    columns: tuple[Column, ...]
    spans: tuple[tuple[str, str], ...] = ()
    """Pairs of date columns of which the second may not be before the first."""

    @property
    def file(self) -> str:
        return f"{self.name}.csv"

    @property
    def headers(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _reference(name: str, to: str, *, required: bool = False) -> Column:
    return Column(name, Kind.REFERENCE, to, required)


def _word(name: str, to: str, vocabulary: Vocabulary, *, required: bool = False) -> Column:
    return Column(name, Kind.WORD, to, required, vocabulary)


def _personal(name: str, to: str | None = None, *, required: bool = False, kind: Kind = Kind.TEXT) -> Column:
    return Column(name, kind, to, required, personal=True)


ID = Column("sourcedId", Kind.ID, "sourced_id", required=True)
STATUS = "status"
MODIFIED = "dateLastModified"
_GRADES = Column("grades", Kind.GRADES, "grades", words=words.GRADE)
_SUBJECTS = Column("subjects", Kind.TEXTS, "subjects")
_SUBJECT_CODES = Column("subjectCodes", Kind.TEXTS, "subject_codes")
_BEGIN = Column("beginDate", Kind.DATE, "begin_date")
_END = Column("endDate", Kind.DATE, "end_date")

# `status` and `dateLastModified` stand second and third in every file; `rows` treats them for all alike.
_COMMON = (ID, Column(STATUS), Column(MODIFIED))

ORGS = FileSpec(
    "orgs",
    "organisation",
    (
        *_COMMON,
        Column("name", to="name", required=True),
        _word("type", "type", words.ORG_TYPE, required=True),
        Column("identifier", to="identifier"),
        _reference("parentSourcedId", "parent_sourced_id"),
    ),
)
ACADEMIC_SESSIONS = FileSpec(
    "academicSessions",
    "academic_session",
    (
        *_COMMON,
        Column("title", to="title", required=True),
        _word("type", "type", words.SESSION_TYPE, required=True),
        Column("startDate", Kind.DATE, "start_date", required=True),
        Column("endDate", Kind.DATE, "end_date", required=True),
        _reference("parentSourcedId", "parent_sourced_id"),
        Column("schoolYear", Kind.YEAR, "school_year", required=True),
    ),
    spans=(("startDate", "endDate"),),
)
COURSES = FileSpec(
    "courses",
    "course",
    (
        *_COMMON,
        _reference("schoolYearSourcedId", "school_year_sourced_id"),
        Column("title", to="title", required=True),
        Column("courseCode", to="course_code"),
        _GRADES,
        _reference("orgSourcedId", "org_sourced_id", required=True),
        _SUBJECTS,
        _SUBJECT_CODES,
    ),
)
CLASSES = FileSpec(
    "classes",
    "class",
    (
        *_COMMON,
        Column("title", to="title", required=True),
        _GRADES,
        _reference("courseSourcedId", "course_sourced_id", required=True),
        Column("classCode", to="class_code"),
        _word("classType", "class_type", words.CLASS_TYPE, required=True),
        Column("location", to="location"),
        _reference("schoolSourcedId", "org_sourced_id", required=True),
        Column("termSourcedIds", Kind.REFERENCES, "term_sourced_ids", required=True),
        _SUBJECTS,
        _SUBJECT_CODES,
        Column("periods", Kind.TEXTS, "periods"),
    ),
)
USERS = FileSpec(
    "users",
    "account",
    (
        *_COMMON,
        Column("enabledUser", Kind.BOOLEAN, "enabled", required=True),
        _personal("username", "username", required=True),
        _personal("userIds", "user_ids", kind=Kind.USER_IDS),
        _personal("givenName", "given_name", required=True),
        _personal("familyName", "family_name", required=True),
        _personal("middleName", "middle_name"),
        _personal("identifier", "identifier", kind=Kind.NUMBER),
        _personal("email", "email"),
        _personal("sms", "sms"),
        _personal("phone", "phone"),
        Column("agentSourcedIds", Kind.REFERENCES, "agent_sourced_ids"),
        _GRADES,
        _personal("password", kind=Kind.PASSWORD),
        _personal("userMasterIdentifier", "master_identifier", kind=Kind.NUMBER),
        # In release 1.2.0 and the Japanese profile; 1.2.1 moved it to userResources.csv.
        Column("resourceSourcedIds", Kind.TEXTS, optional_header=True),
        _personal("preferredGivenName"),
        _personal("preferredMiddleName"),
        _personal("preferredFamilyName"),
        _reference("primaryOrgSourcedId", "primary_org_sourced_id"),
        _personal("pronouns"),
    ),
)
USER_PROFILES = FileSpec(
    "userProfiles",
    "user_profile",
    (
        *_COMMON,
        _reference("userSourcedId", "user_sourced_id", required=True),
        Column("profileType", to="profile_type", required=True),
        Column("vendorId", to="vendor_id", required=True),
        Column("applicationId", to="application_id"),
        Column("description", to="description"),
        Column("credentialType", to="credential_type", required=True),
        _personal("username", "username", required=True),
        _personal("password", kind=Kind.PASSWORD),
    ),
)
ROLES = FileSpec(
    "roles",
    "role",
    (
        *_COMMON,
        _reference("userSourcedId", "user_sourced_id", required=True),
        _word("roleType", "role_type", words.ROLE_TYPE, required=True),
        _word("role", "role", words.ROLE, required=True),
        _BEGIN,
        _END,
        _reference("orgSourcedId", "org_sourced_id", required=True),
        _reference("userProfileSourcedId", "user_profile_sourced_id"),
    ),
    spans=(("beginDate", "endDate"),),
)
ENROLLMENTS = FileSpec(
    "enrollments",
    "class_enrolment",
    (
        *_COMMON,
        _reference("classSourcedId", "class_sourced_id", required=True),
        _reference("schoolSourcedId", "org_sourced_id", required=True),
        _reference("userSourcedId", "user_sourced_id", required=True),
        _word("role", "role", words.ENROLLMENT_ROLE, required=True),
        Column("primary", Kind.BOOLEAN, "is_primary"),
        _BEGIN,
        _END,
    ),
    spans=(("beginDate", "endDate"),),
)
DEMOGRAPHICS = FileSpec(
    "demographics",
    "demographics",
    (
        *_COMMON,
        _personal("birthDate", "birth_date", kind=Kind.BIRTH_DATE),
        _word("sex", "sex", words.SEX),
        *(
            Column(name, Kind.BOOLEAN, personal=True)
            for name in (
                "americanIndianOrAlaskaNative",
                "asian",
                "blackOrAfricanAmerican",
                "nativeHawaiianOrOtherPacificIslander",
                "white",
                "demographicRaceTwoOrMoreRaces",
                "hispanicOrLatinoEthnicity",
            )
        ),
        _personal("countryOfBirthCode"),
        _personal("stateOfBirthAbbreviation"),
        _personal("cityOfBirth"),
        Column("publicSchoolResidenceStatus"),
    ),
)

# In the order that lets every reference be looked up in what was already read.
KEPT = (ORGS, ACADEMIC_SESSIONS, COURSES, CLASSES, USERS, USER_PROFILES, ROLES, ENROLLMENTS, DEMOGRAPHICS)
BY_FILE: Mapping[str, FileSpec] = {spec.file: spec for spec in KEPT}

# Of the standard, but not kept by this door: marks and teaching resources come by the services of their own.
NOT_KEPT = (
    "categories",
    "classResources",
    "courseResources",
    "lineItems",
    "lineItemLearningObjectiveIds",
    "lineItemScoreScales",
    "resources",
    "results",
    "resultLearningObjectiveIds",
    "resultScoreScales",
    "scoreScales",
    "userResources",
)
ALL_NAMES = (*(spec.name for spec in KEPT), *NOT_KEPT)
MANIFEST = "manifest.csv"
MANIFEST_HEADER = ("propertyName", "value")
MANIFEST_PROPERTIES = (
    "manifest.version",
    "oneroster.version",
    "source.systemName",
    "source.systemCode",
    *(f"file.{name}" for name in ALL_NAMES),
)
METADATA_PREFIX = "metadata."
