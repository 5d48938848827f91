"""The four kinds of rows an agency or insurer pushes: their columns, natural keys and row-wide checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from social_security.imports import checks
from social_security.imports.checks import Check, Refused
from social_security.shapes import BENEFITS, SCHEMES

Values = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file.

    Attributes:
        check: made for the day of the push, since dates may not lie after it.
        repeats: values repeat so much that a checked one is remembered.
        kept: stored with the row; the others only say who the person is.
    """

    name: str
    check: Callable[[date], Check]
    required: bool = True
    personal: bool = False
    repeats: bool = True
    kept: bool = True


@dataclass(frozen=True, slots=True)
class RowFault:
    field: str
    refused: Refused


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        key: columns that, within the sending organisation, name the same fact again.
        row_check: what columns must say together; takes the typed values in column order.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    row_check: Callable[[Values], RowFault | None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def about_person(self) -> bool:
        return "citizen_number" in self.names

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.kept)


def _always(check: Check) -> Callable[[date], Check]:
    return lambda _today: check


def _id(name: str) -> Column:
    return Column(name, _always(checks.words(64)), repeats=False)


def _number() -> Column:
    return Column("citizen_number", checks.citizen_number, personal=True, kept=False)


def _scheme() -> Column:
    return Column("scheme", _always(checks.one_of(SCHEMES, "scheme")))


def _area() -> Column:
    return Column("area", _always(checks.area))


def _period() -> Column:
    return Column("period", _always(checks.period))


def _money(name: str = "amount") -> Column:
    return Column(name, _always(checks.money))


def _currency() -> Column:
    return Column("currency", _always(checks.currency))


def _date(name: str, *, required: bool = True) -> Column:
    return Column(name, checks.past_date, required=required)


def _uscc(name: str) -> Column:
    return Column(name, _always(checks.uscc))


def _words(name: str, longest: int, *, personal: bool = False, kept: bool = True) -> Column:
    return Column(name, _always(checks.words(longest)), required=False, personal=personal, kept=kept)


def _stay_in_order(values: Values) -> RowFault | None:
    admitted, discharged = values[_ADMITTED], values[_DISCHARGED]
    if discharged is not None and admitted is None:
        return RowFault(
            "admitted_on", Refused("stay_without_start", "a stay with a discharge has an admission")
        )
    if discharged is not None and discharged < admitted:
        return RowFault("discharged_on", Refused("stay_order", "the discharge lies before the admission"))
    return None


CONTRIBUTIONS = Kind(
    "contributions",
    "contribution",
    (
        _id("contribution_id"),
        _number(),
        _words("name", 100, personal=True, kept=False),
        _uscc("employer_uscc"),
        _scheme(),
        _area(),
        _period(),
        _money("base"),
        _money(),
        _currency(),
        _date("declared_on"),
    ),
    key=("contribution_id",),
)
PAYMENTS = Kind(
    "payments",
    "payment",
    (
        _id("payment_id"),
        _number(),
        _scheme(),
        Column("benefit", _always(checks.one_of(BENEFITS, "benefit"))),
        _area(),
        _period(),
        _money(),
        _currency(),
        _date("paid_on"),
        Column("account_hash", _always(checks.account_hash), required=False, personal=True),
    ),
    key=("payment_id",),
)
CLAIMS = Kind(
    "claims",
    "claim",
    (
        _id("claim_id"),
        _number(),
        _uscc("provider_uscc"),
        _scheme(),
        _area(),
        _date("admitted_on", required=False),
        _date("discharged_on", required=False),
        _date("claimed_on"),
        _words("diagnosis", 32),
        _money("total"),
        _currency(),
    ),
    key=("claim_id",),
    row_check=_stay_in_order,
)
_ADMITTED, _DISCHARGED = CLAIMS.names.index("admitted_on"), CLAIMS.names.index("discharged_on")
CLAIM_LINES = Kind(
    "claim_lines",
    "claim_line",
    (
        _id("claim_id"),
        Column("line_no", _always(checks.line_number)),
        Column("item_code", _always(checks.words(64))),
        _words("item_name", 200),
        _date("service_date"),
        Column("quantity", _always(checks.quantity)),
        _money("unit_price"),
        _money(),
        _currency(),
        _words("practitioner", 64),
    ),
    key=("claim_id", "line_no"),
)
# In this order they are applied: a claim before the lines that refer to it.
KINDS = {kind.name: kind for kind in (CONTRIBUTIONS, PAYMENTS, CLAIMS, CLAIM_LINES)}
