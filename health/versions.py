"""What is kept of a resource, and what is found of it, between the interactions and the repository."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """A stored resource without its body."""

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    organisation: str | None
    client: str

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(slots=True)
class Index:
    """What a resource is found by, as rows of the index tables without its pk and pt.

    Attributes:
        references: hash, key, and pk of the stored resource that it leads to.
        dates: key and both ends.
        strings: key, folded text, and the text as written where that differs.
        numbers, quantities: key and both ends, as decimals are written.
        uris: key and URI.
        position: latitude and longitude.
    """

    tokens: list[int]
    references: list[tuple[int, int, int | None]]
    dates: list[list[int]]
    strings: list[list[Any]]
    numbers: list[list[Any]]
    quantities: list[list[Any]]
    uris: list[list[Any]]
    position: list[float] | None


@dataclass(slots=True)
class Version:
    """A version of a resource to be kept, with its index rows.

    Attributes:
        previous: the link of the version before, in the resource's hash chain.
        again: the version before was a deletion.
    """

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    occurred: int
    organisation: str | None
    client: str
    body: str
    method: str
    index: Index
    special: bool = False
    redacted: str | None = None
    previous: bytes | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Deletion:
    """The version of a resource that says that it was deleted.

    Attributes:
        previous: as of a Version.
    """

    pk: int
    type: str
    id: str
    version: int
    ts: datetime
    pt: int
    organisation: str | None
    client: str
    body: str
    previous: bytes

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Treating:
    """Who treats a patient, as a resource says.

    Attributes:
        organisation: as `Organization/id`; None where it is the one that keeps the resource.
    """

    pk: int
    pt: int
    organisation: str | None
    keeper: str | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Which person a Patient is about, and whether that person has died.

    Attributes:
        numbered: the Patient states the person's citizen number.
    """

    pt: int
    sector_id: str | None
    outcome: str
    deceased: bool
    death_date: date | None
    numbered: bool = False
