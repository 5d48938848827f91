"""What social security offers to other domains."""

from typing import Any

import orjson

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


async def test_changes_of_contributions_are_told_by_person(door: Door) -> None:
    exchange = await exchange_at(door.house, "social_security")
    path = f"{PATH}/changes"
    place = None
    while (following := (await exchange.get(path, params=said(place))).json()["next"]) is not None:
        place = following
    pensions = {"item": "scheme", "op": "eq", "value": "employee_pension"}
    rows = [
        contribution("x1", 11, period="2026-01"),
        contribution("x2", 11, period="2026-02"),
        contribution("y1", 12, period="2026-01", scheme="employee_medical"),
    ]
    assert (await door.push_rows("contributions", *rows)).status_code == 201
    told = (await exchange.get(path, params=said(place))).json()
    people = {row["sector_id"] for row in told["rows"]}
    assert (len(people), told["settled"]) == (2, True)
    standing = sorted((row["scheme"], row["months"]) for row in told["rows"] if row["scheme"])
    assert standing == [("employee_medical", 1), ("employee_pension", 2)]
    some = (await exchange.get(path, params=said(place, pensions))).json()
    assert [row["months"] for row in some["rows"]] == [None, 2]
    # The pension becomes another scheme: for whoever follows pensions the person is gone.
    moved = [contribution(f"x{n}", 11, period=f"2026-0{n}", scheme="employee_medical") for n in (1, 2)]
    assert (await door.push_rows("contributions", *moved)).status_code == 201
    [gone] = (await exchange.get(path, params=said(told["next"], pensions))).json()["rows"]
    assert gone == {"sector_id": some["rows"][0]["sector_id"], "year": None, "scheme": None, "months": None}
    by_months = {"item": "months", "op": "ge", "value": 2}
    refused = await exchange.get(path, params=said(place, by_months))
    assert (refused.status_code, refused.json()["code"]) == (409, "not_told_by")


def said(place: str | None, *conditions: dict[str, Any]) -> dict[str, Any]:
    found = {"filter": orjson.dumps(conditions).decode()} if conditions else {}
    return found | ({"after": place} if place else {})
