"""The wire types of the clerical queue: pairs that may be one person, decisions, runs over the register."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from services.identity.shapes import PersonPush, PlaceRef, Sex, Shape, Text

MatchState = Literal["open", "unsure", "proposed", "same", "different"]
MatchDecision = Literal["same", "different", "unsure"]
Grade = Literal["certain", "probable", "possible"]
CANDIDATES_MAX = 50
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1000)]


class MatchPart(Shape):
    """What one comparison found, and what it weighs: a bit doubles the odds, a negative one halves them."""

    comparison: str
    comparison_zh: str
    comparison_en: str
    level: str
    zh: str
    en: str
    bits: float
    agrees: bool


class MatchSource(Shape):
    """What a source of a person is known by: an identifier, its middle covered."""

    system: str
    value: str


class MatchSide(Shape):
    """One of the two. `person` names it in this service's own doors."""

    person: str
    name: str | None
    birth_date: date | None
    sex: Sex | None
    death_date: date | None
    area: PlaceRef | None
    registered: bool
    known_since: datetime
    identifiers: list[MatchSource]


class MatchReview(Shape):
    """A pair that may be one person.

    Attributes:
        why: model (alike), identifiers (theirs came in one push), clerk (put together by one).
        weight: log2 of the odds that it is one person: `prior` and the parts' bits together.
        probability: the same as a probability.
        proposed_by: the clerk who proposed that it is one person; another one confirms.
    """

    id: UUID
    state: MatchState
    why: Literal["model", "identifiers", "clerk"]
    model: str
    weight: float
    prior: float
    probability: float
    parts: list[MatchPart]
    sides: list[MatchSide]
    source: str
    created_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    proposed_by: str | None = None


class MatchReviewPage(Shape):
    items: list[MatchReview]
    next: str | None = None


class LinkageRun(Shape):
    """A look through the whole register for entries that may be one person.

    Attributes:
        done, total: steps of the work; total is None until the register has been counted.
        people, pairs, queued: entries compared, pairs found alike, and those of them new to the queue.
    """

    id: UUID
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    total: int | None
    people: int | None = None
    pairs: int | None = None
    queued: int | None = None
    error: str | None = None
    submitted_at: datetime
    finished_at: datetime | None = None


class LinkageRunPage(Shape):
    items: list[LinkageRun]
    next: str | None = None


class DecisionRequest(Shape):
    decision: MatchDecision
    reason: Reason


class MergeRequest(Shape):
    """Two people, as `MatchSide.person` names them."""

    person: Annotated[str, StringConstraints(max_length=64)]
    other: Annotated[str, StringConstraints(max_length=64)]
    reason: Reason


class UnmergeRequest(Shape):
    reason: Reason


class CandidatesRequest(Shape):
    """`organisation` is on whose behalf the service asks, as of `ResolveRequest`."""

    person: PersonPush
    organisation: Text | None = None
    limit: Annotated[int, Field(ge=1, le=CANDIDATES_MAX)] = CANDIDATES_MAX


class PersonCandidate(Shape):
    """Somebody a record may be about.

    Attributes:
        sector_ids: every id by which the calling service may have stored the person.
        grade: certain (by an identifier), probable (alike enough to be taken for one person by the model),
            possible (somebody would have to look).
        score: how likely, from 0 to 1.
    """

    sector_ids: list[str]
    grade: Grade
    score: float


class CandidatesAnswer(Shape):
    candidates: list[PersonCandidate]
