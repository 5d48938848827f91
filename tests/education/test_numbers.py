from datetime import date

import pytest

from education import numbers
from tests.education.rosters import citizen_number

GOOD = citizen_number("110101", date(1990, 3, 7), 231)


def test_the_check_digit_is_the_standards() -> None:
    # The example of GB 11643's own annex.
    assert numbers.citizen_number_fault("11010519491231002X") is None
    assert numbers.citizen_number_fault(GOOD) is None


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("", "citizen_number_form"),
        (GOOD[:17], "citizen_number_form"),
        ("0" + GOOD[1:], "citizen_number_form"),
        ("11010519491231002x", "citizen_number_form"),
        ("110105194913310020", "citizen_number_date"),
        ("110105194912310021", "citizen_number_checksum"),
        ("110105194913210028", "citizen_number_date"),
    ],
)
def test_what_is_wrong_with_a_citizen_number(number: str, code: str) -> None:
    assert numbers.citizen_number_fault(number) == code


def test_every_swap_of_two_neighbours_is_found() -> None:
    for place in range(16):
        swapped = GOOD[:place] + GOOD[place + 1] + GOOD[place] + GOOD[place + 2 :]
        assert swapped == GOOD or numbers.citizen_number_fault(swapped) is not None, place


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (f"G{GOOD}", None),
        ("J110101201503070014", None),
        ("L110101201503071234", None),
        (GOOD, "student_number_form"),
        (f"g{GOOD}", "student_number_form"),
        ("X110101201503070014", "student_number_form"),
        ("J1101012015030700", "student_number_form"),
        ("G110105194912310021", "student_number_checksum"),
        ("J110101201513070014", "student_number_date"),
        ("L11010120150307123X", "student_number_form"),
    ],
)
def test_what_is_wrong_with_a_student_number(number: str, code: str | None) -> None:
    assert numbers.student_number_fault(number) == code


def test_a_citizen_number_is_found_wherever_it_hides() -> None:
    for text in (GOOD, f"stu-{GOOD}", f"{GOOD}@school.example", f"a{GOOD.lower()}b"):
        assert numbers.holds_citizen_number(text)
    # Longer runs of digits are other numbers, and so is one whose check digit is wrong.
    for text in ("", f"{GOOD}0", f"1{GOOD}", GOOD[:17], "110105194912310021", "914403007109310121"):
        assert not numbers.holds_citizen_number(text)
