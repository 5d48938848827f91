"""The CapabilityStatement, made from the doors and definitions that are there."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from health.fhir import custom
from health.fhir.definitions import definitions
from health.fhir.negotiation import PATCHES
from health.fhir.subscriptions import topics
from services.kit.operations import VERSION

_STARTED = datetime.now(UTC).date().isoformat()

# What each door is in FHIR's words; a door that is missing here stops the statement, not only itself.
_OF_TYPE = {
    ("GET", "/{type}"): "search-type",
    ("POST", "/{type}/_search"): "search-type",
    ("GET", "/Patient/{id}/{type}"): "search-type",
    ("POST", "/{type}"): "create",
    ("GET", "/{type}/{id}"): "read",
    ("GET", "/{type}/{id}/_history/{version}"): "vread",
    ("GET", "/{type}/{id}/_history"): "history-instance",
    ("GET", "/{type}/_history"): "history-type",
    ("PUT", "/{type}/{id}"): "update",
    ("PATCH", "/{type}/{id}"): "patch",
    ("DELETE", "/{type}/{id}"): "delete",
}
_BY_SEARCH: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", "/{type}"): {"conditionalUpdate": True},
    ("PATCH", "/{type}"): {},  # for which R4 has no element
    ("DELETE", "/{type}"): {"conditionalDelete": "single"},
}
_OF_SYSTEM = {
    ("POST", "/"): ("batch", "transaction"),
    ("GET", "/_history"): ("history-system",),
    ("GET", "/"): ("search-system",),
    ("POST", "/_search"): ("search-system",),
}
_DEFINITION = "http://hl7.org/fhir/OperationDefinition"
_BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition"
_DEFINED_ELSEWHERE = {
    "Resource-export": f"{_BULK}/export",
    "Patient-export": f"{_BULK}/patient-export",
    "Group-export": f"{_BULK}/group-export",
    "Patient-summary": "http://hl7.org/fhir/uv/ips/OperationDefinition/summary",
    "Subscription-status": f"{_BACKPORT}/backport-subscription-status",
    "Subscription-events": f"{_BACKPORT}/backport-subscription-events",
    "Resource-viewdefinition-run": "http://sql-on-fhir.org/OperationDefinition/$viewdefinition-run",
    "Resource-import": "urn:huimin:fhir:operation:import",
    "Patient-access-log": "urn:huimin:fhir:operation:access-log",
}
"""Operations that R4 itself does not define; the last two are this server's own."""
_BESIDE = ("/metadata", "/bulk/", "/.well-known/")
"""Doors that are neither interactions nor operations."""


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
        if not route.path.startswith(_BESIDE)
    ]
    operations = _operations(path for _, path in doors if "$" in path)
    doors = [door for door in doors if "$" not in door[1]]
    of_type = _named(_OF_TYPE[door] for door in doors if door not in _OF_SYSTEM.keys() | _BY_SEARCH.keys())
    of_system = _named(code for door in doors for code in _OF_SYSTEM.get(door, ()))
    by_search = {name: said for door in doors for name, said in _BY_SEARCH.get(door, {}).items()}
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
            "patchFormat": list(PATCHES),
            "rest": [
                {
                    "mode": "server",
                    "security": {
                        "cors": False,
                        "service": [{"coding": [_SMART]}],
                        "description": "Bearer tokens with SMART App Launch 2 scopes (system, user, patient)",
                    },
                    "resource": [
                        _resource(kind, of_type, by_search, operations)
                        for kind in sorted(definitions().resources)
                    ],
                    "interaction": of_system,
                    "operation": _told(operations, ""),
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


def _operations(paths: Iterable[str]) -> set[tuple[str, str]]:
    """Of each operation the type it is asked of (`{type}`: any, empty: none) and its name."""
    found = set()
    for path in paths:
        owner, _, name = path.rpartition("/$")
        found.add((owner.strip("/").partition("/")[0], name))
    return found


def _told(operations: Iterable[tuple[str, str]], *owners: str) -> list[dict[str, str]]:
    """Those asked of one of these, with the canonical of what defines them."""
    found = []
    for owner, name in sorted(operations):
        if owner in owners:
            key = f"{'Resource' if owner in ('', '{type}') else owner}-{name}"
            found.append({"name": name, "definition": _DEFINED_ELSEWHERE.get(key, f"{_DEFINITION}/{key}")})
    return found


def _resource(
    kind: str,
    interactions: list[dict[str, str]],
    by_search: dict[str, Any],
    operations: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    return {
        "type": kind,
        **({"extension": topics.stated()} if kind == "Subscription" else {}),
        "interaction": interactions,
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        **by_search,
        "referencePolicy": ["literal", "local", "enforced"],
        "searchParam": [
            {"name": name, "definition": one.url, "type": one.kind}
            for name, one in sorted(custom.parameters_of(kind).items())
        ],
        "searchInclude": ["*", *(f"{kind}:{name}" for name in _references(kind))],
        "searchRevInclude": ["*", *_back(custom.known().version).get(kind, ())],
        "operation": _told(operations, "{type}", kind),
    }


def _references(kind: str) -> list[str]:
    return sorted(p.name for p in custom.parameters_of(kind).values() if p.kind == "reference")


@lru_cache(maxsize=1)
def _back(version: str) -> dict[str, list[str]]:
    """By type what can refer to it, as `Type:parameter`.

    Args:
        version: of the parameters that are not FHIR's own.
    """
    found: dict[str, list[str]] = {}
    for kind in sorted(definitions().resources):
        for name in _references(kind):
            for target in custom.parameters_of(kind)[name].targets:
                found.setdefault(target, []).append(f"{kind}:{name}")
    return found
