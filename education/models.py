"""The tables of the `education` schema, as its migrations make them.

What schools send is a sequence of imports, and every table here is a fold over that sequence: each row names
the import and line it last came from, the imports' bytes are kept, and applying them again in order gives the
same tables (tests/education/test_replay.py). When the ledger of learner events comes, it takes the place of
that sequence, and these tables stay what they are: its projections.
"""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, LargeBinary, MetaData, SmallInteger, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Base(SQLModel, registry=registry()):
    metadata: ClassVar[MetaData] = MetaData(schema="education")


_TIMESTAMP: Any = DateTime(timezone=True)
_TEXTS: Any = ARRAY(Text)
_NOW: Any = {"server_default": func.now()}
_NONE: Any = {"server_default": text("'{}'")}


def _default(sql: str) -> Any:
    return {"server_default": text(sql)}


class ImportBatch(Base, table=True):
    """One push: what came, from whom, and what became of it."""

    __tablename__ = "import_batch"
    id: UUID = Field(primary_key=True)
    source: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    mode: str = Field(sa_type=Text)
    sha256: bytes = Field(sa_type=LargeBinary)
    size_bytes: int
    status: str = Field(sa_type=Text, sa_column_kwargs=_default("'received'"))
    received_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    finished_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    applied_seq: int | None = Field(default=None, sa_type=BigInteger)
    manifest: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs=_NONE)
    files: list[Any] = Field(sa_type=JSONB, sa_column_kwargs=_default("'[]'"))
    people: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs=_NONE)
    episodes: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs=_NONE)
    errors: int = Field(sa_column_kwargs=_default("0"))
    warnings: int = Field(sa_column_kwargs=_default("0"))


class ImportKey(Base, table=True):
    """An Idempotency-Key, and the push it came with."""

    __tablename__ = "import_key"
    client_id: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    import_id: UUID = Field(foreign_key="import_batch.id")


class ImportPart(Base, table=True):
    """A piece of a push's bytes, sealed."""

    __tablename__ = "import_part"
    import_id: UUID = Field(primary_key=True, foreign_key="import_batch.id")
    n: int = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)


class ImportFault(Base, table=True):
    __tablename__ = "import_fault"
    import_id: UUID = Field(primary_key=True, foreign_key="import_batch.id")
    n: int = Field(primary_key=True)
    file: str | None = Field(default=None, sa_type=Text)
    line: int | None = None
    column_name: str | None = Field(default=None, sa_type=Text)
    sourced_id: str | None = Field(default=None, sa_type=Text)
    code: str = Field(sa_type=Text)
    value: str | None = Field(default=None, sa_type=Text)
    about: dict[str, Any] = Field(sa_type=JSONB, sa_column_kwargs=_NONE)


class Proposal(Base, table=True):
    """Rows that a bulk push no longer mentions: to be ended, if somebody says so."""

    __tablename__ = "proposal"
    id: UUID = Field(primary_key=True)
    import_id: UUID = Field(foreign_key="import_batch.id")
    source: str = Field(sa_type=Text)
    table_name: str = Field(sa_type=Text)
    rows: int
    of_rows: int
    status: str = Field(sa_type=Text, sa_column_kwargs=_default("'open'"))
    proposed_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)
    decided_at: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    decided_by: str | None = Field(default=None, sa_type=Text)
    note: str | None = Field(default=None, sa_type=Text)


class ProposalRow(Base, table=True):
    __tablename__ = "proposal_row"
    proposal_id: UUID = Field(primary_key=True, foreign_key="proposal.id")
    sourced_id: str = Field(primary_key=True, sa_type=Text)


class Sent(SQLModel):
    """What every row that a sender keeps with us has. Its key is the sender's own id within the sender.

    References between such rows are checked set by set when they come in, not by foreign keys: a trigger for
    each of a million rows costs more than the whole import (tests hold that none dangles).
    """

    source: str = Field(primary_key=True, sa_type=Text)
    sourced_id: str = Field(primary_key=True, sa_type=Text)
    status: str = Field(sa_type=Text)
    modified: datetime | None = Field(default=None, sa_type=_TIMESTAMP)
    extra: dict[str, Any] | None = Field(default=None, sa_type=JSONB)
    digest: bytes = Field(sa_type=LargeBinary)
    import_id: UUID
    line: int


class Organisation(Sent, Base, table=True):
    __tablename__ = "organisation"
    id: UUID = Field(sa_column_kwargs={"server_default": text("gen_random_uuid()"), "unique": True})
    name: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    identifier: str | None = Field(default=None, sa_type=Text)
    parent_sourced_id: str | None = Field(default=None, sa_type=Text)


class AcademicSession(Sent, Base, table=True):
    __tablename__ = "academic_session"
    title: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    start_date: date
    end_date: date
    parent_sourced_id: str | None = Field(default=None, sa_type=Text)
    school_year: str = Field(sa_type=Text)


class Course(Sent, Base, table=True):
    __tablename__ = "course"
    school_year_sourced_id: str | None = Field(default=None, sa_type=Text)
    title: str = Field(sa_type=Text)
    course_code: str | None = Field(default=None, sa_type=Text)
    grades: list[str] = Field(sa_type=_TEXTS)
    org_sourced_id: str = Field(sa_type=Text)
    subjects: list[str] = Field(sa_type=_TEXTS)
    subject_codes: list[str] = Field(sa_type=_TEXTS)


