"""k-anonymity (Samarati and Sweeney 1998) over whole people: how many share everything that is told of them.

A person's rows together are a fingerprint even where each row is common. So people are compared by all of
their rows, not row by row.
"""

from collections import Counter
from collections.abc import Sequence

Told = tuple[str, ...]


def alike(people: Sequence[str], rows: Sequence[Told]) -> dict[str, int]:
    """For each person how many, themselves among them, have exactly the same told of them.

    Whoever is left out for too few goes with all who are like them: the counts of the others stay.
    """
    lists: dict[str, list[Told]] = {}
    for person, row in zip(people, rows, strict=True):
        lists.setdefault(person, []).append(row)
    told = {person: tuple(sorted(rows_of_one)) for person, rows_of_one in lists.items()}
    sizes = Counter(told.values())
    return {person: sizes[all_of_it] for person, all_of_it in told.items()}
