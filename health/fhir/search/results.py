"""What shapes the answer of a search: how much, in which order, what goes along, how much of each resource
(FHIR R4 search.html#return)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from health import keys
from health.criteria import Order
from health.fhir import custom
from health.fhir.definitions import Parameter, definitions
from health.fhir.search.criteria import SPANS, Unknown

COUNT_DEFAULT = 50
COUNT_MAX = 500
SORT_MAX = 10
"""Parameters to sort by: for each there is a statement of what lacks those before."""
NAMES = ("_count", "_sort", "_include", "_revinclude", "_total", "_summary", "_elements", "_format")

Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]

_PATH = re.compile(r"[A-Z]\w+((?:\.\w+)+)")
# Where the code of a token stands in its data type.
_CODES = {
    "CodeableConcept": ".coding.code",
    "Coding": ".code",
    "Identifier": ".value",
    "ContactPoint": ".value",
    **dict.fromkeys(("code", "string", "id", "uri", "boolean"), ""),
}


@dataclass(frozen=True, slots=True)
class Include:
    """References that are followed from what is found, or back to what refers to it.

    Attributes:
        keys: of the references; None for all.
        types: of what is referred to, where not any is wanted.
        back: what refers to it.
        again: followed from what was included too.
    """

    keys: tuple[int, ...] | None
    types: tuple[str, ...]
    back: bool
    again: bool


def count(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"{value!r} is not a whole number from 0 on")
    return min(int(value[:9]), COUNT_MAX)


def total(value: str) -> Total:
    return cast(Total, _one_of(value, get_args(Total)))


def summary(value: str) -> Summary:
    return cast(Summary, _one_of(value, get_args(Summary)))


def _one_of(value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{value[:40]!r} is none of {', '.join(allowed)}")
    return value


def elements(types: Sequence[str], value: str) -> frozenset[str]:
    """Names of elements at the root of resources, a choice's without `[x]`."""
    found = [
        one.strip().rpartition(".")[2] if _typed(one, types) else one.strip() for one in value.split(",")
    ]
    for name in found:
        if not any(name in _root(kind) for kind in types):
            raise Unknown("_elements", f"{types[0]} has no element {name[:40]!r} at its root")
    return frozenset(found)


def _typed(name: str, types: Sequence[str]) -> bool:
    return name.strip().partition(".")[0] in types


def _root(kind: str) -> set[str]:
    choices = definitions().choices
    return {choices[name][0] if name in choices else name for name in definitions().elements[kind]}


def order(types: Sequence[str], value: str) -> tuple[Order, ...]:
    found = []
    if value.count(",") >= SORT_MAX:
        raise ValueError(f"more than {SORT_MAX} parameters to sort by")
    for written in value.split(","):
        name = written.strip().removeprefix("-")
        try:
            found.append(_order(types, name, descending=written.strip().startswith("-")))
        except (KeyError, ValueError) as error:  # no such parameter, or not one of one kind
            raise Unknown("_sort", f"{types[0]} cannot be sorted by {name[:40]!r}") from error
    return tuple(found)


def _order(types: Sequence[str], name: str, *, descending: bool) -> Order:
    if name == "_id":
        return Order("id", descending=descending)
    if name == "_lastUpdated":
        return Order("ts", descending=descending)
    parameters = [custom.parameters_of(kind)[name] for kind in types]
    kinds = {parameter.kind for parameter in parameters}
    if kinds == {"token"}:
        [path] = {_path(kind, parameter) for kind, parameter in zip(types, parameters, strict=True)}
        return Order("body", path=path, descending=descending)
    [table] = {_TABLES[kind] for kind in kinds}
    stored = [
        keys.presence(parameter.kind, kind, one)[1]
        for kind, parameter in zip(types, parameters, strict=True)
        for one in parameter.stored
    ]
    return Order(table, tuple(stored), descending=descending)


def _path(kind: str, parameter: Parameter) -> str:
    """SQL/JSON path of a token's code."""
    found = _PATH.fullmatch(parameter.expression)
    if found is None:
        raise KeyError(parameter.name)
    for step in found[1].split(".")[1:]:
        kind = definitions().elements[kind][step].rstrip("*")
    return f"${found[1]}{_CODES[kind]}"


_TABLES: dict[str, Literal["dat", "num", "qty", "str", "uri"]] = {**SPANS, "string": "str", "uri": "uri"}


def include(types: Sequence[str], name: str, value: str) -> Include:
    """`Type:parameter[:Target]`, `Type:*` or `*`."""
    back, again = name.startswith("_revinclude"), name.endswith(":iterate")
    source, _, rest = value.partition(":")
    if value == "*":
        # Back along all references there are that can lead to what is searched for.
        wanted = frozenset(definitions().resources if again else types)
        every = tuple(sorted(_all_keys(wanted))) if back else None
        return Include(every, (), back, again)
    if source not in definitions().resources:
        raise ValueError(f"{source[:40]!r} is no resource type of FHIR R4")
    parameter, _, target = rest.partition(":")
    references = {p.name: p for p in custom.parameters_of(source).values() if p.kind == "reference"}
    if parameter != "*" and parameter not in references:
        raise Unknown(name, f"{source} has no reference parameter {parameter[:40]!r}")
    followed = list(references.values()) if parameter == "*" else [references[parameter]]
    if target and not any(target in one.targets for one in followed):
        raise ValueError(f"{source}:{parameter} leads to no {target[:40]!r}")
    if back and not again and not (target in types or not target):
        raise ValueError(f"{target} is not searched for here")
    found = (keys.param_key(source, stored) for one in followed for stored in one.stored)
    return Include(tuple(found), (target,) if target else (), back, again)


def _all_keys(types: frozenset[str]) -> Iterator[int]:
    for kind in definitions().resources:
        for parameter in custom.parameters_of(kind).values():
            if parameter.kind == "reference" and not types.isdisjoint(parameter.targets):
                for name in parameter.stored:
                    yield keys.param_key(kind, name)
