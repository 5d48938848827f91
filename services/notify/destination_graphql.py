"""Where one wants to be told, and what went out there when."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import strawberry
from pydantic import ValidationError
from strawberry.types import Info

from services.kit.graphql import Page, client_of, coded, first_of, load, page
from services.notify import shapes
from services.notify.client import NotifyClient


@strawberry.type(description="Where somebody is told; the address itself is not shown. 通知接收方式。")
class Destination:
    id: strawberry.ID
    channel: str = strawberry.field(description="webhook, wecom, dingtalk, push or email. 渠道。")
    place: str = strawberry.field(description="Host of the address, or the mailbox's domain. 地址所在主机。")
    topic: str | None
    types: list[str]
    area: str | None
    language: str
    state: str = strawberry.field(description="unverified, active or disabled. 状态。")
    reason: str | None
    created_at: datetime
    failing_since: datetime | None


@strawberry.type(description="A new webhook; its secret is shown here and never again. 新建的推送订阅。")
class NewWebhook:
    webhook: Destination
    secret: str | None


@strawberry.type(description="A new secret; the one before is valid until oldUntil. 新密钥。")
class NewSecret:
    secret: str
    old_until: datetime


@strawberry.type(description="One thing told at one destination, and when. 投递记录。")
class Delivery:
    id: strawberry.ID
    destination: strawberry.ID
    channel: str
    place: str
    told: strawberry.ID = strawberry.field(description="The notification's id, or the event's. 通知编号。")
    fact: str
    type: str
    state: str = strawberry.field(description="waiting, delivered, stopped or dead. 状态。")
    attempts: int
    next_at: datetime | None
    raised_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    reason: str | None


@strawberry.input(description="A signed webhook, or a group robot. 推送订阅。")
class WebhookInput:
    url: str
    topic: str
    kind: str = strawberry.field(
        default="webhook", description="webhook (Standard Webhooks), wecom or dingtalk. 类型。"
    )
    types: list[str] = strawberry.field(
        default_factory=list, description="Beginnings of event types; none for all. 事件类型前缀。"
    )
    area: str | None = None
    secret: str | None = strawberry.field(
        default=None, description="Of a DingTalk robot that asks for signatures. 钉钉机器人加签密钥。"
    )
    language: str = "zh"


async def deliveries_of(self: Any, info: Info[Any, Any]) -> list[Delivery]:
    """How a notification went out; of all notifications asked for, in one call."""
    found = await load(info, NotifyClient, NotifyClient.deliveries_of, str(self.id))
    return [_delivery(one) for one in found or []]


@strawberry.type
class DestinationQuery:
    @strawberry.field(description="The key a browser subscribes with (VAPID). 浏览器推送公钥。")
    async def push_key(self, info: Info[Any, Any]) -> str | None:
        return await (await client_of(info, NotifyClient)).push_key()

    @strawberry.field(description="One's own browsers and e-mail addresses. 我的通知接收方式。")
    async def destinations(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Destination] | None:
        client = await client_of(info, NotifyClient)
        found = await client.destinations(first=first_of(first), after=after)
        return page(_destinations(found.items), found.next)

    @strawberry.field(description="One's own webhooks and group robots. 我的推送订阅。")
    async def webhooks(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Destination] | None:
        client = await client_of(info, NotifyClient)
        found = await client.webhooks(first=first_of(first), after=after)
        return page(_destinations(found.items), found.next)

    @strawberry.field(description="What went out to oneself, the newest first. 我的投递记录。")
    async def deliveries(
        self,
        info: Info[Any, Any],
        state: str | None = None,
        destination: UUID | None = None,
        first: int = 20,
        after: str | None = None,
    ) -> Page[Delivery] | None:
        client = await client_of(info, NotifyClient)
        found = await client.deliveries(
            state=state, destination=destination, first=first_of(first), after=after
        )
        return page([_delivery(one) for one in found.items], found.next)

    @strawberry.field(
        description="What could not be delivered, to anybody; for operators, without contents. 未送达的通知。"
    )
    async def dead_deliveries(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None
    ) -> Page[Delivery] | None:
        client = await client_of(info, NotifyClient)
        found = await client.dead_deliveries(first=first_of(first), after=after)
        return page([_delivery(one) for one in found.items], found.next)


@strawberry.type
class DestinationMutation:
    @strawberry.mutation(description="A browser that rings when one is told something. 登记浏览器推送。")
    async def register_push(
        self, info: Info[Any, Any], endpoint: str, p256dh: str, auth: str, language: str = "zh"
    ) -> Destination | None:
        keys = {"endpoint": endpoint, "p256dh": p256dh, "auth": auth, "language": language}
        client = await client_of(info, NotifyClient)
        return _destination(await client.register(_checked(shapes.PushRequest, keys)))

    @strawberry.mutation(
        description="An e-mail address; a code is sent there, to be given to confirmEmail. 登记邮箱。"
    )
    async def register_email(
        self, info: Info[Any, Any], address: str, language: str = "zh"
    ) -> Destination | None:
        fields = {"channel": "email", "address": address, "language": language}
        client = await client_of(info, NotifyClient)
        return _destination(await client.register(_checked(shapes.EmailRequest, fields)))

    @strawberry.mutation(description="The code that was sent to an address. 验证邮箱。")
    async def confirm_email(self, info: Info[Any, Any], id: UUID, code: str) -> bool | None:
        await (await client_of(info, NotifyClient)).confirm(id, code)
        return True

    @strawberry.mutation(description="Nothing more is sent there. 删除接收方式。")
    async def remove_destination(self, info: Info[Any, Any], id: UUID) -> bool | None:
        await (await client_of(info, NotifyClient)).remove_destination(id)
        return True

    @strawberry.mutation(description="A webhook or group robot for a topic one may read. 订阅推送。")
    async def subscribe_webhook(self, info: Info[Any, Any], webhook: WebhookInput) -> NewWebhook | None:
        client = await client_of(info, NotifyClient)
        found = await client.subscribe(_checked(shapes.WebhookRequest, strawberry.asdict(webhook)))
        return NewWebhook(webhook=_destination(found), secret=found.secret)

    @strawberry.mutation(description="Nothing more is sent there. 取消推送订阅。")
    async def remove_webhook(self, info: Info[Any, Any], id: UUID) -> bool | None:
        await (await client_of(info, NotifyClient)).remove_webhook(id)
        return True

    @strawberry.mutation(description="A new secret, valid beside the old one for a day. 更换签名密钥。")
    async def rotate_webhook_secret(self, info: Info[Any, Any], id: UUID) -> NewSecret | None:
        found = await (await client_of(info, NotifyClient)).rotate_secret(id)
        return NewSecret(secret=found.secret, old_until=found.old_until)

    @strawberry.mutation(description="Has a disabled webhook told again. 重新启用推送订阅。")
    async def activate_webhook(self, info: Info[Any, Any], id: UUID) -> bool | None:
        await (await client_of(info, NotifyClient)).activate(id)
        return True

    @strawberry.mutation(
        description="Sends all dead letters of a webhook again; how many there were. 重发未送达的通知。"
    )
    async def replay_webhook(self, info: Info[Any, Any], id: UUID) -> int | None:
        return await (await client_of(info, NotifyClient)).replay_webhook(id)

    @strawberry.mutation(
        description="Sends a dead letter again; of others, for operators alone. 重发一条未送达的通知。"
    )
    async def replay_delivery(
        self, info: Info[Any, Any], id: strawberry.ID, others: bool = False
    ) -> bool | None:
        client = await client_of(info, NotifyClient)
        if not (id.isascii() and id.isdigit() and len(id) < 19):
            raise coded("BAD_USER_INPUT", "there is no delivery with this id / 没有该投递记录")
        await (client.replay_any(int(id)) if others else client.replay(int(id)))
        return True


def _checked(kind: Any, fields: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise coded("BAD_USER_INPUT", f"{where}: {first['msg']} / 输入有误") from error


def _destinations(found: Sequence[shapes.Destination]) -> list[Destination]:
    return [_destination(one) for one in found]


def _destination(found: shapes.Destination) -> Destination:
    fields = found.model_dump(include=set(shapes.Destination.model_fields))
    return Destination(**{**fields, "id": strawberry.ID(str(found.id))})


def _delivery(found: shapes.Delivery) -> Delivery:
    ids = {name: strawberry.ID(str(getattr(found, name))) for name in ("id", "destination", "told")}
    return Delivery(**{**found.model_dump(), **ids})
