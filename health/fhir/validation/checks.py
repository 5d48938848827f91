"""What neither the JSON Schema nor the models find: one walk over a resource with its types in hand.

Empty values, two of one choice, missing elements, base64, where references may lead, required codes, unsafe
narratives, and the invariants (R4, json.html, datatypes.html, conformance-rules.html#constraints).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from health.fhir import narrative
from health.fhir.definitions import definitions, rules
from health.fhir.fhirpath import FHIRPathError, Node, Path, compiled, root
from health.fhir.outcome import Issue, expression

Collection = list[Node]
Names = dict[str, Collection]
Invariants = Sequence[tuple[str, str, Path]]


def issues_of(
    resource: dict[str, Any], path: str, *, shaped: bool, container: Node | None = None
) -> Iterator[Issue]:
    """Everything the walk finds wrong with a resource and those inside it.

    Args:
        shaped: it has the form of its schema; without it what it means is not asked.
        container: the resource that contains this one.
    """
    whole = root(resource)
    walk = _Walk(path, {"%resource": [whole], "%rootResource": [container or whole]}, shaped=shaped)
    yield from walk.of(whole)
    if shaped:
        yield from walk.loose()


_CLOCKS = frozenset({"dateTime", "instant", "time"})
_TOO_FINE = re.compile(r"\.\d{10}")


class _Walk:
    """Over one resource; what is inside it, another goes over."""

    def __init__(self, path: str, names: Names, *, shaped: bool) -> None:
        self._shaped = shaped
        self._path = path
        self._names = names
        self._whole = names["%resource"][0]

    def of(self, node: Node) -> Iterator[Issue]:
        value = node.value
        if type(value) is dict:
            yield from self._members(node, value)
        elif value is not None:
            yield from self._primitive(node)
        elif type(node.companion) is dict and not node.companion.get("extension"):
            yield Issue("structure", "neither a value nor an extension stands here (ele-1)", self.at(node))
        if self._shaped:
            yield from self._held(node, _of_type(node.type))
        for child in node.children():
            if child.type in definitions().resources:
                if type(child.value) is dict:
                    yield from self._inner(child)
                continue
            if self._shaped:
                yield from self._bound(node.type, child)
            yield from self.of(child)

    def at(self, node: Node, *further: str) -> str:
        return expression(self._path, [*node.steps, *further])

    def _members(self, node: Node, value: dict[str, Any]) -> Iterator[Issue]:
        known = definitions().elements.get(node.type)
        if known is None:
            return
        choices = definitions().choices
        chosen: dict[str, str] = {}
        for name, member in value.items():
            if member == "" or member == [] or member == {}:
                words = "is empty: leave it out, or say something (ele-1)"
                yield Issue("structure" if member != "" else "value", f"{name} {words}", self.at(node, name))
            elif type(member) is list:
                yield from self._items(node, name, member)
            plain = name.removeprefix("_")
            base = choices[plain][0] if plain in choices and plain in known else None
            if base is not None and chosen.setdefault(base, plain) != plain:
                words = f"{chosen[base]} and {plain} are one choice, {base}[x]: send one of them"
                yield Issue("structure", words, f"{self.at(node)}.{base}")
        for name in rules().minimum.get(node.type, ()):
            if name not in value and f"_{name}" not in value and name not in chosen:
                yield Issue("required", f"{name} is missing", f"{self.at(node)}.{name}")
        if node.type == "Extension" and self._shaped:
            yield from self._extension(node, value, chosen.get("value"))

    def _extension(self, node: Node, value: dict[str, Any], given: str | None) -> Iterator[Issue]:
        if (given is not None) == bool(value.get("extension")):
            yield Issue("invariant", "an extension has either a value or extensions (ext-1)", self.at(node))
        types = rules().extensions.get(str(value.get("url")))
        if types is not None and given is not None and definitions().choices[given][1] not in types:
            wanted = f"a value of type {' or '.join(types)}" if types else "extensions, no value"
            yield Issue("structure", f"{value['url']} has {wanted}, not {given}", f"{self.at(node)}.value")

    def loose(self) -> Iterator[Issue]:
        """What is contained is used (dom-3): it is referred to, or refers to what contains it."""
        inside = self._whole.member("contained")
        used = set(_fragments(self._whole.value)) if inside else set()
        for one in inside:
            if f"#{one.value.get('id')}" not in used and "#" not in _fragments(one.value):
                words = (
                    "nothing refers to this contained resource, nor does it refer to its container (dom-3)"
                )
                yield Issue("invariant", words, self.at(one))

    def _items(self, node: Node, name: str, items: list[Any]) -> Iterator[Issue]:
        for i, item in enumerate(items):
            if item == "" or item == {} or item == []:
                place = f"{self.at(node, name)}[{i}]"
                yield Issue(
                    "structure", f"{name}[{i}] is empty: leave it out, or say something (ele-1)", place
                )

    def _primitive(self, node: Node) -> Iterator[Issue]:
        value = node.value
        if node.type == "base64Binary" and type(value) is str:
            try:
                base64.b64decode("".join(value.split()), validate=True)
            except (binascii.Error, ValueError):
                yield Issue("value", "this is not base64", self.at(node))
        elif node.type in _CLOCKS and type(value) is str and _TOO_FINE.search(value):
            yield Issue("value", "at most nine digits after the second", self.at(node))
        elif node.type == "xhtml" and type(value) is str:
            found = narrative.fault(value)
            if found is not None:
                yield Issue("invariant", found, self.at(node))

    def _bound(self, owner: str, child: Node) -> Iterator[Issue]:
        """What the element, not its type, asks of it."""
        name = _base(child)
        if child.type == "Reference" and "reference" in child.value:
            yield from self._leads(child, child.value["reference"], rules().targets.get(owner, {}).get(name))
        url = rules().bindings.get(owner, {}).get(name)
        if url is not None and url in rules().codes:
            yield from self._coded(child, url)
        yield from self._held(child, _of_element(owner, name))

    def _leads(self, node: Node, reference: str, targets: frozenset[str] | None) -> Iterator[Issue]:
        kind = self._kind_of(reference)
        if kind is None and reference.startswith("#") and reference != "#":
            words = f"nothing contained here has the id {reference[1:]!r} (ref-1)"
            yield Issue("not-found", words, self.at(node, "reference"))
        elif kind is not None and targets is not None and kind not in targets:
            words = f"a reference to {kind} cannot stand here; allowed: {', '.join(sorted(targets))}"
            yield Issue("structure", words, self.at(node, "reference"))

    def _kind_of(self, reference: str) -> str | None:
        """The type a reference names; None where it does not say."""
        if reference.startswith("#"):
            container = self._names["%rootResource"][0]
            inside = container.member("contained")
            named = [one.type for one in inside if one.value.get("id") == reference[1:]]
            return container.type if reference == "#" else next(iter(named), None)
        steps = reference.partition("?")[0].partition("/_history/")[0].split("/")
        kind = steps[0] if "?" in reference and len(steps) == 1 else steps[-2] if len(steps) > 1 else ""
        return kind if kind in definitions().resources else None

    def _coded(self, node: Node, url: str) -> Iterator[Issue]:
        codes = rules().codes[url]
        if type(node.value) is str:
            if not any(node.value in of_system for of_system in codes.values()):
                yield Issue("code-invalid", _no_code(node.value, url), self.at(node))
            return
        codings = node.member("coding") if node.type == "CodeableConcept" else [node]
        said = [
            (one.value.get("system"), one.value.get("code")) for one in codings if type(one.value) is dict
        ]
        # A concept is bound as a whole: one coding of the set is enough, words alone are none.
        if not any(code in codes.get(str(system), frozenset()) for system, code in said):
            shown = ", ".join(f"{system}|{code}" for system, code in said) or "no coding"
            yield Issue("code-invalid", _no_code(shown, url), self.at(node))

    def _held(self, node: Node, invariants: Invariants) -> Iterator[Issue]:
        for key, human, path in invariants:
            try:
                held = path.holds(node, names={**self._names, "%context": [node]})
            except FHIRPathError as error:
                yield Issue("invariant", f"{key} cannot be decided: {error}", self.at(node))
                continue
            if not held:
                yield Issue("invariant", f"{key}: {human}", self.at(node))

    def _inner(self, child: Node) -> Iterator[Issue]:
        contained = child.step[0] == "contained"
        container = self._whole if contained else None
        yield from issues_of(child.value, self.at(child), shaped=self._shaped, container=container)


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


def _base(node: Node) -> str:
    name = str(node.step[0])
    choices = definitions().choices
    return choices[name][0] if name in choices else name


@cache
def _of_type(kind: str) -> Invariants:
    return [
        (key, human, compiled(text)) for key, human, text in rules().types.get(kind, ()) if key[:4] != "txt-"
    ]


@cache
def _of_element(owner: str, name: str) -> Invariants:
    found = rules().elements.get(owner, {}).get(name, ())
    return [(key, human, compiled(text)) for key, human, text in found]
