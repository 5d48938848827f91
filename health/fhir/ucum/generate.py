"""Makes `units.json` from `ucum-essence.xml` of the UCUM organisation (http://unitsofmeasure.org).

    python -m health.fhir.ucum.generate ucum-essence.xml

This product includes all or a portion of the UCUM table, UCUM codes, and UCUM definitions or is derived from
it, subject to a license from Regenstrief Institute, Inc. and The UCUM Organization. Copyright (c) 1995-2009,
Regenstrief Institute and the UCUM Organization. All rights reserved. The UCUM table, codes and definitions
are provided "as is".
"""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

_SPACE = "{http://unitsofmeasure.org/ucum-essence}"


def main(source: Path) -> None:
    whole = ET.parse(source).getroot()  # noqa: S314 - a file of the person who runs this
    prefixes = {one.attrib["Code"]: _value(one).attrib["value"] for one in whole.iter(f"{_SPACE}prefix")}
    base = [one.attrib["Code"] for one in whole.iter(f"{_SPACE}base-unit")]
    units = {one.attrib["Code"]: _unit(one) for one in whole.iter(f"{_SPACE}unit")}
    found = {"version": whole.attrib["version"], "prefixes": prefixes, "base": base, "units": units}
    (Path(__file__).parent / "units.json").write_text(
        json.dumps(found, indent=0, separators=(",", ":")) + "\n", "utf-8"
    )


def _unit(unit: ET.Element) -> list[str | bool]:
    """How many of which unit it is, and whether it takes prefixes; an empty unit for what is no multiple."""
    value = _value(unit)
    metric = unit.attrib["isMetric"] == "yes"
    special = unit.attrib.get("isSpecial") == "yes"
    arbitrary = unit.attrib.get("isArbitrary") == "yes" and value.attrib["Unit"] == "1"
    return ["", "", metric] if special or arbitrary else [value.attrib["value"], value.attrib["Unit"], metric]


def _value(of: ET.Element) -> ET.Element:
    found = of.find(f"{_SPACE}value")
    assert found is not None
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
