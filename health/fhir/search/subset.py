"""Parts of resources (`_summary`, `_elements`): what is left says everything as it was sent, and that it is a
part (FHIR R4 search.html#summary, #elements)."""

from collections.abc import Callable, Iterable
from typing import Any

from health.fhir import text
from health.fhir.definitions import definitions, summaries
from health.fhir.search.results import Summary

_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
_ALWAYS = frozenset({"resourceType", "id", "meta"})


def cut(kind: str, body: str, summary: Summary, elements: frozenset[str]) -> str:
    """The body, or the part of it that is wanted."""
    known = summaries()[kind]
    if elements:
        return _part(body, lambda name: name in elements or name in known.always)
    match summary:
        case "true":
            return _part(body, lambda name: name in known.elements, known.elements)
        case "text":
            return _part(body, lambda name: name == "text" or name in known.always)
        case "data":
            return _part(body, lambda name: name != "text")
    return body


def _part(body: str, wanted: Callable[[str], bool], below: Iterable[str] = ()) -> str:
    tree: dict[str, Any] = text.parsed(body)
    found = {name: value for name, value in tree.items() if name in _ALWAYS or wanted(_bare(name))}
    for name in {path.partition(".")[0] for path in below if "." in path} & found.keys():
        found[name] = _inside(found[name], name, frozenset(below))
    meta = dict(found.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    return text.written({**found, "meta": meta})


def _inside(value: Any, path: str, below: frozenset[str]) -> Any:
    """Of a part of a resource what its summary has."""
    if isinstance(value, list):
        return [_inside(item, path, below) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, inner in value.items():
        step = f"{path}.{_bare(name)}"
        if step in below:
            nested = any(one.startswith(f"{step}.") for one in below)
            found[name] = _inside(inner, step, below) if nested else inner
    return found


def _bare(name: str) -> str:
    """The element's name in the definitions: a choice's without its type, an underscore's without that."""
    name = name.removeprefix("_")
    return definitions().choices[name][0] if name in definitions().choices else name
