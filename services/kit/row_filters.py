"""Which rows of a dataset: a small closed language, carried as data and checked at both ends.

A filter is a list of conditions that all hold: `{"item": "death_date", "op": "ge", "value": "2026-01-01"}`.
It stands in an agreement, travels with the exchange's read, and becomes parameters of the provider's SQL.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.kit.problems import Fault, bad_request

Op = Literal["eq", "in", "ge", "le", "prefix"]
Scalar = Annotated[str, Field(max_length=200)] | bool | int
"""Dates, times and decimals are text, as in the rows themselves."""
CONDITIONS_MAX = 10
VALUES_MAX = 100


class Condition(BaseModel):
    """One condition on one item.

    Attributes:
        value: a list for `in`; otherwise one value of the item's type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    item: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    op: Op
    value: Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=VALUES_MAX)]


Conditions = Annotated[list[Condition], Field(max_length=CONDITIONS_MAX)]
_CONDITIONS: TypeAdapter[list[Condition]] = TypeAdapter(Conditions)
_OPS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"eq", "in", "prefix", "ge", "le"}),
    "date": frozenset({"eq", "in", "ge", "le"}),
    "datetime": frozenset({"ge", "le"}),
    "integer": frozenset({"eq", "in", "ge", "le"}),
    "decimal": frozenset({"eq", "in", "ge", "le"}),
    "boolean": frozenset({"eq"}),
}


def parsed(text: str) -> list[Condition]:
    """The conditions of a `filter` parameter.

    Raises:
        Problem: 400 `invalid_filter`.
    """
    try:
        return _CONDITIONS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise bad_request("invalid_filter", f"filter: {place} {first['msg']}".strip()) from error


def dumped(conditions: Sequence[Condition]) -> str:
    return _CONDITIONS.dump_json(list(conditions)).decode()


def check(conditions: Iterable[Condition], types: Mapping[str, str]) -> None:
    """That each condition is about an item one may filter by, with an operator and values of its type.

    Args:
        types: type of each item that may be filtered by.

    Raises:
        Problem: 400 `invalid_filter`, with each fault.
    """
    faults = [fault for condition in conditions if (fault := _fault(condition, types)) is not None]
    if faults:
        words = "; ".join(fault.message for fault in faults)
        raise bad_request("invalid_filter", f"these conditions cannot be kept: {words}", *faults)


def _fault(condition: Condition, types: Mapping[str, str]) -> Fault | None:
    kind = types.get(condition.item)
    if kind is None:
        known = ", ".join(sorted(types)) or "none"
        return Fault(f"rows cannot be chosen by {condition.item}; by these: {known}", field=condition.item)
    if condition.op not in _OPS.get(kind, frozenset()):
        return Fault(f"{condition.op} does not go with {condition.item}, a {kind}", field=condition.item)
    if isinstance(condition.value, list) is not (condition.op == "in"):
        return Fault(f"{condition.item}: a list of values goes with `in` alone", field=condition.item)
    try:
        _values(condition, kind)
    except (ValueError, InvalidOperation, TypeError):
        return Fault(f"{condition.item}: the value is no {kind}", field=condition.item)
    return None


def sql(conditions: Sequence[Condition], types: Mapping[str, str], *, first: int) -> tuple[str, list[Any]]:
    """The conditions as SQL over columns named like the items, and the values of its parameters.

    Call `check` before: only then is an item's name one of the provider's own.

    Args:
        first: number of the first parameter.
    """
    clauses, values = ["true"], []
    for number, condition in enumerate(conditions, first):
        ordered = types[condition.item] == "string" and condition.op in {"ge", "le"}
        # By code points, as `holds` compares, and not by the rules of the database's language.
        column = f'"{condition.item}"' + (' collate "C"' if ordered else "")
        clauses.append(_SQL[condition.op].format(column, f"${number}"))
        found = _values(condition, types[condition.item])
        values.append(found if condition.op == "in" else found[0])
    return " and ".join(clauses), values


_SQL = {
    "eq": "{0} = {1}",
    "in": "{0} = any({1})",
    "ge": "{0} >= {1}",
    "le": "{0} <= {1}",
    "prefix": "starts_with({0}, {1})",
}


def holds(conditions: Iterable[Condition], row: Mapping[str, Any], types: Mapping[str, str]) -> bool:
    """Whether a row, as it travels, keeps every condition; one without the item does not."""
    return all(_holds(condition, row.get(condition.item), types[condition.item]) for condition in conditions)


def _holds(condition: Condition, found: Any, kind: str) -> bool:
    if found is None:
        return False
    value, wanted = _READ[kind](found), _values(condition, kind)
    match condition.op:
        case "eq" | "in":
            return value in wanted
        case "ge":
            return bool(value >= wanted[0])
        case "le":
            return bool(value <= wanted[0])
        case "prefix":
            return str(value).startswith(str(wanted[0]))


def _values(condition: Condition, kind: str) -> list[Any]:
    given = condition.value if isinstance(condition.value, list) else [condition.value]
    return [_READ[kind](value) for value in given]


def _string(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("not a text")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise TypeError("not a whole number")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not true or false")
    return value


def _decimal(value: Any) -> Decimal:
    found = Decimal(_string(value))
    if not found.is_finite():
        raise ValueError("not a number")
    return found


def _datetime(value: Any) -> datetime:
    found = datetime.fromisoformat(_string(value))
    if found.tzinfo is None:
        raise ValueError("without a time zone")
    return found


_READ: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "decimal": _decimal,
    "date": lambda value: date.fromisoformat(_string(value)),
    "datetime": _datetime,
}
