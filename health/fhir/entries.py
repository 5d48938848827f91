"""What the worker processes hand back: a bundle's entries, checked, cut and indexed, ready for the store."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Entry:
    """One resource to be stored.

    Attributes:
        path: FHIRPath of the entry (or of the resource, where it came alone), for `expression`.
        id: the id it will have unless it turns out to be in the store already.
        condition: the search of `ifNoneExist`, or of a conditional update or delete.
        id_said: an update by search says under which id.
        over: the version that was patched.
        meta: the members of `meta` as sent, without those the server sets; JSON text without braces.
        rest: all other members but `resourceType` and `id`, references rewritten; JSON text without braces.
        tokens: keys of the token index.
        identifiers: keys of its full identifiers (`system|value`), by which a repeated one is known again.
        references: parameter and target.
        dates: parameter key and interval.
        strings, numbers, quantities, uris, position: as of `extract.Rows`.
        patient: whose compartment it is in, as `Patient/id`.
        occurred: when it happened, microseconds since 1970.
        uses: local references it holds.
        person: what it says about a person, where it is a Patient.
        special: whether it is labelled as specially protected.
        redacted: `meta` and `rest` without the parts that are, where it has such parts.
        treats: where it says who treats the patient: the organisations as `Organization/id`; none where it
            names none and its keeper does.
        treated: until when it is known to have gone on, microseconds since 1970.
    """

    index: int
    path: str
    type: str
    id: str
    method: str
    meta: str
    rest: str
    full_url: str | None = None
    condition: str | None = None
    if_match: str | None = None
    id_said: bool = False
    over: int | None = None
    tokens: list[int] = field(default_factory=list)
    identifiers: list[int] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    dates: list[list[int]] = field(default_factory=list)
    strings: list[list[Any]] = field(default_factory=list)
    numbers: list[list[Any]] = field(default_factory=list)
    quantities: list[list[Any]] = field(default_factory=list)
    uris: list[list[Any]] = field(default_factory=list)
    position: list[float] | None = None
    patient: str | None = None
    occurred: int | None = None
    uses: list[str] = field(default_factory=list)
    person: dict[str, Any] | None = None
    special: bool = False
    redacted: list[str] | None = None
    treats: list[str] | None = None
    treated: int | None = None

    @property
    def local(self) -> str:
        return f"{self.type}/{self.id}"

    @property
    def resource_path(self) -> str:
        return f"{self.path}.resource" if self.path.startswith("Bundle") else self.path


@dataclass(slots=True)
class Conditional:
    """A reference by search: what it asks, what stands in the texts for it, where it was written."""

    type: str
    query: str
    stand_in: str
    paths: list[str]


@dataclass(slots=True)
class Request:
    """An entry that is asked at its own door: every one of a batch, and what a transaction reads."""

    index: int
    method: str
    url: str
    headers: dict[str, str]
    body: str | None = None


@dataclass(slots=True)
class Target:
    """A resource that an entry patches: the one of this id, or the one that a search means."""

    index: int
    path: str
    type: str
    id: str | None
    condition: str | None


@dataclass(slots=True)
class Prepared:
    """A whole push.

    Attributes:
        outside: places of the references to what must be in the store, by `Type/id`.
        deletes: entries that say nothing but what shall go.
        requests: entries that other doors answer.
        targets: what has to be known before anything else is prepared.
        batch: every entry stands by itself.
        parameters: the version of the search parameters beside FHIR's own that the index rows are made by.
    """

    entries: list[Entry]
    conditionals: list[Conditional] = field(default_factory=list)
    outside: dict[str, list[str]] = field(default_factory=dict)
    deletes: list[Entry] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    batch: bool = False
    parameters: str = ""


def loaded(found: dict[str, Any]) -> Prepared:
    """A Prepared from its JSON form."""
    return Prepared(
        entries=[Entry(**entry) for entry in found["entries"]],
        conditionals=[Conditional(**condition) for condition in found["conditionals"]],
        outside=found["outside"],
        deletes=[Entry(**entry) for entry in found["deletes"]],
        requests=[Request(**request) for request in found["requests"]],
        targets=[Target(**target) for target in found["targets"]],
        batch=found["batch"],
        parameters=found["parameters"],
    )
