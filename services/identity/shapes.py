"""The wire types of identity's own doors, shared by app, client and graphql."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

CITIZEN_NUMBER = "urn:huimin:id:citizen-number"
STUDENT_NUMBER = "urn:huimin:id:student-number"

MERGES = "identity:merges"
"""Where Valkey calls whoever keeps tokens that name people, when it was decided anew who is one with whom."""
RESOLVE_LIMIT = 2000
TRANSLATE_LIMIT = 10_000
SECTOR_IDS_LIMIT = 1000
UPSERT_LIMIT = 5000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Area = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{5}([0-9]{3}([0-9]{3})?)?$")]
Reach = Annotated[str, StringConstraints(pattern=r"^(0{6}|[1-9][0-9]{5}([0-9]{3}([0-9]{3})?)?)$")]
"""An area that somebody's rights are limited to; 000000 is the whole country."""
Sex = Literal["male", "female", "other", "unknown"]
EntityStatus = Literal["active", "suspended", "revoked", "dissolved"]
"""存续, 停业, 吊销, 注销."""
Outcome = Literal["matched", "created", "review", "conflict", "invalid", "unknown"]
ClientKind = Literal[
    "hospital",
    "school",
    "agency",
    "insurer",
    "gate",
    "site",
    "registry",
    "auditor",
    "portal",
    "researcher",
    "app",
]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Identifier(Shape):
    """An identifier as its sender wrote it; `system` says whose it is."""

    system: Text
    value: Text


class PersonPush(Shape):
    """What a push says about one person. `ref` comes back with the answer and means nothing here.

    A person needs at least one identifier to be found or made. A record whose standard has none (a FHIR
    Patient without `identifier`) is sent with a local one of the sender's own, e.g. its resource id.
    """

    ref: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    identifiers: Annotated[list[Identifier], Field(max_length=20)]
    name: Text | None = None
    birth_date: date | None = None
    sex: Sex | None = None
    death_date: date | None = None
    area: Area | None = None
    phone: Text | None = None
    """Compared in blind form and not kept."""


class PersonsRequest(Shape):
    people: Annotated[list[PersonPush], Field(max_length=RESOLVE_LIMIT)]
    create: bool = True


class ResolveRequest(PersonsRequest):
    """`organisation` is on whose behalf the service asks: local identifiers are that organisation's own, and
    mean nobody of another's. Without it they are the service's own."""

    organisation: Text | None = None


class Resolved(Shape):
    """What became of one person.

    Attributes:
        outcome: matched (known), created (new), review (new, until a clerk has looked whether it is somebody
            known), conflict (the push contradicts what is known: nothing was merged), invalid (an identifier
            cannot be right), unknown (not found, and not to be made).
        code: the reason's name where there is no sector id.
        problem: the reason in words; never holds an identifier.
        warnings: what is odd but no ground to refuse, such as `unknown_area`.
    """

    ref: str
    sector_id: str | None
    outcome: Outcome
    code: str | None = None
    problem: str | None = None
    warnings: list[str] = []


class ResolveAnswer(Shape):
    people: list[Resolved]


class TranslateRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    source: Annotated[str, Field(alias="from")]
    target: Annotated[str, Field(alias="to")]
    ids: Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=TRANSLATE_LIMIT)]


class TranslateAnswer(Shape):
    ids: list[str | None]


SectorIds = Annotated[
    list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=TRANSLATE_LIMIT)
]


class MergedId(Shape):
    """A sector's id of an entry that is one person with an elder one, and that one's id."""

    id: str
    now: str


class MergedIdsPage(Shape):
    items: list[MergedId]
    next: str | None


class SectorIdsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    source: Annotated[str, Field(alias="from")]
    targets: Annotated[list[str], Field(alias="to", min_length=1, max_length=20)]
    ids: Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=SECTOR_IDS_LIMIT)]
    purpose: Annotated[str | None, Field(max_length=100)] = None
    """What they are wanted for, as the leaf will say."""


class SectorIdsAnswer(Shape):
    """Of each person, by sector, every id there has been: the one given out now first."""

    ids: list[dict[str, list[str]] | None]


class Renewal(Shape):
    """An id of a sector, and the same entry's as the key version to come has it."""

    old: str
    new: str


class RenewalsPage(Shape):
    """Attributes:
    version: the one to come.
    total: how many there are in all; said with the first page alone.
    """

    version: int
    items: list[Renewal]
    next: str | None
    total: int | None


class SealRequest(Shape):
    """People of the calling service's sector, to be named to another service."""

    target: str
    ids: SectorIds


class SealAnswer(Shape):
    """Each person's id in the target's sector as a JWE that the target alone can read."""

    sealed: list[str | None]


class RotationRequest(Shape):
    """A new key version for a sector; after it was adopted, ids of the old one are understood this long."""

    sector: Text
    overlap_days: Annotated[int, Field(ge=1, le=365)] = 30


class RotationAnswer(Shape):
    sector: str
    version: int
    job: UUID


