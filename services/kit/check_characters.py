"""Check characters of the numbers that every domain meets: GB 11643 (people), GB 32100 (organisations).

What else such a number must be, and how a refusal reads, is each door's own business.
"""

from operator import mul

_CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CITIZEN_CHECK = "10X98765432"
USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_VALUES = {character: value for value, character in enumerate(USCC_ALPHABET)}
_USCC_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))


def citizen_check_digit(first_17: str) -> str:
    """The last character of a 公民身份号码: ISO 7064 MOD 11-2 over its first 17 digits (GB 11643-1999)."""
    return _CITIZEN_CHECK[sum(map(mul, map(int, first_17), _CITIZEN_WEIGHTS)) % 11]


def uscc_check_character(first_17: str) -> str:
    """The last character of a 统一社会信用代码: MOD 31-3 over its first 17 (GB 32100-2015)."""
    values = (_USCC_VALUES[character] for character in first_17)
    return USCC_ALPHABET[-sum(map(mul, values, _USCC_WEIGHTS)) % 31]
