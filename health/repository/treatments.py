"""SQL about the organisations that say that they treat somebody: claimed, told to the person, objected to."""

from collections.abc import Sequence
from datetime import datetime

from services.kit.database import Connection, Row


async def note_claims(db: Connection, organisation: str, sector_ids: Sequence[str]) -> None:
    """Those of whom the organisation has not said so before."""
    await db.execute(
        """insert into treatment_claim (sector_id, organisation)
           select said.id, $1 from unnest($2::text[]) as said (id)
           where not exists (
               select from treatment_claim known
               where known.sector_id = said.id and known.organisation = $1)""",
        organisation,
        sector_ids,
    )


async def untold(db: Connection, limit: int) -> list[Row]:
    """Claims of which the person does not know yet, held until the commit: seq, sector_id, organisation."""
    return await db.fetch(
        """select seq, sector_id, organisation from treatment_claim where told_at is null
           order by seq limit $1 for update skip locked""",
        limit,
    )


async def mark_told(db: Connection, seqs: Sequence[int]) -> None:
    await db.execute("update treatment_claim set told_at = now() where seq = any($1)", seqs)


async def claims_of(
    db: Connection, sector_ids: Sequence[str], *, after: str | None = None, limit: int = 1
) -> list[Row]:
    """Who says that they treat the person, by organisation: since when, and when the person objected."""
    return await db.fetch(
        """select organisation, min(claimed_at) as claimed_at, max(objected_at) as objected_at
           from treatment_claim where sector_id = any($1) and ($2::text is null or organisation > $2)
           group by organisation order by organisation limit $3""",
        sector_ids,
        after,
        limit,
    )


async def object_to(
    db: Connection, sector_ids: Sequence[str], organisation: str, at: datetime | None
) -> bool:
    """Notes that the person objects from `at` on, or not any more; False where nothing was claimed."""
    status = await db.execute(
        """update treatment_claim set objected_at = case when $3::timestamptz is null then null
                                                         else coalesce(objected_at, $3) end
           where sector_id = any($1) and organisation = $2""",
        sector_ids,
        organisation,
        at,
    )
    return status != "UPDATE 0"
