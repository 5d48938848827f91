"""From the tree of an expression to one closure, which is what runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from health.fhir.fhirpath import arithmetic, parser, values
from health.fhir.fhirpath.nodes import Node, is_exactly, is_of, known_type, of_system
from health.fhir.fhirpath.parser import FHIRPathError, Tree

Collection = list[Node]
TRUE = [of_system(True, "Boolean")]
FALSE = [of_system(False, "Boolean")]
NOTHING: Collection = []

STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
CONSTANTS = {
    "%ucum": "http://unitsofmeasure.org",
    "%sct": "http://snomed.info/sct",
    "%loinc": "http://loinc.org",
}


@dataclass(slots=True)
class Scope:
    """What an expression sees beside its focus. Never changed; not frozen, because it is made so often."""

    names: Mapping[str, Collection]
    this: Collection
    index: int | None = None
    total: Collection | None = None

    def item(self, node: Node, index: int, total: Collection | None = None) -> "Scope":
        return Scope(self.names, [node], index, total)


Closure = Callable[[Scope, Collection], Collection]


class Path:
    """A compiled expression.

    Attributes:
        variables: those it uses, with their `%`, that are not the same everywhere.
    """

    __slots__ = ("_run", "text", "variables")

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            tree = parser.parsed(text)
            self.variables = frozenset(name for name in parser.variables(tree) if constant(name) is None)
            self._run = compile_tree(tree, first=True)
        except RecursionError as error:
            raise FHIRPathError("it is nested too deep") from error

    def __call__(self, *focus: Node, names: Mapping[str, Collection] | None = None) -> Collection:
        """What it gives for a focus.

        Args:
            names: further variables with their sign, `%resource` among them; without it that is the focus.

        Raises:
            FHIRPathError: the values do not allow what the expression asks of them.
        """
        found = list(focus)
        given = {"%context": found, "%resource": found, "%rootResource": found}
        if names is not None:
            given.update(names)
        return self._found(Scope(given, found), found)

    def within(self, node: Node, names: Mapping[str, Collection]) -> Collection:
        """The same of one node where all variables are given, `%context` among them: with less work."""
        focus = [node]
        return self._found(Scope(names, focus), focus)

    def _found(self, scope: Scope, focus: Collection) -> Collection:
        try:
            return self._run(scope, focus)
        except FHIRPathError:
            raise
        except RecursionError as error:
            raise FHIRPathError("it is nested too deep") from error
        except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
            # A date no calendar has, a number out of bounds; and of what nobody has validated, anything.
            raise FHIRPathError(f"a value is not what its type says: {error}") from error

    def holds(self, node: Node, names: Mapping[str, Collection]) -> bool:
        """Whether it comes out true; an empty result counts as true, as an invariant's does."""
        return truth(self.within(node, names)) is not False


@lru_cache(maxsize=4096)
def compiled(text: str) -> Path:
    """The expression, compiled once in a process. Raises FHIRPathError for what is no FHIRPath."""
    return Path(text)


def compile_tree(tree: Tree, *, first: bool = False) -> Closure:
    """
    Args:
        first: it stands at the beginning of a path, where a type's name (`Patient.name`) is allowed.
    """
    match tree:
        case parser.Literal(kind, value):
            constant = NOTHING if kind is None else [of_system(value, kind)]
            return lambda _scope, _focus: constant
        case parser.Member(name):
            return _typed_member(name) if first and name[:1].isupper() else _member(name)
        case parser.Variable(name):
            return _variable(name)
        case parser.Step(left, right):
            return _step(compile_tree(left, first=first), compile_tree(right))
        case parser.Index(left, at):
            return _indexed(compile_tree(left, first=first), compile_tree(at, first=True))
        case parser.Sign(operator, operand):
            return _signed(operator, compile_tree(operand, first=first))
        case parser.OfType(operator, left, kind):
            return _of_type(operator, compile_tree(left, first=first), kind)
        case parser.Binary(operator, left, right):
            return _binary(operator, compile_tree(left, first=True), compile_tree(right, first=True))
        case parser.Call(name, arguments):
            from health.fhir.fhirpath.functions import function

            return function(name, arguments)


def truth(found: Collection) -> bool | None:
    """A collection as a truth: a single value that is no boolean counts as true (N1, section 4.5)."""
    if not found:
        return None
    if len(found) > 1:
        raise FHIRPathError(f"one value is wanted here, there are {len(found)}")
    value = found[0].value
    return value if type(value) is bool else True


def boolean(value: bool | None) -> Collection:
    return NOTHING if value is None else TRUE if value else FALSE


def single(found: Collection) -> Node | None:
    if len(found) > 1:
        raise FHIRPathError(f"one value is wanted here, there are {len(found)}")
    return found[0] if found else None


def _member(name: str) -> Closure:
    def run(_scope: Scope, focus: Collection) -> Collection:
        if len(focus) == 1:
            return focus[0].member(name)
        return [child for node in focus for child in node.member(name)]

    return run


def _typed_member(name: str) -> Closure:
    def run(_scope: Scope, focus: Collection) -> Collection:
        own = [node for node in focus if is_of(node, name)]
        return own or [child for node in focus for child in node.member(name)]

    return run


def _variable(name: str) -> Closure:
    match name:
        case "$this":
            return lambda scope, _focus: scope.this
        case "$index":
            return lambda scope, _focus: [] if scope.index is None else [of_system(scope.index, "Integer")]
        case "$total":
            return lambda scope, _focus: scope.total or []
    if (said := constant(name)) is not None:
        found = [of_system(said, "String")]
        return lambda _scope, _focus: found

    def run(scope: Scope, _focus: Collection) -> Collection:
        if name not in scope.names:
            raise FHIRPathError(f"nobody says what {name} is")
        return scope.names[name]

    return run


