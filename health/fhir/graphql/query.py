"""A GraphQL document, read into the tree that is evaluated and held against the definitions of R4.

A selection is checked for all types the selected thing may have (a reference leads to several): a field is
right if one of them has it, and is left out of the others. Everything else that is not known is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from graphql import GraphQLSyntaxError, Undefined, parse, value_from_ast_untyped
from graphql.language import ast

from health.fhir.definitions import definitions, rules
from health.fhir.graphql.filters import ALL, Expression, Filter
from health.fhir.outcome import Issue, Refusal

DOCUMENT_TOKENS = 4000
FIELDS_MAX = 1000
DEPTH_MAX = 24
"""Levels of a selection; what is loaded for one is loaded after what is loaded for the level above."""
LOADS_MAX = 4
"""Levels of references and searches, one in another."""

Kind = Literal["element", "type", "reference", "read", "list", "connection"]
Types = frozenset[str]

CONNECTION = "Connection"
EDGE = "Connection_Edge"
_OURS = {
    CONNECTION: {
        "count": "integer", "offset": "integer", "pagesize": "integer", "edges": f"{EDGE}*",
        "first": "string", "previous": "string", "next": "string", "last": "string",
    },
    EDGE: {"mode": "code", "score": "decimal", "resource": "Resource"},
}  # fmt: skip
_OF_FIELDS = frozenset({"flatten", "first", "singleton", "slice", "skip", "include"})


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is asked for.

    Attributes:
        key: what it is called in the answer.
        where: it stands in the document, as a path.
        on: the types it is asked of, by the fragments it stands in; None for all.
        arguments: by name, variables filled in; those of an element's filter are in `filter`.
        type: of a read or search, the type of resource.
        slice, by_index: what of an item is put behind the name, each item for itself.
    """

    name: str
    key: str
    kind: Kind
    where: str
    on: Types | None
    arguments: Mapping[str, Any]
    fields: "tuple[Field, ...]" = ()
    type: str = ""
    filter: Filter = ALL
    first: bool = False
    flatten: bool = False
    singleton: bool = False
    slice: Expression | None = None
    by_index: bool = False

    def alike(self, other: "Field") -> bool:
        """Whether both ask for the same, but for what of it."""
        return replace(self, fields=(), where="") == replace(other, fields=(), where="")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was sent.

    Attributes:
        root: type of the resource it is about; None for the whole server.
    """

    text: str
    operation: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    root: str | None = None


def understood(asked: Asked) -> tuple[Field, ...]:
    """What a document asks for.

    Raises:
        Refusal: 400, it is wrong or asks for too much.
    """
    try:
        document = parse(asked.text, max_tokens=DOCUMENT_TOKENS)
    except (GraphQLSyntaxError, RecursionError) as error:
        raise _syntax(error) from error
    operation = _operation(document, asked.operation)
    reader = _Reader(_fragments(document), _variables(operation, asked.variables))
    roots = frozenset({asked.root}) if asked.root else None
    return reader.selection(operation.selection_set, _Place(roots, ""))


def members(type: str) -> Mapping[str, str]:
    """The elements of a type, FHIR's or one that GraphQL adds."""
    return _OURS.get(type) or definitions().elements.get(type, {})


def is_resource(type: str) -> bool:
    return type in definitions().resources


def wrong(words: str, where: str | None, node: ast.Node | None = None, *, code: str = "invalid") -> Refusal:
    place = node.loc.start_token if node is not None and node.loc is not None else None
    line, column = (place.line, place.column) if place is not None else (None, None)
    return Refusal(400, [Issue(code, words, where or None, "error", line, column)])


def too_costly(words: str) -> Refusal:
    return Refusal(400, [Issue("too-costly", words)])


def _syntax(error: Exception) -> Refusal:
    if not isinstance(error, GraphQLSyntaxError):
        return too_costly(f"the document is nested deeper than {DEPTH_MAX} levels")
    place = error.locations[0] if error.locations else None
    line, column = (place.line, place.column) if place is not None else (None, None)
    return Refusal(400, [Issue("structure", error.message, None, "error", line, column)])


