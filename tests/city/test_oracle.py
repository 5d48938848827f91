"""The oracle by examples: each rule's text, and what lies just beside it."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city import oracle
from city.social import Claim, ClaimLine, Contribution, Payment
from tests.city.conftest import Told


def payment(**given: str) -> dict[str, str]:
    base = dict.fromkeys(Payment._fields, "") | {
        "payment_id": "p1", "citizen_number": "A", "scheme": "employee_pension", "benefit": "pension",
        "period": "2026-03", "amount": "3000.00", "currency": "CNY", "paid_on": "2026-03-15",
    }  # fmt: skip
    return base | given


def contribution(**given: str) -> dict[str, str]:
    base = dict.fromkeys(Contribution._fields, "") | {
        "contribution_id": "k1", "citizen_number": "A", "scheme": "employee_pension", "period": "2026-03",
        "amount": "1200.00", "currency": "CNY", "declared_on": "2026-03-12",
    }  # fmt: skip
    return base | given


def claim(**given: str) -> dict[str, str]:
    base = dict.fromkeys(Claim._fields, "") | {"claim_id": "c1", "citizen_number": "A", "provider_uscc": "H"}
    return base | given


def line(**given: str) -> dict[str, str]:
    base = dict.fromkeys(ClaimLine._fields, "") | {
        "claim_id": "c1", "line_no": "1", "item_code": "250101015", "service_date": "2026-03-01",
        "quantity": "1", "unit_price": "20.00", "amount": "20.00", "currency": "CNY",
    }  # fmt: skip
    return base | given


@pytest.mark.parametrize(
    ("given", "died", "found"),
    [
        pytest.param({"period": "2026-03"}, date(2026, 2, 28), True, id="the month after"),
        pytest.param({"period": "2026-02"}, date(2026, 2, 1), False, id="the month itself"),
        pytest.param(
            {"period": "2026-01", "paid_on": "2026-06-01"}, date(2026, 2, 1), False, id="arrears, paid late"
        ),
        pytest.param({"period": "2027-01"}, date(2026, 12, 31), True, id="over the turn of the year"),
        pytest.param(
            {"period": "2026-03", "amount": "0.00"}, date(2026, 2, 28), False, id="nothing was paid"
        ),
        pytest.param(
            {"period": "2026-03", "benefit": "minimum_living"}, date(2026, 1, 1), True, id="any benefit"
        ),
        pytest.param({"citizen_number": "B"}, date(2026, 1, 1), False, id="somebody else died"),
    ],
)
def test_payment_after_death(given: dict[str, str], died: date, found: bool) -> None:
    findings = oracle.payments_after_death([payment(**given)], {"A": died})
    assert [f.evidence for f in findings] == ([("payment p1",)] if found else [])


@pytest.mark.parametrize(
    ("second", "found"),
    [
        pytest.param({"line_no": "2"}, True, id="twice on one claim"),
        pytest.param({"claim_id": "c2"}, True, id="on two claims"),
        pytest.param({"line_no": "2", "quantity": "3", "amount": "60.00"}, True, id="of different size"),
        pytest.param({"line_no": "2", "unit_price": "20.0"}, True, id="the same price written otherwise"),
        pytest.param({"line_no": "2", "service_date": "2026-03-02"}, False, id="the next day"),
        pytest.param({"line_no": "2", "unit_price": "20.01"}, False, id="another price"),
        pytest.param({"line_no": "2", "item_code": "x"}, False, id="another item"),
        pytest.param({"claim_id": "c3"}, False, id="another provider"),
        pytest.param({"claim_id": "c4"}, False, id="another person"),
        pytest.param({"line_no": "2", "amount": "0.00"}, False, id="nothing was charged"),
    ],
)
def test_duplicate_charge(second: dict[str, str], found: bool) -> None:
    claims = [
        claim(),
        claim(claim_id="c2"),
        claim(claim_id="c3", provider_uscc="I"),
        claim(claim_id="c4", citizen_number="B"),
    ]
    findings = oracle.duplicate_charges(claims, [line(), line(**second)])
    assert len(findings) == found
    if found:
        assert findings[0].amount_at_risk == Decimal("20.00")


def test_three_lines_are_one_finding() -> None:
    [finding] = oracle.duplicate_charges([claim()], [line(line_no=str(number)) for number in (3, 1, 2)])
    assert finding.evidence == ("claim_line c1 1", "claim_line c1 2", "claim_line c1 3")
    assert finding.amount_at_risk == Decimal("40.00")


@pytest.mark.parametrize(
    ("second", "found"),
    [
        pytest.param({"scheme": "resident_pension", "amount": "180.00"}, True, id="both in one month"),
        pytest.param({"scheme": "resident_pension", "period": "2026-04"}, False, id="one after the other"),
        pytest.param({"scheme": "employee_pension"}, False, id="the same pension twice"),
        pytest.param({"scheme": "resident_pension", "citizen_number": "B"}, False, id="husband and wife"),
        pytest.param({"scheme": "resident_pension", "amount": "0.00"}, False, id="nothing was paid"),
    ],
)
def test_two_pensions(second: dict[str, str], found: bool) -> None:
    findings = oracle.two_pensions([payment(), payment(payment_id="p2", **second)])
    assert len(findings) == found
    if found:
        assert findings[0].amount_at_risk == Decimal("180.00")
        assert findings[0].evidence == ("payment p1", "payment p2")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param({"declared_on": "2026-03-20"}, True, id="declared on the day of payment"),
        pytest.param({"declared_on": "2026-03-21"}, False, id="declared the day after"),
        pytest.param({"scheme": "employee_medical"}, False, id="health insurance the fund pays"),
        pytest.param(
            {"period": "2026-04", "declared_on": "2026-03-01"}, False, id="employed from the next month"
        ),
        pytest.param({"citizen_number": "B"}, False, id="somebody else works"),
        pytest.param({"amount": "0.00"}, False, id="nothing was contributed"),
    ],
)
def test_unemployed_and_insured(given: dict[str, str], found: bool) -> None:
    benefit = payment(scheme="unemployment", benefit="unemployment_benefit", paid_on="2026-03-20")
    findings = oracle.unemployed_and_insured([benefit], [contribution(**given)])
    assert [f.evidence for f in findings] == ([("contribution k1", "payment p1")] if found else [])


def test_rows_of_all_people_at_once_give_what_person_by_person_does(told: Told) -> None:
    kinds = ("contributions", "payments", "claims", "claim_lines")
    some = told.stories[:150]
    rows: dict[str, list[Any]] = {k: [r._asdict() for s in some for r in getattr(s.social, k)] for k in kinds}
    deaths = {p.number: p.death for p in told.city.people if p.death is not None}
    whole = oracle.findings(**rows, deaths=deaths)
    people = {story.person.number for story in some}
    listed = [f for f in told.truth["findings"] if f["citizen_number"] in people]
    assert sorted(f.evidence for f in whole) == sorted(tuple(f["evidence"]) for f in listed)


def steps(inside: list[int], **given: int) -> list[tuple[int, str]]:
    rule: dict[str, Any] = {"levels": {"yellow": 80, "orange": 90, "red": 100}, "capacity": 100}
    rule |= {"dwell_up": 2, "dwell_down": 5, "hysteresis": 10, **given}
    return [(step.at, step.level) for step in oracle.episodes(inside, **rule)]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        pytest.param([80], [], id="one minute is not two"),
        pytest.param([80, 80], [(1, "yellow")], id="two raise"),
        pytest.param([80, 79, 80, 79], [], id="a gap starts anew"),
        pytest.param([100], [(0, "red")], id="full warns at once"),
        pytest.param([85, 95, 95], [(1, "yellow"), (2, "orange")], id="level by level"),
        pytest.param([80, 80, *[69] * 4, 70], [(1, "yellow")], id="four minutes below do not end it"),
        pytest.param([80, 80, *[69] * 5], [(1, "yellow"), (6, "normal")], id="five do"),
        pytest.param([95, 95, *[75] * 5], [(1, "orange"), (6, "yellow")], id="down by one level"),
        pytest.param([80, 80, *[70] * 30], [(1, "yellow")], id="between the marks it stays"),
    ],
)
def test_episodes(inside: list[int], expected: list[tuple[int, str]]) -> None:
    assert steps(inside) == expected


@given(st.lists(st.integers(0, 120), max_size=60), st.integers(1, 4), st.integers(1, 6), st.integers(0, 20))
def test_levels_only_change_for_a_reason(inside: list[int], up: int, down: int, gap: int) -> None:
    """Whatever the crowd does: up only at or over the level, down only under the mark, never to the same."""
    marks = {"normal": 0, "yellow": 80, "orange": 90, "red": 100}
    level = "normal"
    for at, after in steps(inside, dwell_up=up, dwell_down=down, hysteresis=gap):
        assert after != level
        if marks[after] > marks[level]:
            assert inside[at] >= marks[after]
        else:
            assert inside[at] < marks[level] - gap
        level = after
