"""PATCH (FHIR R4 http.html#patch): JSON Patch and FHIRPath Patch, on trees that keep literal numbers."""

from typing import Any

from health.fhir import validation
from health.fhir.outcome import Issue, Refusal, refused
from health.fhir.patching import fhirpath_patch, json_patch
from health.fhir.text import check_depth, plain, written


def patched(resource: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The resource as the patch leaves it, in place where that is simpler; it may not be valid.

    Args:
        patch: a list is a JSON Patch, an object the Parameters of a FHIRPath Patch.

    Raises:
        Refusal: 400 for no patch, 412 where a `test` fails, 422 where it cannot be applied.
    """
    kind, id = resource["resourceType"], resource.get("id")
    if isinstance(patch, list):
        found = json_patch.patched(resource, patch)
    else:
        if not isinstance(patch, dict) or patch.get("resourceType") != "Parameters":
            raise refused(400, "invalid", "a patch is an array of operations, or Parameters")
        issues = validation.issues_of(plain(written(patch).encode()), "Parameters")
        if issues:
            raise Refusal(400, issues)
        found = fhirpath_patch.patched(resource, patch)
    check_depth(found)
    found = _without_empties(found)
    if not isinstance(found, dict) or (found.get("resourceType"), found.get("id")) != (kind, id):
        words = "a patch cannot change what a resource is, nor its id"
        raise Refusal(422, [Issue("processing", words, f"{kind}.id")])
    return found


def _without_empties(node: Any) -> Any:
    """FHIR knows no empty object or array: an element that lost its last part is gone."""
    if isinstance(node, dict):
        kept = {name: _without_empties(value) for name, value in node.items()}
        return {name: value for name, value in kept.items() if value not in ({}, [])}
    if isinstance(node, list):
        items = [_without_empties(item) for item in node]
        return [item for item in items if item not in ({}, [])]
    return node
