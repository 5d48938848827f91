"""The catalogue and the agreements: what is shared, on which terms, and what the departments decide."""

from datetime import date, datetime
from typing import Any

import strawberry
from pydantic import ValidationError
from strawberry.scalars import JSON
from strawberry.types import Info

from services.exchange import shapes
from services.exchange.client import ExchangeClient
from services.exchange.open_graphql import OpenMutation, OpenQuery
from services.exchange.person_graphql import MeFields as MeFields
from services.exchange.person_graphql import PersonMutation, PersonQuery
from services.kit.graphql import Page, client_of, coded, context_of, first_of, page
from services.kit.purposes import PURPOSES, words_of


@strawberry.type(description="An item of a dataset. 信息项。")
class DatasetItem:
    name: str
    type: str
    title_zh: str
    title_en: str
    filterable: bool


@strawberry.type(description="The organisation that answers for a service's data. 数据提供方。")
class Department:
    service: str
    organisation: str | None
    name_zh: str
    name_en: str
    mine: bool = strawberry.field(
        description="Whether whoever is signed in acts for it. 当前登录人是否属于该部门。"
    )

    @classmethod
    def of(cls, shape: shapes.Department, info: Info[Any, Any]) -> "Department":
        who = context_of(info).principal
        mine = shape.organisation is not None and shape.organisation == who.organisation
        return cls(**shape.model_dump(), mine=mine)


@strawberry.type(description="What personal data may be used for. 用途。")
class Purpose:
    code: str
    zh: str
    en: str


@strawberry.type(description="A dataset that a service shares. 政务信息资源。")
class Dataset:
    id: str
    code: str
    provider: str
    department: Department
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    items: list[DatasetItem]
    sharing: str
    sharing_condition_zh: str
    sharing_condition_en: str
    legal_basis: str | None
    update_cycle: str
    personal: bool
    fresh_at: datetime | None
    late: bool | None

    @classmethod
    def of(cls, shape: shapes.Dataset, info: Info[Any, Any]) -> "Dataset":
        left_out = {"name", "sector_id", "related", "first_seen", "changed_at", "seen_at", "withdrawn_at"}
        said = shape.model_dump(exclude=left_out | {"items", "department"})
        return cls(
            **said,
            items=[DatasetItem(**item.model_dump()) for item in shape.items],
            department=Department.of(shape.department, info),
        )


@strawberry.type(description="A condition on the rows of an agreement. 数据行条件。")
class RowCondition:
    item: str
    op: str
    value: JSON


@strawberry.type(description="What one service may read of another's data. 共享协议。")
class Agreement:
    id: str
    dataset: str
    provider: str
    consumer: str
    items: list[str]
    filter: list[RowCondition]
    purpose: str
    purpose_zh: str
    purpose_en: str
    details: str
    legal_basis: str
    needs_consent: bool
    reads_per_day: int
    rows_per_day: int
    valid_from: datetime
    valid_until: datetime
    state: str
    requested_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    in_force: bool

    @classmethod
    def of(cls, shape: shapes.Agreement) -> "Agreement":
        words = words_of(shape.purpose)
        said = shape.model_dump(exclude={"filter"})
        conditions = [RowCondition(**one.model_dump()) for one in shape.filter]
        return cls(**said, filter=conditions, purpose_zh=words.zh, purpose_en=words.en)


@strawberry.type(description="A change of an agreement's state. 协议办理环节。")
class AgreementStep:
    at: datetime
    state: str
    reason: str
    organisation: str | None


@strawberry.type(description="What was read under an agreement on one day. 每日用量。")
class AgreementUse:
    day: date
    reads: int
    rows: int


@strawberry.type(description="An agreement, its steps, its use of the last 30 days. 协议及其办理与用量。")
class AgreementFile:
    agreement: Agreement
    steps: list[AgreementStep]
    use: list[AgreementUse]


@strawberry.type(description="Changes pushed to a service under an agreement. 数据变更推送。")
class DataPush:
    id: strawberry.ID
    agreement: str
    dataset: str
    provider: str
    consumer: str
    state: str
    in_force: bool
    batches: int
    rows: int
    pushed_at: datetime | None
    even_at: datetime | None
    attempts: int
    reason: str | None

    @classmethod
    def of(cls, shape: shapes.Push) -> "DataPush":
        return cls(**shape.model_dump() | {"id": strawberry.ID(str(shape.id))})


@strawberry.input(description="op: eq, in, ge, le or prefix; a list of values for in. 数据行条件。")
class RowConditionInput:
    item: str
    op: str
    value: JSON


@strawberry.input(description="What a department asks of another's dataset. 共享申请。")
class AgreementRequest:
    dataset: str
    consumer: str
    items: list[str]
    purpose: str
    details: str
    legal_basis: str
    valid_until: datetime
    valid_from: datetime | None = None
    filter: list[RowConditionInput] = strawberry.field(default_factory=list)
    needs_consent: bool = False
    reads_per_day: int = 1000
    rows_per_day: int = 1_000_000

    def shape(self) -> shapes.AgreementRequest:
        """Raises GraphQLError BAD_USER_INPUT, naming each field."""
        try:
            return shapes.AgreementRequest.model_validate(strawberry.asdict(self))
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise coded("BAD_USER_INPUT", "; ".join(faults)) from error


