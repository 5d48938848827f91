"""Open data for everybody; releases and applications for exports for data stewards."""

from datetime import date, datetime
from typing import Any, get_args
from uuid import UUID

import strawberry
from strawberry.types import Info

from services.exchange import open_shapes as shapes
from services.exchange.client import ExchangeClient
from services.kit.graphql import Page, client_of, coded, first_of, page


@strawberry.type(description="A version of an open dataset. 开放数据集的一个版本。")
class OpenRelease:
    version: int
    state: str
    requested_at: datetime
    ended_at: datetime | None
    reason: str | None
    cells: int | None
    suppressed: int | None
    k: int | None
    csv: str | None
    csv_sha256: str | None
    parquet: str | None
    parquet_sha256: str | None

    @classmethod
    def of(cls, shape: shapes.Release) -> "OpenRelease":
        path = f"/open-data/products/{shape.product}/releases/{shape.version}"
        published = shape.state == "published"
        said = shape.model_dump(exclude={"product", "csv_bytes", "parquet_bytes"})
        return cls(
            **said, csv=f"{path}/csv" if published else None, parquet=f"{path}/parquet" if published else None
        )


@strawberry.type(description="What an open dataset counts by. 统计维度。")
class OpenDimension:
    name: str
    item: str
    way: str
    title_zh: str
    title_en: str


@strawberry.type(description="Counts that anybody may have. 开放数据集。")
class OpenDataset:
    id: strawberry.ID
    dataset: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    dimensions: list[OpenDimension]
    counts: str
    k: int
    rounded_to: int
    legal_basis: str
    release: OpenRelease | None

    @classmethod
    def of(cls, shape: shapes.Product) -> "OpenDataset":
        said = shape.model_dump(exclude={"dimensions", "release"})
        return cls(
            **said,
            dimensions=[OpenDimension(**one.model_dump()) for one in shape.dimensions],
            release=None if shape.release is None else OpenRelease.of(shape.release),
        )


@strawberry.type(description="An item of an export, and how coarse it is told. 导出数据项。")
class ExportItem:
    item: str
    way: str


@strawberry.type(description="A request for rows under pseudonyms. 数据利用申请。")
class ExportApplication:
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
    state: str
    requested_at: datetime
    due_at: datetime
    due_by_weekdays: bool
    overdue: bool
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None

    @classmethod
    def of(cls, shape: shapes.Application) -> "ExportApplication":
        items = [ExportItem(**one.model_dump()) for one in shape.items]
        return cls(**shape.model_dump(exclude={"items"}), items=items)


@strawberry.type
class OpenQuery:
    @strawberry.field(description="Counts that anybody may have, as CSV and Parquet. 开放数据。")
    async def open_data(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[OpenDataset] | None:
        found = await (await client_of(info, ExchangeClient)).open_data(after=after, limit=first_of(first))
        return page([OpenDataset.of(shape) for shape in found.items], found.next)

    @strawberry.field(description="Versions of an open dataset, the newest first. 开放数据集的历次版本。")
    async def open_releases(
        self, info: Info[Any, Any], id: strawberry.ID, first: int = 20, after: str | None = None
    ) -> Page[OpenRelease] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.releases(str(id), after=after, limit=first_of(first))
        return page([OpenRelease.of(shape) for shape in found.items], found.next)

    @strawberry.field(description="Applications for exports. 数据利用申请。")
    async def export_applications(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, state: str | None = None
    ) -> Page[ExportApplication] | None:
        client = await client_of(info, ExchangeClient)
        found = await client.applications(state=_state(state), after=after, limit=first_of(first))
        return page([ExportApplication.of(shape) for shape in found.items], found.next)


@strawberry.type
class OpenMutation:
    @strawberry.mutation(description="Has the next version counted, checked and published. 发布开放数据。")
    async def release_open_data(self, info: Info[Any, Any], id: strawberry.ID) -> OpenRelease | None:
        return OpenRelease.of(await (await client_of(info, ExchangeClient)).order_release(str(id)))

    @strawberry.mutation(description="Takes a published version back. 撤回开放数据版本。")
    async def withdraw_open_data(
        self, info: Info[Any, Any], id: strawberry.ID, version: int, reason: str
    ) -> OpenRelease | None:
        client = await client_of(info, ExchangeClient)
        return OpenRelease.of(await client.withdraw_release(str(id), version, reason))

    @strawberry.mutation(description="A data steward's decision, with its reason. 审批数据利用申请。")
    async def decide_export(
        self, info: Info[Any, Any], id: UUID, approve: bool, reason: str
    ) -> ExportApplication | None:
        client = await client_of(info, ExchangeClient)
        return ExportApplication.of(await client.decide_export(id, approve=approve, reason=reason))


def _state(state: str | None) -> shapes.ApplicationState | None:
    states: tuple[shapes.ApplicationState, ...] = get_args(shapes.ApplicationState)
    for known in states:
        if state == known:
            return known
    if state is not None:
        raise coded("BAD_USER_INPUT", f"state must be one of {', '.join(states)}")
    return None
