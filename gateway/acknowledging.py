"""`acknowledgeNotification`: through the domain that owns the fact, by the rights of who is signed in."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from strawberry.types import Info

from services.kit.graphql import client_of, coded
from services.notify.client import NotifyClient
from services.notify.duty_graphql import Notification, notification, uuid_of
from transport.client import TransportClient


async def _warning(info: Info[Any, Any], id: UUID, note: str | None) -> datetime | None:
    found = await (await client_of(info, TransportClient)).acknowledge(id, note)
    return found.acknowledgement.at if found.acknowledgement else None


BY_FACT: dict[str, Callable[[Info[Any, Any], UUID, str | None], Awaitable[datetime | None]]] = {
    "transport.warning": _warning,
}
"""Who takes an acknowledgement, by what the fact is; each gives the time of the first one."""


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Takes in hand what one was told of; it climbs no further. 确认通知事项，停止升级。"
    )
    async def acknowledge_notification(
        self, info: Info[Any, Any], id: strawberry.ID, note: str | None = None
    ) -> Notification | None:
        client = await client_of(info, NotifyClient)
        told = await client.my_notification(uuid_of(id))
        kind, _, item = (told.acknowledge or "").rpartition("/")
        if kind not in BY_FACT or told.over_at is not None:
            raise coded("BAD_USER_INPUT", "there is nothing to acknowledge in it (any more) / 该通知无需确认")
        at = await BY_FACT[kind](info, UUID(item), note)
        read = await client.mark_read(told.id)
        # The event of it may still be on its way to notify.
        return notification(read.model_copy(update={"acknowledged_at": read.acknowledged_at or at}))
