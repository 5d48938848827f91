"""What neither the JSON Schema nor the models find: one walk over a resource with its types in hand.

Empty values, two of one choice, missing elements, base64, where references may lead, required codes, unsafe
narratives, and the invariants (R4, json.html, datatypes.html, conformance-rules.html#constraints).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from health.fhir import narrative
from health.fhir.definitions import definitions, rules
from health.fhir.fhirpath import FHIRPathError, Node, root
from health.fhir.outcome import Issue, expression
from health.fhir.validation.plans import LOOKED_INTO, Element, Invariant, Plan, plan

Steps = tuple[str | int, ...]
"""JSON names and indexes from the resource to a place in it."""


def issues_of(
    resource: dict[str, Any],
    path: str,
    *,
    shaped: bool,
    container: tuple[Node, Mapping[str, str]] | None = None,
) -> list[Issue]:
    """Everything the walk finds wrong with a resource and those inside it.

    Args:
        shaped: it has the form of its schema; without it what it means is not asked.
        container: the resource that contains this one, and the types of all it contains by their ids.
    """
    whole = root(resource)
    contains = shaped and "contained" in resource
    named = {one.value.get("id"): one.type for one in whole.member("contained")} if contains else {}
    walk = _Walk(path, whole, *(container or (whole, named)), shaped=shaped)
    walk.of(resource, whole.type, ())
    if contains:
        walk.loose()
    return walk.found


_TOO_FINE = re.compile(r"\.\d{10}")
_EXTENSIONS = Element("extension", "Extension", False, False, False, None, None, ())


class _Walk:
    """Over one resource; what is inside it, another goes over.

    Most values are right and most elements have no rule: places and nodes are made only where one is asked.
    """

    def __init__(
        self, path: str, whole: Node, container: Node, contained: Mapping[str, str], *, shaped: bool
    ) -> None:
        self.found: list[Issue] = []
        self._shaped = shaped
        self._path = path
        self._whole = whole
        self._container = container
        self._contained = contained

    def of(self, value: dict[str, Any], kind: str, steps: Steps) -> None:
        """A value of a type with elements."""
        known = plan(kind)
        if known is None:
            return
        chosen: dict[str, str] = {}
        for name, member in value.items():
            if not member:
                self._empty(member, name, steps)
            element = known.elements.get(name)
            if element is not None:
                if element.choice:
                    self._choose(element, name, chosen, steps)
                if type(member) is list:
                    self._items(member, name, element, steps)
                elif member is not None and not element.plain:
                    self._one(member, element, (*steps, name))
            elif name[:1] == "_" and name[1:] in known.elements:
                self._companions(value, name[1:], known.elements[name[1:]], chosen, steps)
            elif type(member) is list:
                self._empties(member, name, steps)
        self._complete(value, kind, known, chosen, steps)

    def _complete(
        self, value: dict[str, Any], kind: str, known: Plan, chosen: dict[str, str], steps: Steps
    ) -> None:
        """What is asked of the value as a whole."""
        for name, companion in known.minimum:
            if name not in value and companion not in value and name not in chosen:
                self._say("required", f"{name} is missing", steps, name)
        if self._shaped:
            if kind == "Extension":
                self._extension(value, chosen.get("value"), steps)
            if known.invariants:
                self._hold(value, kind, known.invariants, steps)

    def _one(self, value: Any, element: Element, steps: Steps) -> None:
        """One value of an element."""
        if type(value) is dict:
            if element.resource:
                self._inner(value, steps)
                return
            self.of(value, element.kind, steps)
        elif element.kind in LOOKED_INTO and type(value) is str:
            self._primitive(value, element.kind, steps)
        if self._shaped:
            self._bound(value, element, steps)

    def _items(self, items: list[Any], name: str, element: Element, steps: Steps) -> None:
        self._empties(items, name, steps)
        for i, item in enumerate(items):
            if item is not None and not element.plain:
                self._one(item, element, (*steps, name, i))

    def _companions(
        self, value: dict[str, Any], name: str, element: Element, chosen: dict[str, str], steps: Steps
    ) -> None:
        """What stands beside primitives, which may stand there alone."""
        if element.choice:
            self._choose(element, name, chosen, steps)
        more, said = value[f"_{name}"], value.get(name)
        if type(more) is list:
            self._empties(more, f"_{name}", steps)
            said = said if type(said) is list else []
            for i, companion in enumerate(more):
                self._beside(companion, said[i] if i < len(said) else None, (*steps, name, i))
        else:
            self._beside(more, said, (*steps, name))

    def _beside(self, companion: Any, value: Any, steps: Steps) -> None:
        if type(companion) is not dict:
            return
        extensions = companion.get("extension")
        if value is None and not extensions:
            self._say("structure", "neither a value nor an extension stands here (ele-1)", steps)
        if type(extensions) is list:
            for i, extension in enumerate(extensions):
                if extension is not None:
                    self._one(extension, _EXTENSIONS, (*steps, "extension", i))

    def _choose(self, element: Element, name: str, chosen: dict[str, str], steps: Steps) -> None:
        other = chosen.setdefault(element.name, name)
        if other != name:
            words = f"{other} and {name} are one choice, {element.name}[x]: send one of them"
            self.found.append(Issue("structure", words, f"{self._at(steps)}.{element.name}"))

    def _empties(self, items: list[Any], name: str, steps: Steps) -> None:
        for i, item in enumerate(items):
            if item == "" or item == {} or item == []:
                words = f"{name}[{i}] is empty: leave it out, or say something (ele-1)"
                self.found.append(Issue("structure", words, f"{self._at((*steps, name))}[{i}]"))

    def _empty(self, member: Any, name: str, steps: Steps) -> None:
        if member == "" or member == [] or member == {}:
            words = f"{name} is empty: leave it out, or say something (ele-1)"
            self._say("structure" if member != "" else "value", words, steps, name)

    def _say(self, code: str, words: str, steps: Steps, *further: str) -> None:
        self.found.append(Issue(code, words, self._at((*steps, *further))))

    def _at(self, steps: Steps) -> str:
        return expression(self._path, steps)

    def _extension(self, value: dict[str, Any], given: str | None, steps: Steps) -> None:
        if (given is not None) == bool(value.get("extension")):
            self._say("invariant", "an extension has either a value or extensions (ext-1)", steps)
        types = rules().extensions.get(str(value.get("url")))
        if types is not None and given is not None and definitions().choices[given][1] not in types:
            wanted = f"a value of type {' or '.join(types)}" if types else "extensions, no value"
            self._say("structure", f"{value['url']} has {wanted}, not {given}", steps, "value")

    def loose(self) -> None:
        """What is contained is used (dom-3): it is referred to, or refers to what contains it."""
        inside = self._whole.member("contained")
        used = set(_fragments(self._whole.value)) if inside else set()
        for one in inside:
            if f"#{one.value.get('id')}" not in used and "#" not in _fragments(one.value):
                words = (
                    "nothing refers to this contained resource, nor does it refer to its container (dom-3)"
                )
                self._say("invariant", words, one.step)

    def _primitive(self, value: str, kind: str, steps: Steps) -> None:
        if kind == "base64Binary":
            try:
                base64.b64decode("".join(value.split()), validate=True)
            except (binascii.Error, ValueError):
                self._say("value", "this is not base64", steps)
        elif kind == "xhtml":
            found = narrative.fault(value)
            if found is not None:
                self._say("invariant", found, steps)
        elif _TOO_FINE.search(value):
            self._say("value", "at most nine digits after the second", steps)

    def _bound(self, value: Any, element: Element, steps: Steps) -> None:
        """What the element, not its type, asks of it."""
        if element.kind == "Reference" and "reference" in value:
            self._leads(value["reference"], element.targets, steps)
        if element.value_set is not None:
            self._coded(value, element, element.value_set, steps)
        if element.invariants:
            self._hold(value, element.kind, element.invariants, steps)

    def _leads(self, reference: str, targets: frozenset[str] | None, steps: Steps) -> None:
        if targets is None and not reference.startswith("#"):
            return
        kind = self._kind_of(reference)
        if kind is None and reference.startswith("#") and reference != "#":
            words = f"nothing contained here has the id {reference[1:]!r} (ref-1)"
            self._say("not-found", words, steps, "reference")
        elif kind is not None and targets is not None and kind not in targets:
            words = f"a reference to {kind} cannot stand here; allowed: {', '.join(sorted(targets))}"
            self._say("structure", words, steps, "reference")

    def _kind_of(self, reference: str) -> str | None:
        """The type a reference names; None where it does not say."""
        if reference.startswith("#"):
            return self._container.type if reference == "#" else self._contained.get(reference[1:])
        steps = reference.partition("?")[0].partition("/_history/")[0].split("/")
        kind = steps[0] if "?" in reference and len(steps) == 1 else steps[-2] if len(steps) > 1 else ""
        return kind if kind in definitions().resources else None

    def _coded(self, value: Any, element: Element, url: str, steps: Steps) -> None:
        codes = rules().codes[url]
        if type(value) is str:
            if not any(value in of_system for of_system in codes.values()):
                self._say("code-invalid", _no_code(value, url), steps)
            return
        codings = value.get("coding", ()) if element.kind == "CodeableConcept" else [value]
        said = [(one.get("system"), one.get("code")) for one in codings if type(one) is dict]
        # A concept is bound as a whole: one coding of the set is enough, words alone are none.
        if not any(code in codes.get(str(system), frozenset()) for system, code in said):
            shown = ", ".join(f"{system}|{code}" for system, code in said) or "no coding"
            self._say("code-invalid", _no_code(shown, url), steps)

    def _hold(self, value: Any, kind: str, invariants: tuple[Invariant, ...], steps: Steps) -> None:
        node: Node | None = None
        for one in invariants:
            if type(value) is dict and one.surely_holds(value):
                continue
            node = node or Node(value, kind, None, self._whole if steps else None, steps)
            given = {"%resource": [self._whole], "%rootResource": [self._container], "%context": [node]}
            try:
                if not one.path.holds(node, given):
                    self._say("invariant", f"{one.key}: {one.human}", steps)
            except FHIRPathError as error:
                self._say("invariant", f"{one.key} cannot be decided: {error}", steps)

    def _inner(self, resource: dict[str, Any], steps: Steps) -> None:
        kind = resource.get("resourceType")
        if isinstance(kind, str) and kind in definitions().resources:
            container = (self._whole, self._contained) if steps[0] == "contained" else None
            self.found += issues_of(resource, self._at(steps), shaped=self._shaped, container=container)


def _fragments(value: Any) -> Iterator[str]:
    """References into the same resource, wherever they stand."""
    if type(value) is str:
        if value.startswith("#"):
            yield value
    elif type(value) is dict or type(value) is list:
        for below in value.values() if type(value) is dict else value:
            yield from _fragments(below)


def _no_code(said: str, url: str) -> str:
    return f"{said[:80]} is not in the required value set {url}"
