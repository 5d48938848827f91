"""The wire types of the exchange, shared by app, client and graphql."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Sharing = Literal["unconditional", "conditional", "none"]
"""无条件共享, 有条件共享, 不予共享 (国发〔2016〕51号 第九条)."""
State = Literal["requested", "refused", "active", "suspended", "ended"]
READ_LIMIT = 10_000


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Item(Shape):
    """An item (信息项) of a dataset."""

    name: str
    type: str
    title_zh: str
    title_en: str


class Dataset(Shape):
    """A dataset (政务信息资源) in the catalogue.

    Attributes:
        id: provider and name, e.g. `health.deaths`.
        sector_id: the item that names the person; a consumer gets it in its own sector.
        withdrawn_at: since when its provider no longer offers it.
    """

    id: str
    provider: str
    name: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    items: list[Item]
    sharing: Sharing
    sharing_condition_zh: str = ""
    sharing_condition_en: str = ""
    legal_basis: str | None = None
    update_cycle: str
    personal: bool
    sector_id: str | None
    changed_at: datetime
    seen_at: datetime
    withdrawn_at: datetime | None = None


class DatasetPage(Shape):
    items: list[Dataset]
    next: str | None = None


class Agreement(Shape):
    """An agreement (共享协议): what one service may read of another's dataset.

    Attributes:
        in_force: whether a read under it would be answered now.
    """

    id: str
    dataset: str
    provider: str
    consumer: str
    items: list[str]
    purpose: str
    purpose_en: str
    legal_basis: str
    valid_from: datetime
    valid_until: datetime
    state: State
    in_force: bool


class AgreementPage(Shape):
    items: list[Agreement]
    next: str | None = None


class Step(Shape):
    """Why an agreement's state is changed; kept for good beside who did it."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]


class ReadPage(Shape):
    """A page of agreed items.

    Attributes:
        untranslated: rows left out because nobody is known under the provider's id.
    """

    agreement: str
    rows: list[dict[str, Any]]
    next: str | None = None
    untranslated: Annotated[int, Field(ge=0)] = 0
