"""Every field of the GraphQL schema, asked for by every caller; who saw the owner's value, or any at all."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from tests.conformance.matrix.rest import UNKNOWN, asking
from tests.conformance.matrix.world import MARKS, SESSIONS, World

SCHEMA = Path(__file__).parents[3] / "gateway" / "schema.graphql"
CALLERS = ("nobody", *SESSIONS)
REFUSED = frozenset({"UNAUTHENTICATED", "FORBIDDEN"})
_JUNK: Mapping[str, Any] = {
    "ID": UNKNOWN,
    "UUID": UNKNOWN,
    "String": "words of a test, long enough",
    "Int": 1,
    "Float": 1.0,
    "Boolean": False,
    "DateTime": "2030-01-01T00:00:00+08:00",
    "Date": "2030-01-01",
    "Decimal": "1",
    "JSON": {},
}


def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text(encoding="utf-8"))


def fields(found: GraphQLSchema) -> set[tuple[str, str]]:
    """(type, field) of all object types."""
    return {
        (name, one)
        for name, kind in found.type_map.items()
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__")
        for one in kind.fields
    }


@dataclass
class Seen:
    """What one caller got.

    Attributes:
        codes: by root field (`findings`, `me.health`, a mutation's name) the code of its error, or None.
        shown: the fields that held any value, as (type, field).
        owners: those of them that held the owner's.
    """

    codes: dict[str, str | None] = field(default_factory=dict)
    shown: set[tuple[str, str]] = field(default_factory=set)
    owners: set[tuple[str, str]] = field(default_factory=set)


def by_caller(
    world: World, found: GraphQLSchema, arguments: Mapping[str, Mapping[str, Any]]
) -> dict[str, Seen]:
    """Every query field with all that stands below it, and every mutation with junk."""
    documents = dict(_documents(world, found, arguments))
    result = {caller: Seen() for caller in CALLERS}

    async def all_of() -> None:
        async with asking(world) as http:

            async def one(caller: str, name: str, document: str) -> None:
                headers = {} if caller == "nobody" else {"authorization": f"Bearer {tokens[caller]}"}
                async with http.post("/graphql", json={"query": document}, headers=headers) as answer:
                    said = await answer.json()
                _take(caller, found, document, name, said, result[caller])

            await asyncio.gather(*(one(c, *named) for c in CALLERS for named in documents.items()))

    tokens = {caller: world.session(caller) for caller in SESSIONS}
    asyncio.run(all_of())
    return result


def _documents(
    world: World, found: GraphQLSchema, arguments: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    query, mutation = found.query_type, found.mutation_type
    assert query is not None
    assert mutation is not None
    for name, one in query.fields.items():
        kind = get_named_type(one.type)
        if name != "me":
            yield name, f"{{ {_asked(name, one, arguments.get(name, {}), world.ids)} }}"
            continue
        assert isinstance(kind, GraphQLObjectType)
        for inner, below in kind.fields.items():
            given = arguments.get(f"me.{inner}", {})
            yield f"me.{inner}", f"{{ me {{ {_asked(inner, below, given, world.ids)} }} }}"
    for name, one in mutation.fields.items():
        junk = {key: _junk(argument.type) for key, argument in one.args.items() if _required(argument)}
        given = {**junk, **arguments.get(name, {})}
        yield name, f"mutation {{ {_asked(name, one, given, world.ids)} }}"


def _take(
    caller: str, found: GraphQLSchema, document: str, name: str, answer: Mapping[str, Any], into: Seen
) -> None:
    errors = answer.get("errors") or []
    codes = [str((error.get("extensions") or {}).get("code")) for error in errors]
    known = not {"INTERNAL", "GRAPHQL_VALIDATION_FAILED", "None"}.intersection(codes)
    assert known, f"{caller} {document}: {errors}"
    into.codes[name] = codes[0] if codes else None
    root = found.mutation_type if document.startswith("mutation") else found.query_type
    assert root is not None
    _walk(root, answer.get("data") or {}, False, into)


def _walk(kind: GraphQLObjectType, value: Mapping[str, Any], owners: bool, into: Seen) -> None:
    """An object with a mark among its own values is the owner's, and with it all that stands below."""
    plain = {name: one for name, one in value.items() if is_leaf_type(get_named_type(kind.fields[name].type))}
    owners = owners or any(mark in str(one) for one in plain.values() for mark in MARKS)
    for name, one in value.items():
        if one is None or one == []:
            continue
        into.shown.add((kind.name, name))
        if owners:
            into.owners.add((kind.name, name))
        below = get_named_type(kind.fields[name].type)
        if isinstance(below, GraphQLObjectType):
            for item in one if isinstance(one, list) else [one]:
                _walk(below, item, owners, into)


def _asked(name: str, one: GraphQLField, given: Mapping[str, Any], ids: Mapping[str, Any]) -> str:
    said = {key: ids[value[1:]] if str(value).startswith("$") else value for key, value in given.items()}
    arguments = f"({', '.join(f'{key}: {_literal(value)}' for key, value in said.items())})" if said else ""
    return f"{name}{arguments}{_selection(one, ())}"


def _selection(one: GraphQLField, above: tuple[str, ...]) -> str:
    kind = get_named_type(one.type)
    if not isinstance(kind, GraphQLObjectType):
        return ""
    inner = " ".join(_selected(kind, (*above, kind.name)))
    return f" {{ {inner} }}"


def _selected(kind: GraphQLObjectType, above: tuple[str, ...]) -> Iterator[str]:
    for name, one in kind.fields.items():
        below = get_named_type(one.type)
        # Zones have warnings, and warnings their zone: each once on a way down.
        if below.name not in above and not any(_required(argument) for argument in one.args.values()):
            yield f"{name}{_selection(one, above)}"


def _required(argument: Any) -> bool:
    return is_non_null_type(argument.type) and argument.ast_node.default_value is None


def _junk(kind: Any) -> Any:
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if is_list_type(kind):
        return [_junk(kind.of_type)]
    if is_enum_type(kind):
        return _Word(next(iter(kind.values)))
    if isinstance(kind, GraphQLInputObjectType):
        return {name: _junk(one.type) for name, one in kind.fields.items() if _required(one)}
    return _JUNK[kind.name]


class _Word(str):
    """An enum's value, which stands without quotes."""


def _literal(value: Any) -> str:
    match value:
        case _Word():
            return str(value)
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {_literal(one)}' for key, one in value.items())}}}"
        case _:
            return str(value)
