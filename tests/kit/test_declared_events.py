"""Every event that is published is declared, what is declared is published, and the document says so."""

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import validator_for

from gateway.house import SERVICES
from services.kit.events import asyncapi
from services.kit.events.declared import check_declared, declared
from services.kit.policy import package_of
from services.kit.settings import Settings
from services.stack.home import ROOT
from tests.support.events import crowd_warning

SCHEMA = Path("node_modules", "@asyncapi", "specs", "schemas", "3.0.0.json")


def published(service: str) -> Iterator[str]:
    """The types that a service's code gives to publish() or Draft(), `*` where a part is filled in."""
    for file in ROOT.joinpath(*package_of(service).split(".")).rglob("*.py"):
        tree = ast.parse(file.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("publish", "Draft"):
                    yield from _types(node, constants, service)


def _types(call: ast.Call, constants: dict[str, ast.expr], service: str) -> Iterator[str]:
    for given in [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "type")]:
        value = constants.get(given.id, given) if isinstance(given, ast.Name) else given
        parts = value.values if isinstance(value, ast.JoinedStr) else [value]
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)
        if text.startswith(f"{service}."):
            yield text


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_code_publishes_is_what_is_declared(service: str) -> None:
    known = declared(service)
    assert known is not None
    forms = {form: re.compile(re.escape(form).replace(r"\*", r"\w+")) for form in published(service)}
    for form, pattern in forms.items():
        assert any(map(pattern.fullmatch, known)), f"{form} is published and not declared"
    for type in known:
        assert any(pattern.fullmatch(type) for pattern in forms.values()), f"{type} is never published"


def test_every_publish_in_the_code_was_seen() -> None:
    """A type in a form the search does not understand would be missed."""
    calls = sum(
        len(re.findall(r"\btx\.publish\(|\bDraft\(", file.read_text()))
        for service in SERVICES
        for file in ROOT.joinpath(*package_of(service).split(".")).rglob("*.py")
    )
    assert calls == sum(len(list(published(service))) for service in SERVICES)


def test_what_is_not_declared_is_not_published() -> None:
    check_declared("transport", "transport.warning.raised", crowd_warning())
    with pytest.raises(ValueError, match="not declared"):
        check_declared("transport", "transport.warning.whispered", crowd_warning())
    for data in (crowd_warning(visitor="h1_abc"), crowd_warning(level="pink"), {}):
        with pytest.raises(ValueError, match="not as declared") as refusal:
            check_declared("transport", "transport.warning.raised", data)
        assert "h1_abc" not in str(refusal.value)


def test_the_document_describes_what_is_really_sent() -> None:
    whole = asyncapi.document(Settings(), SERVICES)
    assert set(whole["components"]["messages"]) == {
        type for service in SERVICES for type in declared(service) or {}
    }
    for place in references(whole):
        found: Any = whole
        for step in place.removeprefix("#/").split("/"):
            found = found[step]
    payload = whole["components"]["messages"]["transport.warning.raised"]["payload"]
    schema = validator_for({**payload, "components": whole["components"]})
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "0199d2f0-0000-7000-8000-000000000003",
        "source": "urn:huimin:service:transport",
        "type": "transport.warning.raised",
        "subject": "zone/1",
        "time": "2026-10-01T01:00:00Z",
        "datacontenttype": "application/json",
        "position": 1,
        "data": crowd_warning(),
    }
    assert schema.is_valid(event)
    assert not schema.is_valid({**event, "data": {**event["data"], "level": "pink"}})
    assert not schema.is_valid({**event, "type": "transport.warning.ended"})


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_document_is_asyncapi_3() -> None:
    """Against the schema of the specification's own package, `@asyncapi/specs`."""
    file = Path(os.environ.get("HUIMIN_NODE_MODULES", "/nowhere")) / SCHEMA
    if not file.exists():
        pytest.skip("npm's @asyncapi/specs is not there")
    schema = validator_for(json.loads(file.read_text()))
    whole = asyncapi.document(Settings(), SERVICES)
    assert [error.message for error in schema.iter_errors(whole)] == []
    del whole["info"]["title"]
    assert not schema.is_valid(whole)


async def test_the_documents_are_served(running: Any) -> None:
    house = await running("transport", "gateway")
    client: httpx.AsyncClient = await house.client("gateway", scopes=None)
    own = (await client.get("/transport/asyncapi.json")).json()
    assert list(own["channels"]) == ["transport", "transport.log"]
    whole = (await client.get("/asyncapi.json")).json()
    assert own["channels"].items() <= whole["channels"].items()
    assert whole["asyncapi"] == "3.0.0"
