"""The wire types of a person's record and of emergency accesses, shared by app, client and graphql."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

RecordType = Literal[
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Patient",
    "Procedure",
]
WITH_CODE: frozenset[RecordType] = frozenset(
    {"AllergyIntolerance", "Condition", "DiagnosticReport", "MedicationRequest", "Observation", "Procedure"}
)
"""Types that can be asked for by code."""
PAGE_MAX = 100
QUERIES_MAX = 32


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Code(Shape):
    system: str | None = None
    code: str | None = None
    display: str | None = None


class Value(Shape):
    """A measured value. `number` is written as the laboratory wrote it: its zeros say how precise it is."""

    number: str | None = None
    unit: str | None = None
    text: str | None = None


class Component(Shape):
    """One of several values measured together, as systolic and diastolic pressure are."""

    title: str | None = None
    codes: list[Code] = []
    value: Value | None = None


class Record(Shape):
    """One entry of a person's record.

    Attributes:
        date: when it happened, as precisely as was written.
        title: what it is, in the words of its code.
        organisation: where it happened, or who answers for it.
        name, gender, birth_date, death_date: of a Patient.
    """

    id: str
    type: RecordType
    date: str | None = None
    end: str | None = None
    status: str | None = None
    title: str | None = None
    codes: list[Code] = []
    categories: list[str] = []
    value: Value | None = None
    components: list[Component] = []
    organisation: str | None = None
    name: str | None = None
    gender: str | None = None
    birth_date: str | None = None
    death_date: str | None = None


class RecordPage(Shape):
    items: list[Record]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """A page of a person's record, the latest first.

    Attributes:
        types: which kinds of entry.
        code: `code` or `system|code` that an entry must carry.
        after: `next` of the page before.
        patient: whose, for staff; None for the caller's own.
    """

    types: tuple[RecordType, ...]
    code: str | None = None
    first: int = 20
    after: str | None = None
    patient: str | None = None


class RecordQueryBody(Shape):
    types: Annotated[list[RecordType], Field(min_length=1, max_length=9)]
    code: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    first: Annotated[int, Field(ge=1, le=PAGE_MAX)] = 20
    after: str | None = None

    def query(self) -> RecordQuery:
        return RecordQuery(tuple(self.types), self.code, self.first, self.after)


class RecordQueries(Shape):
    """Several pages in one call, for a screen that shows several lists."""

    queries: Annotated[list[RecordQueryBody], Field(min_length=1, max_length=QUERIES_MAX)]


PatientId = Annotated[str, Field(pattern=r"^(Patient/)?[A-Za-z0-9\-.]{1,64}$")]


class PatientQueries(RecordQueries):
    """The same of a patient, for the staff of a hospital."""

    patient: PatientId


class RecordPages(Shape):
    pages: list[RecordPage]


class EmergencyRequest(Shape):
    """A record to be opened in an emergency: whose (id of a Patient, or `Patient/id`), and why."""

    patient: PatientId
    reason: Annotated[str, Field(min_length=5, max_length=1000)]


class EmergencyAccess(Shape):
    """A record that is open to whoever asked, until `ends_at`."""

    id: UUID
    patient: str
    reason: str
    begun_at: datetime
    ends_at: datetime
    review_due_at: datetime


class TreatmentClaim(Shape):
    """An organisation that says that it treats the caller, which opens others' records to it.

    Attributes:
        objected_at: when the caller said that it does not; from then on it opens nothing.
    """

    organisation: str
    claimed_at: datetime
    objected_at: datetime | None


class TreatmentClaimPage(Shape):
    items: list[TreatmentClaim]
    next: str | None = None


class Objection(Shape):
    """The caller's word on such a claim; `objects` false takes an objection back."""

    organisation: Annotated[str, Field(min_length=1, max_length=200)]
    objects: bool = True


ReviewState = Literal["pending", "justified", "unjustified"]


class OpenedRecord(Shape):
    """An opening of the caller's own record, and what the review of it came to."""

    id: UUID
    organisation: str
    reason: str
    begun_at: datetime
    ends_at: datetime
    state: ReviewState
    words: str | None
    decided_at: datetime | None


class EmergencyAccessPage(Shape):
    items: list[OpenedRecord]
    next: str | None = None


class AccessReview(Shape):
    """The review of an emergency access.

    Attributes:
        actor: who opened the record, by the account's id.
        overdue: nobody has decided in time.
    """

    id: UUID
    organisation: str
    patient: str
    actor: str
    reason: str
    begun_at: datetime
    ends_at: datetime
    due_at: datetime
    overdue: bool
    state: ReviewState
    words: str | None
    decided_by: str | None
    decided_at: datetime | None


class AccessReviewPage(Shape):
    items: list[AccessReview]
    next: str | None = None


class ReviewDecision(Shape):
    decision: Literal["justified", "unjustified"]
    words: Annotated[str, Field(min_length=1, max_length=2000)]


class RefusedCode(Shape):
    """A line of a code list that was not taken."""

    line: int
    field: str
    message: str


class CodeListReceipt(Shape):
    """What became of a code list.

    Attributes:
        faults: the first of what was refused.
        digest: SHA-256 of what was sent, and as what.
    """

    system: str
    version: str
    encoding: str
    taken: int
    refused: int
    faults: list[RefusedCode]
    digest: str
