"""The wire types of open data and of exports for research."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator

from services.exchange.shapes import Name, Reason, Shape

ReleaseState = Literal["queued", "published", "withheld", "withdrawn"]
ApplicationState = Literal["requested", "refused", "approved", "exported", "withheld", "ended"]
Way = Literal["value", "month", "quarter", "year", "five_years", "decade", "county", "prefecture", "province"]
Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=2_000, pattern=r"^[^\x00]*$")
]
_COORDINATE = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Dimension(Shape):
    """A column that is counted by: an item of the dataset, and how coarse it is told."""

    name: str
    item: str
    way: Way
    title_zh: str
    title_en: str


class Release(Shape):
    """A version of an open dataset.

    Attributes:
        cells: how many it has, `suppressed` of them without their count. From how many rows is not said: a
            total tells of a single count that is withheld.
        k: the smallest count that it shows.
        reason: why it was withheld or withdrawn.
    """

    product: str
    version: int
    state: ReleaseState
    requested_at: datetime
    ended_at: datetime | None
    reason: str | None
    cells: int | None
    suppressed: int | None
    k: int | None
    csv_bytes: int | None
    csv_sha256: str | None
    parquet_bytes: int | None
    parquet_sha256: str | None


class Product(Shape):
    """An open dataset (开放数据集).

    Attributes:
        k: counts below it are withheld; the others are `rounded_to`.
        release: the newest one published.
    """

    id: str
    dataset: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    dimensions: list[Dimension]
    counts: Literal["people", "rows"]
    k: int
    rounded_to: int
    legal_basis: str
    release: Release | None


class ProductPage(Shape):
    items: list[Product]
    next: str | None = None


class ReleasePage(Shape):
    items: list[Release]
    next: str | None = None


class EncryptionKey(Shape):
    """The public key that the export is sealed to: P-256, for encryption alone (RFC 7517)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: _COORDINATE
    y: _COORDINATE
    use: Literal["enc"] = "enc"
    kid: Annotated[str, StringConstraints(max_length=200)] | None = None
    alg: Literal["ECDH-ES+A256KW"] = "ECDH-ES+A256KW"


class ExportItem(Shape):
    """An item of the dataset, and how coarse it is told."""

    item: Name
    way: Way = "value"


class ApplicationIn(Shape):
    """A request for rows under pseudonyms.

    Attributes:
        items: what is told of each person; the fewer and coarser, the more people stay in.
        k: everybody shares what is told of them with at least k - 1 others, or is left out.
        ethics: the approval of an ethics committee, where the law asks for one.
        encryption_jwk: the file is sealed to this key and to nobody else.
    """

    title: Annotated[Words, StringConstraints(max_length=200)]
    details: Words
    dataset: Name
    items: Annotated[list[ExportItem], Field(min_length=1, max_length=50)]
    k: Annotated[int, Field(ge=5, le=10_000)] = 10
    legal_basis: Words
    ethics: Words | None = None
    valid_until: date
    encryption_jwk: EncryptionKey

    @field_validator("items")
    @classmethod
    def _each_once(cls, items: list[ExportItem]) -> list[ExportItem]:
        if len({one.item for one in items}) < len(items):
            raise ValueError("an item stands twice")
        return items


class Application(Shape):
    """An application for an export, and what became of it."""

    id: UUID
    organisation: str
    title: str
    details: str
    dataset: str
    items: list[ExportItem]
    k: int
    legal_basis: str
    ethics: str | None
    valid_until: date
    state: ApplicationState
    requested_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class ApplicationPage(Shape):
    items: list[Application]
    next: str | None = None


class DecisionIn(Shape):
    """What a person decided, and why; kept for good beside who did."""

    approve: bool
    reason: Reason
