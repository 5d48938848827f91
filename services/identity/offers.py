"""What identity offers to others through the exchange: numbers about everybody, nothing about anybody."""

from collections.abc import Sequence
from typing import Any

from services.identity import residence
from services.identity.persons import today
from services.identity.repository import population
from services.kit.database import Connection
from services.kit.offers import Item, Offer
from services.kit.row_filters import Condition

SMALLEST = 10
"""A smaller cell says too much about those in it: its number is left out."""


async def read_residents(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    """Today's residents by county, year of birth and sex."""
    del where  # nothing of it may be chosen by: a filter would tell cells apart that were left out
    page = await residence.residents(db, on=today(), level="county", areas=None, after=after, limit=limit)
    return [
        cell.model_dump() | {"residents": cell.residents if cell.residents >= SMALLEST else None}
        for cell in page.items
    ], page.next


RESIDENTS = Offer(
    dataset="residents",
    title_zh="常住人口统计",
    title_en="Residents by area, year of birth and sex",
    summary_zh=f"按县级行政区划、出生年份和性别统计的在世居民人数。不足 {SMALLEST} 人的，人数不予列出。",
    summary_en="How many living people are registered in each county, by year of birth and sex. "
    f"Where there are fewer than {SMALLEST}, the number is left out.",
    items=[
        Item("area", "string", "县级行政区划代码", "County, by GB/T 2260 code"),
        Item("birth_year", "integer", "出生年份", "Year of birth"),
        Item("sex", "string", "性别", "Sex"),
        Item("residents", "integer", "人数", "Number of people"),
    ],
    read=read_residents,
    sharing="unconditional",
    update_cycle="daily",
    personal=False,
    sector_id=None,
    last_change=population.changed_at,
)

OFFERS = (RESIDENTS,)
