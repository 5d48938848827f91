"""The wire types of a person's own record, shared by app, client and graphql."""

from dataclasses import dataclass
from typing import Annotated, Literal

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
    """A page of a person's own record, the latest first.

    Attributes:
        types: which kinds of entry.
        code: `code` or `system|code` that an entry must carry.
        after: `next` of the page before.
    """

    types: tuple[RecordType, ...]
    code: str | None = None
    first: int = 20
    after: str | None = None


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


class RecordPages(Shape):
    pages: list[RecordPage]