class AdoptionRequest(Shape):
    version: int


class SectorKeyVersion(Shape):
    sector: str
    version: int
    state: Literal["offered", "current", "leaving", "retired"]
    created_at: datetime
    prepared_at: datetime | None
    understood_until: datetime | None
    overlap_days: int


class SectorKeysAnswer(Shape):
    keys: list[SectorKeyVersion]


class MaskedIdentifier(Shape):
    system: str
    value: str


class Ward(Shape):
    """A child somebody stands for, until the day it turns 18 or the guardianship ends before."""

    name: str | None
    birth_date: date | None
    relation: str
    until: date


class PlaceRef(Shape):
    code: str
    name: str | None = None
    name_en: str | None = None


class Me(Shape):
    """A person's own entry in the population register."""

    name: str | None
    birth_date: date | None
    sex: Sex | None
    area: PlaceRef | None
    masked_identifiers: list[MaskedIdentifier]
    guardian_of: list[Ward]


class ClientRequest(Shape):
    """A client to register. `jwk` is the public half of a P-256 key; the private half never leaves home."""

    kind: ClientKind
    name: Text
    organisation: Text | None = None
    area: Reach | None = None
    jwk: dict[str, Any] | None = None
    redirect_uris: Annotated[
        list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=10)
    ] = []


class ClientAnswer(Shape):
    client_id: str
    kind: str
    scopes: list[str]


class External(Shape):
    """Who somebody is at the outside issuer that people sign in at."""

    issuer: Text
    subject: Text


class AccountRequest(Shape):
    """An account. One with a password exists in the demo only; others sign in at the outside issuer."""

    kind: Literal["person", "staff"]
    username: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[\w.@-]{2,64}$")] | None = (
        None
    )
    password: Annotated[str, StringConstraints(min_length=8, max_length=200)] | None = None
    external: External | None = None
    roles: list[Text] = []
    areas: list[Reach] = []
    """Where a staff account's rights hold; required for one."""
    organisation: Text | None = None
    identifier: Identifier | str | None = None
    """The person's identifier; a bare string is a citizen number."""


class AccountAnswer(Shape):
    account_id: str
    created: bool


class OrganisationPush(Shape):
    """A legal entity (法人). `representative` is kept as a link to a person and shown to nobody here.

    What is not said of status, term and representative stays as it was.
    """

    uscc: str
    name: Text
    name_en: Text | None = None
    kind: Text
    area: Area
    parent: str | None = None
    status: EntityStatus | None = None
    representative: Identifier | None = None
    valid_from: date | None = None
    valid_to: date | None = None


class OrganisationsRequest(Shape):
    organisations: Annotated[list[OrganisationPush], Field(max_length=UPSERT_LIMIT)]


class Organisation(Shape):
    uscc: str
    name: str
    name_en: str | None = None
    kind: str
    area: str
    parent: str | None = None
    status: EntityStatus = "active"
    valid_from: date | None = None
    valid_to: date | None = None


class PlacePush(Shape):
    """An area of GB/T 2260 (6 digits) or below it (9 and 12 digits).

    `valid_from` is since when the code stands for this area under this name: a later one than is known, with
    another name, is a change of name. A code that ended says into which it went: one for a change or a
    merger, several for a split.
    """

    code: Area
    name: Text
    name_en: Text | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    successors: Annotated[list[Area], Field(max_length=20)] = []


class PlacesRequest(Shape):
    places: Annotated[list[PlacePush], Field(max_length=UPSERT_LIMIT)]


class Place(Shape):
    code: str
    name: str
    name_en: str | None = None
    parent: str | None = None
    level: str
    valid_from: date | None = None
    valid_to: date | None = None
    successors: list[str] = []


class PlacePage(Shape):
    items: list[Place]
    next: str | None = None


class OrganisationPage(Shape):
    items: list[Organisation]
    next: str | None = None


class KnownWard(Ward):
    """A ward by its id in the sector that asks."""

    id: str


class WardsRequest(Shape):
    """Whose wards: a guardian's id in the sector of the service that asks."""

    guardian: Annotated[str, Field(pattern=r"^h1_[A-Z2-7]{26}$")]


class WardsAnswer(Shape):
    wards: list[KnownWard]


class GuardianshipPush(Shape):
    guardian: Identifier
    ward: Identifier
    relation: Literal["parent", "grandparent", "sibling", "appointed"]
    valid_from: date
    valid_to: date | None = None


class GuardianshipsRequest(Shape):
    guardianships: Annotated[list[GuardianshipPush], Field(max_length=UPSERT_LIMIT)]


class Accepted(Shape):
    """A receipt: how many entries were taken, and how many of them were new or changed."""

    accepted: int
    changed: int


class SigningKey(Shape):
    kid: str
    state: Literal["next", "active", "retired"]
    created_at: datetime
    activated_at: datetime | None = None
    retired_at: datetime | None = None


class KeysAnswer(Shape):
    keys: list[SigningKey]
