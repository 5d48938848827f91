"""The wire types of the service's own doors, shared by app, client and graphql."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints

Mode = Literal["atomic", "accept-valid"]
FAULTS_SHOWN = 1000
"""So many faults stand in the answer itself; the rest are a list of their own. None is dropped."""


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RosterFault(Shape):
    """One fault: where it stands, what the rule is, what to do. `value` is masked."""

    file: str | None
    line: int | None
    column: str | None
    sourced_id: str | None
    code: str
    severity: Literal["error", "warning"]
    value: str | None
    message: str
    message_zh: str
    hint: str
    hint_zh: str


class VanishedRows(Shape):
    """Rows of earlier pushes that this one, sent whole, no longer mentions."""

    rows: int
    of: int
    ended: int
    proposal: UUID | None = None


class FileReceipt(Shape):
    """What became of one file's rows: `rows_in` is the sum of the five counts after it.

    In the receipt of a refused push, the counts are zero.
    """

    file: str
    mode: Literal["bulk", "delta"]
    rows_in: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    ended: int = 0
    quarantined: int = 0
    stale: int = 0
    """How many of the unchanged were older than what is kept."""
    vanished: VanishedRows | None = None


class PeopleReceipt(Shape):
    matched: int = 0
    created: int = 0


class EpisodesReceipt(Shape):
    opened: int = 0
    closed: int = 0
    provisional: int = 0


class Proposal(Shape):
    """Kept rows that a push sent whole no longer mentions; they end only when a person says so."""

    id: UUID
    import_id: UUID
    file: str
    rows: int
    of_rows: int
    status: Literal["open", "confirmed", "rejected", "overtaken"]
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    note: str | None


class ImportSummary(Shape):
    receipt_id: UUID
    status: Literal["received", "accepted", "rejected"]
    mode: Mode
    sha256: str
    size_bytes: int
    received_at: datetime
    finished_at: datetime | None
    system: str | None
    files: list[FileReceipt]
    people: PeopleReceipt
    episodes: EpisodesReceipt
    errors: int
    warnings: int


class Receipt(ImportSummary):
    """The answer to a push, and what `GET /education/imports/{id}` says of it ever after."""

    sent_before: bool = False
    proposals: list[Proposal]
    faults: list[RosterFault]
    more_faults: str | None = None
    """Where the faults after these are."""


class ImportPage(Shape):
    items: list[ImportSummary]
    next: str | None


class FaultPage(Shape):
    items: list[RosterFault]
    next: str | None


class ProposedPage(Shape):
    items: list[str]
    next: str | None


class Decision(Shape):
    """A person's word on a proposal."""

    decision: Literal["confirm", "reject"]
    decided_by: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    note: Annotated[str, StringConstraints(max_length=1000)] | None = None


class Organisation(Shape):
    id: UUID
    sourced_id: str
    name: str
    type: str
    identifier: str | None
    parent_sourced_id: str | None
    status: Literal["active", "tobedeleted"]


class OrganisationPage(Shape):
    items: list[Organisation]
    next: str | None


class School(Shape):
    """An organisation as the learner's record names it."""

    id: UUID
    name: str
    type: str
    identifier: str | None


class GradeStep(Shape):
    grade: str
    since: date


class Episode(Shape):
    """A time at a school, in one stage. `until` is the first day no longer there."""

    id: UUID
    school: School
    stage: str | None
    """ISCED 2011 level, 0 to 8."""
    grade: str | None
    """The present one, or the last."""
    grades: list[GradeStep]
    since: date
    since_is: Literal["sent", "school_year", "received"]
    until: date | None
    primary: bool
    entry_reason: str
    exit_reason: str | None


class ClassPlace(Shape):
    """A place in a class, as pupil or otherwise."""

    id: str
    title: str
    course: str | None
    school: str
    terms: list[str]
    role: str
    since: date | None
    until: date | None
    open: bool


class ClassPlacePage(Shape):
    items: list[ClassPlace]
    next: str | None


class LearningRecord(Shape):
    """A learner's lifelong record: every enrolment episode, and the classes, newest first."""

    known: bool
    stage: str | None
    grade: str | None
    school: School | None
    episodes: list[Episode]
    classes: ClassPlacePage
