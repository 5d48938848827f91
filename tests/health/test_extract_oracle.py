"""Another FHIRPath engine finds by every search parameter what ours finds."""

import json
from typing import Any

import pytest

from health.fhir.definitions import definitions
from health.fhir.extract import extractors
from tests.health import oracle
from tests.health.synthea import bundles

OF_A_TYPE = 12


def _sample() -> list[Any]:
    """Some resources of each type that Synthea makes."""
    found: dict[str, list[Any]] = {}
    for raw in bundles(3):
        for entry in json.loads(raw)["entry"]:
            of_type = found.setdefault(entry["resource"]["resourceType"], [])
            if len(of_type) < OF_A_TYPE:
                of_type.append(entry["resource"])
    return [resource for of_type in found.values() for resource in of_type]


def test_synthea_is_found_by_the_same_values() -> None:
    sample = _sample()
    assert {name for one in sample for name in oracle.found_by(one)} > {"code", "value-quantity", "subject"}
    assert [words for one in sample for words in oracle.differences(one, {})] == []


@pytest.mark.parametrize("kind", sorted(definitions().parameters))
def test_every_parameter_compiles(kind: str) -> None:
    assert extractors(kind, definitions().parameters[kind].values())
