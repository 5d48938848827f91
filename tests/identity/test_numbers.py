"""GB 11643 and GB 32100: published vectors, and properties that hold for every number."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.numbers import NumberError, masked, parse_citizen_number, parse_uscc
from services.kit.check_characters import citizen_check_digit, uscc_check_character

TODAY = date(2026, 11, 23)
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"

dates = st.dates(min_value=date(1800, 1, 1), max_value=TODAY)
areas = st.integers(110000, 829999).map(str)
bodies = st.builds(lambda a, d, s: f"{a}{d:%Y%m%d}{s:03d}", areas, dates, st.integers(0, 999))
usccs = st.builds(
    lambda a, b, c: a + b + c,
    st.text(USCC_ALPHABET, min_size=2, max_size=2),
    st.text("0123456789", min_size=6, max_size=6),
    st.text(USCC_ALPHABET, min_size=9, max_size=9),
).map(lambda body: body + uscc_check_character(body))


@pytest.mark.parametrize(
    ("text", "value", "born", "sex"),
    [
        # The two examples of GB 11643-1999, section 4 and annex A.
        ("11010519491231002X", "11010519491231002X", date(1949, 12, 31), "female"),
        ("440524188001010014", "440524188001010014", date(1880, 1, 1), "male"),
        # python-stdnum's test vector.
        ("360426199101010071", "360426199101010071", date(1991, 1, 1), "male"),
        ("11010519491231002x", "11010519491231002X", date(1949, 12, 31), "female"),
        (" 11010519491231002X ", "11010519491231002X", date(1949, 12, 31), "female"),
        ("１１０１０５１９４９１２３１００２Ｘ", "11010519491231002X", date(1949, 12, 31), "female"),
        # The form before 1999, with two digits of the year.
        ("110105491231002", "11010519491231002X", date(1949, 12, 31), "female"),
    ],
)
def test_a_right_number_is_read(text: str, value: str, born: date, sex: str) -> None:
    found = parse_citizen_number(text, today=TODAY)
    assert (found.value, found.birth_date, found.sex) == (value, born, sex)


def test_the_old_form_marks_people_born_before_1900() -> None:
    found = parse_citizen_number("440524800101997", today=TODAY)
    assert found.birth_date == date(1880, 1, 1)
    assert found.value[:17] == "44052418800101997"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "citizen_number_form"),
        ("1101051949123100", "citizen_number_form"),
        ("11010519491231002Y", "citizen_number_form"),
        ("01010519491231002X", "citizen_number_form"),
        ("11010519491231002X0", "citizen_number_form"),
        ("1101051949123100٢X", "citizen_number_form"),
        ("110105194912310021", "citizen_number_checksum"),
        ("360426199101010072", "citizen_number_checksum"),
        ("110105194902310026", "citizen_number_date"),
        ("110105202702010021", "citizen_number_date"),
        ("110105179912310021", "citizen_number_date"),
        ("110105490231002", "citizen_number_date"),
    ],
)
def test_a_wrong_number_is_refused_without_being_repeated(text: str, code: str) -> None:
    with pytest.raises(NumberError) as refused:
        parse_citizen_number(text, today=TODAY)
    assert refused.value.code == code
    assert not text or text not in str(refused.value)


def test_born_today_is_taken_and_tomorrow_is_not() -> None:
    for born, taken in ((TODAY, True), (TODAY + timedelta(days=1), False)):
        body = f"330106{born:%Y%m%d}001"
        number = body + citizen_check_digit(body)
        if taken:
            assert parse_citizen_number(number, today=TODAY).birth_date == born
        else:
            with pytest.raises(NumberError):
                parse_citizen_number(number, today=TODAY)


@pytest.mark.parametrize(("area", "known"), [("190101", False), ("990101", True), ("830000", True)])
def test_an_unknown_area_is_read_and_marked(area: str, known: bool) -> None:
    """990101: permanent residents' numbers begin with 9 since 2023; 83: residents from Taiwan."""
    body = f"{area}19900101001"
    assert parse_citizen_number(body + citizen_check_digit(body), today=TODAY).area_is_known is known


@given(bodies)
def test_every_checked_body_is_a_number(body: str) -> None:
    found = parse_citizen_number(body + citizen_check_digit(body), today=TODAY)
    assert found.birth_date.strftime("%Y%m%d").rjust(8, "0") == body[6:14]
    assert (found.sex == "male") == (int(body[16]) % 2 == 1)


@given(bodies, st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_never_passes(body: str, place: int, by: int) -> None:
    number = body + citizen_check_digit(body)
    digits = "0123456789X" if place == 17 else "0123456789"
    wrong = digits[(digits.index(number[place]) + by) % len(digits)]
    if wrong != number[place]:
        with pytest.raises(NumberError):
            parse_citizen_number(number[:place] + wrong + number[place + 1 :], today=TODAY)


@given(bodies, st.integers(0, 15))
def test_two_swapped_digits_never_pass(body: str, place: int) -> None:
    number = body + citizen_check_digit(body)
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    if swapped != number:
        with pytest.raises(NumberError):
            parse_citizen_number(swapped, today=TODAY)


@pytest.mark.parametrize(
    "code",
    [
        "91110000600037341L",  # python-stdnum's test vector
        "91310115591693856A",  # python-stdnum's documentation
        "914403001922038216",  # Huawei
        "91440300708461136T",  # Tencent
    ],
)
def test_a_published_credit_code_is_read(code: str) -> None:
    assert parse_uscc(f" {code.lower()} ") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("91110000600037342L", "uscc_checksum"),
        ("91110000600037341", "uscc_form"),
        ("9I110000600037341L", "uscc_form"),
        ("91A10000600037341L", "uscc_form"),
    ],
)
def test_a_wrong_credit_code_is_refused(text: str, code: str) -> None:
    with pytest.raises(NumberError) as refused:
        parse_uscc(text)
    assert refused.value.code == code


@given(usccs, st.integers(0, 17), st.integers(1, 30))
def test_one_wrong_character_of_a_credit_code_never_passes(code: str, place: int, by: int) -> None:
    assert parse_uscc(code) == code
    alphabet = "0123456789" if 2 <= place < 8 else USCC_ALPHABET
    wrong = alphabet[(alphabet.index(code[place]) + by) % len(alphabet)]
    if wrong != code[place]:
        with pytest.raises(NumberError):
            parse_uscc(code[:place] + wrong + code[place + 1 :])


@pytest.mark.parametrize(
    ("value", "shown"), [("11010519491231002X", "1****************X"), ("ab", "**"), ("", "")]
)
def test_masked_shows_the_ends_alone(value: str, shown: str) -> None:
    assert masked(value) == shown
