"""Security labels: whether all of a resource is specially protected, or parts of it (HL7 DS4P).

A resource labelled in `meta.security` is protected as a whole. Where it says by `PROCESSINLINELABEL` that its
parts carry labels of their own (extension-inline-sec-label), those who may not see them get the rest, marked
`REDACTED`, and nobody finds it by what they say. Parts that are labelled without that mark, and parts
without which the rest would be no valid resource, protect the whole.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from health.fhir import validation

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_INLINE = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
_LABELS = {
    _CONFIDENTIALITY: frozenset({"R", "V"}),
    _ACT_CODE: frozenset(
        {
            *("BH", "COGN", "DVD", "EMOTDIS", "ETH", "ETHUD", "GDIS", "HIV", "MH", "MST", "OPIOIDUD", "PSY"),
            *("PSYTHPN", "SCA", "SDV", "SEX", "SICKLE", "SPI", "STD", "SUD", "TBOO", "VIO"),
        }
    ),
}
"""Labels of specially protected data: restricted and very restricted, and the sensitive subjects of HL7's
DS4P (mental health, HIV, addiction, sexual health and violence, genetic diseases)."""
_PARTS = "PROCESSINLINELABEL"
_REDACTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "REDACTED",
    "display": "redacted",
}


def protected(resource: dict[str, Any], text: str) -> tuple[bool, dict[str, Any] | None]:
    """Whether all of it is specially protected; if not, what is left of it without the parts that are, None
    where it has no such parts.

    Args:
        text: the same as JSON, where to look first.
    """
    labels = (resource.get("meta") or {}).get("security") or []
    if _INLINE not in text or not _holds_inline(resource):
        return any(map(_is_special, labels)), None
    if not any(label.get("code") == _PARTS for label in labels):
        return True, None
    rest = _without_parts(resource)
    if rest is None:
        return True, None
    # Words for people say what the parts say.
    rest.pop("text", None)
    rest["meta"] = {**rest["meta"], "security": [*_plain(labels), _REDACTED]}
    whole = any(validation.issues_of(rest, resource["resourceType"]))
    return whole, None if whole else rest


def _is_special(label: dict[str, Any]) -> bool:
    return label.get("code") in _LABELS.get(label.get("system", ""), ())


def _plain(labels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those that do not say what the parts are about."""
    return (label for label in labels if not _is_special(label) and label.get("code") != _PARTS)


def _holds_inline(node: Any) -> bool:
    if isinstance(node, dict):
        return _is_labelled(node) or any(map(_holds_inline, node.values()))
    return isinstance(node, list) and any(map(_holds_inline, node))


def _is_labelled(element: Any) -> bool:
    extensions = element.get("extension") if isinstance(element, dict) else None
    return isinstance(extensions, list) and any(
        extension.get("url") == _INLINE and _is_special(extension.get("valueCoding") or {})
        for extension in extensions
    )


def _without_parts(element: dict[str, Any]) -> dict[str, Any] | None:
    """A copy without what is labelled; None where the element itself is, or nothing is left."""
    if _is_labelled(element):
        return None
    kept: dict[str, Any] = {}
    for name, value in element.items():
        beside = element.get(name[1:] if name.startswith("_") else f"_{name}")
        rest = _rest(value, beside)
        if rest not in (None, {}, []):
            kept[name] = rest
    return kept


def _rest(value: Any, beside: Any) -> Any:
    """
    Args:
        beside: the other half of a primitive element, its value or its extensions, which may hold its label.
    """
    if isinstance(value, list) and isinstance(beside, list):
        # The halves of a list of primitives keep to each other by their places.
        halves = [(_rest(one, other), _rest(other, one)) for one, other in zip_longest(value, beside)]
        kept = [one for one, other in halves if (one, other) != (None, None)]
        return kept if any(one is not None for one in kept) else None
    if isinstance(value, list):
        return [rest for one in value if (rest := _rest(one, None)) is not None]
    if _is_labelled(beside):
        return None
    return _without_parts(value) if isinstance(value, dict) else value
