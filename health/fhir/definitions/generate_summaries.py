"""Makes `summaries.json.gz` from HL7's definitions of FHIR R4 (4.0.1): which elements a summary has, and
which no part of a resource may lack. Run as `generate.py` is:

    python -m health.fhir.definitions.generate_summaries package/dist/fhir/r4
"""

import json
import sys
from pathlib import Path
from typing import Any

from health.fhir.definitions.generate import write


def main(source: Path) -> None:
    profiles = json.loads((source / "profiles-resources.json").read_text("utf-8"))
    structures = [entry["resource"] for entry in profiles["entry"]]
    write(
        "summaries.json.gz",
        {
            one["type"]: parts_of(one)
            for one in structures
            if one.get("kind") == "resource" and not one["abstract"]
        },
    )


def parts_of(structure: dict[str, Any]) -> dict[str, list[str]]:
    """`elements` of a summary, inner ones with dots; `always`: required, or changing the meaning."""
    kind = structure["type"]
    found = {
        element["path"].removeprefix(f"{kind}.").replace("[x]", ""): element
        for element in structure["snapshot"]["element"]
        if element["path"] != kind
    }
    root = {path: element for path, element in found.items() if "." not in path}
    always = [path for path, element in root.items() if element["min"] > 0 or element.get("isModifier")]
    summary = {path for path, element in found.items() if element.get("isSummary")} | set(always)
    return {
        "elements": sorted(path for path in summary if path in root or _belongs(path, summary)),
        "always": sorted(always),
    }


def _belongs(path: str, summary: set[str]) -> bool:
    """What stands inside of a summary's element, unless all of that is in the summary anyway."""
    parent = path.rpartition(".")[0]
    siblings = {one for one in summary if one.rpartition(".")[0] == parent}
    told = any(not one.endswith(".modifierExtension") for one in siblings)
    return told and parent in summary and ("." not in parent or _belongs(parent, summary))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
