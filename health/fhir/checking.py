"""`$validate`: what would be refused of a resource, which is not stored (R4, resource-operation-validate)."""

from dataclasses import dataclass
from typing import Any

from health.fhir import positions, text, validation
from health.fhir.definitions import definitions
from health.fhir.outcome import Issue, refused

MODES = ("create", "update", "delete", "profile")
_BASE = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: the type it says it is of, and the issues; without any it is right."""

    type: str
    issues: list[Issue]


def checked(raw: bytes, kind: str | None) -> Checked:
    """The verdict on a resource, sent by itself or as the parameter `resource` of Parameters.

    Args:
        kind: the type of the path, where it names one.

    Raises:
        Refusal: 400 for what is no resource, or asks for what is not checked here.
    """
    tree = text.parsed(text.decoded(raw))
    if not isinstance(tree, dict):
        raise refused(400, "structure", "the body is not a JSON object")
    resource, place = _asked(tree)
    said = resource.get("resourceType")
    path = kind or (said if isinstance(said, str) and said in definitions().resources else "Resource")
    unstorable = text.unstorable(resource, path)
    if unstorable is not None:
        return Checked(path, [unstorable])
    if kind is not None and said != kind:
        words = f"this path validates a {kind}; this is a {said!s:.60}"
        return Checked(kind, [Issue("invalid", words, f"{kind}.resourceType")])
    plain = text.plain(raw)
    if place is not None:
        return Checked(path, validation.issues_of(plain["parameter"][place]["resource"], path))
    return Checked(path, positions.located(raw, path, validation.issues_of(plain, path)))


def _asked(tree: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The resource to be checked and its place among the parameters."""
    parameters = tree.get("parameter")
    if tree.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        return tree, None
    found: list[tuple[dict[str, Any], int]] = []
    for i, parameter in enumerate(parameters):
        match parameter:
            case {"name": "resource", "resource": dict() as resource}:
                found.append((resource, i))
            case {"name": "mode", "valueCode": str() as mode} if mode in MODES:
                pass
            case {"name": "profile", "valueUri": str() as profile} | {
                "name": "profile",
                "valueCanonical": str() as profile,
            } if profile.startswith(_BASE):
                pass
            case {"name": "profile"}:
                words = f"only R4's own definitions are checked here ({_BASE}…)"
                raise refused(400, "not-supported", words, f"Parameters.parameter[{i}]")
            case {"name": "resource" | "mode"}:
                words = "`resource` holds a resource, `mode` one of " + ", ".join(MODES)
                raise refused(400, "invalid", words, f"Parameters.parameter[{i}]")
            case _:
                # Parameters without a resource among them are what is to be checked themselves.
                return tree, None
    if len(found) > 1:
        raise refused(400, "invalid", "one resource at a time", f"Parameters.parameter[{found[1][1]}]")
    return found[0] if found else (tree, None)
