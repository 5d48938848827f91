"""The CapabilityStatement, made from the doors and definitions that are there."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from health.fhir.definitions import definitions
from health.fhir.search import parameters_of
from services.kit.operations import VERSION

_STARTED = datetime.now(UTC).date().isoformat()

# What each door is in FHIR's words; a door that is missing here stops the statement, not only itself.
_OF_TYPE = {
    ("GET", "/{type}"): "search-type",
    ("POST", "/{type}/_search"): "search-type",
    ("POST", "/{type}"): "create",
    ("GET", "/{type}/{id}"): "read",
    ("GET", "/{type}/{id}/_history/{version}"): "vread",
    ("PUT", "/{type}/{id}"): "update",
}
_OF_SYSTEM = {("POST", "/"): "transaction"}
_DEFINITION = "http://hl7.org/fhir/OperationDefinition"
_ITSELF = ("GET", "/metadata")


def statement(routes: Sequence[BaseRoute], base: str) -> bytes:
    """The CapabilityStatement of these doors.

    Args:
        base: the server's base URL with a slash at its end.
    """
    doors = [
        (method, route.path)
        for route in routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        if (method, route.path) != _ITSELF
    ]
    operations = sorted({path for _, path in doors if "$" in path})
    doors = [door for door in doors if door[1] not in operations]
    of_type = _named(_OF_TYPE[door] for door in doors if door not in _OF_SYSTEM)
    of_system = _named(_OF_SYSTEM[door] for door in doors if door in _OF_SYSTEM)
    return orjson.dumps(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": _STARTED,
            "kind": "instance",
            "software": {"name": "Huimin 惠民 health", "version": VERSION},
            "implementation": {"description": "Health records of the city 城市健康档案", "url": base[:-1]},
            "fhirVersion": definitions().release,
            "format": ["application/fhir+json", "json"],
            "rest": [
                {
                    "mode": "server",
                    "security": {
                        "cors": False,
                        "service": [{"coding": [_SMART]}],
                        "description": "Bearer tokens with SMART App Launch 2 scopes, system/ and patient/",
                    },
                    "resource": [_resource(kind, of_type) for kind in sorted(definitions().resources)],
                    "interaction": of_system,
                    "operation": _operations(operations),
                }
            ],
        }
    )


_SMART = {
    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
    "code": "SMART-on-FHIR",
}


def _named(codes: Iterable[str]) -> list[dict[str, str]]:
    return [{"code": code} for code in sorted(set(codes))]


def _operations(paths: Iterable[str]) -> list[dict[str, str]]:
    """By the path of an operation its name, and HL7's canonical of its definition."""
    found: dict[str, str] = {}
    for path in paths:
        owner, _, name = path.rpartition("/$")
        kind = owner.strip("/").partition("/")[0]
        found[name] = f"{_DEFINITION}/{'Resource' if kind in {'', '{type}'} else kind}-{name}"
    return [{"name": name, "definition": definition} for name, definition in found.items()]


def _resource(kind: str, interactions: list[dict[str, str]]) -> dict[str, Any]:
    known = definitions().parameters.get(kind, {})
    return {
        "type": kind,
        "interaction": interactions,
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": False,
        "referencePolicy": ["literal", "local", "enforced"],
        "searchParam": [
            {"name": name, "type": type_, **({"definition": known[name].url} if name in known else {})}
            for name, type_ in parameters_of(kind)
        ],
    }
