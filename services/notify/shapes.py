"""What goes over the wire, as the doors and the client share it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """What subscribers of a topic are told.

    Attributes:
        seq: place in the order of all messages; what to go on from.
        id: of the event it tells, the same on every way.
        area: GB/T 2260 code, where the fact has a place.
        data: `type` names the event; the rest is the event's own.
    """

    seq: int
    id: UUID
    topic: str
    area: str | None
    time: datetime
    data: dict[str, Any]


class Events(BaseModel):
    """A page of messages. `next` is what to ask `after` for what follows; `more` says there is some now."""

    items: list[Message]
    next: int
    more: bool


class Topic(BaseModel):
    topic: str
    head: int
    """The last number given so far: `after=head` asks for what is still to come."""
    channel: str
    """What the broker calls when there is something new for the caller."""


Robot = Literal["wecom", "dingtalk"]
Language = Literal["zh", "en"]
DeliveryState = Literal["waiting", "delivered", "stopped", "dead"]


class WebhookRequest(BaseModel):
    """A partner's endpoint, or the address of a group robot.

    Attributes:
        kind: `webhook` gets CloudEvents, signed; the robots get words.
        topic: what it is told of, as far as its owner may read it.
        types: beginnings of event types; none means all of the topic.
        area: GB/T 2260 code; only what lies in it.
        secret: of a DingTalk robot that asks for signatures (加签).
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["webhook"] | Robot = "webhook"
    url: str = Field(max_length=2000)
    topic: str = Field(max_length=100)
    types: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,99}$")]] = Field(default=[], max_length=20)
    area: str | None = None
    secret: str | None = Field(default=None, max_length=200)
    language: Language = "zh"


class PushRequest(BaseModel):
    """What a browser's PushSubscription says (W3C Push API)."""

    model_config = ConfigDict(extra="forbid")
    channel: Literal["push"] = "push"
    endpoint: str = Field(max_length=2000)
    p256dh: str = Field(max_length=100)
    auth: str = Field(max_length=40)
    language: Language = "zh"


class EmailRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: Literal["email"]
    address: str = Field(max_length=254)
    language: Language = "zh"


class Confirmation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    code: str = Field(max_length=20)


class Destination(BaseModel):
    """Where somebody is told, without what is secret about it.

    Attributes:
        place: host of the address, or the mailbox's domain.
        state: `unverified` until its owner has given the code; `disabled` after failing for days, or a 410.
        failing_since: when its present row of failures began.
    """

    id: UUID
    channel: str
    place: str
    topic: str | None
    types: list[str]
    area: str | None
    language: Language
    state: Literal["unverified", "active", "disabled"]
    reason: str | None
    created_at: datetime
    failing_since: datetime | None


class DestinationPage(BaseModel):
    items: list[Destination]
    next: str | None


class NewWebhook(Destination):
    """`secret` is said here and never again."""

    secret: str | None


class NewSecret(BaseModel):
    """The one before stays valid until `old_until`."""

    secret: str
    old_until: datetime


class SubscriberRequest(BaseModel):
    """The endpoint of an organisation's system."""

    model_config = ConfigDict(extra="forbid")
    organisation: str = Field(min_length=1, max_length=200)
    url: str = Field(max_length=2000)


class Subscriber(BaseModel):
    id: UUID


class Attempt(BaseModel):
    """What is to be sent, the how manieth time.

    Attributes:
        id: its `webhook-id`, the same at every attempt.
    """

    model_config = ConfigDict(extra="forbid")
    id: UUID
    attempt: int = Field(ge=1)
    body: str
    media_type: str = Field(pattern=r"^application/[a-z.+-]+(; [a-zA-Z0-9=.-]+)?$")
    timeout_s: float = Field(default=10.0, gt=0, le=10.0)


class Attempted(BaseModel):
    """What came of it: `waiting` means again, not before `pause_s`."""

    state: Literal["delivered", "waiting", "dead"]
    pause_s: float | None = None
    reason: str | None = None


class PushKey(BaseModel):
    key: str
    """The `applicationServerKey` to subscribe with (RFC 8292 section 4)."""


class Delivery(BaseModel):
    """One thing told at one destination.

    Attributes:
        told: the notification's id; for partners and robots the event's, their `webhook-id`.
        raised_at: when the fact became one.
        sent_at: when it was first sent.
        delivered_at: when the other side took it.
        acknowledged_at: when somebody acknowledged the fact.
        reason: of what it failed last.
    """

    id: int
    destination: UUID
    channel: str
    place: str
    told: UUID
    fact: str
    type: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    raised_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    reason: str | None


class DeliveryPage(BaseModel):
    items: list[Delivery]
    next: str | None


class Replayed(BaseModel):
    deliveries: int
