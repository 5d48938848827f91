"""What a single field of a pushed row must look like: from its text to its typed value, or why not."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.kit.check_characters import USCC_ALPHABET, citizen_check_digit, uscc_check_character


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a value is not taken. `rule` names the rule it breaks, for machines; the message is for people."""

    rule: str
    message: str


Check = Callable[[str], object]
"""Text in; the typed value out, or a `Refused`."""

EARLIEST = date(1900, 1, 1)
EARLIEST_BIRTH = date(1800, 1, 1)
_NUMBER_FORM = re.compile(r"[1-9]\d{16}[\dXx]", re.ASCII)
_USCC_CHARACTERS = frozenset(USCC_ALPHABET)
_MONEY = re.compile(r"\d{1,12}(\.\d{1,2})?", re.ASCII)
_QUANTITY = re.compile(r"\d{1,10}(\.\d{1,4})?", re.ASCII)
_PERIOD = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LINE_NUMBER = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_ACCOUNT_HASH = re.compile(r"[0-9A-Za-z+/=_:-]{16,128}", re.ASCII)
_ONLY_DIGITS = re.compile(r"\d{1,24}", re.ASCII)
# GB/T 2260: the first two digits of every province-level division.
_PROVINCES = frozenset(
    {
        *range(11, 16),
        *range(21, 24),
        *range(31, 38),
        *range(41, 47),
        *range(50, 55),
        *range(61, 66),
        71,
        81,
        82,
    }
)
# ISO 4217 list one: currencies in use (funds, metals and testing codes left out).
CURRENCIES = frozenset(
    re.findall(
        r"[A-Z]{3}",
        """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
    GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW
    KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
    MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
""",
    )
)


def citizen_number(today: date) -> Check:
    """公民身份号码, GB 11643: form, birth date, check character. Its area part is not judged."""

    def check(text: str) -> object:
        if not _NUMBER_FORM.fullmatch(text):
            return Refused("gb11643_form", "a citizen number has 17 digits and a digit or X")
        born = _date_of(f"{text[6:10]}-{text[10:12]}-{text[12:14]}")
        if born is None or born < EARLIEST_BIRTH:
            return Refused("gb11643_birth_date", "digits 7 to 14 are not a calendar date")
        if born > today:
            return Refused("gb11643_birth_date", "the birth date in digits 7 to 14 lies in the future")
        if citizen_check_digit(text[:17]) != text[17].upper():
            return Refused(
                "gb11643_checksum", "the check character (18th) does not fit the 17 digits before it"
            )
        return text.upper()

    return check


def uscc(text: str) -> object:
    """统一社会信用代码, GB 32100."""
    if len(text) != 18 or not set(text) <= _USCC_CHARACTERS:
        return Refused(
            "gb32100_form",
            "a unified social credit code has 18 characters, digits and capitals without I O S V Z",
        )
    if uscc_check_character(text[:17]) != text[17]:
        return Refused("gb32100_checksum", "the check character (18th) does not fit the 17 before it")
    return text


def area(text: str) -> object:
    """GB/T 2260: six digits under a province that exists; newer codes below it are taken as they come."""
    if len(text) != 6 or not _ONLY_DIGITS.fullmatch(text) or int(text[:2]) not in _PROVINCES:
        return Refused("gbt2260", "an area is a six-digit GB/T 2260 code, such as 370102")
    return text


def money(text: str) -> object:
    if not _MONEY.fullmatch(text):
        return Refused(
            "decimal_14_2",
            "an amount is digits with at most two decimals, not negative, such as 1280.50; a reversal is "
            "sent as the corrected row",
        )
    return Decimal(text)


def quantity(text: str) -> object:
    if not _QUANTITY.fullmatch(text) or not Decimal(text):
        return Refused("positive_quantity", "a quantity is a number above zero with at most four decimals")
    return Decimal(text)


def currency(text: str) -> object:
    if text not in CURRENCIES:
        return Refused("iso4217", "a currency is an ISO 4217 code in capitals, such as CNY")
    return text


def period(text: str) -> object:
    """A month; kept as its first day."""
    found = _PERIOD.fullmatch(text)
    if not found or not "01" <= found[2] <= "12" or not 1950 <= int(found[1]) <= 2199:
        return Refused("period", "a period is a month written YYYY-MM, such as 2026-03")
    return date(int(found[1]), int(found[2]), 1)


def past_date(today: date) -> Check:
    """A calendar date, ISO 8601, not after `today`."""

    def check(text: str) -> object:
        found = _date_of(text)
        if found is None or found < EARLIEST:
            return Refused("iso8601_date", "a date is written YYYY-MM-DD, such as 2026-03-31")
        if found > today:
            return Refused("not_in_future", f"the date lies after today, {today.isoformat()}")
        return found

    return check


def line_number(text: str) -> object:
    if not _LINE_NUMBER.fullmatch(text):
        return Refused("line_number", "a line number is a whole number from 1 to 999999")
    return int(text)


def words(longest: int) -> Check:
    """Words or a code: kept as sent, so that nothing two systems hold apart is taken for one."""

    def check(value: str) -> object:
        if len(value) > longest:
            return Refused("too_long", f"at most {longest} characters")
        if value != value.strip():
            return Refused("surrounding_space", "remove the space before or after it")
        if _CONTROL.search(value):
            return Refused("control_character", "contains a control character or line break")
        return value

    return check


def account_hash(value: str) -> object:
    """A hash or token of the bank account; the account itself must not travel."""
    if _ONLY_DIGITS.fullmatch(value):
        return Refused(
            "account_in_clear", "send a keyed hash of the account, never the account number itself"
        )
    if not _ACCOUNT_HASH.fullmatch(value):
        return Refused("account_hash", "an account hash has 16 to 128 characters of hexadecimal or base64")
    return value


def one_of(values: frozenset[str], rule: str) -> Check:
    known = ", ".join(sorted(values))

    def check(value: str) -> object:
        return value if value in values else Refused(rule, f"must be one of {known}")

    return check


def _date_of(text: str) -> date | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


_LONG_NUMBER = re.compile(r"\d{11,}[\dXx]?", re.ASCII)


def masked(value: str, *, personal: bool) -> str:
    """The value as an answer may show it: personal fields, and any long number, covered but for the ends."""
    shown = value if len(value) <= 40 else value[:39] + "…"
    if personal:
        return _covered(shown)
    return _LONG_NUMBER.sub(lambda found: _covered(found[0]), shown)


def _covered(value: str) -> str:
    if len(value) < 10:
        return value[:1] + "*" * (len(value) - 1)
    return value[:3] + "*" * (len(value) - 5) + value[-2:]
