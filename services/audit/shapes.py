"""What goes over the wire at the audit's doors. Hashes are hexadecimal."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Head(BaseModel):
    """The tree's size and root at a time; `jws` is the same, signed (ES256 over RFC 8785 JSON)."""

    size: int
    root: str
    at: datetime
    jws: str


class HeadPage(BaseModel):
    """Heads by size; `next` is the `after` of the following page."""

    heads: list[Head]
    next: int | None


class DailyHead(Head):
    """The last head of a day (UTC); of today the newest so far."""

    day: date


class DailyHeadPage(BaseModel):
    """Heads by day; `next` is the `after` of the following page."""

    heads: list[DailyHead]
    next: date | None


class Leaf(BaseModel):
    """An access leaf at its place in the tree.

    Attributes:
        hash: as it went into the tree.
        body: as it stands at its source now (RFC 8785 JSON); null when it is not there any more.
        beside: columns beside the body that do not say what it says.
    """

    index: int
    source: str
    seq: int
    at: datetime
    hash: str
    body: str | None
    beside: list[str] = []


class Tile(BaseModel):
    """Hashes of 256 leaves (level 0), or roots of 256 subtrees over 256**level leaves each."""

    level: int
    number: int
    hashes: str


class TilePage(BaseModel):
    """Tiles by level and number; `next` is the `after` of the following page."""

    tiles: list[Tile]
    next: str | None


class LeafPage(BaseModel):
    """Leaves by index, and the tiles of level 0 over them."""

    leaves: list[Leaf]
    tiles: list[Tile]
    next: int | None


class Stray(BaseModel):
    """A row that stands where the log has none, or does not say what its leaf says; `what` tells."""

    source: str
    seq: int
    what: str


class StrayPage(BaseModel):
    """`size` is the number of leaves in the tree now, whether a head is signed over them yet or not."""

    strays: list[Stray]
    size: int


class InclusionProof(BaseModel):
    """RFC 6962 section 2.1.1: with `path`, the leaf hash gives the head's root."""

    index: int
    leaf: str
    path: list[str]
    head: Head


class ConsistencyProof(BaseModel):
    """RFC 6962 section 2.1.2: with `path`, the first root is seen to be part of the second."""

    path: list[str]
    first: Head
    second: Head


class Keys(BaseModel):
    """JWK set."""

    keys: list[dict[str, Any]]


USAGES_LIMIT = 10_000
SectorId = Annotated[str, Field(pattern=r"^h1_[A-Z2-7]{26}$")]


class UsagesRequest(BaseModel):
    """Whose usages are asked for: one person, by the ids each service knows them under.

    Attributes:
        subjects: by service, all ids that the person has had there.
        since, until: bounds of the access's own time, both included; `from` on the wire.
        own: whether accesses for the person's own reading (purpose own_records) are among them.
        index: that one leaf, if it is among the person's.
        after: where the page before ended; it keeps to the tree as it was at the first page.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    subjects: Annotated[dict[str, Annotated[list[SectorId], Field(max_length=50)]], Field(max_length=20)]
    since: Annotated[AwareDatetime | None, Field(alias="from")] = None
    until: AwareDatetime | None = None
    own: bool = True
    index: Annotated[int, Field(ge=0)] | None = None
    after: Annotated[str, Field(max_length=500)] | None = None
    offset: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=0, le=USAGES_LIMIT)] = 1000


class Usage(BaseModel):
    """One access to a person's data, as its leaf says it.

    Attributes:
        index: of the leaf in the tree, for `/audit/proofs/inclusion`.
        service: which service's data.
        client, actor: who asked: the client, and the person or account behind it.
    """

    index: int
    at: datetime
    service: str
    action: str
    organisation: str | None = None
    client: str | None = None
    actor: str | None = None
    system: str | None = None
    purpose: str | None = None
    legal_basis: str | None = None
    relation: str | None = None
    reason: str | None = None
    outcome: Literal["permitted", "refused"] = "permitted"
    records: int = 1
    agreement: str | None = None
    resource: str | None = None


class UsagePage(BaseModel):
    """Newest first.

    Attributes:
        total: how many there are in all, whatever page this is; without the hidden ones.
        hidden: how many are not shown because a recorded right hides them.
    """

    items: list[Usage]
    total: int
    hidden: int
    next: str | None = None


class UsagePeriod(BaseModel):
    """Since when accesses are on record; null before the first."""

    since: datetime | None


OutcomeKind = Literal["backup", "drill", "restore", "promote", "standby"]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Outcome(BaseModel):
    """What became of a backup, a drill, a restore, a promotion, or of commits waiting for the standby.

    Attributes:
        id: made by whoever tells it: told twice, it counts once.
        at: when it ended.
        seconds: how long it took.
        rpo_s: how much of the latest time would be, or was, lost.
        rto_s: from nothing to a database that answers.
        bytes: size of what was kept, sealed.
        detail: one line for a person.
    """

    model_config = ConfigDict(extra="forbid")

    id: UUID
    at: AwareDatetime
    kind: OutcomeKind
    ok: bool
    seconds: _Seconds | None = None
    rpo_s: _Seconds | None = None
    rto_s: _Seconds | None = None
    bytes: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    detail: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""


class OutcomePage(BaseModel):
    """Newest first; `next` is the `after` of the following page."""

    items: list[Outcome]
    next: str | None
