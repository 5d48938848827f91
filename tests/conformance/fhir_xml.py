"""FHIR's XML as its JSON, by the definitions: for suites whose resources come as XML."""

import json
from collections import defaultdict
from typing import Any
from xml.etree import ElementTree

from health.fhir.definitions import definitions
from health.fhir.text import Number

_XHTML = "{http://www.w3.org/1999/xhtml}"
_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
# As narratives are written in JSON: without a prefix.
ElementTree.register_namespace("", _XHTML.strip("{}"))


def resource_of(element: ElementTree.Element) -> dict[str, Any]:
    """The resource that an element named by its type is."""
    kind = name_of(element)
    return {"resourceType": kind, **_members(element, kind)}


def name_of(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _members(element: ElementTree.Element, kind: str) -> dict[str, Any]:
    known = definitions().elements.get(kind, {"id": "string", "extension": "Extension*"})
    found: dict[str, Any] = defaultdict(list)
    for name in ("id", "url"):
        if name in element.attrib:
            found[name] = element.attrib[name]
    for child in element:
        name = name_of(child)
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


def _value(element: ElementTree.Element, kind: str) -> tuple[Any, dict[str, Any]]:
    """The value of an element, and what stands beside a primitive one."""
    if element.tag.startswith(_XHTML):
        return ElementTree.tostring(element, encoding="unicode"), {}
    if kind in {"Resource", "ResourceList"}:
        [inner] = element
        return resource_of(inner), {}
    if kind in definitions().elements:
        return _members(element, kind), {}
    said = element.attrib.get("value")
    if said is not None and kind == "boolean":
        return said == "true", _members(element, kind)
    if said is not None and kind in _NUMBERS:
        return json.loads(said, parse_float=Number), _members(element, kind)
    return said, _members(element, kind)
