"""What a FHIRPath collection holds: values of a FHIR JSON tree with their type and place."""

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from health.fhir.definitions import definitions
from health.fhir.fhirpath.parser import FHIRPathError

SUPERTYPES = {
    "code": "string",
    "id": "string",
    "markdown": "string",
    "canonical": "uri",
    "oid": "uri",
    "url": "uri",
    "uuid": "uri",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "Age": "Quantity",
    "Count": "Quantity",
    "Distance": "Quantity",
    "Duration": "Quantity",
}
"""Data types that are specialisations of another (R4, datatypes.html)."""

_KNOWN_MAX = 32_768
"""Types and elements that are kept in mind: more than R4 has, for callers may ask for others."""
_NOT_DOMAIN = frozenset({"Binary", "Bundle", "Parameters"})
SYSTEM = "System."
"""Literals and results are of the types of FHIRPath itself: System.String, System.Boolean and so on."""


class Node:
    """A value, its type, and the JSON place it stands at.

    Attributes:
        value: as parsed from JSON; None for a primitive that has only an id or extensions.
        type: a FHIR type (`HumanName`, `Patient_Contact`, `code`) or one of FHIRPath's (`System.String`).
        companion: what stands beside a primitive under `_name`.
        steps: of the place, from the root: names and indexes; None for what stands nowhere.
    """

    __slots__ = ("companion", "parent", "step", "type", "value")

    def __init__(
        self,
        value: Any,
        type: str,
        companion: Any = None,
        parent: "Node | None" = None,
        step: tuple[str | int, ...] = (),
    ) -> None:
        self.value = value
        self.type = type
        self.companion = companion
        self.parent = parent
        self.step = step

    @property
    def steps(self) -> list[str | int]:
        """Names and indexes that lead here from the root, as they stand in JSON."""
        found: list[str | int] = []
        node: Node | None = self
        while node is not None:
            found[:0] = node.step
            node = node.parent
        return found

    def member(self, name: str) -> list["Node"]:
        """The element of this name, of whatever type where it has a choice; lists are taken apart."""
        value = self.value if type(self.value) is dict else self.companion
        if type(value) is not dict:
            return []
        places, names = _places(self.type, name)
        found: list[Node] = []
        if not value.keys().isdisjoint(names):
            for json_name, companion, kind in places:
                items, more = value.get(json_name), value.get(companion)
                if items is not None or more is not None:
                    self._add(found, items, more, json_name, kind)
        return found

    def children(self) -> Iterator["Node"]:
        value = self.value if type(self.value) is dict else self.companion
        if type(value) is not dict:
            return
        seen: set[str] = set()
        known = definitions().elements.get(self.type, _ELEMENT)
        for json_name in value:
            plain = json_name.removeprefix("_")
            kind = known.get(plain)
            if kind is not None and plain not in seen:
                seen.add(plain)
                found: list[Node] = []
                self._add(found, value.get(plain), value.get(f"_{plain}"), plain, kind.rstrip("*"))
                yield from found

    def _add(self, found: list["Node"], items: Any, more: Any, name: str, kind: str) -> None:
        if more is None:
            if type(items) is list:
                found += [
                    Node(item, _actual(item, kind), None, self, (name, i))
                    for i, item in enumerate(items)
                    if item is not None
                ]
            elif items is not None:
                found.append(Node(items, _actual(items, kind), None, self, (name,)))
        elif type(items) is list or type(more) is list:
            items = items if type(items) is list else []
            more = more if type(more) is list else []
            for i in range(max(len(items), len(more))):
                item = items[i] if i < len(items) else None
                companion = more[i] if i < len(more) else None
                if item is not None or companion is not None:
                    found.append(Node(item, _actual(item, kind), companion, self, (name, i)))
        else:
            found.append(Node(items, _actual(items, kind), more, self, (name,)))


def root(resource: dict[str, Any]) -> Node:
    """The node of a whole resource."""
    return Node(resource, str(resource.get("resourceType", "Resource")))


