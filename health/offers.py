"""What the health service offers to other domains through the exchange."""

from typing import Any

from health import repository
from services.kit.database import Connection
from services.kit.offers import Item, Offer


async def read_deaths(
    db: Connection, *, after: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Persons known to have died, and the last day they can have lived."""
    rows = await repository.deaths(db, after=after, limit=limit)
    deaths = [{"sector_id": row["sector_id"], "death_date": row["death_date"].isoformat()} for row in rows]
    return deaths, deaths[-1]["sector_id"] if len(deaths) == limit else None


DEATHS = Offer(
    dataset="deaths",
    title_zh="死亡信息",
    title_en="Deaths",
    summary_zh="医疗机构登记的死亡人员及死亡日期。仅知年份或月份的，取该期间最后一日。",
    summary_en="People whose death a health institution recorded, with the date of death. "
    "Where only the month or year is known, its last day stands.",
    items=[
        Item("sector_id", "string", "人员标识", "Person, by sector id"),
        Item("death_date", "date", "死亡日期", "Date of death"),
    ],
    read=read_deaths,
    sharing="conditional",
    sharing_condition_zh="用于依法核查社会保险待遇领取资格",
    sharing_condition_en="To verify entitlement to social security benefits as the law requires",
    update_cycle="realtime",
)

OFFERS = (DEATHS,)
