"""The wire types of the population register's doors beyond people: households, vital events, residence."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.identity.shapes import RESOLVE_LIMIT, UPSERT_LIMIT, Area, Identifier, Sex, Shape, Text


class BirthPush(Shape):
    """A birth as it is registered: the child is made by it, and each parent named stands for it from then."""

    child: Annotated[list[Identifier], Field(min_length=1, max_length=5)]
    name: Text | None = None
    born_on: date
    sex: Sex
    registered_on: date
    area: Area
    place: Text | None = None
    mother: Identifier | None = None
    father: Identifier | None = None


class BirthsRequest(Shape):
    births: Annotated[list[BirthPush], Field(max_length=RESOLVE_LIMIT)]


class DeathPush(Shape):
    person: Identifier
    died_on: date
    registered_on: date
    area: Area
    place: Text | None = None


class DeathsRequest(Shape):
    deaths: Annotated[list[DeathPush], Field(max_length=UPSERT_LIMIT)]


class MovePush(Shape):
    """Where somebody lives since a day; no area where the person left the country or the register."""

    person: Identifier
    since: date
    area: Area | None


class MovesRequest(Shape):
    moves: Annotated[list[MovePush], Field(max_length=UPSERT_LIMIT)]


Relation = Literal["head", "spouse", "child", "grandchild", "parent", "grandparent", "sibling", "other"]
"""To the head of the household, after GB/T 4761."""
HouseholdCode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,40}$")]


class MemberPush(Shape):
    """Entering a household, or another relation in it, ends what the person's membership was until then."""

    person: Identifier
    relation: Relation
    valid_from: date
    valid_to: date | None = None


class HouseholdPush(Shape):
    """A household (户) under the registry's number, with the members the registry has something to say of."""

    code: HouseholdCode
    area: Area
    kind: Literal["family", "collective"] = "family"
    valid_from: date
    valid_to: date | None = None
    members: Annotated[list[MemberPush], Field(default_factory=list, max_length=200)]


class HouseholdsRequest(Shape):
    households: Annotated[list[HouseholdPush], Field(max_length=RESOLVE_LIMIT)]


class Member(Shape):
    """A member by the id of the population registry's own sector (`civil`)."""

    person: str
    relation: str
    valid_from: date
    valid_to: date | None


class Household(Shape):
    code: str
    area: str
    kind: str
    valid_from: date
    valid_to: date | None
    members: list[Member]


class HouseholdPage(Shape):
    items: list[Household]
    next: str | None = None


class Birth(Shape):
    person: str
    born_on: date | None
    registered_on: date
    area: str
    place: str | None
    mother: str | None
    father: str | None


class BirthPage(Shape):
    items: list[Birth]
    next: str | None = None


class Death(Shape):
    person: str
    died_on: date
    registered_on: date
    area: str
    place: str | None


class DeathPage(Shape):
    items: list[Death]
    next: str | None = None


class Stay(Shape):
    """A stay in one area, until the day the next one began."""

    person: str
    since: date
    until: date | None
    area: str | None


class StayPage(Shape):
    items: list[Stay]
    next: str | None = None


class Residents(Shape):
    """How many people of a year of birth and sex lived in an area on a day."""

    area: str
    birth_year: int
    sex: str
    residents: int


class ResidentsPage(Shape):
    on: date
    items: list[Residents]
    next: str | None = None
