"""The numbers people and organisations carry: built valid, and checked, from the text of their standards."""

from datetime import date

_CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CITIZEN_CHECKS = "10X98765432"
_USCC_SYMBOLS = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100: no I, O, S, V, Z
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)

CITIZEN_NUMBER = "urn:huimin:id:citizen-number"
STUDENT_NUMBER = "urn:huimin:id:student-number"
ORGANISATION_CODE = "urn:huimin:id:uscc"
PRACTITIONER_NUMBER = "urn:huimin:id:practitioner-number"


def citizen_check(first_seventeen: str) -> str:
    """GB 11643 (ISO 7064 MOD 11-2): the eighteenth character."""
    total = sum(int(digit) * weight for digit, weight in zip(first_seventeen, _CITIZEN_WEIGHTS, strict=True))
    return _CITIZEN_CHECKS[total % 11]


def citizen_number(area: str, birth: date, order: int) -> str:
    """Area of first registration, birth date, order code (odd for men), check character."""
    body = f"{area}{birth:%Y%m%d}{order:03d}"
    return body + citizen_check(body)


def is_citizen_number(text: str) -> bool:
    if len(text) != 18 or not text[:17].isascii() or not text[:17].isdigit():
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    return citizen_check(text[:17]) == text[17]


def organisation_check(first_eight: str) -> str:
    """GB 11714: the ninth character of the organisation code inside a unified social credit code."""
    total = sum(int(digit) * weight for digit, weight in zip(first_eight, _ORGANISATION_WEIGHTS, strict=True))
    remainder = 11 - total % 11
    return {10: "X", 11: "0"}.get(remainder, str(remainder))


def uscc_check(first_seventeen: str) -> str:
    """GB 32100: the eighteenth character."""
    total = sum(
        _USCC_SYMBOLS.index(symbol) * weight
        for symbol, weight in zip(first_seventeen, _USCC_WEIGHTS, strict=True)
    )
    return _USCC_SYMBOLS[(31 - total % 31) % 31]


def uscc(kind: str, area: str, body: int) -> str:
    """Registering department and category (two symbols), area, organisation code, check symbol.

    `kind` is "91" for a company, "12" for a public institution (hospital, school), "11" for an authority.
    """
    eight = f"{body:08d}"
    seventeen = f"{kind}{area}{eight}{organisation_check(eight)}"
    return seventeen + uscc_check(seventeen)


def is_uscc(text: str) -> bool:
    if len(text) != 18 or any(symbol not in _USCC_SYMBOLS for symbol in text):
        return False
    return uscc_check(text[:17]) == text[17]
