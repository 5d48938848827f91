"""Small bundles for tests, and what came of them."""

import json
from collections.abc import Iterator
from typing import Any

FHIR_JSON = "application/fhir+json"
CITIZEN_NUMBER = "urn:huimin:id:citizen-number"


def citizen_number(sequence: int, area: str = "110105", born: str = "19491231") -> str:
    """A number that passes the check of GB 11643."""
    digits = f"{area}{born}{sequence:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
    return digits + "10X98765432"[total % 11]


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def post(resource: dict[str, Any], full_url: str | None = None, **request: Any) -> dict[str, Any]:
    entry = {
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"], **request},
    }
    return {"fullUrl": full_url, **entry} if full_url else entry


def put(resource: dict[str, Any], url: str | None = None, **request: Any) -> dict[str, Any]:
    url = url or f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url, **request}}


def patient(*identifiers: tuple[str, str], **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Patient", **members}
    if identifiers:
        found["identifier"] = [{"system": system, "value": value} for system, value in identifiers]
    return found


def observation(subject: str | None = None, code: str = "8867-4", **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        **members,
    }
    if subject is not None:
        found["subject"] = {"reference": subject}
    return found


def organization(value: str, name: str = "市第一医院") -> dict[str, Any]:
    identifier = {"system": "urn:oid:1.2.3", "value": value}
    return {"resourceType": "Organization", "identifier": [identifier], "name": name}


def locations(answer: dict[str, Any]) -> list[str]:
    """`Type/id` of each entry of a transaction-response."""
    return [e["response"]["location"].partition("/_history/")[0] for e in answer["entry"]]


def statuses(answer: dict[str, Any]) -> list[str]:
    return [e["response"]["status"] for e in answer["entry"]]


def issues(answer: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Code and expression of each issue of an OperationOutcome."""
    assert answer["resourceType"] == "OperationOutcome", answer
    for issue in answer["issue"]:
        yield issue["code"], (issue.get("expression") or [None])[0]


def body(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
