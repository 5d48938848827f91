"""Single values and rows: each rule about a field, with the value that breaks it."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from social_security.imports import checks
from social_security.imports.checks import CURRENCIES, Refused, masked
from social_security.imports.kinds import KINDS
from social_security.imports.rows import RowChecker
from tests.social_security.pushes import COLUMNS, claim, contribution, line, number, payment, uscc

TODAY = date(2026, 11, 23)
MAKERS: Mapping[str, Any] = {
    "payments": payment,
    "contributions": contribution,
    "claim_lines": line,
    "claims": claim,
}


def refusals(kind: str, *rows: Mapping[str, Any]) -> list[tuple[int | None, str | None, str | None]]:
    checker = RowChecker(KINDS[kind], COLUMNS[kind], today=TODAY)
    sent = [[str(row[name]) for name in COLUMNS[kind]] for row in rows]
    faults = checker.check((list(range(2, len(rows) + 2)), sent)).faults
    return [(fault.line, fault.field, fault.code) for found in faults.values() for fault in found]


WRONG = [
    ("checksum of a citizen number", "payments", {"citizen_number": number(1)[:-1] + "?"}, "gb11643_form"),
    (
        "birth date of a citizen number",
        "payments",
        {"citizen_number": "370102199002300013"},
        "gb11643_birth_date",
    ),
    ("employer code", "contributions", {"employer_uscc": uscc(7)[:-1] + "!"}, "gb32100_form"),
    ("scheme", "payments", {"scheme": "pension_fund"}, "scheme"),
    ("benefit", "payments", {"benefit": "bonus"}, "benefit"),
    ("area", "payments", {"area": "3701"}, "gbt2260"),
    ("period", "payments", {"period": "2026-13"}, "period"),
    ("three decimals", "payments", {"amount": "10.005"}, "decimal_14_2"),
    ("a negative amount", "payments", {"amount": "-1.00"}, "decimal_14_2"),
    ("thousands separators", "payments", {"amount": "1,280.00"}, "decimal_14_2"),
    ("full-width digits", "payments", {"amount": "１２８"}, "decimal_14_2"),
    ("too many digits", "payments", {"amount": "1234567890123.00"}, "decimal_14_2"),
    ("currency", "payments", {"currency": "RMB"}, "iso4217"),
    ("a day that is none", "payments", {"paid_on": "2026-02-30"}, "iso8601_date"),
    ("another date format", "payments", {"paid_on": "2026/02/28"}, "iso8601_date"),
    ("a day to come", "payments", {"paid_on": "2199-01-01"}, "not_in_future"),
    ("no value", "payments", {"period": ""}, "missing"),
    ("an account in clear", "payments", {"account_hash": "6222021234567890123"}, "account_in_clear"),
    ("a quantity of zero", "claim_lines", {"quantity": "0"}, "positive_quantity"),
    ("a line number", "claim_lines", {"line_no": "1.5"}, "line_number"),
    ("space around an id", "payments", {"payment_id": " p1"}, "surrounding_space"),
    ("a control character", "claim_lines", {"item_name": "a\x07b"}, "control_character"),
    ("a text too long", "payments", {"payment_id": "p" * 65}, "too_long"),
]


@pytest.mark.parametrize(("kind", "said", "rule"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_value_is_refused_by_its_rule(kind: str, said: dict[str, str], rule: str) -> None:
    good = MAKERS[kind]()
    assert refusals(kind, good, good | said) == [(3, next(iter(said)), rule)]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_row_that_holds_is_taken(kind: str) -> None:
    assert refusals(kind, MAKERS[kind]()) == []


@pytest.mark.parametrize("genuine", ["11010519491231002X", "11010519491231002x", "440524188001010014"])
def test_numbers_printed_in_the_standard_hold(genuine: str) -> None:
    assert checks.citizen_number(TODAY)(genuine) == genuine.upper()


def test_every_single_wrong_digit_of_a_number_is_found() -> None:
    good = number(77)
    for at in range(17):
        for digit in "0123456789":
            if digit != good[at]:
                assert refusals("payments", payment(citizen_number=good[:at] + digit + good[at + 1 :]))


@pytest.mark.parametrize("code", ["91350100M000100Y43", "12100000400010275N"])
def test_published_codes_hold(code: str) -> None:
    assert checks.uscc(code) == code


def test_every_single_wrong_character_of_a_code_is_found() -> None:
    good = uscc(7)
    for at in range(18):
        for character in "0123456789ABCDEFGHJKLMNPQRTUWXY":
            if character != good[at]:
                assert isinstance(checks.uscc(good[:at] + character + good[at + 1 :]), Refused)


def test_the_currencies_are_those_in_use() -> None:
    assert {"CNY", "HKD", "MOP", "USD", "EUR"} <= CURRENCIES
    assert not {"RMB", "DEM", "XXX", "XTS"} & CURRENCIES


@pytest.mark.parametrize(
    ("value", "personal", "shown"),
    [
        ("370102199001010017", True, "370*************17"),
        ("张伟", True, "张*"),
        ("13800001111x", False, "138*******1x"),
        ("2026-13", False, "2026-13"),
        ("x" * 50, False, "x" * 39 + "…"),
    ],
)
def test_what_an_answer_shows(value: str, personal: bool, shown: str) -> None:
    assert masked(value, personal=personal) == shown


def test_values_that_repeat_are_judged_alike() -> None:
    rows = [payment(f"p{i}", period="2026-13" if i % 2 else "2026-03") for i in range(6)]
    assert [line for line, _, _ in refusals("payments", *rows)] == [3, 5, 7]
