"""HL7's own cases of PATCH: `fhir_patch.py --path DIR`.

DIR is a checkout of https://github.com/FHIR/fhir-test-cases. Its cases of FHIRPath Patch are XML, and are
turned into JSON by the definitions; those of JSON Patch (RFC 6902) are JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.outcome import Refusal
from health.fhir.patching import json_patch, patched
from tests.conformance.fhir_xml import resource_of


def held(holder: ElementTree.Element | None) -> dict[str, Any] | None:
    return resource_of(holder[0]) if holder is not None and len(holder) else None


def comparable(resource: Any) -> str:
    """The resource without the narrative's white space, which XML keeps otherwise."""
    if "div" in (resource or {}).get("text", {}):
        div = ElementTree.canonicalize(resource["text"]["div"], strip_text=True)
        resource = {**resource, "text": {**resource["text"], "div": div}}
    return json.dumps(resource, sort_keys=True)


def fhirpath_cases(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each case's name, and what was wrong with what came of it."""
    for case in ElementTree.parse(path).getroot().iter("case"):
        resource, patch, wanted = (held(case.find(name)) for name in ("input", "diff", "output"))
        assert resource is not None
        assert patch is not None
        try:
            found = patched(resource, patch)
        except Refusal as refusal:
            yield str(case.get("name")), f"refused: {refusal}" if wanted is not None else None
        else:
            same = comparable(found) == comparable(wanted)
            yield str(case.get("name")), None if same else f"came to {json.dumps(found)[:300]}"


def json_cases(path: Path) -> Iterator[tuple[str, str | None]]:
    for case in json.loads(path.read_text()):
        name = case.get("comment") or json.dumps(case["patch"])
        try:
            found = json_patch.patched(case["doc"], case["patch"])
        except Refusal as refusal:
            yield name, None if "error" in case else f"refused: {refusal}"
        else:
            wrong = "error" in case or found != case.get("expected", found)
            yield name, f"came to {json.dumps(found)}" if wrong else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the checkout")
    folder = parser.parse_args().path / "r4" / "patch"
    missed = 0
    for what, cases in (
        ("FHIRPath Patch", list(fhirpath_cases(folder / "fhir-patch-tests.xml"))),
        ("JSON Patch", list(json_cases(folder / "json-patch-tests.json"))),
    ):
        wrong = [(name, words) for name, words in cases if words is not None]
        print(f"{what}: {len(cases) - len(wrong)} of {len(cases)}")
        for name, words in wrong:
            print(f"    {name}: {words}")
        missed += len(wrong)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
