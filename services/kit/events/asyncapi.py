"""The AsyncAPI 3.0 document of one or more services' logs, made from what they declare.

https://www.asyncapi.com/docs/reference/specification/v3.0.0; the events are CloudEvents 1.0 in JSON.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from services.kit.events.declared import Declared, declared

if TYPE_CHECKING:
    from services.kit.settings import Settings

ENVELOPE: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0, JSON event format",
    "required": ["specversion", "id", "source", "type", "subject", "time", "position", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "Stays the same however often it comes"},
        "source": {"type": "string", "pattern": "^urn:huimin:service:[a-z_]+$"},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "The aggregate: its events keep their order"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "position": {"type": "integer", "minimum": 1, "description": "Place in the source's log, no gaps"},
        "area": {"type": "string", "description": "GB/T 2260 code, where the fact has a place"},
        "traceparent": {"type": "string", "description": "W3C Trace Context"},
        "data": {"type": "object"},
    },
}


def document(settings: "Settings", services: Iterable[str]) -> dict[str, Any]:
    """What these services publish, on which channels, in which form."""
    from services.kit.operations import VERSION

    known = {service: list((declared(service) or {}).values()) for service in services}
    known = {service: types for service, types in known.items() if types}
    door = urlsplit(settings.public_url)
    every = [one for types in known.values() for one in types]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Huimin " + (", ".join(known) if len(known) == 1 else "events"),
            "version": VERSION,
            "description": "Facts of the services, each delivered at least once and in the order of its "
            "source's log. 各服务发布的事件，至少送达一次，按来源日志的次序。",
        },
        "defaultContentType": "application/json",
        "servers": {
            "frontDoor": {"host": door.netloc, "protocol": door.scheme},
            "broker": {
                "host": "{host}",
                "protocol": "redis",
                "description": "A short cut: what it loses is taken from the log's door",
                "variables": {"host": {"default": "127.0.0.1:6379"}},
            },
        },
        "channels": dict(
            channel for service, types in known.items() for channel in _channels(service, types)
        ),
        "operations": {
            f"publish.{service}": {"action": "send", "channel": {"$ref": f"#/channels/{service}"}}
            for service in known
        },
        "components": {
            "messages": {one.type: _message(one) for one in every},
            "schemas": {"event": ENVELOPE}
            | {name: schema for one in every for name, schema in _schemas(one).items()},
        },
    }


def _channels(service: str, types: list[Declared]) -> Iterator[tuple[str, dict[str, Any]]]:
    messages = {one.type: {"$ref": f"#/components/messages/{one.type}"} for one in types}
    yield (
        service,
        {
            "address": "huimin:log:{tag}:{log}",
            "description": "A stream (XREAD). An entry's field `events` is a CloudEvents batch (JSON array), "
            "its id the position of the last one",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {
                "tag": {"default": f"{{{service}}}", "description": "The service's name in braces"},
                "log": {"description": "The log's id, as its door says"},
            },
            "messages": messages,
        },
    )
    yield (
        f"{service}.log",
        {
            "address": f"/{service.replace('_', '-')}/outbox",
            "description": "The log by page (GET, scope events:read), for as long as it is kept",
            "servers": [{"$ref": "#/servers/frontDoor"}],
            "messages": messages,
        },
    )


def _message(one: Declared) -> dict[str, Any]:
    return {
        "name": one.type,
        "summary": one.words,
        "contentType": "application/cloudevents+json",
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/event"},
                {
                    "properties": {
                        "type": {"const": one.type},
                        "data": {"$ref": f"#/components/schemas/{_name(one, one.data.__name__)}"},
                    }
                },
            ]
        },
    }


def _schemas(one: Declared) -> dict[str, Any]:
    """Of its data, and of what these are made of."""
    whole = one.data.model_json_schema(ref_template=f"#/components/schemas/{_name(one, '{model}')}")
    parts = whole.pop("$defs", {})
    return {_name(one, name): schema for name, schema in {**parts, one.data.__name__: whole}.items()}


def _name(one: Declared, model: str) -> str:
    return f"{one.type.partition('.')[0]}.{model}"
