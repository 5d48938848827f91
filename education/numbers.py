"""National numbers as schools send them: 公民身份号码 (GB 11643) and 学籍号.

A 学籍号 is given once for life: `G` and the citizen number the pupil had then; `J` for pupils without one
(six digits of area, eight of birth, three serial, one check); `L` while the national register looks for
doubles (six, eight, four random). A pupil's citizen number may change later, so neither is ever derived from
the other.
"""

import re
from datetime import date

from services.kit.check_characters import citizen_check_digit

CITIZEN_NUMBER = "citizen-number"
STUDENT_NUMBER = "student-number"
# What a sender may call them in `userIds`, in lower case without separators.
TYPE_OF = {
    "citizennumber": CITIZEN_NUMBER,
    "urnhuiminidcitizennumber": CITIZEN_NUMBER,
    "studentnumber": STUDENT_NUMBER,
    "urnhuiminidstudentnumber": STUDENT_NUMBER,
    "xuejihao": STUDENT_NUMBER,
    "公民身份号码": CITIZEN_NUMBER,
    "身份证号": CITIZEN_NUMBER,
    "学籍号": STUDENT_NUMBER,
}

_CITIZEN = re.compile(r"[1-9][0-9]{16}[0-9X]")
_STUDENT = re.compile(r"(?:G([1-9][0-9]{16}[0-9X])|J([1-9][0-9]{16}[0-9X])|L([1-9][0-9]{17}))")
_ANYWHERE = re.compile(r"(?<![0-9])[1-9][0-9]{16}[0-9Xx](?![0-9])")


def citizen_number_fault(value: str) -> str | None:
    """The code of what is wrong with a citizen number of 18 characters, or None."""
    if not _CITIZEN.fullmatch(value):
        return "citizen_number_form"
    if not _is_date(value[6:14]):
        return "citizen_number_date"
    if citizen_check_digit(value[:17]) != value[17]:
        return "citizen_number_checksum"
    return None


def student_number_fault(value: str) -> str | None:
    """The code of what is wrong with a 学籍号, or None."""
    found = _STUDENT.fullmatch(value)
    if found is None:
        return "student_number_form"
    citizen, without, temporary = found.groups()
    if citizen is not None:
        return "student_number_checksum" if citizen_number_fault(citizen) else None
    return None if _is_date((without or temporary)[6:14]) else "student_number_date"


def holds_citizen_number(text: str) -> bool:
    """Whether a valid citizen number stands anywhere in the text, where none belongs."""
    if len(text) < 18:
        return False
    return any(citizen_number_fault(found.upper()) is None for found in _ANYWHERE.findall(text))


def looks_like(value: str) -> str | None:
    """Which national number an untyped identifier has the form of, if any."""
    if _CITIZEN.fullmatch(value) and _is_date(value[6:14]):
        return CITIZEN_NUMBER
    return STUDENT_NUMBER if _STUDENT.fullmatch(value) else None


def _is_date(digits: str) -> bool:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return 1800 <= born.year <= 2100
