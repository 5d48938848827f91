"""Every SQL statement of the exchange."""

from collections.abc import Sequence
from typing import Any

from services.kit.database import Connection, Row

_AGREEMENT = """
select *, state = 'active' and valid_from <= clock_timestamp() and clock_timestamp() < valid_until as in_force
from agreement"""


async def upsert_datasets(db: Connection, provider: str, offers: Sequence[dict[str, Any]]) -> None:
    """The provider's offers as just heard; what it no longer names is marked as withdrawn."""
    await db.execute(
        """insert into dataset as known (id, provider, name, description)
           select $1 || '.' || (offer ->> 'dataset'), $1, offer ->> 'dataset', offer
           from unnest($2::jsonb[]) as offer order by 1
           on conflict (id) do update set
               changed_at = case when known.description is distinct from excluded.description
                                 then now() else known.changed_at end,
               description = excluded.description, seen_at = now(), withdrawn_at = null""",
        provider,
        offers,
    )
    await db.execute(
        """update dataset set withdrawn_at = now()
           where provider = $1 and withdrawn_at is null and name <> all($2)""",
        provider,
        [offer["dataset"] for offer in offers],
    )


async def datasets(db: Connection, *, after: str = "", limit: int = 10_000) -> list[Row]:
    return await db.fetch("select * from dataset where id > $1 order by id limit $2", after, limit)


async def dataset(db: Connection, id: str) -> Row | None:
    return await db.fetchrow("select * from dataset where id = $1", id)


async def seed_agreement(db: Connection, agreement: dict[str, Any], *, decided_by: str) -> bool:
    """Whether it is new; one that is known keeps its state, whatever it is."""
    added = await db.fetchval(
        """insert into agreement (id, dataset, provider, consumer, items, purpose, purpose_en, legal_basis,
                                  valid_from, valid_until, state)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'active')
           on conflict do nothing returning true""",
        agreement["id"],
        agreement["dataset"],
        agreement["provider"],
        agreement["consumer"],
        agreement["items"],
        agreement["purpose"],
        agreement["purpose_en"],
        agreement["legal_basis"],
        agreement["valid_from"],
        agreement["valid_until"],
    )
    if added:
        await add_step(db, agreement["id"], state="active", reason="seeded", decided_by=decided_by)
    return bool(added)


async def agreements(db: Connection, *, after: str, limit: int) -> list[Row]:
    return await db.fetch(f"{_AGREEMENT} where id > $1 order by id limit $2", after, limit)


async def agreement(db: Connection, id: str) -> Row | None:
    return await db.fetchrow(f"{_AGREEMENT} where id = $1", id)


async def lock_agreement(db: Connection, id: str) -> Row | None:
    return await db.fetchrow(f"{_AGREEMENT} where id = $1 for no key update", id)


async def agreements_between(db: Connection, *, consumer: str, dataset: str) -> list[Row]:
    """In force first, then the ones that end last."""
    return await db.fetch(
        f"{_AGREEMENT} where consumer = $1 and dataset = $2 order by in_force desc, valid_until desc, id",
        consumer,
        dataset,
    )


async def still_in_force(db: Connection, id: str) -> bool:
    """Asked with a share lock: whoever suspends the agreement waits for this commit, or came before it."""
    row = await db.fetchrow(f"{_AGREEMENT} where id = $1 for share", id)
    return row is not None and bool(row["in_force"])


async def set_state(db: Connection, id: str, state: str) -> None:
    await db.execute("update agreement set state = $2 where id = $1", id, state)


async def add_step(db: Connection, id: str, *, state: str, reason: str, decided_by: str) -> None:
    await db.execute(
        """insert into agreement_step (agreement_id, at, state, reason, decided_by)
           values ($1, clock_timestamp(), $2, $3, $4)""",
        id,
        state,
        reason,
        decided_by,
    )


async def counts(db: Connection) -> dict[str, int]:
    """How many of each, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from dataset where withdrawn_at is null) as datasets,
                  (select count(*) from agreement) as agreements"""
    )
    return dict(row or {})
