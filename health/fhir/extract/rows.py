"""What a resource is found by, by all search parameters of its type at once."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from itertools import chain
from typing import Any

from health import keys
from health.fhir.definitions import Parameter, definitions
from health.fhir.extract.paths import Way, ways
from health.fhir.extract.values import Rows, maker, target_of, tokens_of
from health.fhir.extract.walking import UNFIT, Emit, Tree
from health.fhir.fhirpath import Node, Path, root

_COLUMNS = frozenset({"_id", "_lastUpdated"})
"""Parameters that the table of resources answers itself."""

Found = list[tuple[str, Any]]
"""Values with their data types."""


def rows_of(resource: dict[str, Any], more: Iterable[Parameter] = ()) -> Rows:
    """The index rows of a resource whose references are already rewritten.

    What has not the form of its data type is left out.

    Args:
        more: parameters beside FHIR's own.
    """
    rows = Rows()
    kind = resource["resourceType"]
    for extract in chain(_extractors(kind), *(_extractors_of(kind, parameter) for parameter in more)):
        with suppress(*UNFIT):
            extract(resource, rows)
    return rows


def patient_of(resource: dict[str, Any]) -> str | None:
    """The patient whose compartment the resource is in, as `Patient/id`.

    A resource that names several patients (a mother as performer of a measurement on her child) is kept
    under the one it is about.
    """
    kind = resource["resourceType"]
    known = definitions().parameters.get(kind, {})
    for name in definitions().compartment.get(kind, ()):
        for _, reference in reader(kind, known[name].expression)(resource):
            target = target_of(reference)
            if target is not None and target.startswith("Patient/"):
                return target
    return None


@cache
def reader(kind: str, expression: str) -> Callable[[Any], Found]:
    """What an expression finds from a value of this type, with data types.

    Raises:
        FHIRPathError: the expression is none, or leads nowhere from that type.
    """
    tree, engines = Tree(), []
    for way in ways(kind, expression):
        if isinstance(way, Path):
            engines.append(way)
        else:
            tree.add(way.steps, _collecting(way.type))
    walk = tree.walker()

    def read(value: Any) -> Found:
        found: Found = []
        walk(value, found)
        for engine in engines:
            found += _evaluated(engine, Node(value, kind))
        return found

    return read


def _collecting(data_type: str) -> Emit:
    return lambda value, found: found.append((data_type, value))


def _evaluated(engine: Path, node: Node) -> Found:
    try:
        return [(found.type, found.value) for found in engine(node) if found.value is not None]
    except UNFIT:
        return []


@cache
def _extractors(kind: str) -> tuple[Emit, ...]:
    known = definitions().parameters.get(kind, {})
    stored = [p for p in known.values() if p.stored == (p.name,) and p.name not in _COLUMNS]
    return extractors(kind, stored)


@lru_cache(maxsize=1024)
def _extractors_of(kind: str, parameter: Parameter) -> tuple[Emit, ...]:
    return extractors(kind, [parameter])


def extractors(kind: str, parameters: Iterable[Parameter]) -> tuple[Emit, ...]:
    """What notes all that resources of the type are found by, by these parameters.

    Raises:
        FHIRPathError: an expression is none, or leads nowhere from that type.
    """
    tree = Tree()
    others: list[Emit] = []
    for parameter in parameters:
        if parameter.kind == "composite":
            others += _composite(kind, parameter)
            continue
        for way in ways(kind, parameter.expression):
            if isinstance(way, Path):
                others.append(_by_engine(kind, parameter, way))
            elif (emit := maker(parameter.kind, kind, parameter.name, way.type)) is not None:
                tree.add(way.steps, emit)
    return (tree.walker(), *others)


def _by_engine(kind: str, parameter: Parameter, engine: Path) -> Emit:
    def emit(resource: Any, rows: Rows) -> None:
        for data_type, value in _evaluated(engine, root(resource)):
            _note(parameter.kind, kind, parameter.name, data_type, value, rows)

    return emit


def _note(
    search: str, kind: str, name: str, data_type: str, value: Any, rows: Rows, *, part: bool = False
) -> bool:
    make = maker(search, kind, name, data_type, part=part)
    if make is None:
        return False
    try:
        make(value, rows)
    except UNFIT:
        return False
    return True


# Composites


def _composite(kind: str, parameter: Parameter) -> list[Emit]:
    """One for each place where the components stand together."""
    places = ways(kind, parameter.expression)
    return [_of_place(kind, parameter, place) for place in places if isinstance(place, Way)]


def _of_place(kind: str, parameter: Parameter, place: Way) -> Emit:
    _, present = keys.presence("composite", kind, parameter.name)
    components = list(parameter.components)
    first = _component(kind, place.type, components.pop(parameter.head).expression)
    others = [_component(kind, place.type, component.expression) for component in components]
    searches = [component.kind for component in components]
    places = Tree()
    places.add(place.steps, _collecting(place.type))
    walk = places.walker()

    def emit(resource: Any, rows: Rows) -> None:
        found: Found = []
        walk(resource, found)
        for _, value in found:
            rest = [component(value, resource) for component in others]
            if not all(rest):
                continue
            heads = {
                head
                for data_type, token in first(value, resource)
                for system, code in tokens_of(data_type, token)
                if code
                for head in _heads(kind, parameter.name, system, code)
            }
            for head in heads:
                _tail(kind, keys.composite_name(parameter.name, head), searches, rest, rows)
            if heads:
                rows.tokens.add(present)

    return emit


def _component(kind: str, place: str, expression: str) -> Callable[[Any, Any], Found]:
    whole = expression.removeprefix("%resource.")
    if whole != expression:
        of_resource = reader(kind, whole)
        return lambda _value, resource: of_resource(resource)
    read = reader(place, expression)
    return lambda value, _resource: read(value)


@lru_cache(maxsize=8192)
def _heads(kind: str, name: str, system: str | None, code: str) -> tuple[int, int]:
    """The keys under which the first component's token is asked for."""
    return keys.token_key_asked(kind, name, None, code), keys.token_key_asked(kind, name, system or "", code)


def _tail(kind: str, name: str, searches: Sequence[str], rest: list[Found], rows: Rows) -> None:
    if len(rest) == 1:
        for data_type, value in rest[0]:
            _note(searches[0], kind, name, data_type, value, rows, part=True)
        return
    # The coordinates of a MolecularSequence: where it starts and where it ends, as one row.
    [(_, start), *_], [(_, end), *_] = rest
    if type(start) is int and type(end) is int:
        rows.numbers.add((keys.param_key(kind, name), str(start), str(end)))
