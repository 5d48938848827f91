"""Notifications as they go out: a history Bundle whose first entry says how the Subscription stands
(backport-subscription-notification-r4, backport-subscription-status-r4)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from health.fhir.subscriptions.topics import guide
from health.fhir.text import instant
from services.kit.database import Row


def status(row: Row, kind: str, *, base: str, upto: int, state: str, events: Sequence[Row] = ()) -> Any:
    """
    Args:
        row: the Subscription's.
        upto: the number of the last event there is for the receiver.
        events: those that this tells of.
    """
    parameters: list[dict[str, Any]] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}Subscription/{row['id']}"}},
        {"name": "topic", "valueCanonical": row["topic"]},
        {"name": "status", "valueCode": state},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(upto)},
        *({"name": "notification-event", "part": list(_event(base, one))} for one in events),
    ]
    if row["error"]:
        parameters.append({"name": "error", "valueCodeableConcept": {"text": row["error"]}})
    return {
        "resourceType": "Parameters",
        "id": str(uuid4()),
        "meta": {"profile": [guide("backport-subscription-status-r4")]},
        "parameter": parameters,
    }


def _event(base: str, event: Row) -> Iterable[dict[str, Any]]:
    yield {"name": "event-number", "valueString": str(event["number"])}
    yield {"name": "timestamp", "valueInstant": instant(event["at"])}
    if event["id"] is not None:
        reference = {"reference": f"{base}{event['type']}/{event['id']}"}
        yield {"name": "focus", "valueReference": reference}


def notification(row: Row, first: Any, *, base: str, events: Sequence[Row], content: str) -> bytes:
    """
    Args:
        first: its `status`.
        events: those told of; of one that the receiver may not see any more its number alone.
        content: `full-resource` has the resources in it, `id-only` their addresses.
    """
    entries: list[dict[str, Any]] = [
        {
            "fullUrl": f"urn:uuid:{first['id']}",
            "resource": first,
            "request": {"method": "GET", "url": f"{base}Subscription/{row['id']}/$status"},
            "response": {"status": "200"},
        }
    ]
    seen = {(one["type"], one["id"]): one for one in events if one["id"] is not None}
    entries += [_entry(base, one, content) for one in seen.values()]
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "id": str(uuid4()),
            "meta": {"profile": [guide("backport-subscription-notification-r4")]},
            "type": "history",
            "timestamp": instant(datetime.now(UTC)),
            "entry": entries,
        }
    )


def _entry(base: str, one: Row, content: str) -> dict[str, Any]:
    local = f"{one['type']}/{one['id']}"
    request = {"method": "POST", "url": one["type"]} if one["created"] else {"method": "PUT", "url": local}
    found: dict[str, Any] = {"fullUrl": base + local}
    if content == "full-resource":
        found["resource"] = orjson.Fragment(one["body"])
    return {**found, "request": request, "response": {"status": "201" if one["created"] else "200"}}
