"""Makes `rules.json.gz` from HL7's StructureDefinitions and expanded value sets of FHIR R4 (4.0.1).

Both come as npm packages of HL7's (CC0), needed only here, never at set-up:

    npm pack hl7.fhir.r4.examples@4.0.1 hl7.fhir.r4.expansions@4.0.1     # then unpack each
    python -m health.fhir.definitions.generate_rules examples/package expansions/package

It holds what neither the JSON Schema nor the models check: which types a reference may lead to, which
elements must be there, the invariants, and the codes of required bindings that the schema does not list.
An invariant whose expression does not compile stops the generator.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from health.fhir.definitions import definitions
from health.fhir.definitions.generate import write
from health.fhir.fhirpath import FHIRPathError, compiled

_PROFILE = "http://hl7.org/fhir/StructureDefinition/"
# Checked by the walk itself, at each of its steps or with far less work than their FHIRPath asks for.
LEFT_OUT = frozenset({"ele-1", "ext-1", "dom-3", "ref-1", "txt-1", "txt-2"})
REPAIRED = {
    # `Boolean` is FHIRPath's own type; the element's is FHIR's.
    "que-7": "operator = 'exists' implies (answer is boolean)",
}


def main(examples: Path, expansions: Path) -> None:
    targets: dict[str, dict[str, list[str]]] = defaultdict(dict)
    minimum: dict[str, list[str]] = defaultdict(list)
    of_types: dict[str, list[list[str]]] = defaultdict(list)
    of_elements: dict[str, dict[str, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
    bindings: dict[str, dict[str, str]] = defaultdict(dict)
    for element, owner, name in elements(examples):
        constraints = [
            [one["key"], one["human"], REPAIRED.get(one["key"], one["expression"])]
            for one in element.get("constraint", ())
            if one["severity"] == "error" and one["key"] not in LEFT_OUT
        ]
        for _, _, expression in constraints:
            check(element["path"], expression)
        if name is None:
            of_types[owner] += constraints
            continue
        kind = kind_of(owner, name) or ""
        # Those of an element with elements of its own are its type's.
        own = [one for one in constraints if "_" not in kind and one not in of_types.get(kind, ())]
        if own:
            of_elements[owner][name] += own
        if element["min"] and name not in minimum[owner]:
            minimum[owner].append(name)
        if found := reference_targets(element):
            targets[owner][name] = found
        if url := required(element):
            bindings[owner][name] = url
    content = {
        "targets": targets,
        "minimum": {owner: names for owner, names in minimum.items() if names},
        "types": {owner: found for owner, found in of_types.items() if found},
        "elements": of_elements,
        "bindings": bindings,
        "extensions": dict(extensions(examples)),
        "codes": codes(expansions, {url for found in bindings.values() for url in found.values()}),
    }
    write("rules.json.gz", content)


def check(path: str, expression: str) -> None:
    try:
        compiled(expression)
    except FHIRPathError as error:
        raise SystemExit(f"{path}: {expression}: {error}") from error


def elements(examples: Path) -> Iterator[tuple[dict[str, Any], str, str | None]]:
    """Each element of each type with the type it belongs to and its name; without a name the type itself.

    Those with their own elements are types here (`Patient.contact` is `Patient_Contact`), as in the schema.
    """
    known = definitions().elements
    for path in sorted(examples.glob("StructureDefinition-*.json")):
        structure = json.loads(path.read_text("utf-8"))
        if structure.get("derivation") == "constraint" or structure["type"] not in known:
            continue
        at = {structure["type"]: structure["type"]}
        for element in structure["snapshot"]["element"]:
            steps = element["path"]
            if steps in at:
                yield element, at[steps], None
                continue
            parent, _, name = steps.rpartition(".")
            if parent not in at:
                continue
            name = name.removesuffix("[x]")
            yield element, at[parent], name
            kind = kind_of(at[parent], name)
            if kind is not None and "_" in kind and "contentReference" not in element:
                at[steps] = kind
                own = {**element, "min": 0, "type": []}
                yield own, kind, None


def extensions(examples: Path) -> Iterator[tuple[str, list[str]]]:
    """HL7's own extensions, each with the types its value may have."""
    for path in sorted(examples.glob("StructureDefinition-*.json")):
        structure = json.loads(path.read_text("utf-8"))
        if structure["type"] == "Extension" and structure["url"] != f"{_PROFILE}Extension":
            [value] = [e for e in structure["snapshot"]["element"] if e["path"] == "Extension.value[x]"][
                :1
            ] or [{}]
            forbidden = value.get("max") == "0"
            yield structure["url"], [] if forbidden else sorted({t["code"] for t in value.get("type", ())})


def kind_of(owner: str, name: str) -> str | None:
    kind = definitions().elements[owner].get(name)
    return kind.rstrip("*") if kind is not None else None


def reference_targets(element: dict[str, Any]) -> list[str] | None:
    found = [
        url.removeprefix(_PROFILE)
        for kind in element.get("type", ())
        if kind.get("code") == "Reference"
        for url in kind.get("targetProfile", ())
    ]
    if not found or "Resource" in found or any(name not in definitions().resources for name in found):
        return None
    return sorted(set(found))


def required(element: dict[str, Any]) -> str | None:
    binding = element.get("binding", {})
    coded = {kind.get("code") for kind in element.get("type", ())} & {"CodeableConcept", "Coding", "code"}
    if binding.get("strength") != "required" or not coded or "valueSet" not in binding:
        return None
    return str(binding["valueSet"]).partition("|")[0]


def codes(expansions: Path, wanted: set[str]) -> dict[str, dict[str, list[str]]]:
    """By value set the codes of each system; without those that are not a closed list."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted(expansions.glob("ValueSet-*.json")):
        value_set = json.loads(path.read_text("utf-8"))
        expansion = value_set.get("expansion", {})
        closed = not any(
            one["url"].endswith(("valueset-toocostly", "valueset-unclosed"))
            for one in expansion.get("extension", ())
        )
        if value_set.get("url") in wanted and closed and expansion.get("contains"):
            by_system: dict[str, list[str]] = defaultdict(list)
            for system, code in contained(expansion["contains"]):
                by_system[system].append(code)
            found[value_set["url"]] = {system: sorted(set(of)) for system, of in by_system.items()}
    return found


def contained(items: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for item in items:
        if "code" in item and not item.get("abstract"):
            yield item.get("system", ""), item["code"]
        yield from contained(item.get("contains", []))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
