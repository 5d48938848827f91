"""Chance that falls the same way on every machine.

Only the raw stream of the Mersenne Twister is used: Python promises it for a given integer seed. Everything
on top (choices, shuffles, bell curves) is written here, because the library's own helpers have changed
between versions and its logarithms come from the platform. For the same reason the city adds floats with
`math.fsum`: `sum` of floats gives other last digits from Python 3.12 on.
"""

import hashlib
import random
from bisect import bisect_right
from collections.abc import Iterable, MutableSequence, Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")
_SQRT2 = 1.4142135623730951
_SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: nothing that reads as something else


def digest(*labels: object, size: int = 16) -> bytes:
    """The same bytes for the same labels, whatever the process's hash seed."""
    return hashlib.blake2b("\x1f".join(str(label) for label in labels).encode(), digest_size=size).digest()


def opaque(*labels: object, length: int = 10) -> str:
    """A short identifier that tells nothing about what it names."""
    number = int.from_bytes(digest(*labels))
    return "".join(_SYMBOLS[(number >> (5 * place)) & 31] for place in range(length))


class Weighted(Generic[T]):
    """Things with weights, ready to be drawn from."""

    __slots__ = ("items", "steps", "total")

    def __init__(self, pairs: Iterable[tuple[T, float]]) -> None:
        known = list(pairs)
        self.items = [item for item, _ in known]
        self.steps = list(accumulate(weight for _, weight in known))
        self.total = self.steps[-1]


class Dice:
    """One independent stream of chance, named by its labels."""

    __slots__ = ("unit",)

    def __init__(self, *labels: object) -> None:
        self.unit = random.Random(int.from_bytes(digest(*labels))).random

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def below(self, bound: int) -> int:
        return int(self.unit() * bound)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def bell(self, mean: float, spread: float, low: float, high: float) -> float:
        """Six uniforms added up: close to a normal curve, and free of libm."""
        unit = self.unit
        total = unit() + unit() + unit() + unit() + unit() + unit()
        return min(high, max(low, mean + (total - 3.0) * _SQRT2 * spread))

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.unit() * len(items))]

    def draw(self, weighted: Weighted[T]) -> T:
        place = bisect_right(weighted.steps, self.unit() * weighted.total)
        return weighted.items[min(place, len(weighted.items) - 1)]

    def shuffle(self, items: MutableSequence[T]) -> None:
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        pool = list(items)
        self.shuffle(pool)
        return pool[:count]

    def day(self, first: date, last: date) -> date:
        """A day from first to last, both included."""
        return first + timedelta(days=self.below((last - first).days + 1))