class Class(Sent, Base, table=True):
    __tablename__ = "class"
    title: str = Field(sa_type=Text)
    grades: list[str] = Field(sa_type=_TEXTS)
    course_sourced_id: str = Field(sa_type=Text)
    class_code: str | None = Field(default=None, sa_type=Text)
    class_type: str = Field(sa_type=Text)
    location: str | None = Field(default=None, sa_type=Text)
    org_sourced_id: str = Field(sa_type=Text)
    term_sourced_ids: list[str] = Field(sa_type=_TEXTS)
    subjects: list[str] = Field(sa_type=_TEXTS)
    subject_codes: list[str] = Field(sa_type=_TEXTS)
    periods: list[str] = Field(sa_type=_TEXTS)


class Learner(Base, table=True):
    """A person who learns, under the sector id that identity gave for education: one for life."""

    __tablename__ = "learner"
    id: str = Field(primary_key=True, sa_type=Text)
    first_import_id: UUID
    created_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class Account(Sent, Base, table=True):
    """A OneRoster user: a person as one sender writes them. National numbers are not kept here."""

    __tablename__ = "account"
    enabled: bool
    username: str = Field(sa_type=Text)
    user_ids: list[Any] | None = Field(default=None, sa_type=JSONB)
    given_name: str = Field(sa_type=Text)
    family_name: str = Field(sa_type=Text)
    middle_name: str | None = Field(default=None, sa_type=Text)
    identifier: str | None = Field(default=None, sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    sms: str | None = Field(default=None, sa_type=Text)
    phone: str | None = Field(default=None, sa_type=Text)
    agent_sourced_ids: list[str] = Field(sa_type=_TEXTS)
    grades: list[str] = Field(sa_type=_TEXTS)
    master_identifier: str | None = Field(default=None, sa_type=Text)
    primary_org_sourced_id: str | None = Field(default=None, sa_type=Text)
    learner_id: str | None = Field(default=None, sa_type=Text, foreign_key="learner.id")
    identity_digest: bytes | None = Field(default=None, sa_type=LargeBinary)


class UserProfile(Sent, Base, table=True):
    __tablename__ = "user_profile"
    user_sourced_id: str = Field(sa_type=Text)
    profile_type: str = Field(sa_type=Text)
    vendor_id: str = Field(sa_type=Text)
    application_id: str | None = Field(default=None, sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    credential_type: str = Field(sa_type=Text)
    username: str = Field(sa_type=Text)


class Role(Sent, Base, table=True):
    __tablename__ = "role"
    user_sourced_id: str = Field(sa_type=Text)
    role_type: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    begin_date: date | None = None
    end_date: date | None = None
    org_sourced_id: str = Field(sa_type=Text)
    user_profile_sourced_id: str | None = Field(default=None, sa_type=Text)


class ClassEnrolment(Sent, Base, table=True):
    __tablename__ = "class_enrolment"
    class_sourced_id: str = Field(sa_type=Text)
    org_sourced_id: str = Field(sa_type=Text)
    user_sourced_id: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    is_primary: bool | None = None
    begin_date: date | None = None
    end_date: date | None = None


class Demographics(Sent, Base, table=True):
    __tablename__ = "demographics"
    birth_date: date | None = None
    sex: str | None = Field(default=None, sa_type=Text)


class EnrolmentEpisode(Base, table=True):
    """A learner at an organisation, in one stage, from a day to before another; `grade` is the last one.

    Primary episodes of a learner never overlap; the database refuses it. A learner who is taken in elsewhere
    before the old school has let go has a provisional (not primary) episode there meanwhile.
    """

    __tablename__ = "enrolment_episode"
    id: UUID = Field(primary_key=True, sa_column_kwargs=_default("gen_random_uuid()"))
    learner_id: str = Field(sa_type=Text, foreign_key="learner.id")
    organisation_id: UUID = Field(foreign_key="organisation.id")
    stage: str | None = Field(default=None, sa_type=Text)
    grade: str | None = Field(default=None, sa_type=Text)
    valid_from: date
    valid_to: date | None = None
    from_basis: str = Field(sa_type=Text)
    entry_reason: str = Field(sa_type=Text)
    exit_reason: str | None = Field(default=None, sa_type=Text)
    is_primary: bool = Field(sa_column_kwargs=_default("false"))
    rank: int = Field(sa_type=SmallInteger)
    source: str = Field(sa_type=Text)
    role_sourced_id: str = Field(sa_type=Text)
    import_id: UUID
    recorded_at: datetime = Field(sa_type=_TIMESTAMP, sa_column_kwargs=_NOW)


class EpisodeGrade(Base, table=True):
    """The grades of an episode, each since the day it is known to hold."""

    __tablename__ = "episode_grade"
    episode_id: UUID = Field(primary_key=True, foreign_key="enrolment_episode.id")
    since: date = Field(primary_key=True)
    grade: str = Field(sa_type=Text)
    import_id: UUID
