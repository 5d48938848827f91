"""Which of an element's repetitions are taken: by a value of theirs, by FHIRPath, by place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from health.fhir.fhirpath import FHIRPathError, Node
from health.fhir.fhirpath.bounds import unbounded
from health.fhir.fhirpath.compiler import Path
from health.fhir.outcome import Issue, Refusal
from health.fhir.text import Number

EXPRESSION_MAX = 300


@dataclass(frozen=True, slots=True)
class Expression:
    """FHIRPath that a caller wrote, bounded in what it can cost.

    Raises:
        Refusal: 400 for what is none, or is not taken.
    """

    text: str
    where: str = field(compare=False)
    _path: Path = field(init=False, compare=False)
    _chosen: Path = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or len(self.text) > EXPRESSION_MAX:
            raise _refused(f"FHIRPath is a text of at most {EXPRESSION_MAX} characters", self.where)
        try:
            if refused := unbounded(self.text):
                raise _refused(f"{refused} is not taken in FHIRPath here", self.where)
            object.__setattr__(self, "_path", Path(self.text))
            object.__setattr__(self, "_chosen", Path(f"where({self.text})"))
        except (FHIRPathError, RecursionError) as error:
            raise self._wrong(error) from error

    def chosen(self, items: Sequence[Any], type: str) -> list[Any]:
        """Those of which it holds."""
        return self._run(self._chosen, *(_node(item, type) for item in items))

    def values(self, item: Any, type: str) -> list[Any]:
        """What it gives for one."""
        return self._run(self._path, _node(item, type))

    def _run(self, path: Path, *nodes: Node) -> list[Any]:
        try:
            return [node.value for node in path(*nodes)]
        except FHIRPathError as error:
            raise self._wrong(error) from error

    def _wrong(self, error: Exception) -> Refusal:
        return _refused(f"{self.text!r}: {error}", self.where)


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Attributes:
        values: what a member of each must be, as text.
        fhirpath: what must hold of each.
    """

    values: tuple[tuple[str, str], ...] = ()
    fhirpath: Expression | None = None
    offset: int = 0
    count: int | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any], members: frozenset[str], where: str) -> "Filter":
        """
        Args:
            members: the single values that can be asked for.

        Raises:
            Refusal: 400 for an argument that is not known or cannot be.
        """
        values: list[tuple[str, str]] = []
        known: dict[str, Any] = {}
        for name, value in arguments.items():
            if name == "fhirpath":
                known[name] = Expression(value, where)
            elif name in {"_offset", "_count"}:
                if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                    raise _refused(f"{name} is a whole number from 0 on", where)
                known[name[1:]] = value
            elif name in members and not isinstance(value, list | dict):
                values.append((name, as_text(value)))
            else:
                raise _refused(f"{name} is no argument here", where)
        return cls(tuple(values), **known)

    def __call__(self, items: Sequence[Any], type: str) -> Sequence[Any]:
        """Those that are taken.

        Raises:
            Refusal: 400, the values do not allow what the FHIRPath asks of them.
        """
        if self.values:
            items = [item for item in items if all(_has(item, *value) for value in self.values)]
        if self.fhirpath is not None:
            items = self.fhirpath.chosen(items, type)
        end = None if self.count is None else self.offset + self.count
        return items[self.offset : end]


ALL = Filter()


def _node(item: Any, type: str) -> Node:
    return Node(item, item.get("resourceType", type) if isinstance(item, dict) else type)


def as_text(value: Any) -> str:
    if isinstance(value, Number):
        return value.literal
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _has(item: Any, name: str, wanted: str) -> bool:
    found = item.get(name) if isinstance(item, dict) else None
    return any(as_text(one) == wanted for one in (found if isinstance(found, list) else [found]))


def _refused(words: str, where: str | None) -> Refusal:
    return Refusal(400, [Issue("invalid", words, where)])
