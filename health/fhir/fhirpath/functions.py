"""FHIRPath's functions of collections and trees, and those FHIR adds (N1 section 5; R4 fhirpath.html).

Text, numbers and conversions are in `conversions`. A function that is not here is refused when the
expression is compiled: `memberOf` and `subsumes`, which need a terminology server.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cmp_to_key

from health.fhir.definitions import definitions
from health.fhir.fhirpath import values
from health.fhir.fhirpath.compiler import (
    FALSE,
    STRUCTURE,
    TRUE,
    Closure,
    Collection,
    Scope,
    boolean,
    compile_tree,
    contained,
    single,
    truth,
    union,
)
from health.fhir.fhirpath.conversions import OF_ONE
from health.fhir.fhirpath.nodes import TYPE_INFO, Node, is_exactly, is_of, known_type, of_system
from health.fhir.fhirpath.parser import FHIRPathError, Member, Sign, Step, Tree, Variable

Keyed = tuple[list[Node | None], Node]
MADE_MAX = 500
"""`repeat` ends by itself on a tree; this ends one that makes new values for ever."""


def function(name: str, arguments: Sequence[Tree]) -> Closure:
    """The closure of a call.

    Raises:
        FHIRPathError: there is no such function, or not with so many arguments.
    """
    if name in {"is", "as", "ofType"}:
        return _typed(name, arguments)
    if name == "sort":
        return _sort(arguments)
    if name == "getReferenceKey":
        return _reference_key(arguments)
    if name in OF_ONE:
        return _of_one(name, arguments)
    if name not in _FUNCTIONS:
        raise FHIRPathError(f"there is no function {name}() here")
    least, most, make = _FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise FHIRPathError(f"{name}() takes {least} to {most} arguments, not {len(arguments)}")
    return make(*(compile_tree(argument, first=True) for argument in arguments))


def _of_one(name: str, arguments: Sequence[Tree]) -> Closure:
    """A function of one value: nothing gives nothing, several are refused."""
    least, most, operation = OF_ONE[name]
    if not least <= len(arguments) <= most:
        raise FHIRPathError(f"{name}() takes {least} to {most} arguments, not {len(arguments)}")
    given = [compile_tree(argument, first=True) for argument in arguments]

    def run(scope: Scope, focus: Collection) -> Collection:
        node = single(focus)
        if node is None:
            return []
        # Arguments see what the function's own caller sees, not its focus.
        found = operation(node, *(single(argument(scope, scope.this)) for argument in given))
        return [] if found is None else [found]

    return run


def _typed(name: str, arguments: Sequence[Tree]) -> Closure:
    if len(arguments) != 1:
        raise FHIRPathError(f"{name}() takes one type")
    kind = _type_name(arguments[0])
    if name != "is":
        return lambda _scope, focus: [node for node in focus if is_exactly(node, kind)]

    def run(_scope: Scope, focus: Collection) -> Collection:
        node = single(focus)
        return [] if node is None else boolean(is_of(node, kind))

    return run


def _type_name(tree: Tree) -> str:
    match tree:
        case Member(name):
            return known_type(name)
        case Step(Member(space), Member(name)):
            return known_type(f"{space}.{name}")
        case _:
            raise FHIRPathError("a type's name is wanted")


def _sort(arguments: Sequence[Tree]) -> Closure:
    """In the order of keys, `-key` for descending; what has no key comes first."""
    keys = [
        (compile_tree(one.operand, first=True), -1)
        if isinstance(one, Sign) and one.operator == "-"
        else (compile_tree(one, first=True), 1)
        for one in arguments or (Variable("$this"),)
    ]

    def before(a: Keyed, b: Keyed) -> int:
        for x, y, (_, direction) in zip(a[0], b[0], keys, strict=True):
            if x is None or y is None:
                found = (x is not None) - (y is not None)
            else:
                found = (values.compared(x, y) or 0) * direction
            if found:
                return found
        return 0

    def run(scope: Scope, focus: Collection) -> Collection:
        keyed: list[Keyed] = [
            ([single(key(scope.item(node, i), [node])) for key, _ in keys], node)
            for i, node in enumerate(focus)
        ]
        return [node for _, node in sorted(keyed, key=cmp_to_key(before))]

    return run


def _resource_key(_scope: Scope, focus: Collection) -> Collection:
    """What a row about the resource is joined by (SQL on FHIR 2): its id."""
    return [key for node in focus for key in node.member("id")]


def _reference_key(arguments: Sequence[Tree]) -> Closure:
    """The key of the resource a reference leads to, of this type if one is named; a resource kept elsewhere
    has its whole address for a key, which no id here can equal."""
    if len(arguments) > 1:
        raise FHIRPathError("getReferenceKey() takes one type at most")
    wanted = _type_name(arguments[0]) if arguments else None

    def run(_scope: Scope, focus: Collection) -> Collection:
        found: Collection = []
        for node in focus:
            said = node.value.get("reference") if type(node.value) is dict else None
            if type(said) is not str or said.startswith("#"):
                continue
            path = said.partition("/_history/")[0]
            steps = path.split("/")
            if len(steps) < 2 or (wanted is not None and steps[-2] != wanted):
                continue
            found.append(of_system(steps[-1] if len(steps) == 2 else path, "String"))
        return found

    return run


def _conforms(profile: Closure) -> Closure:
    """Only whether it is of a type: what a profile asks beyond that is not known here."""

    def run(scope: Scope, focus: Collection) -> Collection:
        node, url = single(focus), single(profile(scope, scope.this))
        if node is None or url is None:
            return []
        name = str(url.value).removeprefix(STRUCTURE)
        try:
            return boolean(is_of(node, known_type(name)))
        except FHIRPathError as error:
            raise FHIRPathError(f"the profile {str(url.value)[:80]} is not known here") from error

    return run


def _where(criteria: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        return [node for i, node in enumerate(focus) if truth(criteria(scope.item(node, i), [node])) is True]

    return run


def _exists(criteria: Closure | None = None) -> Closure:
    if criteria is None:
        return lambda _scope, focus: TRUE if focus else FALSE
    filtered = _where(criteria)
    return lambda scope, focus: boolean(bool(filtered(scope, focus)))


def _all(criteria: Closure) -> Closure:
    return lambda scope, focus: boolean(
        all(truth(criteria(scope.item(node, i), [node])) is True for i, node in enumerate(focus))
    )


def _each_is(wanted: bool, quantifier: Callable[[list[bool]], bool]) -> Callable[[], Closure]:
    def run(_scope: Scope, focus: Collection) -> Collection:
        if any(type(node.value) is not bool for node in focus):
            raise FHIRPathError("only truths are wanted here")
        return boolean(quantifier([node.value is wanted for node in focus]))

    return lambda: run


def _select(projection: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        return [found for i, node in enumerate(focus) for found in projection(scope.item(node, i), [node])]

    return run


def _repeat(projection: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        places: set[tuple[str | int, ...]] = set()
        made: Collection = []
        found: Collection = []
        waiting = list(focus)
        while waiting:
            given = [node for i, one in enumerate(waiting) for node in projection(scope.item(one, i), [one])]
            waiting = [node for node in given if _is_new(node, places, made)]
            found += waiting
        return found

    return run


def _is_new(node: Node, places: set[tuple[str | int, ...]], made: Collection) -> bool:
    """A place of the tree is itself only; a value made on the way is any equal one."""
    if node.parent is not None:
        before = len(places)
        places.add(tuple(node.steps))
        return len(places) > before
    if contained(node, made):
        return False
    made.append(node)
    if len(made) > MADE_MAX:
        raise FHIRPathError(f"repeat() makes more than {MADE_MAX} values of its own")
    return True


def _descendants() -> Closure:
    def run(_scope: Scope, focus: Collection) -> Collection:
        found: Collection = []
        waiting = list(focus)
        while waiting:
            children = [child for node in waiting for child in node.children()]
            found += children
            waiting = children
        return found

    return run


def _aggregate(aggregator: Closure, initial: Closure | None = None) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        total = initial(scope, focus) if initial is not None else []
        for i, node in enumerate(focus):
            total = aggregator(scope.item(node, i, total), [node])
        return total

    return run


def _iif(criterion: Closure, yes: Closure, no: Closure | None = None) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        if len(focus) > 1:
            raise FHIRPathError("iif() works on one value at most")
        inner = Scope(scope.names, focus, scope.index, scope.total) if focus else scope
        found = criterion(inner, focus)
        if any(type(node.value) is not bool for node in found):
            raise FHIRPathError("the criterion of iif() is true or false")
        if truth(found) is True:
            return yes(inner, focus)
        return no(inner, focus) if no is not None else []

    return run


def _sliced(cut: Callable[[Collection, int], Collection]) -> Callable[[Closure], Closure]:
    def make(count: Closure) -> Closure:
        def run(scope: Scope, focus: Collection) -> Collection:
            number = single(count(scope, scope.this))
            if number is None or type(number.value) is not int:
                raise FHIRPathError("a whole number is wanted")
            return cut(focus, max(0, number.value))

        return run

    return make


def _with_other(operation: Callable[[Collection, Collection], Collection]) -> Callable[[Closure], Closure]:
    return lambda other: lambda scope, focus: operation(focus, other(scope, scope.this))


def _within(part: Collection, whole: Collection) -> bool:
    return all(contained(node, whole) for node in part)


def _one(_scope: Scope, focus: Collection) -> Collection:
    node = single(focus)
    return [] if node is None else [node]


def _not(_scope: Scope, focus: Collection) -> Collection:
    found = truth(focus)
    return [] if found is None else boolean(not found)


def _extension(url: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        wanted = single(url(scope, scope.this))
        return [
            extension
            for node in focus
            for extension in node.member("extension")
            if wanted is not None and extension.value.get("url") == wanted.value
        ]

    return run


def _has_value(_scope: Scope, focus: Collection) -> Collection:
    return boolean(len(focus) == 1 and focus[0].value is not None and type(focus[0].value) is not dict)


def _get_value(_scope: Scope, focus: Collection) -> Collection:
    return [node for node in focus if node.value is not None and type(node.value) is not dict]


def _resolve(scope: Scope, focus: Collection) -> Collection:
    """What a reference names: what is contained, or else no more than its type and id."""
    found: Collection = []
    for node in focus:
        said = node.value.get("reference") if type(node.value) is dict else node.value
        if type(said) is not str:
            continue
        if said.startswith("#"):
            for resource in scope.names.get("%rootResource", []):
                inner = resource.member("contained")
                found += (
                    [one for one in inner if one.value.get("id") == said[1:]] if said != "#" else [resource]
                )
            continue
        kind, _, id = said.partition("/_history/")[0].rpartition("/")
        kind = kind.rpartition("/")[2]
        if kind in definitions().resources and id:
            found.append(Node({"resourceType": kind, "id": id}, kind))
    return found


def _type(_scope: Scope, focus: Collection) -> Collection:
    def described(kind: str) -> dict[str, str]:
        space, _, name = kind.rpartition(".")
        return {"namespace": space or "FHIR", "name": name}

    return [Node(described(node.type), TYPE_INFO) for node in focus]


def _split(separator: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        node, by = single(focus), single(separator(scope, scope.this))
        if node is None or by is None:
            return []
        return [of_system(part, "String") for part in str(node.value).split(str(by.value))]

    return run


def _join(separator: Closure | None = None) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        by = single(separator(scope, scope.this)) if separator is not None else None
        words = [str(node.value) for node in focus if node.value is not None]
        return [of_system(("" if by is None else str(by.value)).join(words), "String")]

    return run


def _characters(_scope: Scope, focus: Collection) -> Collection:
    node = single(focus)
    return [] if node is None else [of_system(one, "String") for one in str(node.value)]


def _html_checks(_scope: Scope, focus: Collection) -> Collection:
    from health.fhir.narrative import fault

    return boolean(all(type(node.value) is str and fault(node.value) is None for node in focus))


def _now(form: str, kind: str) -> Callable[[], Closure]:
    return lambda: lambda _scope, _focus: [of_system(datetime.now(UTC).strftime(form), kind)]


def _plain(run: Closure) -> Callable[[], Closure]:
    return lambda: run


_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Closure]]] = {
    "empty": (0, 0, _plain(lambda _scope, focus: FALSE if focus else TRUE)),
    "exists": (0, 1, _exists),
    "not": (0, 0, _plain(_not)),
    "all": (1, 1, _all),
    "allTrue": (0, 0, _each_is(True, all)),
    "anyTrue": (0, 0, _each_is(True, any)),
    "allFalse": (0, 0, _each_is(False, all)),
    "anyFalse": (0, 0, _each_is(False, any)),
    "count": (0, 0, _plain(lambda _scope, focus: [of_system(len(focus), "Integer")])),
    "distinct": (0, 0, _plain(lambda _scope, focus: union(focus, []))),
    "isDistinct": (0, 0, _plain(lambda _scope, focus: boolean(len(union(focus, [])) == len(focus)))),
    "where": (1, 1, _where),
    "select": (1, 1, _select),
    "repeat": (1, 1, _repeat),
    "aggregate": (1, 2, _aggregate),
    "iif": (2, 3, _iif),
    "single": (0, 0, _plain(_one)),
    "first": (0, 0, _plain(lambda _scope, focus: focus[:1])),
    "last": (0, 0, _plain(lambda _scope, focus: focus[-1:])),
    "tail": (0, 0, _plain(lambda _scope, focus: focus[1:])),
    "skip": (1, 1, _sliced(lambda focus, n: focus[n:])),
    "take": (1, 1, _sliced(lambda focus, n: focus[:n])),
    "intersect": (1, 1, _with_other(lambda a, b: union([node for node in a if contained(node, b)], []))),
    "exclude": (1, 1, _with_other(lambda a, b: [node for node in a if not contained(node, b)])),
    "union": (1, 1, _with_other(union)),
    "combine": (1, 1, _with_other(lambda a, b: [*a, *b])),
    "subsetOf": (1, 1, _with_other(lambda a, b: boolean(_within(a, b)))),
    "supersetOf": (1, 1, _with_other(lambda a, b: boolean(_within(b, a)))),
    "children": (0, 0, _plain(lambda _scope, focus: [c for node in focus for c in node.children()])),
    "descendants": (0, 0, _descendants),
    "trace": (1, 2, lambda *_: lambda _scope, focus: focus),
    "now": (0, 0, _now("%Y-%m-%dT%H:%M:%S.000Z", "DateTime")),
    "today": (0, 0, _now("%Y-%m-%d", "Date")),
    "timeOfDay": (0, 0, _now("%H:%M:%S.000", "Time")),
    "extension": (1, 1, _extension),
    "hasValue": (0, 0, _plain(_has_value)),
    "getValue": (0, 0, _plain(_get_value)),
    "resolve": (0, 0, _plain(_resolve)),
    "split": (1, 1, _split),
    "join": (0, 1, _join),
    "toChars": (0, 0, _plain(_characters)),
    "type": (0, 0, _plain(_type)),
    "getResourceKey": (0, 0, _plain(_resource_key)),
    "conformsTo": (1, 1, _conforms),
    "htmlChecks": (0, 0, _plain(_html_checks)),
}
