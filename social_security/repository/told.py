"""SQL about deaths as the exchange told of them."""

from collections.abc import Sequence
from datetime import date

from services.kit import renewal
from services.kit.database import Connection, Row


async def forget(db: Connection, agreement: str, people: Sequence[str] | None = None) -> None:
    """What was told under an agreement, of these people or of all."""
    if people is not None:
        await db.execute("lock table told_death in row exclusive mode")
        now = await renewal.renewed(db, people)
        people = [now.get(id, id) for id in people]
    await db.execute(
        "delete from told_death where agreement = $1 and ($2::text[] is null or person = any($2))",
        agreement,
        people,
    )


async def keep(db: Connection, agreement: str, people: Sequence[str], days: Sequence[date]) -> None:
    await db.execute(
        """insert into told_death (agreement, person, died_on)
           select $1, person, max(died_on) from unnest($2::text[], $3::date[]) as said (person, died_on)
           group by person
           on conflict (agreement, person) do update set died_on = excluded.died_on""",
        agreement,
        people,
        days,
    )


async def deaths(db: Connection, agreement: str) -> list[Row]:
    """All of them, in the form of the dataset: a run reads everybody."""
    return await db.fetch(
        """select person as sector_id, died_on::text as death_date from told_death where agreement = $1
           order by person""",
        agreement,
    )