@strawberry.type
class Query(PersonQuery, OpenQuery):
    @strawberry.field(description="The catalogue of shared data. 政务信息资源目录。")
    async def datasets(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Dataset] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.datasets(after=after, limit=first_of(first))
        return page([Dataset.of(shape, info) for shape in found.items], found.next)

    @strawberry.field(description="One dataset of the catalogue. 一项信息资源。")
    async def dataset(self, info: Info[Any, Any], id: strawberry.ID) -> Dataset | None:
        return Dataset.of(await (await client_of(info, ExchangeClient)).dataset(str(id)), info)

    @strawberry.field(description="What personal data may be used for: the closed list. 用途代码表。")
    async def purposes(self) -> list[Purpose] | None:
        return [Purpose(code=code, zh=words.zh, en=words.en) for code, words in PURPOSES.items()]

    @strawberry.field(description="Who answers for which service's data. 各数据提供方。")
    async def departments(self, info: Info[Any, Any]) -> list[Department] | None:
        client = await client_of(info, ExchangeClient)
        return [Department.of(shape, info) for shape in await client.departments()]

    @strawberry.field(description="The agreements data is shared under, newest first. 数据共享协议。")
    async def agreements(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, state: str | None = None
    ) -> Page[Agreement] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.agreements(state=_state(state), after=after, limit=first_of(first))
        return page([Agreement.of(shape) for shape in found.items], found.next)

    @strawberry.field(description="One agreement, its steps and its use. 一份共享协议。")
    async def agreement(self, info: Info[Any, Any], id: strawberry.ID) -> AgreementFile | None:
        found = await (await client_of(info, ExchangeClient)).agreement(str(id))
        return AgreementFile(
            agreement=Agreement.of(found.agreement),
            steps=[AgreementStep(**step.model_dump()) for step in found.steps],
            use=[AgreementUse(**day.model_dump()) for day in found.use],
        )

    @strawberry.field(description="Whose changes are pushed to whom, and how far. 数据变更推送情况。")
    async def data_pushes(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[DataPush] | None:
        found = await (await client_of(info, ExchangeClient)).pushes(after=after, limit=first_of(first))
        return page([DataPush.of(shape) for shape in found.items], found.next)


def _state(state: str | None) -> shapes.State | None:
    for known in shapes.STATES:
        if state == known:
            return known
    if state is not None:
        raise coded("BAD_USER_INPUT", f"state must be one of {', '.join(shapes.STATES)}")
    return None


@strawberry.type
class Mutation(PersonMutation, OpenMutation):
    @strawberry.mutation(description="Asks another department for data. 申请共享数据。")
    async def request_agreement(self, info: Info[Any, Any], input: AgreementRequest) -> Agreement | None:
        client = await client_of(info, ExchangeClient)
        return Agreement.of(await client.request_agreement(input.shape()))

    @strawberry.mutation(description="The provider's decision, with its reason. 审批共享申请。")
    async def decide_agreement(
        self, info: Info[Any, Any], id: strawberry.ID, approve: bool, reason: str
    ) -> Agreement | None:
        client = await client_of(info, ExchangeClient)
        return Agreement.of(await client.decide_agreement(str(id), approve=approve, reason=reason))

    @strawberry.mutation(description="Stops reads under an agreement, for now. 中止共享协议。")
    async def suspend_agreement(
        self, info: Info[Any, Any], id: strawberry.ID, reason: str
    ) -> Agreement | None:
        return Agreement.of(await (await client_of(info, ExchangeClient)).suspend_agreement(str(id), reason))

    @strawberry.mutation(description="Lets reads go on. 恢复共享协议。")
    async def resume_agreement(
        self, info: Info[Any, Any], id: strawberry.ID, reason: str
    ) -> Agreement | None:
        return Agreement.of(await (await client_of(info, ExchangeClient)).resume_agreement(str(id), reason))

    @strawberry.mutation(description="Ends an agreement, or takes a request back. 终止共享协议。")
    async def end_agreement(self, info: Info[Any, Any], id: strawberry.ID, reason: str) -> Agreement | None:
        return Agreement.of(await (await client_of(info, ExchangeClient)).end_agreement(str(id), reason))

    @strawberry.mutation(description="Holds pushed changes back. 暂停推送。")
    async def pause_push(self, info: Info[Any, Any], id: strawberry.ID, reason: str) -> DataPush | None:
        return DataPush.of(
            await (await client_of(info, ExchangeClient)).change_push(str(id), "pause", reason)
        )

    @strawberry.mutation(description="Lets pushed changes go on. 恢复推送。")
    async def resume_push(self, info: Info[Any, Any], id: strawberry.ID, reason: str) -> DataPush | None:
        client = await client_of(info, ExchangeClient)
        return DataPush.of(await client.change_push(str(id), "resumption", reason))

    @strawberry.mutation(description="Has everything pushed again from the beginning. 重新推送。")
    async def tell_again(self, info: Info[Any, Any], id: strawberry.ID, reason: str) -> DataPush | None:
        client = await client_of(info, ExchangeClient)
        return DataPush.of(await client.change_push(str(id), "retelling", reason))
