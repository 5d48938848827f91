"""HL7's FHIRPath tests of R4 against `health.fhir.fhirpath`: `fhirpath.py --path DIR`.

DIR is a checkout of https://github.com/FHIR/fhir-test-cases; its folder `r4` holds the tests and, as XML, the
resources they ask, which are made JSON here.
"""

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.definitions import definitions
from health.fhir.fhirpath import FHIRPathError, Node, compiled, root
from health.fhir.fhirpath.conversions import to_text
from health.fhir.text import Number

_FHIR = "{http://hl7.org/fhir}"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})


@cache
def resource(path: Path) -> Any:
    """A resource from XML or JSON."""
    if path.suffix == ".xml":
        whole = ET.parse(path).getroot()
        return {"resourceType": _name(whole), **_members(whole, _name(whole))}
    return json.loads(path.read_text("utf-8"), parse_float=Number)


def _members(element: ET.Element, kind: str) -> dict[str, Any]:
    known = definitions().elements.get(kind, {"id": "string", "extension": "Extension*"})
    found: dict[str, Any] = defaultdict(list)
    for name in ("id", "url"):
        if name in element.attrib:
            found[name] = element.attrib[name]
    for child in element:
        name = _name(child)
        type_ = known.get(name, "string")
        value, beside = _value(child, type_.rstrip("*"))
        if type_.endswith("*"):
            found[name].append(value)
            if beside or f"_{name}" in found:
                more = found[f"_{name}"]
                more += [None] * (len(found[name]) - 1 - len(more)) + [beside or None]
        else:
            found |= {name: value} if value is not None else {}
            found |= {f"_{name}": beside} if beside else {}
    return dict(found)


def _value(element: ET.Element, kind: str) -> tuple[Any, dict[str, Any]]:
    """The value of an element, and what stands beside a primitive one."""
    if element.tag.startswith(_XHTML):
        return ET.tostring(element, encoding="unicode"), {}
    if kind in {"Resource", "ResourceList"}:
        [inner] = element
        return {"resourceType": _name(inner), **_members(inner, _name(inner))}, {}
    if kind in definitions().elements:
        return _members(element, kind), {}
    said = element.attrib.get("value")
    if said is not None and kind == "boolean":
        return said == "true", _members(element, kind)
    if said is not None and kind in _NUMBERS:
        return json.loads(said, parse_float=Number), _members(element, kind)
    return said, _members(element, kind)


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def fault(test: ET.Element, folder: Path) -> str | None:
    """What is wrong with the answer to a test; None where nothing is."""
    expression = test.find("expression")
    assert expression is not None
    name = test.get("inputfile")
    focus = root(resource(folder / name) if name else {"resourceType": "Patient"})
    invalid = expression.get("invalid")
    try:
        found = compiled(expression.text or "")(focus)
    except FHIRPathError as error:
        return None if invalid else f"refused: {error}"
    said = [to_text(node) or "" for node in found]
    if invalid:
        return f"not refused ({invalid}), gives {said}"
    wanted = [(output.text or "").lstrip("@").removeprefix("T") for output in test.findall("output")]
    if test.get("predicate") == "true":
        said = ["true" if _holds(found) else "false"]
    return None if said == wanted else f"gives {said}, wanted {wanted}"


def _holds(found: list[Node]) -> bool:
    return bool(found) and found[0].value is not False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="the checkout")
    folder = parser.parse_args().path / "r4"
    tests = list(ET.parse(folder / "fhirpath" / "tests-fhir-r4.xml").getroot().iter("test"))
    failed = 0
    for test in tests:
        wrong = fault(test, folder)
        if wrong is not None:
            failed += 1
            print(f"    {test.get('name')}: {test.findtext('expression')}: {wrong:.200}")
    print(f"{len(tests) - failed} of {len(tests)} passed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
