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

from health.fhir.definitions import definitions
from health.fhir.outcome import Refusal
from health.fhir.patching import json_patch, patched

XHTML = "http://www.w3.org/1999/xhtml"
PLAIN: dict[str, Any] = {"boolean": lambda said: said == "true", "integer": int, "positiveInt": int}


def of_xml(element: Any, kind: str) -> Any:
    """An element as FHIR JSON; a primitive as its value and what stands beside it."""
    known = definitions().elements.get(kind, {"extension": "Extension*"})
    found: dict[str, Any] = {name: value for name, value in element.items() if name in {"id", "url"}}
    for child in element:
        name = child.tag.rpartition("}")[2]
        type_ = known.get(name, "xhtml")
        if type_ == "xhtml":
            found[name] = ElementTree.tostring(child, encoding="unicode", default_namespace=XHTML)
            continue
        inner = type_.rstrip("*")
        if inner in definitions().elements:
            value, beside = of_xml(child, inner), None
        else:
            said = child.get("value")
            value = None if said is None else PLAIN.get(inner, str)(said)
            beside = of_xml(child, "Element") or None
        many = type_.endswith("*")
        for own, it in ((name, value), (f"_{name}", beside)):
            if many and (it is not None or own == name):
                found.setdefault(own, []).append(it)
            elif it is not None:
                found[own] = it
    return found


def resource_of(holder: Any) -> dict[str, Any] | None:
    if holder is None or not len(holder):
        return None
    kind = holder[0].tag.rpartition("}")[2]
    return {"resourceType": kind, **of_xml(holder[0], kind)}


def comparable(resource: Any) -> str:
    """The resource without the narrative's white space, which XML keeps otherwise."""
    if "div" in (resource or {}).get("text", {}):
        div = ElementTree.canonicalize(resource["text"]["div"], strip_text=True)
        resource = {**resource, "text": {**resource["text"], "div": div}}
    return json.dumps(resource, sort_keys=True)


def fhirpath_cases(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each case's name, and what was wrong with what came of it."""
    for case in ElementTree.parse(path).getroot().iter("case"):
        resource, patch = resource_of(case.find("input")), resource_of(case.find("diff"))
        wanted = resource_of(case.find("output"))
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