def of_system(value: Any, name: str) -> Node:
    return Node(value, SYSTEM + name)


def is_of(node: Node, name: str) -> bool:
    """Whether the node is of this type or a specialisation of it.

    `String` is FHIRPath's own type and `string` FHIR's; `FHIR.Patient` and `System.String` say which.
    """
    if name.startswith("FHIR."):
        name = name[5:]
    elif not name.startswith(SYSTEM) and name in _SYSTEM_NAMES and node.type.startswith(SYSTEM):
        name = SYSTEM + name
    return name in _lineage(node.type)


def known_type(name: str) -> str:
    """The name, if R4 or FHIRPath has such a type.

    Raises:
        FHIRPathError: they have none.
    """
    plain = name.removeprefix("FHIR.").removeprefix(SYSTEM)
    if plain not in _types():
        raise FHIRPathError(f"there is no type {name}")
    return name


@cache
def _types() -> frozenset[str]:
    known = definitions()
    used = {kind.rstrip("*") for elements in known.elements.values() for kind in elements.values()}
    return frozenset(
        {*known.resources, *known.elements, *used, *SUPERTYPES, *_SYSTEM_NAMES, *_ABSTRACT, "Any", "TypeInfo"}
    )


def is_exactly(node: Node, name: str) -> bool:
    """As `is_of`, but a `code` is not taken out of a collection as a `string`."""
    return is_of(node, name) and (node.type not in SUPERTYPES or node.type[:1].isupper() or name == node.type)


_SYSTEM_NAMES = frozenset({"Boolean", "Date", "DateTime", "Decimal", "Integer", "Quantity", "String", "Time"})
_ABSTRACT = frozenset({"Resource", "DomainResource", "Element", "BackboneElement"})
_ELEMENT = {"id": "string", "extension": "Extension*"}
TYPE_INFO = "System.TypeInfo"
_OF_SYSTEM = {
    TYPE_INFO: {"namespace": "System.String", "name": "System.String"},
    "System.Quantity": {"value": "decimal", "code": "code", "unit": "string"},
}


@lru_cache(maxsize=_KNOWN_MAX)
def _lineage(kind: str) -> frozenset[str]:
    found = {kind}
    if kind.startswith(SYSTEM):
        return frozenset({*found, "System.Any"})
    if kind in SUPERTYPES:
        found.add(SUPERTYPES[kind])
    if kind in definitions().resources:
        found.add("Resource")
        if kind not in _NOT_DOMAIN:
            found.add("DomainResource")
    else:
        found.add("Element")
        if "_" in kind:
            found.add("BackboneElement")
    return frozenset(found)


@lru_cache(maxsize=_KNOWN_MAX)
def json_names(kind: str, name: str) -> tuple[tuple[str, str], ...]:
    """JSON names that hold the element, each with its type."""
    known = _OF_SYSTEM.get(kind) or definitions().elements.get(kind, _ELEMENT)
    if name in known and not name.startswith("_"):
        return ((name, known[name].rstrip("*")),)
    choices = definitions().choices
    return tuple(
        (json_name, type_.rstrip("*"))
        for json_name, type_ in known.items()
        if json_name in choices and choices[json_name][0] == name
    )


@lru_cache(maxsize=_KNOWN_MAX)
def _places(kind: str, name: str) -> tuple[tuple[tuple[str, str, str], ...], frozenset[str]]:
    """JSON names that hold the element, each with its companion's and its type; and all those names."""
    found = tuple((json_name, f"_{json_name}", type_) for json_name, type_ in json_names(kind, name))
    return found, frozenset(one for json_name, companion, _ in found for one in (json_name, companion))


def _actual(value: Any, kind: str) -> str:
    """What stands where any resource may is of the type it says it is."""
    if kind in {"Resource", "ResourceList"} and type(value) is dict:
        return str(value.get("resourceType", "Resource"))
    return kind
