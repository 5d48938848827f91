"""What the health service offers to other domains through the exchange."""

from collections.abc import Sequence
from typing import Any

from health import repository
from health.repository import offered
from services.kit import changes, renewal, row_filters
from services.kit.cursors import decode_cursor, encode_cursor, whole_number
from services.kit.database import Connection
from services.kit.offers import Item, Offer
from services.kit.row_filters import Condition


async def read_deaths(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    """Persons known to have died, and the last day they can have lived."""
    await renewal.check_place(db, after)
    clause, values = row_filters.sql(where, DEATHS.filterable(), first=3)
    rows = await repository.deaths(db, after=after, limit=limit, clause=clause, values=values)
    deaths = [{"sector_id": row["sector_id"], "death_date": row["death_date"].isoformat()} for row in rows]
    return deaths, deaths[-1]["sector_id"] if len(deaths) == limit else None


async def read_death_changes(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Whose death was recorded, corrected or withdrawn, in the order of the transactions that did it."""
    types = DEATHS.filterable()
    return await changes.read(
        db, "deaths", _deaths_of, types, after=after, limit=limit, where=where, single=True
    )


async def _deaths_of(
    db: Connection, people: Sequence[str], where: Sequence[Condition]
) -> list[dict[str, Any]]:
    clause, values = row_filters.sql(where, DEATHS.filterable(), first=2)
    rows = await offered.deaths_of(db, people, clause=clause, values=values)
    return [{"sector_id": row["sector_id"], "death_date": row["death_date"].isoformat()} for row in rows]


DEATHS = Offer(
    dataset="deaths",
    title_zh="死亡信息",
    title_en="Deaths",
    summary_zh="医疗机构登记的死亡人员及死亡日期。仅知年份或月份的，取该期间最后一日。",
    summary_en="People whose death a health institution recorded, with the date of death. "
    "Where only the month or year is known, its last day stands.",
    items=[
        Item("sector_id", "string", "人员标识", "Person, by sector id"),
        Item("death_date", "date", "死亡日期", "Date of death", filterable=True),
    ],
    read=read_deaths,
    sharing="conditional",
    sharing_condition_zh="用于依法核查社会保险待遇领取资格",
    sharing_condition_en="To verify entitlement to social security benefits as the law requires",
    update_cycle="realtime",
    last_change=repository.deaths_changed_at,
    changes=read_death_changes,
)


async def read_immunizations(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    clause, values = row_filters.sql(where, IMMUNIZATIONS.filterable(), first=3)
    start = whole_number(decode_cursor(after, 1)[0]) if after is not None else -1
    rows = await offered.immunizations(db, after=start, limit=limit, clause=clause, values=values)
    following = encode_cursor(rows[-1]["pk"]) if len(rows) == limit else None
    return [{name: row[name] for name in row.keys() if name != "pk"} for row in rows], following  # noqa: SIM118


IMMUNIZATIONS = Offer(
    dataset="immunizations",
    title_zh="预防接种信息",
    title_en="Immunizations",
    summary_zh="医疗机构登记的已完成接种：疫苗与接种日期。仅知年份或月份的，如实列出。",
    summary_en="Completed immunizations that health institutions recorded: vaccine and day. "
    "Where only the month or year is known, that stands.",
    items=[
        Item("sector_id", "string", "人员标识", "Person, by sector id"),
        Item("vaccine_code", "string", "疫苗代码", "Code of the vaccine", filterable=True),
        Item("vaccine", "string", "疫苗名称", "Name of the vaccine"),
        Item("occurred_on", "string", "接种日期", "Day of the immunization", filterable=True),
    ],
    read=read_immunizations,
    sharing="conditional",
    sharing_condition_zh="用于儿童入托、入学时依法查验预防接种证",
    sharing_condition_en="To check vaccination records at entry to school, as the law requires",
    legal_basis="《中华人民共和国疫苗管理法》第四十八条",
    update_cycle="daily",
    last_change=offered.immunizations_changed_at,
)

OFFERS = (DEATHS, IMMUNIZATIONS)
