"""References between resources: the forms they take, and how a transaction rewrites them.

FHIR R4 http.html#trules and bundle.html#references. A walk follows the element types of the definitions, so
that what is rewritten is a reference, a uri, url, oid or uuid, or a link in a narrative, and never a plain
string that happens to look like one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from health.fhir.definitions import definitions
from health.fhir.outcome import Issue, expression

Step = str | int
Role = Literal["type", "resource", "reference", "uri", "xhtml"]

ID = r"[A-Za-z0-9\-.]{1,64}"
LEAF_ID = "access-"
"""What the id of an AuditEvent that is an access leaf begins with; the leaf's number follows."""
LOCAL = re.compile(rf"([A-Z][A-Za-z]+)/({ID})(?:/_history/({ID}))?")
CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?(.+)", re.DOTALL)
ABSOLUTE = re.compile(r"(?:https?|ftp|mllp):\S+", re.IGNORECASE)
_RESTFUL = re.compile(rf"(.+/)[A-Z][A-Za-z]+/{ID}(?:/_history/{ID})?")
_NARRATIVE_LINK = re.compile(r"""((?:href|src)\s*=\s*)(["'])(.*?)\2""", re.IGNORECASE | re.DOTALL)
_REWRITTEN = frozenset({"uri", "url", "oid", "uuid"})


@dataclass(frozen=True, slots=True)
class _Element:
    role: Role
    type: str


@cache
def _table(kind: str) -> dict[str, _Element]:
    """The elements of a type that a walk has to look at."""
    known = definitions().elements
    found: dict[str, _Element] = {}
    for name, written in known.get(kind, {}).items():
        type_ = written.rstrip("*")
        if kind == "Reference" and name == "reference":
            found[name] = _Element("reference", type_)
        elif type_ in _REWRITTEN:
            found[name] = _Element("uri", type_)
        elif type_ == "xhtml":
            found[name] = _Element("xhtml", type_)
        elif type_ == "Resource":
            found[name] = _Element("resource", type_)
        elif type_ in known:
            found[name] = _Element("type", type_)
    return found


Resolve = Callable[[str, str], str]
"""`(reference as written, its path) -> what to write instead`."""


def rewrite(resource: dict[str, Any], path: str, uris: Mapping[str, str], resolve: Resolve) -> None:
    """Rewrites every reference of a resource in place, those in contained resources too.

    Args:
        path: FHIRPath of the resource.
        uris: what to put for a uri, by its whole value.
        resolve: asked for each `Reference.reference` that is no `#fragment`.
    """
    _Walk(uris, resolve, _contained_ids(resource), path).resource(resource)


def _contained_ids(resource: dict[str, Any]) -> frozenset[str]:
    contained = resource.get("contained", ())
    return frozenset(f"#{item.get('id')}" for item in contained) | {"#"}


@dataclass(slots=True)
class _Walk:
    uris: Mapping[str, str]
    resolve: Resolve
    fragments: frozenset[str]
    path: str

    def resource(self, resource: dict[str, Any]) -> None:
        self.node(resource, resource["resourceType"], ())

    def node(self, node: dict[str, Any], kind: str, at: tuple[Step, ...]) -> None:
        table = _table(kind)
        for name, value in node.items():
            element = table.get(name)
            if element is not None:
                if isinstance(value, list):
                    for i, item in enumerate(value):
                        value[i] = self.value(item, element, (*at, name, i))
                else:
                    node[name] = self.value(value, element, (*at, name))

    def value(self, value: Any, element: _Element, steps: tuple[Step, ...]) -> Any:
        match element.role:
            case "type" if isinstance(value, dict):
                self.node(value, element.type, steps)
            case "resource" if isinstance(value, dict):
                self.nested(value, expression(self.path, steps), contained="contained" in steps[-2:])
            case "reference" if isinstance(value, str):
                return self.reference(value, expression(self.path, steps))
            case "uri" if isinstance(value, str):
                return self.uris.get(value, value)
            case "xhtml" if isinstance(value, str) and "=" in value:
                return self.narrative(value)
        return value

    def nested(self, resource: dict[str, Any], path: str, *, contained: bool) -> None:
        # A contained resource refers to its siblings; one in a Bundle or Parameters stands by itself.
        fragments = self.fragments if contained else _contained_ids(resource)
        _Walk(self.uris, self.resolve, fragments, path).resource(resource)

    def reference(self, value: str, path: str) -> str:
        if value.startswith("#"):
            if value not in self.fragments:
                raise Dangling(Issue("not-found", f"nothing contained here has the id {value[1:]!r}", path))
            return value
        return self.resolve(value, path)

    def narrative(self, xhtml: str) -> str:
        return _NARRATIVE_LINK.sub(
            lambda link: f"{link[1]}{link[2]}{self.uris.get(link[3], link[3])}{link[2]}", xhtml
        )


