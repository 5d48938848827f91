"""HL7's FHIRPath tests of R4 against `health.fhir.fhirpath`: `fhirpath.py --path DIR`.

DIR is a checkout of https://github.com/FHIR/fhir-test-cases; its folder `r4` holds the tests and, as XML, the
resources they ask, which are made JSON here.
"""

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from health.fhir.fhirpath import FHIRPathError, Node, compiled, root
from health.fhir.fhirpath.conversions import to_text
from health.fhir.text import Number
from tests.conformance.fhir_xml import resource_of


@cache
def resource(path: Path) -> Any:
    """A resource from XML or JSON."""
    if path.suffix == ".xml":
        return resource_of(ET.parse(path).getroot())
    return json.loads(path.read_text("utf-8"), parse_float=Number)


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
