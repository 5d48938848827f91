"""Following many paths through a resource at once: what they share is walked once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from health.fhir.extract.paths import Step

Emit = Callable[[Any, Any], None]
"""Takes a value found, and what it is to be noted in."""

UNFIT = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What a value gives rise to that has not the form of its type."""


@dataclass(slots=True)
class Tree:
    """Paths as a tree, with what is done with the values at their ends."""

    emits: list[Emit] = field(default_factory=list)
    below: dict[Step, "Tree"] = field(default_factory=dict)

    def add(self, steps: Iterable[Step], emit: Emit) -> None:
        tree = self
        for step in steps:
            tree = tree.below.setdefault(step, Tree())
        tree.emits.append(emit)

    def walker(self) -> Emit:
        """The whole as one closure, to be run on a resource.

        A value of a form that its type does not have is not found by; everything else still is.
        """
        emits = tuple(self.emits)
        members = tuple((step, tree.walker()) for step, tree in self.below.items() if isinstance(step, str))
        tested = tuple((s.holds, t.walker()) for s, t in self.below.items() if not isinstance(s, str))

        def run(node: Any, noted: Any) -> None:
            for emit in emits:
                try:
                    emit(node, noted)
                except UNFIT:
                    continue
            for holds, below in tested:
                if holds(node):
                    below(node, noted)
            if members and type(node) is dict:
                for name, below in members:
                    value = node.get(name)
                    if type(value) is list:
                        for item in value:
                            if item is not None:
                                below(item, noted)
                    elif value is not None:
                        below(value, noted)

        return run


def values_at(node: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The values a path leads to, through whatever repeats."""
    if isinstance(node, list):
        for item in node:
            yield from values_at(item, names)
    elif not names:
        if node is not None:
            yield node
    elif isinstance(node, dict) and names[0] in node:
        yield from values_at(node[names[0]], names[1:])
