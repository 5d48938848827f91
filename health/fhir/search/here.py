"""Entries of a bundle as a search finds them, before they are in the store: what `repository` says in SQL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import asin, cos, radians, sin, sqrt
from typing import Any

from health import keys
from health.criteria import (
    AnyOf,
    Between,
    Bounds,
    Clause,
    Criteria,
    Ids,
    Near,
    Not,
    Present,
    References,
    Texts,
    Tokens,
    Wording,
)
from health.fhir.entries import Entry
from health.fhir.outcome import refused


class Here:
    """The entries of a bundle.

    Args:
        local: `Type/id` of an entry, as it will be in the store.
        final: the reference that is written instead of a chosen one.
    """

    def __init__(
        self, entries: Iterable[Entry], local: Callable[[Entry], str], final: Mapping[str, str]
    ) -> None:
        self._local = local
        self._final = final
        self._by_type: dict[str, list[Entry]] = {}
        self._by_token: dict[int, list[Entry]] = {}
        for entry in entries:
            self._by_type.setdefault(entry.type, []).append(entry)
            for hash in entry.tokens:
                self._by_token.setdefault(hash, []).append(entry)

    def matches(self, criteria: Criteria, path: str) -> set[str]:
        """`Type/id` of those a search means.

        Raises:
            Refusal: 400 naming `path`, for what cannot be told of a resource that is not stored yet.
        """
        match criteria.clauses:
            case (Tokens((hash,)),):
                return {self._local(entry) for entry in self._by_token.get(hash, ())}
        try:
            return {
                self._local(entry)
                for kind in criteria.types
                for entry in self._by_type.get(kind, ())
                if all(self._holds(entry, clause) for clause in criteria.clauses)
            }
        except _CannotTell as error:
            words = "a reference by search cannot go along references, nor by _lastUpdated"
            raise refused(400, "not-supported", words, path) from error

    def _holds(self, entry: Entry, clause: Clause) -> bool:
        match clause:
            case Ids(ids):
                return self._local(entry).partition("/")[2] in ids
            case Tokens(hashes):
                return not set(hashes).isdisjoint(entry.tokens)
            case References(hashes):
                return not set(hashes).isdisjoint(self._references(entry))
            case Between("dat", any_of):
                return any(_between(b, row, _date) for row in entry.dates for b in any_of)
            case Between(table, any_of):
                rows = entry.numbers if table == "num" else entry.quantities
                found = [(key, Decimal(low), Decimal(high)) for key, low, high in rows]
                return any(_between(b, row, _number) for row in found for b in any_of)
            case Texts("str", any_of):
                return any(_text(text, row) for row in entry.strings for text in any_of)
            case Texts("uri", any_of):
                return any(_text(text, [*row, None]) for row in entry.uris for text in any_of)
            case Near(places):
                return entry.position is not None and any(_near(entry.position, place) for place in places)
            case Present(rows):
                return any(key in self._keys(entry, table) for table, key in rows)
            case Not(inner):
                return not self._holds(entry, inner)
            case AnyOf(clauses):
                return any(self._holds(entry, one) for one in clauses)
        raise _CannotTell

    def _references(self, entry: Entry) -> set[int]:
        return {
            keys.reference_key(entry.type, name, self._final.get(target, target))
            for name, target in entry.references
        }

    def _keys(self, entry: Entry, table: str) -> set[int]:
        if table == "tok":
            return set(entry.tokens)
        if table == "ref":
            return {keys.param_key(entry.type, name) for name, _ in entry.references}
        rows: dict[str, list[list[Any]]] = {
            "dat": entry.dates,
            "str": entry.strings,
            "num": entry.numbers,
            "qty": entry.quantities,
            "uri": entry.uris,
        }
        return {row[0] for row in rows[table]}


class _CannotTell(Exception):
    pass


_Compared = Callable[[Bounds, Any, Any], bool]


def _between(b: Bounds, row: Sequence[Any], compared: _Compared) -> bool:
    key, low, high = row
    if key != b.key:
        return False
    ends = {"lo": (low, low), "hi": (high, high)}.get(b.end or "", (low, high))
    return compared(b, *ends) and (b.also is None or _between(b.also, row, compared))


def _date(b: Bounds, low: int, high: int) -> bool:
    inside = low >= b.lo and high <= b.hi
    match b.comparison:
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return high > b.hi
        case "lt":
            return low < b.lo
        case "ge":
            return high > b.hi or inside
        case "le":
            return low < b.lo or inside
        case "sa":
            return low >= b.hi
        case "eb":
            return high <= b.lo
        case "ap":
            return low < b.hi and high > b.lo


def _number(b: Bounds, low: Decimal, high: Decimal) -> bool:
    inside = low >= b.lo and high < b.hi
    match b.comparison:
        case "eq":
            return inside
        case "ne":
            return not inside
        case "gt":
            return high > b.lo
        case "lt":
            return low < b.lo
        case "ge":
            return high >= b.lo
        case "le":
            return low <= b.lo
        case "sa":
            return low > b.lo
        case "eb":
            return high < b.lo
        case "ap":
            return low <= b.hi and high >= b.lo


def _text(asked: Wording, row: Sequence[Any]) -> bool:
    key, value, exact = row
    if key != asked.key:
        return False
    match asked.match:
        case "starts":
            return bool(value.startswith(asked.value))
        case "contains":
            return asked.value in value
        case "exact":
            return bool((value if exact is None else exact) == asked.value)


def _near(position: Sequence[float], place: tuple[float, float, float]) -> bool:
    latitude, longitude, distance = place
    half = sin(radians(position[0] - latitude) / 2) ** 2
    across = sin(radians(position[1] - longitude) / 2) ** 2
    chord = half + cos(radians(latitude)) * cos(radians(position[0])) * across
    return 12742 * asin(min(1.0, sqrt(chord))) <= distance
