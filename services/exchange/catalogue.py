"""The catalogue (政务信息资源目录): what each service says it offers, gathered and kept."""

import asyncio

from services.exchange import repository
from services.exchange.shapes import Dataset, DatasetPage
from services.kit import telemetry
from services.kit.app import Kit, prefix_of
from services.kit.calls import DomainError
from services.kit.cursors import decode_cursor, encode_cursor
from services.kit.database import Connection, Row
from services.kit.problems import not_found

PROVIDERS = ("health", "social_security", "education", "transport")
REFRESH_EVERY_S = 300.0
RETRY_EVERY_S = 2.0


async def refresh(kit: Kit, provider: str) -> bool:
    """Asks one provider what it offers; False when it does not answer."""
    try:
        response = await kit.calls.request(provider, "GET", f"{prefix_of(provider)}/offers", anonymous=True)
    except DomainError as error:
        telemetry.logger(kit.name).debug("no offers heard", extra={"provider": provider, "code": error.code})
        return False
    async with kit.db.transaction() as tx:
        await repository.upsert_datasets(tx, provider, response.json()["offers"])
    return True


async def keep_fresh(kit: Kit) -> None:
    """Gathers as soon as the providers are up, then every few minutes."""
    while True:
        silent = set(PROVIDERS)
        while silent:
            silent = {provider for provider in sorted(silent) if not await refresh(kit, provider)}
            await asyncio.sleep(RETRY_EVERY_S if silent else REFRESH_EVERY_S)


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


def shape_of(row: Row) -> Dataset:
    said = row["description"]
    return Dataset(
        id=row["id"],
        provider=row["provider"],
        name=row["name"],
        changed_at=row["changed_at"],
        seen_at=row["seen_at"],
        withdrawn_at=row["withdrawn_at"],
        **{name: said[name] for name in Dataset.model_fields if name in said},
    )


async def page(db: Connection, *, after: str | None, limit: int) -> DatasetPage:
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await repository.datasets(db, after=start, limit=limit + 1)
    items = [shape_of(row) for row in rows[:limit]]
    return DatasetPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def offered(db: Connection) -> list[Dataset]:
    """Everything on offer now."""
    return [shape_of(row) for row in await repository.datasets(db) if row["withdrawn_at"] is None]
