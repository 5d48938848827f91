"""What the roster's tables are made of, for the statements that treat them alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SqlType = Literal["text", "text[]", "date", "boolean", "jsonb"]


@dataclass(frozen=True)
class Reference:
    """A column that names rows of a table by their sourcedId; `many` when it is a list."""

    column: str
    target: str
    many: bool = False


@dataclass(frozen=True)
class RosterTable:
    name: str
    columns: Mapping[str, SqlType]
    """What the sender says, besides status, dateLastModified, sourcedId and extra."""
    references: tuple[Reference, ...] = ()
    user_column: str | None = None
    """Where a row names the user whose enrolment a change of it may change."""
    staged_only: Mapping[str, str] = field(default_factory=dict)
    """Further columns of the staged rows, which are not kept as they came."""
    derived: Mapping[str, str] = field(default_factory=dict)
    """Columns of ours that a new row gets, with what they are worked out from."""

    @property
    def staged(self) -> str:
        return f"staged_{self.name}"

    @property
    def kept_columns(self) -> tuple[str, ...]:
        return ("status", "modified", *self.columns, "extra", "digest", "line")


def _text(*names: str) -> dict[str, SqlType]:
    return dict.fromkeys(names, "text")


ORGANISATION = RosterTable(
    "organisation",
    _text("name", "type", "identifier", "parent_sourced_id"),
    (Reference("parent_sourced_id", "organisation"),),
)
ACADEMIC_SESSION = RosterTable(
    "academic_session",
    {
        **_text("title", "type"),
        "start_date": "date",
        "end_date": "date",
        **_text("parent_sourced_id", "school_year"),
    },
    (Reference("parent_sourced_id", "academic_session"),),
)
COURSE = RosterTable(
    "course",
    {
        **_text("school_year_sourced_id", "title", "course_code"),
        "grades": "text[]",
        "org_sourced_id": "text",
        "subjects": "text[]",
        "subject_codes": "text[]",
    },
    (Reference("school_year_sourced_id", "academic_session"), Reference("org_sourced_id", "organisation")),
)
CLASS = RosterTable(
    "class",
    {
        "title": "text",
        "grades": "text[]",
        **_text("course_sourced_id", "class_code", "class_type", "location", "org_sourced_id"),
        "term_sourced_ids": "text[]",
        "subjects": "text[]",
        "subject_codes": "text[]",
        "periods": "text[]",
    },
    (
        Reference("course_sourced_id", "course"),
        Reference("org_sourced_id", "organisation"),
        Reference("term_sourced_ids", "academic_session", many=True),
    ),
)
ACCOUNT = RosterTable(
    "account",
    {
        "enabled": "boolean",
        "username": "text",
        "user_ids": "jsonb",
        **_text("given_name", "family_name", "middle_name", "identifier", "email", "sms", "phone"),
        "agent_sourced_ids": "text[]",
        "grades": "text[]",
        **_text("master_identifier", "primary_org_sourced_id"),
    },
    (
        Reference("primary_org_sourced_id", "organisation"),
        Reference("agent_sourced_ids", "account", many=True),
    ),
    user_column="sourced_id",
    staged_only={"identifiers": "jsonb", "identity_digest": "bytea", "learner_id": "text"},
    derived={
        "learner_id": "s.learner_id",
        # The digest of what the learner was found by: nothing, as long as nobody looked.
        "identity_digest": "case when s.learner_id is not null then s.identity_digest end",
    },
)
USER_PROFILE = RosterTable(
    "user_profile",
    _text(
        "user_sourced_id",
        "profile_type",
        "vendor_id",
        "application_id",
        "description",
        "credential_type",
        "username",
    ),
    (Reference("user_sourced_id", "account"),),
)
ROLE = RosterTable(
    "role",
    {
        **_text("user_sourced_id", "role_type", "role"),
        "begin_date": "date",
        "end_date": "date",
        **_text("org_sourced_id", "user_profile_sourced_id"),
    },
    (
        Reference("user_sourced_id", "account"),
        Reference("org_sourced_id", "organisation"),
        Reference("user_profile_sourced_id", "user_profile"),
    ),
    user_column="user_sourced_id",
)
CLASS_ENROLMENT = RosterTable(
    "class_enrolment",
    {
        **_text("class_sourced_id", "org_sourced_id", "user_sourced_id", "role"),
        "is_primary": "boolean",
        "begin_date": "date",
        "end_date": "date",
    },
    (
        Reference("class_sourced_id", "class"),
        Reference("org_sourced_id", "organisation"),
        Reference("user_sourced_id", "account"),
    ),
)
DEMOGRAPHICS = RosterTable(
    "demographics", {"birth_date": "date", "sex": "text"}, (Reference("sourced_id", "account"),)
)

# Each after the tables it refers to.
TABLES: Mapping[str, RosterTable] = {
    table.name: table
    for table in (
        ORGANISATION,
        ACADEMIC_SESSION,
        COURSE,
        CLASS,
        ACCOUNT,
        USER_PROFILE,
        ROLE,
        CLASS_ENROLMENT,
        DEMOGRAPHICS,
    )
}
