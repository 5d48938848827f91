"""The wire types of the exchange, shared by app, client and graphql."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self, get_args
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.kit.row_filters import Condition, Conditions

Sharing = Literal["unconditional", "conditional", "none"]
"""无条件共享, 有条件共享, 不予共享 (国发〔2016〕51号 第九条)."""
State = Literal["requested", "refused", "active", "suspended", "ended"]
STATES: tuple[State, ...] = get_args(State)
READ_LIMIT = 10_000
AGREEMENT_HEADER = "x-huimin-agreement"
"""Under which agreement an answer was given; its signature covers it."""
CONSUMER_HEADER = "x-huimin-consumer"
"""To which service it was given, so that it is good for no other; covered likewise."""
Cycle = Literal["realtime", "daily", "weekly", "monthly", "yearly"]
"""更新周期."""
Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500, pattern=r"^[^\x00]*$")
]
Name = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Item(Shape):
    """An item (信息项) of a dataset; `filterable` ones may choose the rows of an agreement."""

    name: str
    type: str
    title_zh: str
    title_en: str
    filterable: bool = False


class Department(Shape):
    """The organisation that answers for a service.

    Attributes:
        organisation: its unified social credit code (GB 32100); none until it is registered.
    """

    service: str
    organisation: str | None
    name_zh: str
    name_en: str


class DepartmentIn(Shape):
    organisation: Annotated[str, Field(pattern=r"^[0-9A-HJ-NP-RT-UW-Y]{18}$")]
    name_zh: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    name_en: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Described(Shape):
    """What a service says of a dataset it offers (政务信息资源).

    Attributes:
        sector_id: the item that names the person; a consumer gets it in its own sector.
        related: ids of datasets that belong with it (关联资源).
    """

    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    items: list[Item]
    sharing: Sharing
    sharing_condition_zh: str = ""
    sharing_condition_en: str = ""
    legal_basis: str | None = None
    update_cycle: Cycle
    personal: bool
    sector_id: str | None
    related: list[str] = []

    @model_validator(mode="after")
    def _not_shared_on_legal_basis(self) -> Self:
        if self.sharing == "none" and not (self.legal_basis or "").strip():
            raise ValueError("a dataset that is not shared needs its legal basis (国发〔2016〕51号 第九条)")
        return self


class Dataset(Described):
    """A dataset in the catalogue.

    Attributes:
        id: provider and name, e.g. `health.deaths`.
        code: 信息资源代码, its class and number in the directory.
        changed_at: when its entry changed; `fresh_at`: when its data did, as its provider said.
        late: whether its data are older than its update cycle allows; None when that is not known.
        withdrawn_at: since when its provider no longer offers it.
    """

    id: str
    code: str
    provider: str
    department: Department
    name: str
    first_seen: datetime
    changed_at: datetime
    fresh_at: datetime | None
    late: bool | None
    seen_at: datetime
    withdrawn_at: datetime | None = None


class DatasetPage(Shape):
    items: list[Dataset]
    next: str | None = None


class Agreement(Shape):
    """An agreement (共享协议): what one service may read of another's dataset.

    Attributes:
        filter: which rows; all of them when empty.
        purpose: a code of services/kit/purposes.py; `details` says it in the requester's words.
        needs_consent: only those people are read who consent to it.
        reads_per_day: the quota, with `rows_per_day`; days begin at midnight in China.
        due_at: until when the provider has to decide.
        due_by_weekdays: that term counts Monday to Friday, because the State Council's notice of a year in it
            was not known.
        overdue: whether it has not decided in time.
        in_force: whether a read under it would be answered now.
    """

    id: str
    dataset: str
    provider: str
    consumer: str
    items: list[str]
    filter: list[Condition]
    purpose: str
    details: str
    legal_basis: str
    needs_consent: bool
    reads_per_day: int
    rows_per_day: int
    valid_from: datetime
    valid_until: datetime
    state: State
    requested_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    in_force: bool


class StepTaken(Shape):
    """One change of an agreement's state; `organisation` is whose staff made it."""

    at: datetime
    state: State
    reason: str
    organisation: str | None


class Use(Shape):
    """What was read under an agreement on one day."""

    day: date
    reads: int
    rows: int


class AgreementFile(Shape):
    """One agreement with the steps it took and its use of the last 30 days."""

    agreement: Agreement
    steps: list[StepTaken]
    use: list[Use]


class AgreementRequest(Shape):
    """What a department asks of another's dataset.

    Attributes:
        consumer: the service that is to read.
        valid_from: at once, when it is not said.
    """

    dataset: Name
    consumer: Name
    items: Annotated[list[str], Field(min_length=1, max_length=100)]
    filter: Conditions = []
    purpose: Annotated[str, Field(max_length=100)]
    details: Reason
    legal_basis: Reason
    needs_consent: bool = False
    reads_per_day: Annotated[int, Field(ge=1, le=100_000)] = 1000
    rows_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime


class Verdict(Shape):
    """The provider's decision on a request."""

    approve: bool
    reason: Reason


class AgreementPage(Shape):
    items: list[Agreement]
    next: str | None = None


class Step(Shape):
    """Why an agreement's state is changed; kept for good beside who did it."""

    reason: Reason


class ReadPage(Shape):
    """A page of agreed items.

    Attributes:
        without_consent: rows left out because the agreement asks for consent and the person gives none.
        untranslated: rows left out because nobody is known under the provider's id.
    """

    agreement: str
    rows: list[dict[str, Any]]
    next: str | None = None
    untranslated: Annotated[int, Field(ge=0)] = 0
    without_consent: Annotated[int, Field(ge=0)] = 0


class SubscriptionRequest(Shape):
    """Which dataset's changes are asked for.

    Attributes:
        agreement: which of the caller's; when not said, the one in force that lasts longest.
    """

    dataset: Name
    agreement: Name | None = None


class Subscription(Shape):
    """Changes pushed to the service that asked for them.

    Attributes:
        state: `parked` when the consumer refused a batch, for the `reason`, `paused` when the provider's
            staff held it back; goes on when it is resumed.
        in_force: whether the agreement is: nothing is pushed while it is not.
        batches: that were answered, with so many `rows`.
        attempts: to push the next one, which failed for the `reason`.
    """

    id: UUID
    agreement: str
    dataset: str
    state: Literal["active", "paused", "parked", "ended"]
    in_force: bool
    batches: int
    rows: int
    pushed_at: datetime | None
    attempts: int
    reason: str | None


class SubscriptionPage(Shape):
    items: list[Subscription]
    next: str | None = None


class Push(Subscription):
    """A subscription as staff see it.

    Attributes:
        even_at: when it was last seen that everything there was had been told; the lag is counted from then.
    """

    provider: str
    consumer: str
    even_at: datetime | None


class PushPage(Shape):
    items: list[Push]
    next: str | None = None


class Standing(Shape):
    """Whether all there is was pushed and taken."""

    agreement: str
    settled: bool
