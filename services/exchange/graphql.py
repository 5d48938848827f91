"""The catalogue and the agreements, for whoever wants to know what is shared and why."""

from datetime import datetime
from typing import Any

import strawberry
from strawberry.types import Info

from services.exchange.client import ExchangeClient
from services.exchange.shapes import Agreement as AgreementShape
from services.exchange.shapes import Dataset as DatasetShape
from services.kit.graphql import Page, client_of, first_of, page


@strawberry.type(description="An item of a dataset. 信息项。")
class DatasetItem:
    name: str
    type: str
    title_zh: str
    title_en: str


@strawberry.type(description="A dataset that a service shares. 政务信息资源。")
class Dataset:
    id: str
    provider: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    items: list[DatasetItem]
    sharing: str
    update_cycle: str
    personal: bool

    @classmethod
    def of(cls, shape: DatasetShape) -> "Dataset":
        return cls(
            id=shape.id,
            provider=shape.provider,
            title_zh=shape.title_zh,
            title_en=shape.title_en,
            summary_zh=shape.summary_zh,
            summary_en=shape.summary_en,
            items=[
                DatasetItem(name=i.name, type=i.type, title_zh=i.title_zh, title_en=i.title_en)
                for i in shape.items
            ],
            sharing=shape.sharing,
            update_cycle=shape.update_cycle,
            personal=shape.personal,
        )


@strawberry.type(description="What one service may read of another's data. 共享协议。")
class Agreement:
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
    state: str
    in_force: bool

    @classmethod
    def of(cls, shape: AgreementShape) -> "Agreement":
        return cls(**shape.model_dump())


@strawberry.type
class Query:
    @strawberry.field(description="The catalogue of shared data. 政务信息资源目录。")
    async def datasets(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Dataset] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.datasets(after=after, limit=first_of(first))
        return page([Dataset.of(shape) for shape in found.items], found.next)

    @strawberry.field(description="The agreements data is shared under. 数据共享协议。")
    async def agreements(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Agreement] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.agreements(after=after, limit=first_of(first))
        return page([Agreement.of(shape) for shape in found.items], found.next)
