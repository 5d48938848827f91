"""What the service keeps about one person, as that person may see it: current versions only."""

from collections.abc import Iterable, Sequence
from datetime import date

from services.kit.database import Connection, Row


def readable(table: str, columns: Iterable[str]) -> str:
    """Every read begins here: one table's current rows of one person, whose ids are $1."""
    return f"select {', '.join(columns)} from {table} where person = any($1) and superseded_at is null"


CONTRIBUTION_YEARS = """
    select extract(year from period)::int as year, scheme, currency,
           count(distinct period)::int as months, sum(base) as base, sum(amount) as amount
    from contribution where person = any($1) and superseded_at is null
    group by 1, 2, 3 order by 1 desc, 2, 3
"""
PAYMENT = (
    "id",
    "scheme",
    "benefit",
    "area",
    "period",
    "amount",
    "currency",
    "paid_on",
    "organisation",
    "payment_id",
)
CLAIM = (
    "id",
    "provider_uscc",
    "scheme",
    "area",
    "admitted_on",
    "discharged_on",
    "claimed_on",
    "diagnosis",
    "total",
    "currency",
    "organisation",
    "claim_id",
)


async def contribution_years(db: Connection, persons: Sequence[str]) -> list[Row]:
    return await db.fetch(CONTRIBUTION_YEARS, list(persons))


async def payments(
    db: Connection, persons: Sequence[str], *, after: tuple[date, int] | None, limit: int
) -> list[Row]:
    """Newest first, by the day paid."""
    day, row_id = after or (date.max, 0)
    return await db.fetch(
        readable("payment", PAYMENT)
        + " and (paid_on, id) < ($2, $3) order by paid_on desc, id desc limit $4",
        list(persons),
        day,
        row_id,
        limit,
    )


async def claims(
    db: Connection, persons: Sequence[str], *, after: tuple[date, int] | None, limit: int
) -> list[Row]:
    """Newest first, by the day claimed."""
    day, row_id = after or (date.max, 0)
    return await db.fetch(
        readable("claim", CLAIM)
        + " and (claimed_on, id) < ($2, $3) order by claimed_on desc, id desc limit $4",
        list(persons),
        day,
        row_id,
        limit,
    )


async def claim_lines(db: Connection, claims: Iterable[tuple[str, str]]) -> list[Row]:
    """The lines of some claims, given as (organisation, claim_id)."""
    keys = list(claims)
    return await db.fetch(
        """
        select organisation, claim_id, line_no, item_code, item_name, service_date, quantity, unit_price,
               amount, currency
        from claim_line
        where superseded_at is null
          and (organisation, claim_id) in (select * from unnest($1::text[], $2::text[]))
        order by organisation, claim_id, line_no
        """,
        [organisation for organisation, _ in keys],
        [claim_id for _, claim_id in keys],
    )
