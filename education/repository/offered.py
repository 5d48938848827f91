"""SQL of the datasets offered to other domains."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

FIRST = UUID(int=0)


_ENROLMENTS = """
select e.learner_id as sector_id, e.id, o.name as school, o.identifier as school_code,
       e.stage, e.valid_from, e.valid_to
from enrolment_episode e join organisation o on o.id = e.organisation_id
where e.is_primary"""


async def enrolments(
    db: Connection, *, after: tuple[str, UUID], limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """Primary episodes by learner.

    Args:
        clause: of `row_filters.sql` over these columns, its parameters from $4 on.
    """
    return await db.fetch(
        f"""select * from ({_ENROLMENTS}) as offered
            where sector_id >= $1 and (sector_id, id) > ($1, $2) and {clause}
            order by sector_id, id limit $3""",
        *after,
        limit,
        *values,
    )


async def enrolments_of(
    db: Connection, people: Sequence[str], *, clause: str, values: Sequence[Any]
) -> list[Row]:
    """The same of these learners.

    Args:
        clause: its parameters from $2 on.
    """
    return await db.fetch(
        f"""select * from ({_ENROLMENTS} and e.learner_id = any($1)) as offered where {clause}
            order by sector_id, id""",
        list(people),
        *values,
    )


async def changed_at(db: Connection) -> datetime | None:
    """When the last roster was applied."""
    found: datetime | None = await db.fetchval(
        "select max(finished_at) from import_batch where status = 'applied'"
    )
    return found
