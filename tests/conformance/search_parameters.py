"""Every search parameter over HL7's own examples, against another engine: `search_parameters.py --path DIR`.

DIR is the unpacked npm package hl7.fhir.r4.examples@4.0.1, which has HL7's SearchParameters too: their
expressions are taken as they stand there. Each difference is listed; those of `EXPLAINED` are counted apart.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.definitions import definitions
from health.fhir.definitions.generate import ERRATA
from tests.health import oracle

_NO_DATE = "a text that is no date, or a schedule without limits: nothing to compare with"
_NO_CODE = "the code has words only: nothing that the first component could be asked for by"
EXPLAINED = {
    ("Consent", "source-reference"): "the source stands in the Consent itself: no reference",
    ("CarePlan", "activity-date"): _NO_DATE,
    ("ServiceRequest", "occurrence"): _NO_DATE,
    ("Immunization", "date"): _NO_DATE,
    ("Group", "characteristic-value"): _NO_CODE,
    **{
        ("Observation", f"{combo}code-value-{kind}"): _NO_CODE
        for combo in ("", "combo-", "component-")
        for kind in ("concept", "quantity", "string")
    },
}


def expressions(resources: list[Any]) -> dict[str, str]:
    """HL7's expressions by URL, but for those of `ERRATA`."""
    return {
        one["url"]: one["expression"]
        for one in resources
        if one["resourceType"] == "SearchParameter" and "expression" in one and one["id"] not in ERRATA
    }


def main(path: Path) -> int:
    resources = [json.loads(file.read_bytes()) for file in sorted(path.glob("*.json"))]
    resources = [one for one in resources if one.get("resourceType") in definitions().parameters]
    raw = expressions(resources)
    had: set[tuple[str, str]] = set()
    differing: Counter[tuple[str, str, str]] = Counter()
    for resource in resources:
        kind = resource["resourceType"]
        had.update((kind, name) for name in oracle.found_by(resource))
        for name, words in oracle.differences(resource, raw):
            explained = (kind, name) in EXPLAINED and words.endswith(oracle.NOT_INDEXED)
            differing[kind, name, EXPLAINED[kind, name] if explained else "NOT EXPLAINED"] += 1
            if not explained:
                print(f"{kind} {name}: {words}")
    every = {(kind, name) for kind, of in definitions().parameters.items() for name in of}
    print(f"{len(resources)} resources; {len(had)} of {len(every)} parameters of types have a value in one")
    for (kind, name, why), count in sorted(differing.items()):
        print(f"{count} times {kind} {name}: {why}")
    return int(any(why == "NOT EXPLAINED" for *_, why in differing))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    sys.exit(main(parser.parse_args().path))
