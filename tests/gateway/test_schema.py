"""The schema that is shipped: its committed text, what may be null, and the queries we ship with it."""

from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLNonNull, GraphQLObjectType, get_named_type

from gateway.documents import Documents
from gateway.pages.rendering import HERE
from gateway.schema import schema

SDL = Path(__file__).parents[2] / "gateway" / "schema.graphql"
CORE = schema._schema
ROOTS = ("Query", "Mutation", "Subscription", "Me")
OWN = {"suite", "me"}
"""Fields the gateway answers by itself."""


def test_the_committed_sdl_is_the_schemas() -> None:
    assert SDL.read_text() == schema.as_str() + "\n", "write it anew: python -m gateway.schema"


@pytest.mark.parametrize("root", ROOTS)
def test_every_field_another_service_answers_may_be_null(root: str) -> None:
    kind = CORE.type_map[root]
    assert isinstance(kind, GraphQLObjectType)
    required = {
        name
        for name, field in kind.fields.items()
        if isinstance(field.type, GraphQLNonNull) and name not in OWN
    }
    # A subscription's event is told whole or not at all; there is nothing beside it to save.
    assert required - {"crowdWarnings", "notifications"} == set()


def test_me_reaches_all_four_domains() -> None:
    kind = CORE.type_map["Me"]
    assert isinstance(kind, GraphQLObjectType)
    assert {"name", "health", "learning", "socialSecurity", "nearbyZones"} <= kind.fields.keys()


def test_every_type_and_root_field_is_described_in_both_languages() -> None:
    missing = [
        f"{root}.{name}"
        for root in ROOTS
        for name, field in _fields(root).items()
        if not _bilingual(field.description)
    ]
    assert missing == []


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.graphql")), ids=lambda path: path.name)
def test_our_own_queries_pass_our_own_guards(path: Path) -> None:
    Documents(CORE, introspection=False).checked(path.read_text())


def test_no_field_takes_an_unbounded_list() -> None:
    """Whatever lists by pages has `first`, with a default within the limit."""
    for kind in CORE.type_map.values():
        if not isinstance(kind, GraphQLObjectType):
            continue
        for name, field in kind.fields.items():
            if get_named_type(field.type).name.endswith("Page"):
                assert field.args["first"].default_value <= 100, f"{kind.name}.{name}"


def _fields(root: str) -> Any:
    kind = CORE.type_map[root]
    assert isinstance(kind, GraphQLObjectType)
    return kind.fields


def _bilingual(text: str | None) -> bool:
    return (
        bool(text)
        and any("一" <= c <= "鿿" for c in text or "")
        and any(c.isascii() and c.isalpha() for c in text or "")
    )
