"""SQL of the datasets offered to other domains."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.kit.database import Connection, Row

LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)


async def zone_flows(
    db: Connection, *, after: tuple[str, datetime], limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """Flow windows summed up by zone and hour.

    Args:
        clause: of `row_filters.sql` over these columns, its parameters from $4 on.
    """
    return await db.fetch(
        f"""select * from (
                select w.zone, z.area, date_trunc('hour', w.minute) as hour, sum(w.n_in)::bigint as n_in,
                       sum(w.n_out)::bigint as n_out
                from flow_window w join zone z on z.id = w.zone
                where w.minute < date_trunc('hour', now())
                group by w.zone, z.area, 3) as offered
            where zone >= $1 and (zone, hour) > ($1, $2) and {clause}
            order by zone, hour limit $3""",
        *after,
        limit,
        *values,
    )


async def changed_at(db: Connection) -> datetime | None:
    found: datetime | None = await db.fetchval("select max(received_at) from sensor_state")
    return found
