"""k-anonymity (Samarati and Sweeney 1998) over whole people: how many share everything that is told of them.

A person's rows together are a fingerprint even where each row is common. So people are compared by all of
their rows, not row by row.
"""

from collections import Counter
from collections.abc import Sequence

Told = tuple[str, ...]


def told_of_each(people: Sequence[str], rows: Sequence[Told]) -> dict[str, tuple[Told, ...]]:
    """Everything the rows say of each person, in an order that does not tell anything."""
    found: dict[str, list[Told]] = {}
    for person, row in zip(people, rows, strict=True):
        found.setdefault(person, []).append(row)
    return {person: tuple(sorted(told)) for person, told in found.items()}


def reached(people: Sequence[str], rows: Sequence[Told]) -> int:
    """The k of a table: the smallest number of people who cannot be told apart in it; 0 for an empty one."""
    return min(Counter(told_of_each(people, rows).values()).values(), default=0)


def hidden_enough(people: Sequence[str], rows: Sequence[Told], k: int) -> set[str]:
    """The people who share everything told of them with at least k - 1 others."""
    told = told_of_each(people, rows)
    sizes = Counter(told.values())
    return {person for person, all_of_it in told.items() if sizes[all_of_it] >= k}
