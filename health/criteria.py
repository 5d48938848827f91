"""A search, as the rooms hand it to each other: the tree that `repository` alone turns into SQL."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Comparison = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


Span = Literal["dat", "num", "qty"]
"""The tables whose rows are intervals."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The resource has one of these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One of its token rows has one of these keys."""

    hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class References:
    """One of its reference rows has one of these keys."""

    hashes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is asked of an interval, and under which key.

    A date is `[lo, hi)` at the precision it was written in. A number's `[lo, hi)` is what rounds to it as it
    was written; where order is compared its precision says nothing, and both are the number.

    Attributes:
        end: the row's one end alone is compared; both where None.
        also: what must hold of the same row besides.
    """

    key: int
    comparison: Comparison
    lo: int | Decimal
    hi: int | Decimal
    end: Literal["lo", "hi"] | None = None
    also: "Bounds | None" = None


@dataclass(frozen=True, slots=True)
class Between:
    """One of its intervals in this table is as one of these asks."""

    table: Span
    any_of: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """It was last changed when one of these says."""

    any_of: tuple[Bounds, ...]


@dataclass(frozen=True, slots=True)
class Wording:
    """What is asked of a text or URI: `starts` and `contains` compare folded texts, `exact` as written."""

    key: int
    match: Literal["starts", "contains", "exact"]
    value: str


@dataclass(frozen=True, slots=True)
class Texts:
    """One of its texts or URIs is as one of these asks."""

    table: Literal["str", "uri"]
    any_of: tuple[Wording, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """It is within so many kilometres of one of these places: latitude, longitude, distance."""

    places: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Present:
    """It has a row under one of these keys: table and key."""

    rows: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Not:
    clause: "Clause"


@dataclass(frozen=True, slots=True)
class AnyOf:
    clauses: tuple["Clause", ...]


@dataclass(frozen=True, slots=True)
class Chained:
    """A reference of its under one of these keys leads to a resource that is as `to` asks."""

    keys: tuple[int, ...]
    to: "Criteria"


@dataclass(frozen=True, slots=True)
class Pointed:
    """A resource that is as `by` asks refers to it under one of these keys.

    Attributes:
        patient: it is the patient in whose compartment that resource is kept.
    """

    keys: tuple[int, ...]
    by: "Criteria"
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Coded:
    """A token of it is in a value set, or stands at, above or below a code. Terminology says which codes that
    are before a statement is made of it.

    Attributes:
        asked: URL of the value set; system and code.
        names: type and parameter, as the token index has them.
    """

    relation: Literal["in", "above", "below"]
    asked: tuple[str, ...]
    names: tuple[tuple[str, str], ...]


Clause = (
    Ids
    | Tokens
    | References
    | Between
    | Updated
    | Texts
    | Near
    | Present
    | Not
    | AnyOf
    | Chained
    | Pointed
    | Coded
)


@dataclass(frozen=True, slots=True)
class Criteria:
    """A search: resources of one of the types for which every clause holds."""

    types: tuple[str, ...]
    clauses: tuple[Clause, ...] = ()

    @property
    def type(self) -> str:
        """The type, where one alone is searched."""
        [found] = self.types
        return found


@dataclass(frozen=True, slots=True)
class Order:
    """What a search is sorted by.

    Attributes:
        of: `ts` and `id` of the resource, an element of its body, or an index table.
        keys: under which the rows of the table stand.
        path: SQL/JSON path of the element.
    """

    of: Literal["ts", "id", "body", "dat", "str", "num", "qty", "uri"]
    keys: tuple[int, ...] = ()
    path: str = ""
    descending: bool = False
