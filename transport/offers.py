"""What transport offers to other domains through the exchange: counts, which name nobody."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.kit import row_filters
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection
from services.kit.offers import Item, Offer
from services.kit.row_filters import Condition
from transport.repository import offered


async def read_zone_flows(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    """Who came and went by the hour; the hour that is not over yet is left out."""
    clause, values = row_filters.sql(where, ZONE_FLOWS.filterable(), first=4)
    start = _place(after) if after is not None else ("", offered.LONG_AGO)
    rows = await offered.zone_flows(db, after=start, limit=limit, clause=clause, values=values)
    following = None
    if len(rows) == limit:
        following = encode_cursor(rows[-1]["zone"], rows[-1]["hour"].isoformat())
    return [{**row, "hour": row["hour"].isoformat()} for row in rows], following


def _place(after: str) -> tuple[str, datetime]:
    zone, hour = decode_cursor(after, 2)
    try:
        found = datetime.fromisoformat(hour)
    except ValueError as error:
        raise bad_cursor() from error
    if found.tzinfo is None:
        raise bad_cursor()
    return zone, found


ZONE_FLOWS = Offer(
    dataset="zone_flows",
    title_zh="区域客流（按小时）",
    title_en="Flows of zones by the hour",
    summary_zh="各区域每小时进出人次。仅为计数，不含个人信息。",
    summary_en="How many people came into and left each zone, by the hour. Counts alone, nothing personal.",
    items=[
        Item("zone", "string", "区域", "Zone", filterable=True),
        Item("area", "string", "行政区划代码", "Area (GB/T 2260)", filterable=True),
        Item("hour", "datetime", "小时", "Hour", filterable=True),
        Item("n_in", "integer", "进入人次", "Came in"),
        Item("n_out", "integer", "离开人次", "Went out"),
    ],
    read=read_zone_flows,
    sharing="unconditional",
    update_cycle="realtime",
    personal=False,
    sector_id=None,
    last_change=offered.changed_at,
)

OFFERS = (ZONE_FLOWS,)
