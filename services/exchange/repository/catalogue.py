"""SQL about the catalogue of shared data."""

from collections.abc import Sequence
from typing import Any

from services.kit.database import Connection, Row


async def upsert_datasets(db: Connection, provider: str, offers: Sequence[dict[str, Any]]) -> None:
    """The provider's offers as just heard; what it no longer names is marked as withdrawn."""
    # One hearing after another: two that bring the same new name meet at its second key, which is no conflict
    # target and would be an error.
    await db.execute("select pg_advisory_xact_lock(hashtextextended('datasets of ' || $1, 0))", provider)
    await db.execute(
        """insert into dataset as known (id, provider, name, description, fresh_at)
           select $1 || '.' || (offer ->> 'dataset'), $1, offer ->> 'dataset', offer - 'fresh_at',
                  (offer ->> 'fresh_at')::timestamptz
           from unnest($2::jsonb[]) as offer order by 1
           on conflict (id) do update set
               changed_at = case when known.description is distinct from excluded.description
                                 then now() else known.changed_at end,
               description = excluded.description, fresh_at = excluded.fresh_at, seen_at = now(),
               withdrawn_at = null""",
        provider,
        offers,
    )
    await db.execute(
        """update dataset set withdrawn_at = now()
           where provider = $1 and withdrawn_at is null and name <> all($2)""",
        provider,
        [offer["dataset"] for offer in offers],
    )


_DATASET = """
select dataset.*, organisation, name_zh, name_en
from dataset left join department on department.service = dataset.provider"""


async def datasets(db: Connection, *, after: str = "", limit: int = 10_000) -> list[Row]:
    """With the department that answers for each."""
    return await db.fetch(f"{_DATASET} where id > $1 order by id limit $2", after, limit)


async def dataset(db: Connection, id: str) -> Row | None:
    return await db.fetchrow(f"{_DATASET} where id = $1", id)


async def counts(db: Connection) -> dict[str, int]:
    """How many of each, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from dataset where withdrawn_at is null) as datasets,
                  (select count(*) from agreement) as agreements"""
    )
    return dict(row or {})
