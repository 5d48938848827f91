"""The tiers of validation in their order, and the two that are others' work: JSON Schema and models."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from health.fhir.definitions import definitions, json_schema
from health.fhir.outcome import Issue, expression
from health.fhir.validation import checks
from health.fhir.validation.doubts import doubtful

SAID_OF_VALUE = 80
"""Characters of a wrong value that a message repeats."""

_ISSUE_CODE = {
    "required": "required",
    "additionalProperties": "structure",
    "type": "structure",
    "enum": "code-invalid",
    "const": "code-invalid",
}
_MADE_ANEW = frozenset({"Evidence", "EvidenceVariable"})
"""Types of which R4B requires elements that R4 has not."""
# A primitive array may hold null where only its `_` companion says something (json.html#primitive); the
# schema knows no null. Each placeholder stands for a value of the type its neighbours have.
_PLACEHOLDERS: tuple[tuple[type, Any], ...] = ((bool, True), (int, 1), (float, 1.0), (str, "1970"))


def issues_of(resource: dict[str, Any], path: str) -> list[Issue]:
    """Everything found wrong with one resource; nothing when it is right.

    Args:
        resource: as plain Python values (no literal numbers).
        path: FHIRPath of the resource in what was sent, for `expression`.
    """
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or kind not in definitions().resources:
        return [unknown_type(kind, path)]
    parts: list[tuple[dict[str, Any], str]] = []
    of_schema = _collected(resource, path, parts)
    found = _unlike(of_schema, checks.issues_of(resource, path, shaped=not of_schema))
    if found:
        return found
    if not doubtful(resource):
        return []
    if all(_model(part["resourceType"]) for part, _ in parts):
        # A model holds what is inside it too.
        return list(_model_issues(resource, path))
    alone = [(part, at) for part, at in parts if _model(part["resourceType"]) and not any(_nested(part, at))]
    return [issue for part, at in alone for issue in _model_issues(part, at)]


def _unlike(of_schema: list[Issue], of_checks: list[Issue]) -> list[Issue]:
    """Both, but of one place only what the checks say, which speak more plainly."""
    said = {issue.expression for issue in of_checks}
    return of_checks + [issue for issue in of_schema if issue.expression not in said]


def _collected(resource: dict[str, Any], path: str, parts: list[tuple[dict[str, Any], str]]) -> list[Issue]:
    """The schema's issues with a resource and, if it has none, with those inside; all go into `parts`."""
    parts.append((resource, path))
    found = list(schema_issues(resource["resourceType"], resource, path))
    if not found:
        for inner, below in _nested(resource, path):
            found += _collected(inner, below, parts)
    return found


def unknown_type(kind: Any, path: str) -> Issue:
    if kind is None:
        return Issue("structure", "resourceType is missing", f"{path}.resourceType")
    return Issue("structure", f"{_shown(kind)} is no resource type of FHIR R4", f"{path}.resourceType")


@cache
def _definitions_for_schema() -> dict[str, Any]:
    return json_schema()


@cache
def _schema(kind: str) -> Any:
    return jsonschema_rs.Draft7Validator(
        {"definitions": _definitions_for_schema(), "$ref": f"#/definitions/{kind}"}
    )


@cache
def _primitive_of_pattern() -> dict[str, str]:
    # Of several with one pattern the plainest name: what is no `markdown` is no `string`.
    primitives = sorted(_definitions_for_schema().items(), key=lambda item: item[0] != "string")
    found: dict[str, str] = {}
    for name, definition in primitives:
        if "pattern" in definition:
            found.setdefault(definition["pattern"], name)
    return found


@cache
def _model(kind: str) -> Any:
    """The R4B model; None for types that R4B dropped or made anew: these have the schema and our checks."""
    if kind in _MADE_ANEW:
        return None
    try:
        return get_fhir_model_class(kind)
    except ValueError:
        return None


