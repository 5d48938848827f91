"""The operators of mathematics on numbers, texts, dates and quantities (N1, sections 6.6 and 6.6.7)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from health.fhir.fhirpath import moments, values
from health.fhir.fhirpath.nodes import Node, of_system
from health.fhir.fhirpath.parser import FHIRPathError
from health.fhir.ucum import canonical


def calculated(operator: str, a: Node, b: Node) -> Node | None:
    """What comes of it; None where that is nothing, as of a division by nought.

    Raises:
        FHIRPathError: the operator does not work on values of these types.
    """
    if operator == "+" and type(a.value) is str and type(b.value) is str:
        return of_system(a.value + b.value, "String")
    x, y = values.number(a), values.number(b)
    try:
        if x is not None and y is not None:
            found = _OF_NUMBERS[operator](x, y)
            return of_system(found, "Integer" if type(found) is int else "Decimal")
        if operator in {"+", "-"} and values.moment(a) is not None and values.quantity(b) is not None:
            amount, unit = _stated(b)
            return moments.shifted(a, amount if operator == "+" else -amount, unit)
        if operator in {"+", "-", "*", "/"} and _is_amount(a) and _is_amount(b):
            return _of_quantities(operator, a, b)
    except ArithmeticError:
        return None
    raise FHIRPathError(f"{operator} does not work on a {a.type} and a {b.type}")


def _is_amount(node: Node) -> bool:
    return values.number(node) is not None or values.quantity(node) is not None


def _stated(node: Node) -> tuple[Decimal, str]:
    """A quantity as it was written; a number has no unit."""
    found = values.number(node)
    if found is not None:
        return Decimal(found), "1"
    number = values.number(Node(node.value["value"], "decimal"))
    assert number is not None
    return Decimal(number), node.value.get("code") or node.value.get("unit") or "1"


def _of_quantities(operator: str, a: Node, b: Node) -> Node | None:
    (x, of_x), (y, of_y) = _stated(a), _stated(b)
    if operator in {"+", "-"}:
        other = y if of_x == of_y else _in_unit(b, of_x)
        return None if other is None else _quantity(x + other if operator == "+" else x - other, of_x)
    value = x * y if operator == "*" else x / y
    if of_y == "1":
        return _quantity(value, of_x)
    found = canonical(value, f"({of_x}){'.' if operator == '*' else '/'}({of_y})")
    return None if found is None else _quantity(*found)


def _in_unit(node: Node, unit: str) -> Decimal | None:
    """The amount in another unit; None where there is no way from the one to the other."""
    found, one = values.quantity(node), values.quantity(_quantity(Decimal(1), unit))
    return found[0] / one[0] if found is not None and one is not None and found[1] == one[1] else None


def _quantity(value: Decimal, unit: str) -> Node:
    return of_system({"value": value, "code": unit}, "Quantity")


_OF_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: Decimal(x) / Decimal(y),
    "div": lambda x, y: int(Decimal(x) / Decimal(y)),
    "mod": lambda x, y: x - y * int(Decimal(x) / Decimal(y)),
}
