"""What social security offers to other domains."""

from tests.social_security.conftest import Door
from tests.social_security.pushes import contribution, uscc
from tests.support.offers import exchange_at, fresh_at, offered

PATH = "/social-security/offers/contribution_months"


async def test_months_of_contributions_by_person_year_and_scheme(door: Door) -> None:
    rows = [
        contribution("a1", 1, period="2025-12"),
        contribution("a2", 1, period="2026-01"),
        contribution("a3", 1, period="2026-02"),
        contribution("a4", 1, period="2026-02", employer_uscc=uscc(8)),
        contribution("b1", 2, period="2026-01", scheme="employee_medical"),
        contribution("b2", 2, period="2026-01"),
    ]
    answer = await door.push_rows("contributions", *rows)
    assert answer.status_code == 201, answer.text
    exchange = await exchange_at(door.house, "social_security")
    found = await offered(exchange, PATH)
    first = {row["sector_id"] for row in found if row["year"] == 2025}
    assert len(first) == 1
    said = sorted((row["sector_id"] in first, row["year"], row["scheme"], row["months"]) for row in found)
    assert said == [
        (False, 2026, "employee_medical", 1),
        (False, 2026, "employee_pension", 1),
        (True, 2025, "employee_pension", 1),
        (True, 2026, "employee_pension", 2),
    ]
    chosen = await offered(
        exchange,
        PATH,
        {"item": "year", "op": "eq", "value": 2026},
        {"item": "scheme", "op": "in", "value": ["employee_pension"]},
        {"item": "months", "op": "ge", "value": 2},
    )
    assert chosen == [row for row in found if row["months"] == 2]
    fresh = await fresh_at(door.house, "social_security", "/social-security/offers")
    assert fresh["contribution_months"] is not None