def constant(name: str) -> str | None:
    """The value of a variable that is the same everywhere (R4, fhirpath.html#variables)."""
    for short, url in (("%vs-", "http://hl7.org/fhir/ValueSet/"), ("%ext-", STRUCTURE)):
        if name.startswith(short):
            return url + name.removeprefix(short)
    return CONSTANTS.get(name)


def _step(left: Closure, right: Closure) -> Closure:
    return lambda scope, focus: right(scope, left(scope, focus))


def _indexed(left: Closure, at: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        index = single(at(scope, focus))
        if index is None or type(index.value) is not int or index.value < 0:
            return []
        return left(scope, focus)[index.value : index.value + 1]

    return run


def _signed(operator: str, operand: Closure) -> Closure:
    def run(scope: Scope, focus: Collection) -> Collection:
        node = single(operand(scope, focus))
        if node is None or operator == "+":
            return [] if node is None else [node]
        value = values.number(node)
        if value is None:
            if type(node.value) is dict and "value" in node.value:
                turned = {**node.value, "value": -node.value["value"]}
                return [Node(turned, node.type)]
            raise FHIRPathError(f"a {node.type} has no negative")
        return [of_system(-value, "Integer" if type(value) is int else "Decimal")]

    return run


def _of_type(operator: str, left: Closure, kind: str) -> Closure:
    known_type(kind)
    if operator == "as":
        return lambda scope, focus: [node for node in left(scope, focus) if is_exactly(node, kind)]

    def run(scope: Scope, focus: Collection) -> Collection:
        node = single(left(scope, focus))
        return [] if node is None else boolean(is_of(node, kind))

    return run


def _binary(operator: str, left: Closure, right: Closure) -> Closure:
    if operator in _LOGIC:
        return _logical(operator, left, right)
    operation = _OPERATIONS[operator]
    return lambda scope, focus: operation(left(scope, focus), right(scope, focus))


_LOGIC = frozenset({"and", "or", "xor", "implies"})


def _logical(operator: str, left: Closure, right: Closure) -> Closure:
    """Three-valued; what the left side settles is not asked of the right one."""
    # For each operator: the left value that settles it, with the answer.
    settled: dict[str, tuple[bool, bool]] = {
        "and": (False, False),
        "or": (True, True),
        "implies": (False, True),
    }

    def run(scope: Scope, focus: Collection) -> Collection:
        a = truth(left(scope, focus))
        if operator in settled and a is settled[operator][0]:
            return boolean(settled[operator][1])
        b = truth(right(scope, focus))
        match operator:
            case "and":
                return boolean(False if b is False else None if a is None or b is None else True)
            case "or":
                return boolean(True if b is True else None if a is None or b is None else False)
            case "implies":
                return boolean(True if b is True else None if a is None or b is None else b)
            case _:
                return boolean(None if a is None or b is None else a is not b)

    return run


def _ordering(test: Callable[[int], bool]) -> Callable[[Collection, Collection], Collection]:
    def run(left: Collection, right: Collection) -> Collection:
        a, b = single(left), single(right)
        if a is None or b is None:
            return []
        found = values.compared(a, b)
        return boolean(None if found is None else test(found))

    return run


def _not(found: bool | None) -> bool | None:
    return None if found is None else not found


def union(left: Collection, right: Collection) -> Collection:
    """Both without what stands twice."""
    every = (*left, *right)
    if all(map(values.is_text, every)):
        # A Bundle may have ten thousand addresses, and to hold each against each takes minutes.
        first: dict[object, Node] = {}
        for node in every:
            first.setdefault(node.value, node)
        return list(first.values())
    found: Collection = []
    for node in every:
        if not contained(node, found):
            found.append(node)
    return found


def contained(node: Node, among: Collection) -> bool:
    return any(values.equal([node], [other]) for other in among)


def _in(left: Collection, right: Collection) -> Collection:
    node = single(left)
    return [] if node is None else boolean(contained(node, right))


def _joined(left: Collection, right: Collection) -> Collection:
    a, b = single(left), single(right)
    return [
        of_system("".join(str(n.value) for n in (a, b) if n is not None and n.value is not None), "String")
    ]


def _calculating(operator: str) -> Callable[[Collection, Collection], Collection]:
    def run(left: Collection, right: Collection) -> Collection:
        a, b = single(left), single(right)
        found = None if a is None or b is None else arithmetic.calculated(operator, a, b)
        return [] if found is None else [found]

    return run


_OPERATIONS: dict[str, Callable[[Collection, Collection], Collection]] = {
    "=": lambda a, b: boolean(values.equal(a, b)),
    "!=": lambda a, b: boolean(_not(values.equal(a, b))),
    "~": lambda a, b: boolean(values.equivalent(a, b)),
    "!~": lambda a, b: boolean(not values.equivalent(a, b)),
    "<": _ordering(lambda found: found < 0),
    ">": _ordering(lambda found: found > 0),
    "<=": _ordering(lambda found: found <= 0),
    ">=": _ordering(lambda found: found >= 0),
    "|": union,
    "in": _in,
    "contains": lambda a, b: _in(b, a),
    "&": _joined,
    **{operator: _calculating(operator) for operator in ("+", "-", "*", "/", "div", "mod")},
}
