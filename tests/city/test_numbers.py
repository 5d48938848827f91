"""Numbers are valid by the text of their standards, and by the checks the suite's own doors make."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city.numbers import citizen_number, is_citizen_number, is_uscc, uscc
from services.identity.numbers import parse_citizen_number, parse_uscc
from tests.city.conftest import Told

TODAY = date(2026, 11, 23)
areas = st.sampled_from(["330106", "110105", "653101", "341221"])
births = st.dates(date(1920, 1, 1), date(2026, 10, 31))


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        pytest.param("11010519491231002X", True, id="the standard's own example"),
        pytest.param("440524188001010014", True, id="its other one"),
        pytest.param("110105194912310021", False, id="wrong check digit"),
        pytest.param("11010519491331002X", False, id="no such month"),
        pytest.param("11010519491231002x", False, id="small x"),
        pytest.param("1101051949123100", False, id="too short"),
    ],
)
def test_citizen_numbers_are_checked_by_gb_11643(number: str, valid: bool) -> None:
    assert is_citizen_number(number) is valid


@given(areas, births, st.integers(0, 999))
def test_made_numbers_are_valid_and_say_who(area: str, birth: date, order: int) -> None:
    found = parse_citizen_number(citizen_number(area, birth, order), today=TODAY)
    assert (found.area, found.birth_date, found.sex) == (area, birth, "male" if order % 2 else "female")


@given(areas, births, st.integers(0, 999), st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(area: str, birth: date, order: int, place: int, by: int) -> None:
    number = citizen_number(area, birth, order)
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert not is_citizen_number(wrong)


def test_the_codes_of_organisations_are_checked_by_gb_32100() -> None:
    assert is_uscc("91350100M000100Y43")
    assert not is_uscc("91350100M000100Y44")
    assert not is_uscc("91350100I000100Y43")


@given(st.sampled_from(["91", "12", "11"]), areas, st.integers(0, 99_999_999))
def test_made_codes_are_valid(kind: str, area: str, body: int) -> None:
    code = uscc(kind, area, body)
    assert is_uscc(code)
    assert parse_uscc(code) == code


def test_every_number_in_the_city_is_valid_and_held_once(told: Told) -> None:
    numbers = [person.number for person in told.city.people]
    assert all(map(is_citizen_number, numbers))
    assert len(set(numbers)) == len(numbers)
    codes = [organisation.code for organisation in told.city.institutions.all()]
    assert all(map(is_uscc, codes))
    assert len(set(codes)) == len(codes)


def test_numbers_keep_the_area_code_of_their_time(told: Told) -> None:
    """Xiaoshan became a district in 2001; who was born there before has the county-level city's code."""
    old = {p.number[:6] for p in told.city.people if p.area == "330109" and p.birth < date(1988, 1, 1)}
    young = {p.number[:6] for p in told.city.people if p.area == "330109" and p.birth.year >= 2001}
    assert "330121" in old
    assert "330109" not in old
    assert "330109" in young
    assert "330121" not in young
