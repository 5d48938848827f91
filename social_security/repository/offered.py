"""SQL of the datasets offered to other domains."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.kit.database import Connection, Row

_MONTHS = """
select person as sector_id, extract(year from period)::int as year, scheme,
       count(distinct period)::int as months
from contribution where superseded_at is null and {of} group by 1, 2, 3"""


async def contribution_months(
    db: Connection, *, after: tuple[str, int, str], limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """sector_id, year, scheme, months; by person, so that a page reads only its own people's rows.

    Args:
        clause: of `row_filters.sql` over these columns, its parameters from $5 on.
    """
    return await db.fetch(
        f"""select * from ({_MONTHS.format(of="true")}) as offered
            where sector_id >= $1 and (sector_id, year, scheme) > ($1, $2::bigint, $3) and {clause}
            order by sector_id, year, scheme limit $4""",
        *after,
        limit,
        *values,
    )


async def months_of(
    db: Connection, people: Sequence[str], *, clause: str, values: Sequence[Any]
) -> list[Row]:
    """The same of these people.

    Args:
        clause: its parameters from $2 on.
    """
    return await db.fetch(
        f"""select * from ({_MONTHS.format(of="person = any($1)")}) as offered where {clause}
            order by sector_id, year, scheme""",
        list(people),
        *values,
    )


async def contributions_changed_at(db: Connection) -> datetime | None:
    """When the last push with contributions came."""
    found: datetime | None = await db.fetchval(
        """select max(received_at) from receipt where files @> '[{"kind": "contributions"}]'"""
    )
    return found
