"""Amounts as they are kept and asked for: in their own unit, and in base units where UCUM knows theirs.

Of a stored amount only its value counts, not the precision it is written with (FHIR R4 search.html#number).
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from health.fhir import ucum
from health.keys import quantity_key

INFINITY = Decimal("Infinity")
CURRENCY = "urn:iso:std:iso:4217"
MAGNITUDE_MAX = 1000
"""Digits before or after the point; PostgreSQL keeps 131,072 and 16,383."""

Span = tuple[Decimal, Decimal]
Form = tuple[str, ...]


def decimal(value: Any) -> Decimal:
    """A number of JSON, as it is written.

    Raises:
        ValueError: it is none, or none that anything can be compared with.
    """
    if type(value) is int:
        return Decimal(value)
    if not isinstance(value, float):
        raise ValueError("no number")
    found = Decimal(getattr(value, "literal", None) or repr(value))
    exponent = found.as_tuple().exponent
    if isinstance(exponent, str) or exponent < -MAGNITUDE_MAX or abs(found.adjusted()) > MAGNITUDE_MAX:
        raise ValueError("no amount")
    return found


def asked(
    kind: str, parameter: str, system: str | None, unit: str | None, values: Sequence[Decimal]
) -> list[tuple[int, tuple[Decimal, ...]]]:
    """The keys under which an amount is to be looked for, each with the values in that key's unit.

    Args:
        system: None where none was said (`5.4||mg`).
        unit: None where none was said, which means any.
    """
    given = tuple(values)
    if not unit:
        return [(quantity_key(kind, parameter), given)]
    base = [_in_base(value, unit) for value in given] if system in (None, ucum.UCUM) else []
    forms: list[tuple[Form, tuple[Decimal, ...]]] = []
    known = [one for one in base if one is not None]
    if known and len(known) == len(given):
        forms.append(((ucum.UCUM, known[0][1]), tuple(value for value, _ in known)))
    elif system is not None:
        forms.append((("is", system, unit), given))
    if system is None:
        forms.append((("code", unit), given))
    return [(quantity_key(kind, parameter, *form), converted) for form, converted in forms]


def kept(kind: str, value: dict[str, Any]) -> Iterator[tuple[Form, Span]]:
    """The forms in which an amount can be asked for.

    Args:
        kind: its data type.

    Raises:
        ValueError: it has no value that can be compared.
    """
    match kind:
        case "Range":
            low, high = value.get("low") or {}, value.get("high") or {}
            if "value" not in low and "value" not in high:
                return
            yield from _forms(low if "value" in low else high, span(value))
        case "SampledData":
            yield from _forms(value["origin"], _sampled(value))
        case "Money":
            amount = decimal(value["value"])
            coded = {"system": CURRENCY, "code": value.get("currency")}
            yield from _forms(coded, (amount, amount))
        case _:
            if "value" in value:
                yield from _forms(value, _span(value))


def span(value: dict[str, Any]) -> Span:
    """The ends of a Range. Raises ValueError."""
    return _or(value.get("low") or {}, -INFINITY), _or(value.get("high") or {}, INFINITY)


def _or(end: dict[str, Any], open_end: Decimal) -> Decimal:
    return decimal(end["value"]) if "value" in end else open_end


def _span(value: dict[str, Any]) -> Span:
    amount = decimal(value["value"])
    comparator = value.get("comparator")
    if comparator is None:
        return amount, amount
    return (-INFINITY, amount) if comparator in ("<", "<=") else (amount, INFINITY)


def _sampled(value: dict[str, Any]) -> Span:
    """What the samples lie between, by the limits of measuring."""
    origin, factor = decimal(value["origin"]["value"]), decimal(value.get("factor", 1))
    low, high = (
        origin + factor * decimal(value[end]) if end in value else open_end
        for end, open_end in (("lowerLimit", -INFINITY), ("upperLimit", INFINITY))
    )
    return low, high


def _forms(unit: dict[str, Any], amounts: Span) -> Iterator[tuple[Form, Span]]:
    yield (), amounts
    code, system, shown = unit.get("code"), unit.get("system"), unit.get("unit")
    if code:
        low, high = (_in_base(amount, code) if system == ucum.UCUM else None for amount in amounts)
        if low is not None and high is not None:
            yield (ucum.UCUM, low[1]), (low[0], high[0])
        else:
            if system:
                yield ("is", system, code), amounts
            yield ("code", code), amounts
    if shown and shown != code:
        yield ("code", shown), amounts


@lru_cache(maxsize=8192)
def _in_base(amount: Decimal, code: str) -> tuple[Decimal, str] | None:
    if amount.is_finite():
        return ucum.canonical(amount, code)
    base = ucum.canonical(Decimal(1), code)
    return None if base is None else (amount, base[1])
