"""From a parameter's name and value to what it asks: a clause of the tree that `repository` turns into SQL.

Names may go along references (`subject:Patient.name`), back along them (`_has:Observation:patient:code`), and
end in a modifier (FHIR R4 search.html#modifiers, #chaining, #has).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, reduce

from health import keys
from health.criteria import (
    AnyOf,
    Between,
    Bounds,
    Chained,
    Clause,
    Coded,
    Criteria,
    Ids,
    Near,
    Not,
    Pointed,
    Present,
    References,
    Span,
    Texts,
    Tokens,
    Updated,
    Wording,
)
from health.fhir import custom
from health.fhir.definitions import Component, Parameter, definitions, rules
from health.fhir.outcome import Issue
from health.fhir.search import values

CHAIN_MAX = 5
"""Steps along references and back."""
_MODIFIERS = {
    "token": {"not", "missing", "text", "of-type", "in", "not-in", "above", "below"},
    "string": {"exact", "contains", "missing"},
    "uri": {"contains", "above", "below", "missing"},
    "reference": {"identifier", "missing"},
    "date": {"missing"},
    "number": {"missing"},
    "quantity": {"missing"},
    "composite": {"missing"},
    "special": {"missing"},
}
_COLUMNS = ("_id", "_lastUpdated")
SPANS: dict[str, Span] = {"date": "dat", "number": "num", "quantity": "qty"}
_A_PATIENT = ".where(resolve() is Patient)"
_ELEMENT = re.compile(r"[A-Z]\w+\.(\w+)")


class Unknown(Exception):
    """A parameter or modifier nobody declared: the one thing lenient handling may leave aside."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.issue = Issue("not-supported", words, name)


def clause(types: Sequence[str], name: str, value: str, base: str) -> Clause:
    """What a parameter asks of resources of these types, all of which have it.

    Args:
        base: this server's base URL with a slash at its end.

    Raises:
        Unknown: a type has no such parameter, or the parameter no such modifier.
        ValueError: the value is malformed.
    """
    return _Parser(name, base).of(types, name, value, 0)


