"""The wire types of what the exchange shows a person: usages, reports about them, consents."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

SectorId = Annotated[str, StringConstraints(pattern=r"^h1_[A-Z2-7]{26}$")]
"""How the exchange knows a person: the `userCode` of the usage list. Never a citizen number."""
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2000)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._*/-]{0,79}$")]
ReportState = Literal["open", "answered", "closed"]
Language = Literal["zh", "en"]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Id(Shape):
    id: UUID


class Bilingual(Shape):
    zh: str
    en: str


class Usage(Shape):
    """One access to a person's data, in words.

    Attributes:
        organisation: code of who had to do with the data; a service's own name where it was one of ours.
        reason: the requester's words, or the code of what refused it; `reason_words` are for people.
        leaf_index: what `/audit/proofs/inclusion?index=` proves.
    """

    leaf_index: int
    at: datetime
    service: str
    action: str
    action_words: Bilingual
    organisation: str
    organisation_words: Bilingual
    system: str
    purpose: str | None
    purpose_words: Bilingual | None
    legal_basis: str | None
    reason: str | None
    reason_words: Bilingual
    outcome: Literal["permitted", "refused"]
    records: int
    agreement: str | None


class UsagePage(Shape):
    """Newest first.

    Attributes:
        total: of all pages; hidden ones are counted apart.
    """

    items: list[Usage]
    total: int
    hidden: int
    next: str | None = None


class Ward(Shape):
    """A child the caller stands for; `code` is the child's `userCode`."""

    code: str
    name: str | None
    birth_date: str | None
    until: str


class Wards(Shape):
    items: list[Ward]


class ReportRequest(Shape):
    """ "This looks wrong": which usage of one's own list, and why."""

    leaf_index: Annotated[int, Field(ge=0, lt=2**63)]
    words: Words
    ward: SectorId | None = None


class Answer(Shape):
    words: Words


class Report(Shape):
    """What a person said about a usage, and what became of it.

    Attributes:
        due_by_weekdays: the term counts Monday to Friday, as no notice of that year's holidays was known.
        overdue: its term has passed, or had passed, without an answer.
        legal_basis: what it rests on: 个人信息保护法 第五十条.
    """

    id: UUID
    usage: Usage
    words: str
    state: ReportState
    opened_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    legal_basis: str
    answer: str | None
    answered_at: datetime | None
    closed_at: datetime | None


class ReportsAsked(Shape):
    state: ReportState | None = None


class ReportPage(Shape):
    items: list[Report]
    next: str | None = None


class ConsentRequest(Shape):
    """To whom, what for, for which actions or datasets, until when.

    Attributes:
        organisation: unified social credit code, or the name of one of our services.
        actions: names of actions as leaves have them, e.g. `fhir.read`.
        datasets: of the catalogue, e.g. `health.deaths`.
    """

    organisation: Name
    purpose: Annotated[str, StringConstraints(max_length=40)]
    actions: Annotated[list[Name], Field(max_length=20)] = []
    datasets: Annotated[list[Name], Field(max_length=20)] = []
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime
    language: Language = "zh"
    ward: SectorId | None = None


class Consent(Shape):
    """A consent as it stands now."""

    id: UUID
    organisation: str
    organisation_words: Bilingual
    purpose: str
    purpose_words: Bilingual
    actions: list[str]
    datasets: list[str]
    given_at: datetime
    by_guardian: bool
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None
    in_force: bool


class ConsentPage(Shape):
    items: list[Consent]
    next: str | None = None


class ConsentCheck(Shape):
    """Whether these persons' consent covers this now; ids are those of the asking service's sector."""

    organisation: Name
    purpose: Annotated[str, StringConstraints(max_length=40)]
    action: Name | None = None
    dataset: Name | None = None
    ids: Annotated[list[SectorId], Field(max_length=2000)]


class ConsentAnswer(Shape):
    in_force: list[bool]


class HidingRightRequest(Shape):
    """The law by which an organisation may keep its usages out of a person's list, for a time."""

    organisation: Name
    legal_basis: Words
    valid_until: AwareDatetime


class HidingRight(Shape):
    id: UUID
    organisation: str
    legal_basis: str
    valid_from: datetime
    valid_until: datetime
    decided_by: str


class HidingRightPage(Shape):
    items: list[HidingRight]
    next: str | None = None


Receipt = dict[str, Any]
