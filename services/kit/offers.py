"""Datasets a service offers to others: described to everybody, read by the exchange alone."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.requests import Request

from services.kit.principals import Principal, allowed
from services.kit.problems import forbidden, not_found

ReadPage = Callable[..., Awaitable[tuple[list[dict[str, Any]], str | None]]]
"""`async (connection, *, after: str | None, limit: int) -> (rows, next_after or None)`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item (信息项) of a dataset."""

    name: str
    type: str
    title_zh: str
    title_en: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A dataset (政务信息资源) with what its catalogue entry must say (国发〔2016〕51号).

    Attributes:
        sharing: `unconditional` 无条件 | `conditional` 有条件 | `none` 不予共享;
            the last needs its legal basis.
        update_cycle: realtime | daily | weekly | monthly | yearly.
        sector_id: the item that holds the provider's sector ids, which the exchange translates.
    """

    dataset: str
    title_zh: str
    title_en: str
    summary_zh: str
    summary_en: str
    items: Sequence[Item]
    read: ReadPage = field(repr=False)
    sharing: str = "conditional"
    sharing_condition_zh: str = ""
    sharing_condition_en: str = ""
    legal_basis: str | None = None
    update_cycle: str = "daily"
    personal: bool = True
    sector_id: str | None = "sector_id"

    def description(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name not in {"read", "items"}}
        return {**found, "items": [asdict(item) for item in self.items]}


def offers_router(prefix: str, offers: Sequence[Offer]) -> APIRouter:
    """`GET {prefix}/offers` and `GET {prefix}/offers/{dataset}?after&limit`."""
    from services.kit.app import Read, Router

    router = Router(prefix=f"{prefix}/offers", tags=["offers"])
    by_name = {offer.dataset: offer for offer in offers}

    @router.get("")
    async def describe() -> dict[str, Any]:
        return {"offers": [offer.description() for offer in offers]}

    @router.get("/{dataset}")
    async def read(
        request: Request,
        dataset: str,
        connection: Read,
        who: Annotated[Principal, allowed("exchange:offers:read", kinds=("service",))],
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> dict[str, Any]:
        if who.service not in {"exchange", None}:
            raise forbidden("offers are read by the exchange alone")
        offer = by_name.get(dataset)
        if offer is None:
            raise not_found(f"no dataset {dataset} is offered here")
        rows, following = await offer.read(connection, after=after, limit=limit)
        return {"rows": rows, "next": following}

    return router