class _Parser:
    def __init__(self, whole: str, base: str) -> None:
        self._whole = whole
        self._base = base

    def of(self, types: Sequence[str], name: str, value: str, steps: int) -> Clause:
        if steps > CHAIN_MAX:
            raise ValueError(f"more than {CHAIN_MAX} steps")
        return reduce(_either, [self._one(type, name, value, steps) for type in types])

    def _one(self, kind: str, name: str, value: str, steps: int) -> Clause:
        if name.startswith("_has:"):
            return self._has(kind, name, value, steps)
        step, dot, rest = name.partition(".")
        bare, _, modifier = step.partition(":")
        parameter = custom.parameters_of(kind).get(bare)
        if parameter is None:
            if pending := custom.pending(kind, bare):
                raise ValueError(f"{bare} cannot be searched by yet: {pending}")
            names = ", ".join(sorted(custom.parameters_of(kind)))
            raise self._unknown(f"{kind} knows no search parameter {bare!r}; it knows {names}")
        if dot:
            return self._chain(kind, parameter, modifier or None, rest, value, steps)
        return self._asked(kind, parameter, modifier, value)

    def _unknown(self, words: str) -> Unknown:
        return Unknown(self._whole, words)

    # Along references

    def _chain(
        self, kind: str, parameter: Parameter, type: str | None, rest: str, value: str, steps: int
    ) -> Clause:
        if parameter.kind != "reference":
            raise self._unknown(f"{parameter.name} is no reference: nothing can be chained to it")
        if type is not None and type not in parameter.targets:
            raise self._unknown(f"{parameter.name} leads to no {type}")
        first = rest.partition(".")[0].partition(":")[0]
        targets = [type] if type is not None else sorted(parameter.targets)
        knowing = [one for one in targets if first == "_has" or first in custom.parameters_of(one)]
        if not knowing:
            raise self._unknown(f"nothing that {parameter.name} leads to knows a search parameter {first!r}")
        to = Criteria(tuple(knowing), (self.of(knowing, rest, value, steps + 1),))
        return Chained(_keys(kind, parameter), to)

    def _has(self, kind: str, name: str, value: str, steps: int) -> Clause:
        _, source, reference, rest = [*name.split(":", 3), "", "", ""][:4]
        if source not in definitions().resources or not rest:
            raise self._unknown("write _has:Type:reference:parameter")
        parameter = custom.parameters_of(source).get(reference)
        if parameter is None or parameter.kind != "reference" or kind not in parameter.targets:
            raise self._unknown(f"{source} has no reference parameter {reference!r} that leads to a {kind}")
        by = Criteria((source,), (self.of([source], rest, value, steps + 1),))
        patient = kind == "Patient" and _names_patient(source, parameter)
        return Pointed(_keys(source, parameter), by, patient=patient)

    # By value

    def _asked(self, kind: str, parameter: Parameter, modifier: str, value: str) -> Clause:
        name = parameter.name
        if name in _COLUMNS:
            if modifier:
                raise self._unknown(f"{name} takes no modifier")
            asked = values.alternatives(value)
            if name == "_id":
                return Ids(tuple(values.unescaped(one) for one in asked))
            return Updated(tuple(values.instant(one) for one in asked))
        of_type = parameter.kind == "reference" and modifier in parameter.targets
        if modifier and modifier not in _MODIFIERS[parameter.kind] and not of_type:
            raise self._unknown(f"the modifier {modifier!r} of {name} is not supported")
        if modifier == "missing":
            return _missing(kind, parameter, value)
        asked = values.alternatives(value)
        match parameter.kind:
            case "token":
                return _token(kind, parameter, modifier, asked)
            case "reference":
                return self._reference(kind, parameter, modifier, asked)
            case "string":
                return Texts("str", tuple(_texts(kind, parameter.stored, modifier, asked)))
            case "uri":
                return Texts("uri", tuple(_uris(kind, parameter, modifier, asked)))
            case "composite":
                found = [self._composite(kind, parameter, n, one) for one in asked for n in parameter.stored]
                return reduce(_either, found)
            case "special":
                return Near(tuple(values.position(one) for one in asked))
            case "date" | "number" | "quantity":
                return _between(SPANS[parameter.kind], kind, parameter.stored, asked)

    def _reference(self, kind: str, parameter: Parameter, modifier: str, asked: Sequence[str]) -> Clause:
        if modifier == "identifier":
            names = tuple(f"{name}:identifier" for name in parameter.stored)
            return Tokens(tuple(_token_keys(kind, names, asked)))
        found = {
            keys.reference_key(kind, name, target)
            for value in asked
            for target in values.targets(parameter, value, self._base, modifier or None)
            for name in parameter.stored
        }
        return References(tuple(sorted(found)))

    def _composite(self, kind: str, parameter: Parameter, stored: str, value: str) -> Clause:
        rest, components = list(values.parts(value, "$")), list(parameter.components)
        if len(rest) != len(components):
            shape = "$".join(component.kind for component in components)
            raise ValueError(f"{value[:80]!r} is not written as {shape}")
        head = rest.pop(parameter.head)
        del components[parameter.head]
        system, code = values.token(head)
        if not code:
            raise ValueError(f"{head[:80]!r} names no code")
        token = keys.token_key_asked(kind, stored, system, code)
        name = keys.composite_name(stored, token)
        if len(rest) == 2:
            start, end = (values.number(keys.param_key(kind, name), one) for one in rest)
            return Between("num", (replace(start, end="lo", also=replace(end, end="hi")),))
        return self._second(kind, components[0], name, rest[0])

    def _second(self, kind: str, component: Component, name: str, value: str) -> Clause:
        match component.kind:
            case "token":
                return Tokens(tuple(_token_keys(kind, [name], [value])))
            case "reference":
                found = values.targets(component, value, self._base, None)
                return References(tuple(keys.reference_key(kind, name, target) for target in found))
            case "string":
                return Texts("str", tuple(_texts(kind, [name], "", [value])))
            case "date" | "number" | "quantity":
                return _between(SPANS[component.kind], kind, [name], [value])
        raise ValueError("such a composite cannot be searched for")


def _names_patient(kind: str, parameter: Parameter) -> bool:
    """Whether the parameter's one value is what decides in whose compartment a resource is kept."""
    first = next(iter(definitions().compartment.get(kind, ())), None)
    if first is None:
        return False
    deciding = definitions().parameters[kind][first].expression
    [path, deciding] = [text.removesuffix(_A_PATIENT) for text in (parameter.expression, deciding)]
    element = path.removeprefix(f"{kind}.")
    return path == deciding and definitions().elements[kind].get(element) == "Reference"


def _keys(kind: str, parameter: Parameter) -> tuple[int, ...]:
    return tuple(keys.param_key(kind, name) for name in parameter.stored)


def _missing(kind: str, parameter: Parameter, value: str) -> Clause:
    if value not in ("true", "false"):
        raise ValueError(f"{value[:40]!r} is neither true nor false")
    present = Present(tuple(keys.presence(parameter.kind, kind, name) for name in parameter.stored))
    return Not(present) if value == "true" else present


def _token(kind: str, parameter: Parameter, modifier: str, asked: Sequence[str]) -> Clause:
    names = parameter.stored
    owned = tuple((kind, name) for name in names)
    match modifier:
        case "text":
            return Texts("str", tuple(_texts(kind, [f"{name}:text" for name in names], "", asked)))
        case "of-type":
            types = [values.identifier_of_type(one) for one in asked]
            return Tokens(tuple(keys.of_type_key(kind, name, *one) for one in types for name in names))
        case "in" | "not-in":
            sets = _any([Coded("in", (values.unescaped(one),), owned) for one in asked])
            return Not(sets) if modifier == "not-in" else sets
        case "above":
            return _any([Coded("above", _placed(one), owned) for one in asked])
        case "below":
            return _any([Coded("below", _placed(one), owned) for one in asked])
    tokens = Tokens(tuple(_token_keys(kind, names, asked)))
    return Not(tokens) if modifier == "not" else tokens