def schema_issues(kind: str, resource: dict[str, Any], path: str) -> Iterator[Issue]:
    schema = _schema(kind)
    if schema.is_valid(resource):
        return
    for error in schema.iter_errors(_null_padded(resource)):
        steps = list(error.instance_path)
        code = _ISSUE_CODE.get(error.kind.name, "value")
        if error.kind.name == "required":
            name = error.kind.property
            yield Issue(code, f"{name} is missing", expression(path, [*steps, name]))
        elif error.kind.name == "additionalProperties":
            for name in error.kind.unexpected:
                yield Issue(code, f"R4 knows no element {name!r} here", expression(path, [*steps, name]))
        else:
            yield Issue(code, _words(error), expression(path, steps))


def _words(error: Any) -> str:
    if error.kind.name == "pattern":
        primitive = _primitive_of_pattern().get(error.kind.pattern, "value of the right form")
        return f"{_shown(error.instance)} is not a valid {primitive}"
    if error.kind.name == "enum":
        options = ", ".join(str(option) for option in error.kind.options[:20])
        return f"{_shown(error.instance)} is not one of {options}"
    if error.kind.name == "type":
        return f"{_shown(error.instance)} is not of JSON type {', '.join(error.kind.types)}"
    return str(error.message)[:200]


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= SAID_OF_VALUE else f"{words[:SAID_OF_VALUE]}…"


def _null_padded(node: Any) -> Any:
    """A copy without legal nulls: `{"given": ["a", null], "_given": [null, {...}]}`."""
    if isinstance(node, list):
        return [_null_padded(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {name: _padded(name, value, node) for name, value in node.items()}


def _padded(name: str, value: Any, holder: dict[str, Any]) -> Any:
    companion = holder.get(name.removeprefix("_") if name.startswith("_") else f"_{name}")
    if not isinstance(value, list) or not isinstance(companion, list) or None not in value:
        return _null_padded(value)
    filler: Any = {"id": "null"} if name.startswith("_") else _placeholder(value)
    padded = []
    for i, item in enumerate(value):
        # A companion may be null anywhere; a value only where its companion says something.
        spoken_for = name.startswith("_") or (i < len(companion) and companion[i] is not None)
        padded.append(filler if item is None and spoken_for else _null_padded(item))
    return padded


def _placeholder(values: list[Any]) -> Any:
    given = next((value for value in values if value is not None), "")
    return next((filler for kind, filler in _PLACEHOLDERS if isinstance(given, kind)), given)


def _nested(resource: dict[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Resources inside the resource: contained, in a Bundle's entries, in Parameters."""
    return _inside(resource, resource["resourceType"], path)


def _inside(node: dict[str, Any], kind: str, path: str) -> Iterator[tuple[dict[str, Any], str]]:
    known = definitions().elements
    for name, value in node.items():
        type_ = known[kind].get(name, "").rstrip("*")
        # Only a type of a resource's own (`Bundle_Entry`) can hold a resource, no general data type.
        if type_ == "Resource" or ("_" in type_ and type_ in known):
            items = value if isinstance(value, list) else [value]
            for i, item in enumerate(items):
                below = f"{path}.{name}[{i}]" if isinstance(value, list) else f"{path}.{name}"
                if type_ == "Resource":
                    yield item, below
                else:
                    yield from _inside(item, type_, below)


def _model_issues(resource: dict[str, Any], path: str) -> Iterator[Issue]:
    try:
        _model(resource["resourceType"]).model_validate(resource)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False):
            # Unknown elements are the schema's to find; the models refuse some that R4 has (an extension
            # with both `valueString` and `_valueString`).
            if item["type"] != "extra_forbidden":
                code = "required" if item["type"] == "missing" else "invariant"
                words = item["msg"].removeprefix("Value error, ")
                yield Issue(code, words, expression(path, item["loc"]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The models' own validators raise these on forms their authors did not foresee.
        yield Issue("invariant", f"the R4B model cannot hold it: {type(error).__name__}: {error}"[:200], path)