def _operation(document: ast.DocumentNode, name: str | None) -> ast.OperationDefinitionNode:
    found = [one for one in document.definitions if isinstance(one, ast.OperationDefinitionNode)]
    if name is not None:
        found = [one for one in found if one.name is not None and one.name.value == name]
    if len(found) != 1:
        raise wrong(
            "say in operationName which of the operations to run" if found else "no such operation", None
        )
    [operation] = found
    if operation.operation is not ast.OperationType.QUERY:
        words = f"{operation.operation.value} is not supported here: resources are written by REST"
        raise wrong(words, None, operation, code="not-supported")
    return operation


def _fragments(document: ast.DocumentNode) -> dict[str, ast.FragmentDefinitionNode]:
    found: dict[str, ast.FragmentDefinitionNode] = {}
    for one in document.definitions:
        if isinstance(one, ast.FragmentDefinitionNode):
            if one.name.value in found:
                raise wrong(f"the fragment {one.name.value} stands twice", None, one)
            found[one.name.value] = one
    return found


def _variables(operation: ast.OperationDefinitionNode, given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in operation.variable_definitions or ():
        name = one.variable.name.value
        if name in given:
            found[name] = given[name]
        elif one.default_value is not None:
            found[name] = value_from_ast_untyped(one.default_value)
        elif isinstance(one.type, ast.NonNullTypeNode):
            raise wrong(f"the variable ${name} needs a value", None, one, code="required")
        else:
            found[name] = None
    if unknown := sorted(set(given) - set(found)):
        raise wrong(f"the operation declares no variable ${unknown[0]}", None)
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a selection stands.

    Attributes:
        types: what the thing selected from may be; None for the server itself.
        targets: of a Reference or an edge, what it may lead to.
        on: the types it must be of by the fragments around; None for any.
        spread: the fragments around, by name.
    """

    types: Types | None
    path: str
    targets: Types = frozenset()
    depth: int = 1
    loads: int = 0
    on: Types | None = None
    spread: tuple[str, ...] = ()


class _Reader:
    """Reads the selections of one document."""

    def __init__(self, fragments: Mapping[str, ast.FragmentDefinitionNode], variables: dict[str, Any]):
        self._fragments = fragments
        self._variables = variables
        self._read = 0

    def selection(self, node: ast.SelectionSetNode, at: _Place) -> tuple[Field, ...]:
        if at.depth > DEPTH_MAX:
            raise too_costly(f"the selection is nested deeper than {DEPTH_MAX} levels")
        if at.loads > LOADS_MAX:
            raise too_costly(f"references and searches are nested deeper than {LOADS_MAX} levels")
        found: dict[str, list[Field]] = {}
        for one in self._collected(node, at):
            same = found.setdefault(one.key, [])
            for i, other in enumerate(same):
                if one.alike(other):
                    same[i] = replace(other, fields=_merged(other.fields, one.fields))
                    break
            else:
                same.append(one)
        return tuple(_apart(one for same in found.values() for one in same))

    def _collected(self, node: ast.SelectionSetNode, at: _Place) -> Iterable[Field]:
        for one in node.selections:
            self._read += 1
            if self._read > FIELDS_MAX:
                raise too_costly(f"more than {FIELDS_MAX} fields are asked for")
            if not self._included(one, at):
                continue
            if isinstance(one, ast.FieldNode):
                yield self._field(one, at)
            elif isinstance(one, ast.InlineFragmentNode):
                yield from self._collected(one.selection_set, self._narrowed(one.type_condition, at))
            elif isinstance(one, ast.FragmentSpreadNode):
                yield from self._spread(one, at)

    def _spread(self, node: ast.FragmentSpreadNode, at: _Place) -> Iterable[Field]:
        name = node.name.value
        if name not in self._fragments:
            raise wrong(f"there is no fragment {name}", at.path, node)
        if name in at.spread:
            raise wrong(f"the fragment {name} holds itself", at.path, node)
        fragment = self._fragments[name]
        inside = replace(self._narrowed(fragment.type_condition, at), spread=(*at.spread, name))
        return self._collected(fragment.selection_set, inside)

    def _narrowed(self, condition: ast.NamedTypeNode | None, at: _Place) -> _Place:
        if condition is None or at.types is None:
            return at
        name = condition.name.value
        if name in {"Resource", "DomainResource"}:
            return at
        if not members(name):
            raise wrong(f"{name} is no type of FHIR R4", at.path, condition)
        return replace(
            at, types=frozenset({name}), on=frozenset({name}) & (at.on if at.on is not None else {name})
        )

    def _included(self, node: ast.SelectionNode, at: _Place) -> bool:
        known = _OF_FIELDS if isinstance(node, ast.FieldNode) else {"skip", "include"}
        for directive in node.directives or ():
            name = directive.name.value
            if name not in known:
                raise wrong(
                    f"the directive @{name} is not known here", at.path, directive, code="not-supported"
                )
            if name in {"skip", "include"}:
                condition = self._arguments(directive, at).get("if")
                if not isinstance(condition, bool):
                    raise wrong(f"@{name} needs `if`, true or false", at.path, directive)
                if condition is (name == "skip"):
                    return False
        return True

    def _arguments(self, node: ast.FieldNode | ast.DirectiveNode, at: _Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for argument in node.arguments or ():
            name = argument.name.value
            if name in found:
                raise wrong(f"the argument {name} stands twice", at.path, argument)
            self._declared(argument.value, at)
            value = value_from_ast_untyped(argument.value, self._variables)
            if value is not None and value is not Undefined:
                found[name] = value
        return found

    def _declared(self, node: ast.ValueNode, at: _Place) -> None:
        if isinstance(node, ast.VariableNode) and node.name.value not in self._variables:
            raise wrong(f"the operation declares no variable ${node.name.value}", at.path, node)
        for one in node.values if isinstance(node, ast.ListValueNode) else ():
            self._declared(one, at)

    def _field(self, node: ast.FieldNode, at: _Place) -> Field:
        name = node.name.value
        where = f"{at.path}.{name}" if at.path else name
        found = Field(
            name=name,
            key=node.alias.value if node.alias else name,
            kind="element",
            where=where,
            on=at.on,
            arguments=self._arguments(node, at),
            **self._directives(node, at),
        )
        found, below = self._known(found, node, at)
        if below is None:
            if node.selection_set is not None:
                raise wrong(f"{name} is a single value; nothing can be selected of it", where, node)
            return found
        if node.selection_set is None:
            raise wrong(f"say which fields of {name} you want", where, node, code="required")
        return replace(found, fields=self.selection(node.selection_set, replace(below, path=where)))

    def _directives(self, node: ast.FieldNode, at: _Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for directive in node.directives or ():
            name, arguments = directive.name.value, self._arguments(directive, at)
            if name in {"skip", "include"}:
                continue
            if name == "slice":
                path = arguments.get("path", arguments.get("fhirpath"))
                if path is None:
                    raise wrong("@slice needs a `path`", at.path, directive)
                found |= {"by_index": True} if path == "$index" else {"slice": Expression(path, at.path)}
            else:
                found[name] = True
        return found

    def _known(self, found: Field, node: ast.FieldNode, at: _Place) -> tuple[Field, _Place | None]:
        """What the field is, and the place of what is selected of it; None for a single value."""
        further = _Place(None, "", depth=at.depth + 1, loads=at.loads, spread=at.spread)
        types = at.types
        if found.name == "__typename" or (found.name == "resourceType" and types and _any_resource(types)):
            return replace(found, kind="type"), None
        if found.name in ("__schema", "__type"):
            words = "introspection is not supported here: there is no schema but FHIR R4's own definitions"
            raise wrong(words, found.where, node, code="not-supported")
        if searched := _searched(found, types):
            return self._search(searched, node, further)
        if types is None:
            raise wrong(
                f"{found.name!r} is no query: write Type, TypeList or TypeConnection", found.where, node
            )
        if found.name == "resource" and at.targets:
            kinds = _kinds(found, at.targets, node)
            return replace(found, kind="reference"), replace(further, types=kinds, loads=at.loads + 1)
        kinds = frozenset(
            kind.rstrip("*") for type in types if (kind := members(type).get(found.name)) is not None
        )
        if not kinds:
            of = ", ".join(sorted(types)[:5])
            raise wrong(f"{of} has no field {found.name!r}", found.where, node)
        return self._element(found, node, kinds, types, further)

    def _element(
        self, found: Field, node: ast.FieldNode, kinds: Types, types: Types, further: _Place
    ) -> tuple[Field, _Place | None]:
        if "Resource" in kinds:
            kinds = kinds - {"Resource"} | (further.targets or definitions().resources)
        elif not any(members(kind) for kind in kinds):
            if found.arguments:
                raise wrong(f"{found.name} is a single value and takes no arguments", found.where, node)
            return found, None
        filter = Filter.of(found.arguments, _of_all(kinds), found.where)
        targets: Types = frozenset()
        if "Reference" in kinds:
            said = [rules().targets.get(type, {}).get(found.name) for type in types]
            known = [one for one in said if one is not None]
            targets = frozenset().union(*known) if known else definitions().resources
        return replace(found, filter=filter), replace(further, types=kinds, targets=targets)

    def _search(self, found: Field, node: ast.FieldNode, further: _Place) -> tuple[Field, _Place]:
        resource = frozenset({found.type})
        if found.kind == "read" and set(found.arguments) != {"id"}:
            raise wrong(f"{found.name} is read by its id alone; {found.name}List searches", found.where, node)
        if "fhirpath" in found.arguments:
            found = replace(
                found, filter=Filter(fhirpath=Expression(found.arguments["fhirpath"], found.where))
            )
        further = replace(further, loads=further.loads + 1)
        if found.kind == "connection":
            return found, replace(further, types=frozenset({CONNECTION}), targets=resource)
        return found, replace(further, types=resource)


def _any_resource(types: Types) -> bool:
    return not types.isdisjoint(definitions().resources)


def _of_all(kinds: Types) -> frozenset[str]:
    """The single values that things of these types may have."""
    return frozenset(
        name for kind in kinds for name, type in members(kind).items() if not members(type.rstrip("*"))
    )


def _kinds(found: Field, targets: Types, node: ast.FieldNode) -> Types:
    """What a reference's resource may be."""
    if unknown := set(found.arguments) - {"optional", "type"}:
        raise wrong(f"resource takes `optional` and `type`, not {unknown.pop()}", found.where, node)
    if not isinstance(found.arguments.get("optional", False), bool):
        raise wrong("optional is true or false", found.where, node)
    wanted = found.arguments.get("type")
    if wanted is None:
        return targets
    if not isinstance(wanted, str) or not is_resource(wanted):
        raise wrong(f"{wanted!r} is no resource type of FHIR R4", found.where, node)
    return frozenset({wanted})


def _searched(found: Field, types: Types | None) -> Field | None:
    """The field as a read or a search, if it is one: of the server, or of what refers to a resource."""
    name = found.name
    if types is None and is_resource(name):
        return replace(found, kind="read", type=name)
    endings: tuple[tuple[str, Kind], ...] = (("List", "list"), ("Connection", "connection"))
    for ending, kind in endings:
        type = name.removesuffix(ending)
        if type != name and is_resource(type) and (types is None or _any_resource(types)):
            if (types is None) is ("_reference" in found.arguments):
                words = "takes no _reference at the top" if types is None else "needs _reference here"
                raise wrong(f"{name} {words}", found.where)
            return replace(found, kind=kind, type=type)
    return None


def _merged(one: Sequence[Field], other: Sequence[Field]) -> tuple[Field, ...]:
    """Two selections of the same thing as one."""
    found = list(one)
    for field_ in other:
        for i, known in enumerate(found):
            if known.key == field_.key and known.alike(field_):
                found[i] = replace(known, fields=_merged(known.fields, field_.fields))
                break
        else:
            found.append(field_)
    return tuple(_apart(found))


def _apart(fields: Iterable[Field]) -> Iterable[Field]:
    """Raises Refusal for two different things under one name, unless no resource can have both."""
    seen: dict[str, list[Field]] = {}
    for one in fields:
        for other in seen.setdefault(one.key, []):
            if not _exclude(one, other):
                raise wrong(
                    f"{one.key!r} is asked for twice, for different things; give one an alias", one.where
                )
        seen[one.key].append(one)
        yield one


def _exclude(one: Field, other: Field) -> bool:
    if one.on is not None and other.on is not None and one.on.isdisjoint(other.on):
        return True
    types = [field_.arguments.get("type") for field_ in (one, other)]
    return one.kind == other.kind == "reference" and None not in types and types[0] != types[1]
