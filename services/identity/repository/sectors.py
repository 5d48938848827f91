"""SQL about sector keys and sector ids, all of it in the vault."""

from collections.abc import Sequence
from uuid import UUID

from services.kit.database import Connection, Row


async def add_first_keys(db: Connection, keys: Sequence[tuple[str, int, bytes]]) -> None:
    """A key for each sector that has none yet."""
    await db.executemany(
        """insert into vault.sector_key (sector, version, wrapped_key)
           select $1, $2, $3 where not exists (select from vault.sector_key where sector = $1)
           on conflict do nothing""",
        keys,
    )


async def keys(db: Connection) -> list[Row]:
    return await db.fetch(
        """select sector, version, wrapped_key, state, created_at, prepared_at, understood_until, overlap_days
           from vault.sector_key order by sector, version"""
    )


async def lock_keys(db: Connection, sector: str) -> list[Row]:
    return await db.fetch(
        """select version, state, prepared_at from vault.sector_key
           where sector = $1 order by version for update""",
        sector,
    )


async def offer_key(db: Connection, sector: str, version: int, wrapped: bytes, overlap_days: int) -> None:
    await db.execute(
        """insert into vault.sector_key (sector, version, wrapped_key, state, overlap_days)
           values ($1, $2, $3, 'offered', $4)""",
        sector,
        version,
        wrapped,
        overlap_days,
    )


async def note_prepared(db: Connection, sector: str, version: int) -> Row | None:
    """Says that everybody has an id of the offered version; None when it is not offered any more."""
    return await db.fetchrow(
        """update vault.sector_key set prepared_at = now()
           where sector = $1 and version = $2 and state = 'offered' and prepared_at is null
           returning overlap_days""",
        sector,
        version,
    )


async def make_current(db: Connection, sector: str, version: int) -> None:
    """The offered version is given out from now on; the one before is understood for the overlap."""
    await db.execute(
        """update vault.sector_key as old set state = 'leaving',
               understood_until = now() + make_interval(days => new.overlap_days)
           from vault.sector_key as new
           where old.sector = $1 and old.state = 'current' and new.sector = $1 and new.version = $2""",
        sector,
        version,
    )
    await db.execute(
        "update vault.sector_key set state = 'current' where sector = $1 and version = $2", sector, version
    )


async def retire_keys(db: Connection) -> list[Row]:
    """Those whose overlap has ended."""
    return await db.fetch(
        """update vault.sector_key set state = 'retired'
           where state = 'leaving' and understood_until <= now() returning sector, version"""
    )


async def owners(db: Connection, ids: Sequence[str]) -> list[Row]:
    """Whose these ids are, in which sector, and whether they are still understood."""
    return await db.fetch(
        """select id, sector, pid,
                  key.understood_until is null or key.understood_until > now() as understood
           from vault.sector_id join vault.sector_key key using (sector, version)
           where id = any($1)""",
        ids,
    )


async def count_ids(db: Connection, sector: str, version: int) -> int:
    found = await db.fetchval(
        "select count(*) from vault.sector_id where sector = $1 and version = $2", sector, version
    )
    return int(found)


async def with_id(db: Connection, sector: str, version: int, pids: Sequence[UUID]) -> set[UUID]:
    """Those of the people who have an id of this version."""
    rows = await db.fetch(
        "select pid from vault.sector_id where pid = any($1) and sector = $2 and version = $3",
        pids,
        sector,
        version,
    )
    return {row["pid"] for row in rows}


async def ids_after(
    db: Connection, sector: str, version: int, after: str, limit: int
) -> list[tuple[str, UUID]]:
    rows = await db.fetch(
        """select id, pid from vault.sector_id
           where sector = $1 and version = $2 and id > $3 order by id limit $4""",
        sector,
        version,
        after,
        limit,
    )
    return [(row["id"], row["pid"]) for row in rows]


async def entries_of(db: Connection, pids: Sequence[UUID]) -> list[Row]:
    """For each of these all entries of the register decided to be that one person, its root's first."""
    return await db.fetch(
        """select asked.pid as asked, one.pid, coalesce(one.root, one.pid) as root
           from person asked
           join person one on one.pid = coalesce(asked.root, asked.pid)
                or one.root = coalesce(asked.root, asked.pid)
           where asked.pid = any($1) order by asked.pid, one.root nulls first, one.pid""",
        pids,
    )


async def merged_ids(db: Connection, sector: str, *, after: str, limit: int) -> list[Row]:
    """Current ids of entries that are one person with an elder one, by id: id, pid, root."""
    return await db.fetch(
        """select known.id, known.pid, person.root
           from person join vault.sector_id known using (pid)
           join vault.sector_key key using (sector, version)
           where person.root is not null and sector = $1 and key.state = 'current' and known.id > $2
           order by known.id limit $3""",
        sector,
        after,
        limit,
    )
