"""`notices`: what the person signed in, or the privacy officers of one's organisation, were told."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON
from strawberry.types import Info

from services.kit.graphql import Page, client_of, coded, first_of, page
from services.notify.client import NotifyClient
from services.notify.destination_graphql import DestinationMutation, DestinationQuery
from services.notify.duty_graphql import DutyMutation, DutyQuery, DutySubscription
from services.notify.shapes import Message


@strawberry.type(description="What somebody was told; data is the fact's own. 通知。")
class Notice:
    id: strawberry.ID
    type: str
    at: datetime
    area: str | None
    data: JSON


@strawberry.type
class Query(DutyQuery, DestinationQuery):
    @strawberry.field(
        description="What one was told, the oldest first: topic inbox is the person's own, privacy that of "
        "the privacy officers of one's organisation. 通知。"
    )
    async def notices(
        self,
        info: Info[Any, Any],
        topic: Annotated[
            str, strawberry.argument(description="inbox, privacy, or unacknowledged. 主题。")
        ] = "inbox",
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100. 条数。")] = 20,
        after: Annotated[
            str | None, strawberry.argument(description="endCursor of the page before. 上一页游标。")
        ] = None,
    ) -> Page[Notice] | None:
        if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise coded("BAD_USER_INPUT", "the cursor is not one this list gave out / 游标无效")
        client = await client_of(info, NotifyClient)
        found = await client.events(topic, after=int(after or 0), limit=first_of(first))
        return page([_notice(item) for item in found.items], str(found.next) if found.more else None)


@strawberry.type
class Mutation(DutyMutation, DestinationMutation):
    pass


@strawberry.type
class Subscription(DutySubscription):
    pass


def _notice(message: Message) -> Notice:
    data = {name: value for name, value in message.data.items() if name != "type"}
    return Notice(
        id=strawberry.ID(str(message.id)),
        type=message.data["type"],
        at=message.time,
        area=message.area,
        data=JSON(data),
    )
