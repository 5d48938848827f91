"""The catalogue (政务信息资源目录): what each service says it offers, gathered and kept."""

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from services.exchange import departments, grounds
from services.exchange.repository import catalogue as repository
from services.exchange.shapes import Cycle, Dataset, DatasetPage, Department, Described
from services.kit import telemetry
from services.kit.app import Kit, prefix_of
from services.kit.calls import DomainError
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Row
from services.kit.operations.shapes import Freshness
from services.kit.problems import conflict, forbidden, not_found

PROVIDERS = ("health", "social_security", "education", "transport", "identity")
REFRESH_EVERY_S = 60.0
RETRY_EVERY_S = 2.0
LATE_AFTER: Mapping[Cycle, timedelta] = {
    "realtime": timedelta(days=1),
    "daily": timedelta(days=2),
    "weekly": timedelta(days=8),
    "monthly": timedelta(days=32),
    "yearly": timedelta(days=367),
}
"""How old the newest change may be: the cycle, and a day in which it is brought in."""
_SAID = tuple(Described.model_fields)


async def refresh(kit: Kit, provider: str) -> bool:
    """Asks one provider what it offers, and ends what stood on what it no longer does.

    Returns:
        False when it does not answer.
    """
    try:
        response = await kit.calls.request(provider, "GET", f"{prefix_of(provider)}/offers", anonymous=True)
    except DomainError as error:
        telemetry.logger(kit.name).debug("no offers heard", extra={"provider": provider, "code": error.code})
        return False
    offers = [offer for offer in response.json()["offers"] if _may_stand(kit, provider, offer)]
    async with kit.db.transaction() as tx:
        await repository.upsert_datasets(tx, provider, offers)
        await grounds.enforce(tx, provider)
    return True


def _may_stand(kit: Kit, provider: str, offer: dict[str, Any]) -> bool:
    """Whether the offer says what an entry must say; one that does not is left out, and logged."""
    try:
        Described.model_validate({name: offer[name] for name in _SAID if name in offer})
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        telemetry.logger(kit.name).error(
            "offer refused", extra={"provider": provider, "dataset": offer.get("dataset"), "faults": faults}
        )
        return False
    return True


async def keep_fresh(kit: Kit) -> None:
    """Gathers from each provider as soon as it is up, then every minute."""
    due = dict.fromkeys(PROVIDERS, 0.0)
    while True:
        for provider, at in due.items():
            if at <= time.monotonic():
                heard = await refresh(kit, provider)
                due[provider] = time.monotonic() + (REFRESH_EVERY_S if heard else RETRY_EVERY_S)
        await asyncio.sleep(max(0.0, min(due.values()) - time.monotonic()))


async def find(kit: Kit, id: str) -> Dataset:
    """The dataset; one that is not known yet is asked for at its provider.

    Raises:
        Problem: 404 when nobody offers it.
    """
    async with kit.db.read() as db:
        row = await repository.dataset(db, id)
    provider = id.partition(".")[0]
    if row is None and provider in PROVIDERS and await refresh(kit, provider):
        async with kit.db.read() as db:
            row = await repository.dataset(db, id)
    if row is None or row["withdrawn_at"] is not None:
        raise not_found(f"nobody offers the dataset {id}; see /exchange/datasets", code="unknown_dataset")
    return shape_of(row)


async def shared(kit: Kit, id: str, items: Collection[str] = ()) -> Dataset:
    """The dataset, if it may be used now, and has these items.

    Raises:
        Problem: 404 when nobody offers it; 403 when it is not shared; 409 when it lacks an item.
    """
    dataset = await find(kit, id)
    if dataset.sharing == "none":
        raise forbidden(f"{id} is not shared 不予共享: {dataset.legal_basis}", code="not_shared")
    gone = sorted(set(items) - {item.name for item in dataset.items})
    if gone:
        raise conflict("items_gone", f"{id} has no items {', '.join(gone)} any more")
    return dataset


def shape_of(row: Row) -> Dataset:
    said, provider = row["description"], row["provider"]
    kept = ("id", "name", "first_seen", "changed_at", "fresh_at", "seen_at", "withdrawn_at")
    return Dataset(
        code=f"{departments.class_of(provider)}000/{row['number']:06d}",
        provider=provider,
        department=Department(
            service=provider,
            organisation=row["organisation"],
            name_zh=row["name_zh"] or provider,
            name_en=row["name_en"] or provider,
        ),
        late=_late(row["fresh_at"], said["update_cycle"]),
        **{name: row[name] for name in kept},
        **{name: said[name] for name in _SAID if name in said},
    )


def _late(fresh_at: datetime | None, cycle: Cycle) -> bool | None:
    return None if fresh_at is None else datetime.now(UTC) - fresh_at > LATE_AFTER[cycle]


def filterable(dataset: Dataset) -> dict[str, str]:
    """Types of the items that an agreement may choose rows by."""
    return {item.name: item.type for item in dataset.items if item.filterable}


async def page(db: Connection, *, after: str | None, limit: int) -> DatasetPage:
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await repository.datasets(db, after=start, limit=limit + 1)
    items = [shape_of(row) for row in rows[:limit]]
    return DatasetPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def offered(db: Connection) -> list[Dataset]:
    """Everything on offer now."""
    return [shape_of(row) for row in await repository.datasets(db) if row["withdrawn_at"] is None]


async def for_operators(_kit: Kit, db: Connection) -> dict[str, Any]:
    """Whether what is on offer is as new as its update cycle promises."""
    said = {"title_zh", "title_en", "update_cycle", "fresh_at", "late"}
    return {
        "datasets": [Freshness(dataset=one.id, **one.model_dump(include=said)) for one in await offered(db)]
    }
