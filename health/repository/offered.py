"""SQL of the datasets offered to other domains, beyond what the service asks for itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.kit.database import Connection, Row


async def immunizations(
    db: Connection, *, after: int, limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """Completed immunizations of known persons, in the order they were first recorded.

    Args:
        clause: of `row_filters.sql` over these columns, its parameters from $3 on.
    """
    return await db.fetch(
        f"""select * from (
                select r.pk, p.sector_id,
                       r.body::jsonb #>> '{{vaccineCode,coding,0,code}}' as vaccine_code,
                       coalesce(r.body::jsonb #>> '{{vaccineCode,text}}',
                                r.body::jsonb #>> '{{vaccineCode,coding,0,display}}') as vaccine,
                       left(r.body::jsonb ->> 'occurrenceDateTime', 10) as occurred_on
                from resource r join patient_person p on p.pt = r.pt
                where r.type = 'Immunization' and p.sector_id is not null
                  and r.body::jsonb ->> 'status' = 'completed') as offered
            where pk > $1 and {clause} order by pk limit $2""",
        after,
        limit,
        *values,
    )


async def immunizations_changed_at(db: Connection) -> datetime | None:
    """When the newest one came; the index is in that order."""
    found: datetime | None = await db.fetchval(
        "select ts from resource where type = 'Immunization' order by pk desc limit 1"
    )
    return found


async def deaths_of(
    db: Connection, people: Sequence[str], *, clause: str, values: Sequence[Any]
) -> list[Row]:
    """When these people died, of those whose death is known.

    Args:
        clause: of `row_filters.sql` over `death_date`, its parameters from $2 on.
    """
    return await db.fetch(
        f"""select sector_id, death_date
            from (select sector_id, max(death_date) as death_date from patient_person
                  where sector_id = any($1) group by sector_id) as known
            where death_date is not null and {clause} order by sector_id""",
        list(people),
        *values,
    )
