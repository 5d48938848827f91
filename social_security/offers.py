"""What social security offers to other domains through the exchange."""

from collections.abc import Sequence
from typing import Any

from services.kit import changes, renewal, row_filters
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection
from services.kit.offers import Item, Offer
from services.kit.row_filters import Condition
from social_security.repository import offered


async def read_contribution_months(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    """How many months of each year each person contributed to each scheme."""
    clause, values = row_filters.sql(where, CONTRIBUTION_MONTHS.filterable(), first=5)
    person, year, scheme = decode_cursor(after, 3) if after is not None else ("", "0", "")
    start = (person, whole_number(year), scheme)
    await renewal.check_place(db, person)
    rows = await offered.contribution_months(db, after=start, limit=limit, clause=clause, values=values)
    following = None
    if len(rows) == limit:
        last = rows[-1]
        following = encode_cursor(last["sector_id"], last["year"], last["scheme"])
    return [dict(row) for row in rows], following


async def read_contribution_changes(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """People whose contributions changed, in the order of the transactions that did it.

    Raises:
        Problem: 409 `not_told_by` for a condition on `months`, which the log of changes does not keep.
    """
    types = {name: kind for name, kind in CONTRIBUTION_MONTHS.filterable().items() if name != "months"}
    name = CONTRIBUTION_MONTHS.dataset
    return await changes.read(db, name, _months_of, types, after=after, limit=limit, where=where)


async def _months_of(
    db: Connection, people: Sequence[str], where: Sequence[Condition]
) -> list[dict[str, Any]]:
    clause, values = row_filters.sql(where, CONTRIBUTION_MONTHS.filterable(), first=2)
    return [dict(row) for row in await offered.months_of(db, people, clause=clause, values=values)]


CONTRIBUTION_MONTHS = Offer(
    dataset="contribution_months",
    title_zh="社会保险缴费月数",
    title_en="Months of contributions",
    summary_zh="参保人员各年度、各险种的缴费月数。",
    summary_en="How many months of each year people contributed to each scheme.",
    items=[
        Item("sector_id", "string", "人员标识", "Person, by sector id"),
        Item("year", "integer", "年度", "Year", filterable=True),
        Item("scheme", "string", "险种", "Scheme", filterable=True),
        Item("months", "integer", "缴费月数", "Months", filterable=True),
    ],
    read=read_contribution_months,
    sharing="conditional",
    sharing_condition_zh="用于依法核验办理事项所需的参保缴费情况",
    sharing_condition_en="To verify contributions where a public service legally depends on them",
    update_cycle="monthly",
    related=("health.deaths",),
    last_change=offered.contributions_changed_at,
    changes=read_contribution_changes,
)

OFFERS = (CONTRIBUTION_MONTHS,)
