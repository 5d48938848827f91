"""Rights to keep a usage out of a person's list: only by a law, for a time, recorded, and open to everybody.

Such a usage is counted in the list and not shown (个人信息保护法 第十八条, 第三十五条: a law may require
secrecy, or telling may obstruct a duty of a public body).
"""

from datetime import UTC, datetime

from services.exchange.person_shapes import HidingRight, HidingRightPage, HidingRightRequest
from services.exchange.repository import usages as repository
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.problems import Problem, forbidden, unprocessable


async def record(tx: Transaction, asked: HidingRightRequest) -> HidingRight:
    assert tx.principal is not None
    if asked.valid_until <= datetime.now(UTC):
        raise unprocessable("empty_term", "valid_until has passed already")
    row = await repository.add_hiding_right(
        tx,
        uuid7(),
        organisation=asked.organisation,
        legal_basis=asked.legal_basis,
        until=asked.valid_until,
        decided_by=tx.principal.subject,
    )
    assert row is not None
    await tx.leaf(
        action="hiding_right.recorded", resource=f"hiding-rights/{row['id']}", legal_basis=asked.legal_basis
    )
    return _shape(row)


async def page(db: Connection, *, after: str | None, limit: int) -> HidingRightPage:
    rows = await repository.hiding_rights(db, before=uuid_after(after), limit=limit + 1)
    items = [_shape(row) for row in rows[:limit]]
    return HidingRightPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


def _shape(row: Row) -> HidingRight:
    return HidingRight(**{name: row[name] for name in HidingRight.model_fields})


def no_right() -> Problem:
    return forbidden(
        "no recorded right in force lets this organisation hide a usage; ask without it",
        code="no_hiding_right",
    )
