"""Whatever the suite writes into its access log, people can read in both languages."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.exchange import words
from services.stack.home import ROOT

PACKAGES = ("services", "health", "education", "social_security", "transport")
ABOUT_NOBODY = {
    "account.registered", "acknowledgement.read", "agreements.decide", "agreements.end", "agreements.read",
    "agreements.request", "agreements.resume", "agreements.suspend", "audit-run.read", "audit.leaves.read",
    "audit.strays.read", "client.registered", "event.replay", "events.read", "hiding_right.recorded",
    "keys.read", "keys.rotated", "offers.read", "organisations.registered", "places.registered",
    "population.registered", "registers.read", "residents.read", "sector_key.adopted",
    "sector_key.offered", "sector_key.prepared", "sector_key.retired", "stream.read",
    "terminology.load", "warning.acknowledge",
}  # fmt: skip
"""Leaves without a person: nobody meets them in their own list."""
OPEN = {
    "agreements.", "education.roster.", "exports.", "fhir.", "subscriptions.",
    ".deleted", ".fetched", ".read", ".registered", ".requested",
}  # fmt: skip
"""The fixed parts of actions that are put together; their whole forms stand in the words."""


def sources() -> Iterator[ast.AST]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def said(node: ast.AST) -> Iterator[str]:
    """The strings a keyword's value may come to."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def keyword_values(name: str) -> set[str]:
    found = set()
    for source in sources():
        for node in ast.walk(source):
            if isinstance(node, ast.Call) and _writes_leaf(node):
                found |= {text for key in node.keywords if key.arg == name for text in said(key.value)}
    return found


def _writes_leaf(call: ast.Call) -> bool:
    return any(key.arg == "action" for key in call.keywords) and (
        isinstance(call.func, ast.Attribute) and call.func.attr in {"leaf", "add", "write"}
    )


def known(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "services/exchange/knowledge/words.json").read_text())[kind]
    return found


def test_every_action_has_words() -> None:
    actions = keyword_values("action")
    assert len(actions) > 20, "the leaves are written in another way now; this test must follow"
    assert actions - ABOUT_NOBODY - OPEN <= known("actions").keys()


def test_every_action_that_policies_speak_of_has_words() -> None:
    actions = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.cedarschema"):
            text = path.read_text(encoding="utf-8")
            for named in re.findall(r"action ([^;]*?) appliesTo", text):
                actions |= set(re.findall(r'"([^"]+)"', named))
    assert "findings.read" in actions
    assert actions - ABOUT_NOBODY <= known("actions").keys()


def test_every_reason_of_a_policy_has_words() -> None:
    reasons = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.cedar"):
            reasons |= set(re.findall(r'@reason\("([^"]+)"\)', path.read_text(encoding="utf-8")))
    assert "treatment" in reasons
    assert reasons <= known("reasons").keys()


def test_every_word_stands_in_both_languages() -> None:
    for kind in ("services", "actions", "reasons", "receivers"):
        for code, (zh, en) in known(kind).items():
            assert re.search("[\u4e00-\u9fff]", zh), code
            assert en.isascii(), code
    assert words.of("actions", "nobody.knows").zh == "nobody.knows"


@pytest.mark.parametrize("path", ["services/exchange/knowledge/words.json"])
def test_no_code_stands_twice(path: str) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    json.loads(Path(ROOT / path).read_text(), object_pairs_hook=once)