class Dangling(Exception):
    """A reference that leads nowhere or says nothing; stops the walk of its resource."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.diagnostics)
        self.issue = issue


@dataclass(slots=True)
class Condition:
    """A reference by search (`Practitioner?identifier=…`), once for all places that say the same."""

    type: str
    query: str
    stand_in: str
    paths: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Resolver:
    """Settles the references of one transaction (or one resource) as far as can be without the store.

    Attributes:
        base: this server's own base URL, with a slash at its end.
        targets: local reference of each entry, by fullUrl.
        outside: places of the references to what should be in the store already, by `Type/id`.
        conditions: references by search, by their text; only a transaction may have them.
        used: local references written in, since it was last emptied.
        unchecked: what leads nowhere is left as it is.
    """

    base: str
    targets: Mapping[str, str] = field(default_factory=dict)
    stand_in: Callable[[str], str] | None = None
    entry_base: str | None = None
    outside: dict[str, list[str]] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    unchecked: bool = False

    def __call__(self, value: str, path: str) -> str:
        target = self.targets.get(value)
        if target is None and self.entry_base is not None and LOCAL.fullmatch(value):
            target = self.targets.get(self.entry_base + value)
        if target is not None:
            self.used.add(target)
            return target
        if self.unchecked and not LOCAL.fullmatch(value.removeprefix(self.base)):
            return value
        if value.startswith("urn:"):
            raise Dangling(Issue("not-found", f"no entry of the bundle has the fullUrl {value}", path))
        if found := LOCAL.fullmatch(value.removeprefix(self.base)):
            return self.local(value, f"{found[1]}/{found[2]}", found[1], path)
        if found := CONDITIONAL.fullmatch(value):
            return self.condition(value, found[1], found[2], path)
        if ABSOLUTE.fullmatch(value):
            return value
        raise Dangling(
            Issue("value", f"{value[:80]!r} is no reference: write Type/id, a URL, #id or a urn:uuid", path)
        )

    def local(self, value: str, target: str, kind: str, path: str) -> str:
        if kind not in definitions().resources:
            if self.unchecked:
                return value
            raise Dangling(Issue("value", f"{kind!r} is no resource type of FHIR R4", path))
        self.outside.setdefault(target, []).append(path)
        self.used.add(target)
        return value.removeprefix(self.base)

    def condition(self, value: str, kind: str, query: str, path: str) -> str:
        if kind not in definitions().resources:
            raise Dangling(Issue("value", f"{kind!r} is no resource type of FHIR R4", path))
        if self.stand_in is None:
            raise Dangling(
                Issue("not-supported", "a reference by search may stand in a transaction only", path)
            )
        if value not in self.conditions:
            self.conditions[value] = Condition(kind, query, self.stand_in(kind))
        condition = self.conditions[value]
        condition.paths.append(path)
        self.used.add(condition.stand_in)
        return condition.stand_in


def entry_base(full_url: str | None) -> str | None:
    """What relative references in an entry are relative to: the base of its own RESTful fullUrl."""
    found = _RESTFUL.fullmatch(full_url) if full_url and ABSOLUTE.fullmatch(full_url) else None
    return found[1] if found else None
