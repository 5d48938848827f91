"""What goes over the wire, as the doors and the client share it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


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
