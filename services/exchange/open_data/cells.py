"""Counting people by what is published of them, and withholding the cells that are too small."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.exchange.open_data.generalising import generalised
from services.exchange.open_data.products import Product

Key = tuple[str, ...]
Cell = tuple[Key, int | None]
"""A combination of values and how many there are; None where that is withheld."""


class Tally:
    """Counts as rows come in, each person once in a cell however many rows say the same."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._people: dict[Key, set[str]] = {}
        self._rows: dict[Key, int] = {}

    def add(self, rows: Sequence[Mapping[str, Any]], people: Sequence[str | None]) -> None:
        """Rows, and beside them the person each is about.

        A row about nobody who is known is left out of a count of people.
        """
        dimensions = self._product.dimensions
        for row, person in zip(rows, people, strict=True):
            key = tuple(generalised(row[dimension.item], dimension.way) for dimension in dimensions)
            if self._product.counts == "rows":
                self._rows[key] = self._rows.get(key, 0) + 1
            elif person is not None:
                self._people.setdefault(key, set()).add(person)

    def counts(self) -> dict[Key, int]:
        if self._product.counts == "rows":
            return dict(self._rows)
        return {key: len(people) for key, people in self._people.items()}


def shown(counts: Mapping[Key, int], *, k: int, rounded_to: int) -> list[Cell]:
    """The cells in order: counts below k withheld, the others rounded; no totals, which would tell both."""
    return [
        (key, _rounded(count, rounded_to) if count >= k else None) for key, count in sorted(counts.items())
    ]


def withheld(cells: Iterable[Cell]) -> int:
    return sum(count is None for _, count in cells)


def _rounded(count: int, base: int) -> int:
    """To the nearest multiple, halves up: a count of at least k stays at least k, a multiple of the base."""
    return (count + base // 2) // base * base
