"""The topics there are, as data: which types, and by which search parameters they may be narrowed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[2] / "knowledge" / "subscription_topics.json"
_GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"

Topic = dict[str, list[str]]
"""By type the search parameters that filters may use."""


def guide(name: str) -> str:
    """An extension or profile of the backport guide."""
    return f"{_GUIDE}/{name}"


@cache
def topics() -> dict[str, Topic]:
    """By canonical."""
    said: dict[str, dict[str, Any]] = json.loads(_FILE.read_text())
    return {canonical: topic["types"] for canonical, topic in said.items()}


def stated() -> list[dict[str, str]]:
    """As the CapabilityStatement has them."""
    url = guide("capabilitystatement-subscriptiontopic-canonical")
    return [{"url": url, "valueCanonical": canonical} for canonical in topics()]
