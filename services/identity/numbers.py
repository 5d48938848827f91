"""Numbers whose form a standard fixes: 公民身份号码 (GB 11643) and 统一社会信用代码 (GB 32100).

A refusal never repeats the number: what is raised here may end up in a receipt or a log.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.kit.check_characters import USCC_ALPHABET, citizen_check_digit, uscc_check_character

_CITIZEN_18 = re.compile(r"[1-9][0-9]{16}[0-9X]")
_CITIZEN_15 = re.compile(r"[1-9][0-9]{14}")
EARLIEST_BIRTH = date(1800, 1, 1)

# First two digits: GB/T 2260 provinces; 81-83 are residents from Hong Kong, Macao and Taiwan.
KNOWN_PROVINCES = frozenset(
    str(code)
    for block in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83))
    for code in range(block[0], block[1] + 1)
)

_USCC = re.compile(rf"[{USCC_ALPHABET}]{{2}}[0-9]{{6}}[{USCC_ALPHABET}]{{10}}")


class NumberError(ValueError):
    """A number that cannot be right. `code` names the reason; the message never holds the number."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class CitizenNumber:
    """A checked 公民身份号码 in its 18-digit form, and what it says."""

    value: str
    area: str
    birth_date: date
    sex: Literal["male", "female"]

    @property
    def area_is_known(self) -> bool:
        """Whether GB/T 2260 has the first level, or it is a foreign permanent resident's (9…)."""
        return self.area[:2] in KNOWN_PROVINCES or self.area[0] == "9"


def parse_citizen_number(text: str, *, today: date) -> CitizenNumber:
    """Checks a number of 18 or (before 1999) 15 digits by GB 11643.

    Raises:
        NumberError: wrong length, characters, date or check digit.
    """
    value = unicodedata.normalize("NFKC", text).strip().upper()
    if _CITIZEN_15.fullmatch(value):
        value = from_15_digits(value)
    elif not _CITIZEN_18.fullmatch(value):
        raise NumberError(
            "citizen_number_form", "a citizen number has 17 digits and a digit or X (or 15 digits)"
        )
    born = _birth_date(value[6:14], today)
    if citizen_check_digit(value[:17]) != value[17]:
        raise NumberError("citizen_number_checksum", "the check digit of the citizen number is wrong")
    return CitizenNumber(value, value[:6], born, "male" if int(value[16]) % 2 else "female")


def from_15_digits(value: str) -> str:
    """The 18-character form of a number given out before 1999."""
    # GB 11643-1999: sequence 996-999 marked people born before 1900 in the old form.
    century = "18" if value[12:] >= "996" else "19"
    body = value[:6] + century + value[6:]
    return body + citizen_check_digit(body)


def _birth_date(digits: str, today: date) -> date:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise NumberError(
            "citizen_number_date", "the birth date in the citizen number does not exist"
        ) from error
    if not EARLIEST_BIRTH <= born <= today:
        raise NumberError("citizen_number_date", "the birth date in the citizen number cannot be")
    return born


def parse_uscc(text: str) -> str:
    """A 统一社会信用代码 checked by GB 32100-2015, in upper case.

    Raises:
        NumberError: wrong length, characters or check character.
    """
    value = unicodedata.normalize("NFKC", text).strip().upper()
    if not _USCC.fullmatch(value):
        raise NumberError("uscc_form", "a unified social credit code has 18 characters without I, O, S, V, Z")
    if uscc_check_character(value[:17]) != value[17]:
        raise NumberError("uscc_checksum", "the check character of the unified social credit code is wrong")
    return value


def masked(value: str) -> str:
    """First and last character only, as on official notices."""
    return value[0] + "*" * (len(value) - 2) + value[-1] if len(value) > 2 else "*" * len(value)
