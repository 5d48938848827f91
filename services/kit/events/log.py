"""What an event is, how it is published, and the form it has on the way (CloudEvents 1.0, JSON)."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from services.kit import telemetry
from services.kit.events.declared import check_declared
from services.kit.ids import uuid7
from services.kit.waking import wake, wakes_here

if TYPE_CHECKING:
    from services.kit.database import Row, Transaction

_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_TYPES = re.compile(_TYPE.pattern + r"\.?|[a-z][a-z0-9_]*\.")
_SOURCE = "urn:huimin:service:"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact of one service, as another gets it.

    Attributes:
        type: `<service>.<thing>.<what happened>`, e.g. `transport.warning.raised`.
        source: the service whose fact it is.
        aggregate: what it is about; events of one aggregate take effect in order.
        seq: its place in the source's log, which rises with every event.
        area: GB/T 2260 code, where the fact has a place.
    """

    id: UUID
    type: str
    source: str
    aggregate: str
    seq: int
    time: datetime
    area: str | None
    data: dict[str, Any]
    traceparent: str | None

    @classmethod
    def parse(cls, found: Mapping[str, Any]) -> "Event":
        """From its CloudEvents form."""
        return cls(
            id=UUID(found["id"]),
            type=found["type"],
            source=found["source"].removeprefix(_SOURCE),
            aggregate=found["subject"],
            seq=found["position"],
            time=datetime.fromisoformat(found["time"]),
            area=found.get("area"),
            data=found["data"],
            traceparent=found.get("traceparent"),
        )

    def form(self) -> dict[str, Any]:
        """Its CloudEvents form; `position`, `area` and `traceparent` are extension attributes."""
        event = {
            "specversion": "1.0",
            "id": str(self.id),
            "source": _SOURCE + self.source,
            "type": self.type,
            "subject": self.aggregate,
            "time": self.time,
            "datacontenttype": "application/json",
            "position": self.seq,
            "data": self.data,
        }
        extensions = {"area": self.area, "traceparent": self.traceparent}
        return event | {name: value for name, value in extensions.items() if value is not None}


Handler = Callable[["Transaction", Event], Awaitable[None]]
ManyHandler = Callable[["Transaction", Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A service's interest in a type of event, or in all types that begin so (`transport.warning.`)."""

    type: str
    handler: ManyHandler

    @property
    def source(self) -> str:
        return self.type.partition(".")[0]

    def matches(self, type: str) -> bool:
        return type.startswith(self.type) if self.type.endswith(".") else type == self.type


def on(type: str, handler: Handler) -> Subscription:
    """What a service does with an event; exactly once, in one commit with the note that it was done.

    Args:
        type: `transport.warning.raised`, or a beginning up to a dot: `transport.warning.`.
        handler: `async (tx, event)`; what it writes through `tx` is the effect. If it raises, nothing is
            kept, the event is tried again later, and later events of the same aggregate wait behind it.

    A service that subscribes for the first time is given what the source's log still has: a week.
    """

    async def each(tx: "Transaction", events: Sequence[Event]) -> None:
        for event in events:
            with telemetry.span(f"take {event.type}", parent=event.traceparent, kind="consumer"):
                await handler(tx, event)

    return on_many(type, each)


def on_many(type: str, handler: ManyHandler) -> Subscription:
    """The same for events that come in numbers: the handler gets those that follow each other at once.

    Args:
        handler: `async (tx, events)`; if it raises, each of them is tried by itself.
    """
    if not _TYPES.fullmatch(type):
        raise ValueError(
            f"{type!r} is not <service>.<thing>.<what happened>, nor a beginning of it up to a dot"
        )
    return Subscription(type, handler)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be published."""

    type: str
    aggregate: str
    data: dict[str, Any]
    area: str | None = None


async def publish(
    tx: "Transaction", type: str, *, aggregate: str, data: dict[str, Any], area: str | None = None
) -> UUID:
    """One event in the transaction's commit; returns its id.

    Raises:
        ValueError: the type is not one this service declares, the data are not of the declared shape, or
            hold a citizen number.
    """
    [id] = await publish_many(tx, [Draft(type, aggregate, data, area)])
    return id


async def publish_many(tx: "Transaction", drafts: Sequence[Draft]) -> list[UUID]:
    """Many events in the transaction's commit, in the order given; returns their ids.

    Raises:
        ValueError: as `publish`.
    """
    if not drafts:
        return []
    ids = [uuid7() for _ in drafts]
    await tx.execute(
        """insert into outbox (id, type, aggregate, area, time, body, traceparent)
           select id, type, aggregate, area, $6, body::jsonb, $7
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality
                as draft (id, type, aggregate, area, body, place)
           order by place""",
        ids,
        [_checked_type(tx.service, draft) for draft in drafts],
        [draft.aggregate for draft in drafts],
        [draft.area for draft in drafts],
        [_checked_body(draft) for draft in drafts],
        datetime.now(UTC),
        telemetry.traceparent(),
    )
    name = relay_name(tx.service)
    if wakes_here(name):
        tx.after_commit(lambda: wake(name))
    else:
        # The relay runs in another process, which is told with the commit.
        await tx.execute("select pg_notify($1, '')", name)
    return ids


def relay_name(service: str) -> str:
    """What a service's relay is woken by: in its own process, and as a channel of the database's."""
    return f"huimin relay {service}"


def _checked_type(service: str, draft: Draft) -> str:
    if not _TYPE.fullmatch(draft.type) or draft.type.partition(".")[0] != service:
        raise ValueError(f"{draft.type!r}: an event of {service} is named {service}.<thing>.<what happened>")
    check_declared(service, draft.type, draft.data)
    return draft.type


def _checked_body(draft: Draft) -> str:
    body = orjson.dumps(draft.data, default=str).decode()
    if telemetry.holds_citizen_number(body) or telemetry.holds_citizen_number(draft.aggregate):
        raise ValueError(f"{draft.type}: a citizen number must not go into an event; use the sector id")
    return body


def cloud_event(service: str, row: "Row") -> bytes:
    """The CloudEvents form of an outbox row, whose `body` is text and goes in as it stands."""
    event = Event(
        id=row["id"],
        type=row["type"],
        source=service,
        aggregate=row["aggregate"],
        seq=row["position"],
        time=row["time"],
        area=row["area"],
        data={},
        traceparent=row["traceparent"],
    )
    return orjson.dumps(event.form() | {"data": orjson.Fragment(row["body"])}, option=orjson.OPT_UTC_Z)


def cloud_events(service: str, rows: "Sequence[Row]") -> bytes:
    """Several, in the CloudEvents JSON Batch Format."""
    return b"[" + b",".join(cloud_event(service, row) for row in rows) + b"]"


def stream_of(service: str, log: UUID) -> str:
    """The key of a log's stream; the braces keep a service's keys together where the broker is sharded."""
    return f"huimin:log:{{{service}}}:{log}"
