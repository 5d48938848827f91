"""Episodes as the rule says them, read off the whole history each time: slow, and plain enough to believe."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Step = tuple[T, int, int]
"""(when, level before, level after); levels are 0 normal, 1 yellow, 2 orange, 3 red."""


def episodes(
    counts: Sequence[tuple[T, int]],
    capacity: int,
    *,
    up: int = 2,
    down: int = 5,
    points: int = 10,
    percents: Sequence[int] = (80, 90, 100),
    red_at_once: bool = False,
) -> list[Step[T]]:
    level, steps = 0, list[Step[T]]()
    for i, (at, _) in enumerate(counts):

        def last(n: int, i: int = i) -> list[int]:
            return [people for _, people in counts[max(0, i + 1 - n) : i + 1]]

        def reached(to: int) -> bool:
            seen = last(needed := 1 if red_at_once and to == 3 else up)
            return len(seen) == needed and all(100 * n >= percents[to - 1] * capacity for n in seen)

        def left(to: int) -> bool:
            seen = last(down)
            return len(seen) == down and all(100 * n < (percents[to - 1] - points) * capacity for n in seen)

        following = max((to for to in (1, 2, 3) if to > level and reached(to)), default=level)
        if following == level and level and left(level):
            following = max((to for to in range(1, level) if not left(to)), default=0)
        if following != level:
            steps.append((at, level, following))
            level = following
    return steps
