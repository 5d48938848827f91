"""From the values found to rows: for each kind of parameter and data type, what a value can be asked for by.

FHIR R4 search.html, sections 3.1.1.5.6 to 3.1.1.5.14. A maker is a closure over the keys of its parameter;
a data type that a kind of parameter does not search has none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from health import keys
from health.fhir.extract import dates, quantities
from health.fhir.extract.walking import Emit


@dataclass(slots=True)
class Rows:
    """A resource's index rows.

    Attributes:
        tokens: keys, one for each form a token can be asked in (`code`, `system|code`, `system|`, `|code`).
        references: parameter and target (`Type/id`, an absolute URL, a canonical); an empty target says no
            more than that there is a reference.
        dates: key and interval.
        strings: key, folded text, and the text as it is written where that differs.
        numbers, quantities: key and the ends of the value, as decimals.
        uris: key and URI.
        position: latitude and longitude.
    """

    tokens: set[int] = field(default_factory=set)
    references: dict[tuple[str, str], None] = field(default_factory=dict)
    dates: set[tuple[int, int, int]] = field(default_factory=set)
    strings: set[tuple[int, str, str | None]] = field(default_factory=set)
    numbers: set[tuple[int, str, str]] = field(default_factory=set)
    quantities: set[tuple[int, str, str]] = field(default_factory=set)
    uris: set[tuple[int, str]] = field(default_factory=set)
    position: tuple[float, float] | None = None


@lru_cache(maxsize=8192)
def maker(search: str, kind: str, name: str, data_type: str, *, part: bool = False) -> Emit | None:
    """What notes a value of this data type as found by this parameter; None where it is not searched by it.

    Args:
        search: the kind of the parameter.
        part: it is the last part of a composite, whose rows say no more than the value.
    """
    make = _MAKERS.get(search)
    return make(kind, name, data_type, part) if make is not None else None


# Tokens


def _codings(value: Any) -> Iterator[tuple[str | None, Any]]:
    for coding in value.get("coding", ()):
        yield coding.get("system"), coding.get("code")


def _coding(value: Any) -> Iterator[tuple[str | None, Any]]:
    yield value.get("system"), value.get("code")


def _identifier(value: Any) -> Iterator[tuple[str | None, Any]]:
    yield value.get("system"), value.get("value")


def _plain(value: Any) -> Iterator[tuple[str | None, Any]]:
    yield None, ("true" if value else "false") if type(value) is bool else value


_TOKENS: dict[str, Callable[[Any], Iterator[tuple[str | None, Any]]]] = {
    "CodeableConcept": _codings,
    "Coding": _coding,
    "Identifier": _identifier,
    "ContactPoint": _identifier,
    **dict.fromkeys(("code", "string", "id", "uri", "url", "canonical", "oid", "uuid", "boolean"), _plain),
    **dict.fromkeys(("markdown", "date", "dateTime", "instant", "System.Boolean", "System.String"), _plain),
}


def tokens_of(data_type: str, value: Any) -> Iterator[tuple[str | None, Any]]:
    """System and code of each token that a value is."""
    of = _TOKENS.get(data_type)
    return of(value) if of is not None else iter(())


def _texts(data_type: str, value: Any) -> Iterator[str]:
    """What people read of a token (`:text`)."""
    match data_type:
        case "CodeableConcept":
            yield from (coding["display"] for coding in value.get("coding", ()) if "display" in coding)
            yield from (value[name] for name in ("text",) if name in value)
        case "Coding":
            yield from (value[name] for name in ("display",) if name in value)
        case "Identifier":
            yield from (text for text in [value.get("type", {}).get("text")] if text is not None)


def _token(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    of = _TOKENS.get(data_type)
    if of is None:
        return None
    _, present = keys.presence("token", kind, name)
    text = keys.param_key(kind, f"{name}:text")

    def emit(value: Any, rows: Rows) -> None:
        for system, code in of(value):
            rows.tokens.update(keys.token_keys(kind, name, system, code))

    if part:
        return emit
    if data_type not in {"CodeableConcept", "Coding", "Identifier"}:

        def emit_plain(value: Any, rows: Rows) -> None:
            rows.tokens.add(present)
            emit(value, rows)

        return emit_plain

    def emit_all(value: Any, rows: Rows) -> None:
        rows.tokens.add(present)
        emit(value, rows)
        if data_type == "Identifier" and "type" in value:
            for system, code in _codings(value["type"]):
                rows.tokens.add(keys.of_type_key(kind, name, system or "", code, value["value"]))
        for one in _texts(data_type, value):
            rows.strings.add((text, keys.folded(one), None))

    return emit_all


# References


def target_of(reference: Any) -> str | None:
    """What a Reference points to, without a version; None for one by identifier only, or into itself."""
    written = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(written, str) or written.startswith("#"):
        return None
    return written.partition("/_history/")[0]


def _reference(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    by_identifier = f"{name}:identifier"

    def reference(value: Any, rows: Rows) -> None:
        rows.references[name, target_of(value) or ""] = None
        if "identifier" in value:
            for system, code in _identifier(value["identifier"]):
                rows.tokens.update(keys.token_keys(kind, by_identifier, system, code))

    def canonical(value: Any, rows: Rows) -> None:
        rows.references[name, value] = None
        bare, bar, _ = value.partition("|")
        if bar:
            rows.references[name, bare] = None

    def whole(value: Any, rows: Rows) -> None:
        rows.references[name, f"{value['resourceType']}/{value['id']}"] = None

    match data_type:
        case "Reference":
            return reference
        case "canonical" | "uri" | "url":
            return canonical
        case _ if data_type[:1].isupper() and data_type != "Attachment":
            # A resource that stands in place, as the first of a document Bundle.
            return whole
    return None


# Dates, texts, numbers, URIs, places


def _date(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    key = keys.date_key(kind, name)
    interval = dates.OF.get(data_type)
    if interval is None:
        return None

    def emit(value: Any, rows: Rows) -> None:
        found = interval(value)
        if found is not None:
            rows.dates.add((key, *found))

    return emit


_PARTS = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "country", "postalCode"),
}


def _string(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    key = keys.param_key(kind, name)
    names = _PARTS.get(data_type, ())

    def text(value: Any, rows: Rows) -> None:
        value = value[: keys.TEXT_MAX]
        folded = keys.folded(value)
        if folded:
            rows.strings.add((key, folded, None if folded == value else value))

    def parts(value: Any, rows: Rows) -> None:
        for name in names:
            said = value.get(name)
            for one in said if type(said) is list else (said,):
                if one is not None:
                    text(one, rows)

    if data_type in {"string", "markdown", "code", "id", "uri", "System.String"}:
        return text
    return parts if names else None


def _number(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    key = keys.param_key(kind, name)

    def number(value: Any, rows: Rows) -> None:
        literal = str(quantities.decimal(value))
        rows.numbers.add((key, literal, literal))

    def ends(value: Any, rows: Rows) -> None:
        low, high = quantities.span(value)
        rows.numbers.add((key, str(low), str(high)))

    if data_type in {"decimal", "integer", "positiveInt", "unsignedInt"}:
        return number
    return ends if data_type == "Range" else None


_AMOUNTS = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money", "Range", "SampledData"})


def _quantity(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    if data_type not in _AMOUNTS:
        return None
    known: dict[tuple[str, ...], int] = {}

    def key(form: tuple[str, ...]) -> int:
        if form not in known:
            if len(known) > 1000:
                known.clear()
            known[form] = keys.quantity_key(kind, name, *form)
        return known[form]

    def emit(value: Any, rows: Rows) -> None:
        for form, (low, high) in quantities.kept(data_type, value):
            rows.quantities.add((key(form), str(low), str(high)))

    return emit


def _uri(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    key = keys.param_key(kind, name)

    def emit(value: Any, rows: Rows) -> None:
        rows.uris.add((key, value[: keys.URI_MAX]))

    return emit if data_type in {"uri", "canonical", "url", "oid", "uuid", "string"} else None


def _special(kind: str, name: str, data_type: str, part: bool) -> Emit | None:
    _, present = keys.presence("special", kind, name)

    def emit(value: Any, rows: Rows) -> None:
        rows.position = (float(value["latitude"]), float(value["longitude"]))
        rows.tokens.add(present)

    return emit if data_type == "Location_Position" else None


_MAKERS: dict[str, Callable[[str, str, str, bool], Emit | None]] = {
    "token": _token,
    "reference": _reference,
    "date": _date,
    "string": _string,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
    "special": _special,
}
