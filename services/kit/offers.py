"""Datasets a service offers to others: described to everybody, read by the exchange alone."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.requests import Request

from services.kit import row_filters
from services.kit.database import Connection
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, bad_request, forbidden, not_found

FRESHNESS_KEPT_S = 10.0
SHARING = frozenset({"unconditional", "conditional", "none"})
CYCLES = frozenset({"realtime", "daily", "weekly", "monthly", "yearly"})

OFFERS = Resource("Kit::Offer", id="offers")
SCOPE = "exchange:offers:read"
ReadPage = Callable[..., Awaitable[tuple[list[dict[str, Any]], str | None]]]
"""`async (connection, *, after: str | None, limit: int, where: list[Condition])` → (rows, next or None).

`where` has been checked against the items that may be filtered by; `row_filters.sql` makes SQL of it.
"""
ReadChanges = Callable[..., Awaitable[tuple[list[dict[str, Any]], str | None, bool]]]
"""`async (connection, *, after: str | None, limit: int, where)` → (rows, place or None, settled).

Whose rows changed after a place, in an order in which nothing can come in before what was given out: each
with its row as it is now, or with the sector id and no other value when it is no longer in the dataset, or
among the rows of `where`. The place is None when there is nothing new. `settled`: nothing at all lies behind
the place, neither what the limit left nor what has no certain order yet.
"""
LastChange = Callable[[Connection], Awaitable[datetime | None]]


@dataclass(frozen=True, slots=True)
class Item:
    """One item (信息项) of a dataset.

    Attributes:
        type: string | date | datetime | integer | decimal | boolean.
        filterable: whether an agreement may choose rows by it.
    """

    name: str
    type: str
    title_zh: str
    title_en: str
    filterable: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """A dataset (政务信息资源) with what its catalogue entry must say (国发〔2016〕51号).

    Attributes:
        sharing: `unconditional` 无条件 | `conditional` 有条件 | `none` 不予共享;
            the last needs its legal basis.
        update_cycle: realtime | daily | weekly | monthly | yearly.
        sector_id: the item that holds the provider's sector ids, which the exchange translates.
        related: ids of datasets that belong with this one (关联资源), e.g. `health.deaths`.
        last_change: reads when the data last changed; freshness is measured by it.
        changes: reads what changed after a place, for those who subscribe; personal datasets alone.

    Raises:
        ValueError: the entry lacks what it must say, such as why a dataset is not shared.
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
    related: Sequence[str] = ()
    last_change: LastChange | None = field(default=None, repr=False)
    changes: ReadChanges | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.sharing not in SHARING or self.update_cycle not in CYCLES:
            raise ValueError(f"{self.dataset}: unknown sharing class or update cycle")
        if self.sharing == "none" and not (self.legal_basis or "").strip():
            # 国发〔2016〕51号 第九条: only a law, a regulation or a State Council policy takes data out.
            raise ValueError(f"{self.dataset}: a dataset that is not shared needs its legal basis")
        if self.personal and self.sector_id not in {item.name for item in self.items}:
            raise ValueError(f"{self.dataset}: personal data name the item that holds the sector id")

    def description(self) -> dict[str, Any]:
        functions = {"read", "items", "last_change", "changes"}
        found = {name: getattr(self, name) for name in self.__slots__ if name not in functions}
        return {**found, "items": [asdict(item) for item in self.items]}

    def filterable(self) -> dict[str, str]:
        """Types of the items that rows may be chosen by."""
        return {item.name: item.type for item in self.items if item.filterable}


def offers_router(prefix: str, offers: Sequence[Offer]) -> APIRouter:
    """`GET {prefix}/offers`, `…/{dataset}?after&limit&items&filter` and `…/{dataset}/changes`, likewise."""
    from services.kit.app import Read, Router, permitted

    router = Router(prefix=f"{prefix}/offers", tags=["offers"])
    by_name = {offer.dataset: offer for offer in offers}
    freshness = _Freshness(offers)

    @router.get("")
    async def describe(connection: Read) -> dict[str, Any]:
        fresh_at = await freshness.read(connection)
        return {"offers": [offer.description() | {"fresh_at": fresh_at[offer.dataset]} for offer in offers]}

    @router.get("/{dataset}")
    async def read(
        request: Request,
        dataset: str,
        connection: Read,
        _who: Annotated[Principal, permitted("offers.read", OFFERS, SCOPE, kinds=("service",))],
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        items: Annotated[str | None, Query(max_length=4000)] = None,
        filter: Annotated[str | None, Query(max_length=20_000)] = None,
    ) -> dict[str, Any]:
        """Rows of a dataset: `items` (separated by commas) leaves out the others, `filter` chooses rows."""
        offer = _offer(by_name, dataset)
        wanted, where = _wanted(offer, items), _where(offer, filter)
        rows, following = await offer.read(connection, after=after, limit=limit, where=where)
        return {"rows": [{name: row[name] for name in wanted} for row in rows], "next": following}

    @router.get("/{dataset}/changes")
    async def changes(
        request: Request,
        dataset: str,
        connection: Read,
        _who: Annotated[Principal, permitted("offers.read", OFFERS, SCOPE, kinds=("service",))],
        after: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        items: Annotated[str | None, Query(max_length=4000)] = None,
        filter: Annotated[str | None, Query(max_length=20_000)] = None,
    ) -> dict[str, Any]:
        """Whose rows changed after a place; one that is gone has its sector id and no other value."""
        offer = _offer(by_name, dataset)
        if offer.changes is None:
            raise not_found(f"{dataset} is offered without changes", code="no_changes")
        wanted, where = _wanted(offer, items), _where(offer, filter)
        rows, place, settled = await offer.changes(connection, after=after, limit=limit, where=where)
        shown = [{name: row.get(name) for name in wanted} for row in rows]
        return {"rows": shown, "next": place, "settled": settled}

    return router


def _offer(offers: Mapping[str, Offer], dataset: str) -> Offer:
    offer = offers.get(dataset)
    if offer is None:
        raise not_found(f"no dataset {dataset} is offered here")
    if offer.sharing == "none":
        # The exchange may not have heard of it yet.
        raise forbidden(f"{dataset} is not shared: {offer.legal_basis}", code="not_shared")
    return offer


def _where(offer: Offer, filter: str | None) -> list[row_filters.Condition]:
    where = row_filters.parsed(filter) if filter is not None else []
    row_filters.check(where, offer.filterable())
    return where


def _wanted(offer: Offer, items: str | None) -> list[str]:
    known = [item.name for item in offer.items]
    if items is None:
        return known
    wanted = items.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        faults = [Fault(f"{offer.dataset} has no item {name}", field=name) for name in unknown]
        raise bad_request("unknown_item", f"{offer.dataset} has no item {', '.join(unknown)}", *faults)
    return wanted


class _Freshness:
    """When each dataset last changed; asked again after a few seconds, however often anybody looks."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self._offers = offers
        self._until = 0.0
        self._known: dict[str, datetime | None] = {}

    async def read(self, connection: Connection) -> dict[str, datetime | None]:
        if self._until < time.monotonic():
            self._known = {
                offer.dataset: None if offer.last_change is None else await offer.last_change(connection)
                for offer in self._offers
            }
            self._until = time.monotonic() + FRESHNESS_KEPT_S
        return self._known
