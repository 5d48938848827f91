"""What a Subscription resource asks for; everything that cannot be had is refused, by its element."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from health.fhir import search
from health.fhir.outcome import Issue, Refusal
from health.fhir.subscriptions.topics import Topic, guide, topics

CONTENTS = ("empty", "id-only", "full-resource")
HEARTBEAT_S = range(10, 86_400 + 1)
EVENTS_MAX = 100
"""In one notification, and what it has where the Subscription does not say."""
TIMEOUT_MAX_S = 10
_NUMBERS = {
    "heartbeat-period": HEARTBEAT_S,
    "timeout": range(1, TIMEOUT_MAX_S + 1),
    "max-count": range(1, EVENTS_MAX + 1),
}
"""Extensions of the channel, and what they may say."""
_PAST = datetime.min.replace(tzinfo=UTC)
_MEDIA = ("application/fhir+json", "application/fhir+json; fhirVersion=4.0")


@dataclass(slots=True)
class Asked:
    """
    Attributes:
        filters: by type what a resource must match besides, as searches; where there are any, only what is
            of their types is told.
        heartbeat_s: after which silence to say that one is there.
    """

    status: str
    topic: str
    endpoint: str
    content: str
    media_type: str
    end: datetime | None
    heartbeat_s: int | None
    timeout_s: int
    most: int
    filters: dict[str, list[str]] = field(default_factory=dict)

    @property
    def types(self) -> list[str]:
        return sorted(self.filters) or sorted(topics()[self.topic])


def asked(resource: Mapping[str, Any], base: str) -> Asked:
    """
    Raises:
        Refusal: 422 naming each element that cannot be had.
    """
    issues: list[Issue] = []

    def wrong(words: str, element: str) -> None:
        issues.append(Issue("value", words, f"Subscription.{element}"))

    channel = resource["channel"]
    status, criteria = resource.get("status", ""), resource.get("criteria", "")
    if status not in ("requested", "off"):
        wrong("a client says requested or off; the server says the rest", "status")
    topic = topics().get(criteria)
    if topic is None:
        wrong(f"not one of the topics there are: {', '.join(topics())}", "criteria")
    if channel.get("type") != "rest-hook":
        wrong("only rest-hook is served", "channel.type")
    if not channel.get("endpoint"):
        wrong("a rest-hook has an endpoint", "channel.endpoint")
    if channel.get("header"):
        words = "no headers are sent on; each notification is signed (Standard Webhooks)"
        wrong(words, "channel.header")
    if channel.get("payload") not in _MEDIA:
        wrong(f"what is sent is {_MEDIA[0]}", "channel.payload")
    content = _extension(channel.get("_payload"), "backport-payload-content")
    if content not in CONTENTS:
        wrong(f"say by backport-payload-content which: {', '.join(CONTENTS)}", "channel.payload.extension")
    try:
        end = datetime.fromisoformat(resource["end"]) if "end" in resource else None
    except ValueError:
        end = _PAST
    if end is not None and end <= datetime.now(UTC):
        wrong("not a moment to come", "end")
    numbers = {name: _extension(channel, f"backport-{name}") for name in _NUMBERS}
    for name, number in numbers.items():
        if number is not None and (type(number) is not int or number not in _NUMBERS[name]):
            wrong(f"backport-{name} is from {_NUMBERS[name][0]} to {_NUMBERS[name][-1]}", "channel.extension")
    found = Asked(
        status=status,
        topic=criteria,
        endpoint=channel.get("endpoint", ""),
        content=content or "",
        media_type=channel.get("payload", ""),
        end=end,
        heartbeat_s=numbers["heartbeat-period"],
        timeout_s=numbers["timeout"] or TIMEOUT_MAX_S,
        most=numbers["max-count"] or EVENTS_MAX,
    )
    if topic is not None:
        for query in _filters(resource):
            issues += _filtered(found, topic, query, base)
    if issues:
        raise Refusal(422, issues)
    return found


def _filtered(found: Asked, topic: Topic, query: str, base: str) -> Iterator[Issue]:
    where = "Subscription.criteria.extension"
    kind, _, rest = query.partition("?")
    if kind not in topic:
        yield Issue("value", f"{query[:200]!r} is not Type?search of {', '.join(topic)}", where)
        return
    pairs = parse_qsl(rest, keep_blank_values=True)
    unknown = [name for name, _ in pairs if name.partition(":")[0] not in topic[kind]]
    if unknown or not pairs:
        words = f"{kind} of this topic is narrowed by {', '.join(topic[kind])}"
        yield Issue("not-supported", f"{', '.join(unknown) or 'nothing is asked'}: {words}", where)
        return
    if any(search.holds_number(value) for _, value in pairs):
        yield Issue("security", "a citizen number must not stand in a filter", where)
        return
    try:
        search.condition(kind, rest, base=base, path=where)
    except Refusal as refusal:
        yield from refusal.issues
        return
    found.filters.setdefault(kind, []).append(rest)


def _filters(resource: Mapping[str, Any]) -> Sequence[str]:
    url = guide("backport-filter-criteria")
    extensions = (resource.get("_criteria") or {}).get("extension", ())
    return [one.get("valueString", "") for one in extensions if one.get("url") == url]


def _extension(element: Mapping[str, Any] | None, name: str) -> Any:
    for one in (element or {}).get("extension", ()):
        if one.get("url") == guide(name):
            return next((value for key, value in one.items() if key.startswith("value")), None)
    return None
