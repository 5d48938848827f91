"""FHIRPath Patch (FHIR R4 fhirpatch.html): a Parameters resource whose operations name places by FHIRPath."""

import re
from typing import Any

from health.fhir.definitions import definitions
from health.fhir.fhirpath import FHIRPathError, Node, Path, root
from health.fhir.fhirpath.bounds import unbounded
from health.fhir.outcome import Issue, Refusal

_NEEDS = {
    "add": {"path", "name", "value"},
    "insert": {"path", "index", "value"},
    "delete": {"path"},
    "replace": {"path", "value"},
    "move": {"path", "source", "destination"},
}
_DIV = re.compile(r"\.div$")


def patched(resource: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The resource after all operations; it is changed in place.

    Raises:
        Refusal: 400 for what is no operation, 422 where it cannot be applied; each names its parameter.
    """
    for n, parameter in enumerate(parameters.get("parameter", ())):
        _Operation(resource, parameter, f"Parameters.parameter[{n}]").apply()
    return resource


class _Operation:
    def __init__(self, resource: dict[str, Any], parameter: dict[str, Any], place: str) -> None:
        self._resource = resource
        self._place = place
        self._parts = {part.get("name"): part for part in parameter.get("part", ())}
        self._type = self._said("type")
        if parameter.get("name") != "operation" or self._type not in _NEEDS:
            raise self._refused(400, "invalid", f"an operation has a `type`: {', '.join(_NEEDS)}")
        for name in sorted(_NEEDS[self._type] - self._parts.keys()):
            raise self._refused(400, "required", f"{self._type} needs the part `{name}`")
        self._path = str(self._said("path"))

    def _said(self, name: str) -> Any:
        part = self._parts.get(name, {})
        return next((value for key, value in part.items() if key.startswith("value")), None)

    def _refused(self, status: int, code: str, words: str) -> Refusal:
        return Refusal(status, [Issue(code, words, self._place)])

    def _wrong(self, words: str) -> Refusal:
        return self._refused(422, "processing", words)

    def apply(self) -> None:
        match self._type:
            case "add":
                self._add(self._single(self._path), str(self._said("name")), self._parts["value"])
            case "insert":
                holder, name, kind = self._list()
                at = self._index("index", _length(holder, name))
                _insert(holder, name, at, *self._value(self._parts["value"], kind))
            case "delete":
                found = self._found(self._path)
                if len(found) > 1:
                    raise self._wrong(f"{self._path} means {len(found)} elements; one is deleted at a time")
                for node in found:
                    _remove(*self._held(node))
            case "replace":
                self._replace(self._single(self._path))
            case _:
                holder, name, _ = self._list()
                source = self._index("source", _length(holder, name) - 1)
                destination = self._index("destination", _length(holder, name) - 1)
                _insert(holder, name, destination, *_remove(holder, (name, source)))

    def _found(self, path: str) -> list[Node]:
        try:
            if made := unbounded(path.replace(".div", "")):
                raise self._refused(400, "not-supported", f"{path[:200]}: a patch's path uses no {made}")
            # A narrative's `div` is an operator's name too, which HL7's own patches do not delimit.
            run = Path(_DIV.sub(".`div`", path))
        except FHIRPathError as error:
            raise self._refused(400, "invalid", f"{path[:200]!r} is no FHIRPath: {error}") from error
        try:
            found = run(root(self._resource))
        except FHIRPathError as error:
            raise self._wrong(f"{path[:200]}: {error}") from error
        if any(not node.step and node.value is not self._resource for node in found):
            raise self._wrong(f"{path[:200]} names no place in the resource")
        return found

    def _single(self, path: str) -> Node:
        found = self._found(path)
        if len(found) != 1:
            raise self._wrong(f"{path[:200]} means {len(found)} elements; it must mean one")
        return found[0]

    def _held(self, node: Node) -> tuple[dict[str, Any], tuple[str | int, ...]]:
        """The object an element stands in, and its name (and index) there."""
        if node.parent is None:
            raise self._wrong("the resource itself is neither replaced nor deleted by a patch")
        holder = node.parent.value if isinstance(node.parent.value, dict) else node.parent.companion
        return holder, node.step

    def _list(self) -> tuple[dict[str, Any], str, str]:
        """Where the list that the path names stands: its object, its name and the type of its items."""
        left, _, name = self._path.rpartition(".")
        target = self._single(left) if left else None
        if target is None or not isinstance(target.value, dict):
            raise self._wrong(f"{self._path[:200]} names no list")
        json_name, kind, many = self._element(target.type, name, self._parts.get("value", {}))
        if not many:
            raise self._wrong(f"{self._path[:200]} is no list")
        return target.value, json_name, kind

    def _index(self, part: str, last: int) -> int:
        said = self._said(part)
        if type(said) is not int or not 0 <= said <= last:
            raise self._wrong(f"`{part}` is {said}; it must be from 0 to {last}")
        return said

    def _element(self, type: str, name: str, part: dict[str, Any]) -> tuple[str, str, bool]:
        """The element's name in JSON, its type, and whether it repeats."""
        known = definitions().elements.get(type, {"id": "string", "extension": "Extension*"})
        said = next((key.removeprefix("_")[5:] for key in part if key.removeprefix("_")[:5] == "value"), "")
        for json_name in (name, name + said):
            if json_name in known and not json_name.startswith("_"):
                return json_name, known[json_name].rstrip("*"), known[json_name].endswith("*")
        raise self._wrong(f"{type.replace('_', '.')} has no element {name[:80]!r}")

    def _value(self, part: dict[str, Any], kind: str) -> tuple[Any, Any]:
        """What a part says, and what stands beside a primitive."""
        if "part" in part:
            built = Node({}, kind)
            for inner in part["part"]:
                self._add(built, str(inner.get("name")), inner)
            return built.value, None
        if "resource" in part:
            return part["resource"], None
        names = {key.removeprefix("_") for key in part if key.removeprefix("_").startswith("value")}
        if len(names) != 1:
            raise self._refused(400, "required", "a value is said as value[x], or in parts of its own")
        name = names.pop()
        return part.get(name), part.get(f"_{name}")

    def _add(self, target: Node, name: str, part: dict[str, Any]) -> None:
        json_name, kind, many = self._element(target.type, name, part)
        holder = target.value
        if not isinstance(holder, dict):
            # A primitive: what it has beside its value stands by itself.
            if target.companion is None:
                target.companion = {}
                within, step = self._held(target)
                _set(within, step, target.value, target.companion)
            holder = target.companion
        value, companion = self._value(part, kind)
        if many:
            _insert(holder, json_name, _length(holder, json_name), value, companion)
            return
        base = definitions().choices.get(json_name, (None, ""))[0]
        taken = target.member(base or json_name)
        if taken:
            raise self._wrong(f"there is {name} already; replace it")
        _set(holder, (json_name,), value, companion)

    def _replace(self, node: Node) -> None:
        holder, step = self._held(node)
        part = self._parts["value"]
        base = definitions().choices.get(str(step[0]), (None, ""))[0]
        if base is not None and len(step) == 1:
            # Of a choice the new value says the type.
            parent = node.parent
            assert parent is not None
            name, kind, _ = self._element(parent.type, base, part)
            _remove(holder, step)
            _set(holder, (name,), *self._value(part, kind))
        else:
            _set(holder, step, *self._value(part, node.type))


def _length(holder: dict[str, Any], name: str) -> int:
    return max(len(holder.get(name, ())), len(holder.get(f"_{name}", ())))


def _padded(holder: dict[str, Any], name: str, length: int) -> list[Any]:
    items: list[Any] = holder.setdefault(name, [])
    items += [None] * (length - len(items))
    return items


def _insert(holder: dict[str, Any], name: str, at: int, value: Any, companion: Any) -> None:
    length = _length(holder, name)
    _padded(holder, name, length).insert(at, value)
    if companion is not None or f"_{name}" in holder:
        _padded(holder, f"_{name}", length).insert(at, companion)


def _set(holder: dict[str, Any], step: tuple[str | int, ...], value: Any, companion: Any) -> None:
    match step:
        case (str() as name, int() as at):
            length = _length(holder, name)
            _padded(holder, name, length)[at] = value
            if companion is not None or f"_{name}" in holder:
                _padded(holder, f"_{name}", length)[at] = companion
        case (str() as name,):
            for own, said in ((name, value), (f"_{name}", companion)):
                holder.pop(own, None)
                if said is not None:
                    holder[own] = said


def _remove(holder: dict[str, Any], step: tuple[str | int, ...]) -> tuple[Any, Any]:
    """Takes an element out; what it said, and what stood beside it."""
    name, at = str(step[0]), step[1] if len(step) > 1 else None
    taken: list[Any] = []
    for own in (name, f"_{name}"):
        if at is None:
            taken.append(holder.pop(own, None))
            continue
        items = holder.get(own, [])
        taken.append(items.pop(at) if int(at) < len(items) else None)
        if all(item is None for item in items):
            holder.pop(own, None)
    return taken[0], taken[1]