def _placed(value: str) -> tuple[str, str]:
    """A code that stands in the hierarchy of its system."""
    system, code = values.token(value)
    if not system or not code:
        raise ValueError(f"{value[:80]!r} is not written as system|code")
    return system, code


def _token_keys(kind: str, names: Iterable[str], asked: Iterable[str]) -> Iterator[int]:
    for value in asked:
        system, code = values.token(value)
        for name in names:
            yield from token_forms(kind, name, system, code)


def token_forms(kind: str, name: str, system: str | None, code: str) -> Iterator[int]:
    """The keys of a token that is asked for.

    An element of type `code` is kept without a system; its binding says which one it means.
    """
    yield keys.token_key_asked(kind, name, system, code)
    if system and code and system in _systems_of(kind, name):
        yield keys.token_key_asked(kind, name, "", code)


@lru_cache(maxsize=1024)
def _systems_of(kind: str, name: str) -> frozenset[str]:
    """The code systems of an element of type `code`, as its required binding has them."""
    parameter = custom.parameters_of(kind).get(name)
    found = _ELEMENT.fullmatch(parameter.expression) if parameter is not None else None
    if found is None or definitions().elements.get(kind, {}).get(found[1], "").rstrip("*") != "code":
        return frozenset()
    return frozenset(rules().codes.get(rules().bindings.get(kind, {}).get(found[1], ""), {}))


def _texts(kind: str, names: Sequence[str], modifier: str, asked: Iterable[str]) -> Iterator[Wording]:
    for value in asked:
        text = values.unescaped(value)
        if len(text) > keys.TEXT_MAX:
            raise ValueError(f"a text is found by its first {keys.TEXT_MAX} characters; write fewer")
        if not keys.folded(text):
            raise ValueError(f"{text[:40]!r} says nothing to search by")
        for name in names:
            key = keys.param_key(kind, name)
            if modifier == "exact":
                yield Wording(key, "exact", text)
            else:
                yield Wording(key, "contains" if modifier == "contains" else "starts", keys.folded(text))


def _uris(kind: str, parameter: Parameter, modifier: str, asked: Iterable[str]) -> Iterator[Wording]:
    for value in asked:
        uri = values.unescaped(value)
        if len(uri) > keys.URI_MAX:
            raise ValueError(f"a URI has up to {keys.URI_MAX} characters here")
        for name in parameter.stored:
            key = keys.param_key(kind, name)
            match modifier:
                case "below":
                    yield Wording(key, "starts", uri)
                case "contains":
                    yield Wording(key, "contains", uri)
                case "above":
                    yield from (Wording(key, "exact", above) for above in _above(uri))
                case _:
                    yield Wording(key, "exact", uri)


def _above(uri: str) -> list[str]:
    """A URI and what it stands below, with and without the slash at its end."""
    ends = [found.end() for found in re.finditer(r"(?<=[^/])/(?=[^/])", uri)]
    return sorted({uri, *(uri[:end] for end in ends), *(uri[: end - 1] for end in ends)})


def _between(what: Span, kind: str, names: Iterable[str], asked: Sequence[str]) -> Clause:
    found: list[Bounds] = []
    for value in asked:
        for name in names:
            match what:
                case "dat":
                    found.append(values.date(keys.date_key(kind, name), value))
                case "num":
                    found.append(values.number(keys.param_key(kind, name), value))
                case "qty":
                    found += values.quantity(kind, name, value)
    return Between(what, tuple(found))


def _any(clauses: Sequence[Clause]) -> Clause:
    return clauses[0] if len(clauses) == 1 else AnyOf(tuple(clauses))


def _either(a: Clause, b: Clause) -> Clause:
    """One or the other, in one clause where they are of one kind.

    What is asked of several types at once has keys of each type, and only its own resources have rows under
    them: so also what must not hold can be put together.
    """
    match a, b:
        case Tokens(x), Tokens(y):
            return Tokens(tuple(dict.fromkeys((*x, *y))))
        case References(x), References(y):
            return References(tuple(dict.fromkeys((*x, *y))))
        case Between(table, p), Between(other, q) if table == other:
            return Between(table, (*p, *q))
        case Texts(table, s), Texts(other, t) if table == other:
            return Texts(table, (*s, *t))
        case Present(r), Present(u):
            return Present((*r, *u))
        case Not(c), Not(d):
            return Not(_either(c, d))
        case Chained(i, to), Chained(j, there) if to == there:
            return Chained((*i, *j), to)
        case _ if a == b:
            return a
        case AnyOf(c), _:
            return AnyOf((*c, b))
    return AnyOf((a, b))
