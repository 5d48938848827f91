"""What education offers to other domains through the exchange."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from education.repository import offered
from services.kit import changes, renewal, row_filters
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection
from services.kit.offers import Item, Offer
from services.kit.row_filters import Condition


async def read_enrolments(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None]:
    """The primary enrolment episodes of each learner."""
    clause, values = row_filters.sql(where, ENROLMENTS.filterable(), first=4)
    start = _place(after) if after is not None else ("", offered.FIRST)
    await renewal.check_place(db, start[0])
    rows = await offered.enrolments(db, after=start, limit=limit, clause=clause, values=values)
    following = encode_cursor(rows[-1]["sector_id"], rows[-1]["id"]) if len(rows) == limit else None
    return [_row(dict(row)) for row in rows], following


async def read_enrolment_changes(
    db: Connection, *, after: str | None, limit: int, where: Sequence[Condition]
) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Learners whose episodes changed, in the order of the transactions that did it."""
    types = ENROLMENTS.filterable()
    return await changes.read(db, "enrolments", _enrolments_of, types, after=after, limit=limit, where=where)


async def _enrolments_of(
    db: Connection, people: Sequence[str], where: Sequence[Condition]
) -> list[dict[str, Any]]:
    clause, values = row_filters.sql(where, ENROLMENTS.filterable(), first=2)
    rows = await offered.enrolments_of(db, people, clause=clause, values=values)
    return [_row(dict(row)) for row in rows]


def _place(after: str) -> tuple[str, UUID]:
    learner, id = decode_cursor(after, 2)
    try:
        return learner, UUID(id)
    except ValueError as error:
        raise bad_cursor() from error


def _row(row: dict[str, Any]) -> dict[str, Any]:
    days = {name: row[name] and row[name].isoformat() for name in ("valid_from", "valid_to")}
    return {name: value for name, value in row.items() if name != "id"} | days


ENROLMENTS = Offer(
    dataset="enrolments",
    title_zh="学籍信息",
    title_en="Enrolments",
    summary_zh="学生各学段的主要就读经历：学校、学段、起止日期。",
    summary_en="At which school, in which stage and from when until when people were enrolled.",
    items=[
        Item("sector_id", "string", "人员标识", "Person, by sector id"),
        Item("school", "string", "学校", "School"),
        Item("school_code", "string", "学校代码", "The school's code"),
        Item("stage", "string", "学段（ISCED 2011）", "Stage (ISCED 2011)", filterable=True),
        Item("valid_from", "date", "入学日期", "Since", filterable=True),
        Item("valid_to", "date", "离校日期", "Until", filterable=True),
    ],
    read=read_enrolments,
    sharing="conditional",
    sharing_condition_zh="用于依法办理与在校状态有关的待遇和公共卫生事项",
    sharing_condition_en="For benefits and public health duties that legally depend on enrolment",
    update_cycle="daily",
    related=("health.immunizations",),
    last_change=offered.changed_at,
    changes=read_enrolment_changes,
)

OFFERS = (ENROLMENTS,)
