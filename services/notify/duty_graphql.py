"""Notifications of whoever is signed in, their quiet hours, and who is on duty."""

from collections.abc import AsyncGenerator
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

import strawberry
from pydantic import BaseModel, ValidationError
from strawberry.types import Info

from services.kit.graphql import Page, client_of, coded, first_of, page
from services.notify import duty_shapes as shapes
from services.notify.client import NotifyClient
from services.notify.destination_graphql import Delivery, deliveries_of
from services.notify.shapes import Message

M = TypeVar("M", bound=BaseModel)
INBOX = "inbox"


@strawberry.type(description="What one was told, once each. 通知。")
class Notification:
    id: strawberry.ID
    fact: str
    type: str
    tier: int | None
    level: int | None
    area: str | None
    urgent: bool
    title_zh: str
    title_en: str
    body_zh: str
    body_en: str
    needs_acknowledgement: bool = strawberry.field(
        description="Whether somebody has to acknowledge the fact, and nobody has. 是否待确认。"
    )
    raised_at: datetime
    sent_at: datetime
    delivered_at: datetime | None
    read_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None
    deliveries: list[Delivery] = strawberry.field(
        resolver=deliveries_of, description="How it went out to one's browsers and addresses. 投递记录。"
    )


@strawberry.type(
    description="A notification as it comes; cursor is given as `after` on coming back. 实时通知。"
)
class NotificationEvent:
    id: strawberry.ID
    cursor: str
    type: str
    at: datetime
    title_zh: str
    title_en: str
    body_zh: str
    body_en: str


@strawberry.type(description="When one is told only what is urgent. 免打扰时段。")
class QuietHours:
    starts: str
    ends: str
    time_zone: str


@strawberry.type(description="Somebody in a duty roster. 值班人员。")
class DutyMember:
    id: strawberry.ID
    name: str
    confirmed: bool
    joined_at: datetime


@strawberry.type(description="Weekly hours of one member, by the clock in China. 值班时段。")
class Duty:
    member: strawberry.ID
    tier: int
    weekdays: list[int]
    starts: str
    ends: str
    first_day: date
    last_day: date | None


@strawberry.type(description="A day on which somebody else has a duty. 换班。")
class DutySwap:
    id: strawberry.ID
    roster: strawberry.ID
    day: date
    member: strawberry.ID
    substitute: strawberry.ID
    accepted: bool


@strawberry.type(description="Who is told of what happens where. 值班表。")
class DutyRoster:
    id: strawberry.ID
    organisation: str
    name_zh: str
    name_en: str
    area: str
    sites: list[str] | None
    from_level: int
    members: list[DutyMember]
    duties: list[Duty]
    swaps: list[DutySwap]
    mine: bool
    kept: bool


@strawberry.type(description="Who is on duty now. 当前值班。")
class OnDuty:
    roster: strawberry.ID
    member: strawberry.ID
    name: str
    tier: int
    until: datetime


@strawberry.type(description="What waits for somebody to acknowledge it. 待确认事项。")
class Escalation:
    fact: str
    type: str
    area: str | None
    site: str | None
    level: int
    title_zh: str
    title_en: str
    since: datetime
    step: int
    told: int
    next_at: datetime | None
    unattended_at: datetime | None
    acknowledged_at: datetime | None
    over_at: datetime | None


@strawberry.input(description="Weekly hours; times of day in China. 值班时段。")
class DutyInput:
    member: strawberry.ID
    tier: int = 1
    weekdays: list[int] = strawberry.field(default_factory=lambda: [*range(1, 8)])
    starts: str = "00:00"
    ends: str = "00:00"
    first_day: date
    last_day: date | None = None


@strawberry.input(description="A roster as it is to be; its duties replace those there were. 值班表。")
class DutyRosterInput:
    name_zh: str
    name_en: str
    area: str
    sites: list[str] | None = None
    from_level: int = 1
    duties: list[DutyInput] = strawberry.field(default_factory=list)


@strawberry.input(description="By the clock of the time zone; may go over midnight. 免打扰时段。")
class QuietHoursInput:
    starts: str
    ends: str
    time_zone: str = "Asia/Shanghai"


@strawberry.type
class DutyQuery:
    @strawberry.field(description="What whoever is signed in was told, the newest first. 我的通知。")
    async def my_notifications(
        self, info: Info[Any, Any], first: int = 20, after: str | None = None, unread_only: bool = False
    ) -> Page[Notification] | None:
        client = await client_of(info, NotifyClient)
        found = await client.my_notifications(unread_only=unread_only, first=first_of(first), after=after)
        return page([notification(one) for one in found.items], found.next)

    @strawberry.field(description="Quiet hours of whoever is signed in. 我的免打扰时段。")
    async def quiet_hours(self, info: Info[Any, Any]) -> QuietHours | None:
        return _quiet(await (await client_of(info, NotifyClient)).quiet_hours())

    @strawberry.field(description="Duty rosters of an area. 值班表。")
    async def duty_rosters(
        self, info: Info[Any, Any], area: str | None = None, first: int = 20, after: str | None = None
    ) -> Page[DutyRoster] | None:
        client = await client_of(info, NotifyClient)
        found = await client.rosters(area=area, first=first_of(first), after=after)
        return page([_roster(one) for one in found.items], found.next)

    @strawberry.field(description="One duty roster. 一份值班表。")
    async def duty_roster(self, info: Info[Any, Any], id: strawberry.ID) -> DutyRoster | None:
        return _roster(await (await client_of(info, NotifyClient)).roster(uuid_of(id)))

    @strawberry.field(description="Who is on duty now, by a page of rosters. 当前值班人员。")
    async def on_duty(
        self, info: Info[Any, Any], area: str | None = None, first: int = 20, after: str | None = None
    ) -> Page[OnDuty] | None:
        client = await client_of(info, NotifyClient)
        found = await client.on_duty(area=area, first=first_of(first), after=after)
        return page([OnDuty(**_ids(one, "roster", "member")) for one in found.items], found.next)

    @strawberry.field(description="What nobody has acknowledged yet, the newest first. 待确认事项。")
    async def escalations(
        self,
        info: Info[Any, Any],
        area: str | None = None,
        open_only: bool = True,
        first: int = 20,
        after: str | None = None,
    ) -> Page[Escalation] | None:
        client = await client_of(info, NotifyClient)
        found = await client.escalations(area=area, open_only=open_only, first=first_of(first), after=after)
        return page([_escalation(one) for one in found.items], found.next)


@strawberry.type
class DutyMutation:
    @strawberry.mutation(description="Notes that one has read a notification. 标为已读。")
    async def mark_notification_read(self, info: Info[Any, Any], id: strawberry.ID) -> Notification | None:
        client = await client_of(info, NotifyClient)
        return notification(await client.mark_read(uuid_of(id)))

    @strawberry.mutation(
        description="When one is told only what is urgent; null for never. 设置免打扰时段，空值为取消。"
    )
    async def set_quiet_hours(
        self, info: Info[Any, Any], hours: QuietHoursInput | None = None
    ) -> QuietHours | None:
        given = None if hours is None else _parsed(shapes.QuietHours, vars(hours))
        return _quiet(await (await client_of(info, NotifyClient)).set_quiet_hours(given))

    @strawberry.mutation(description="Keeps a roster: a new one without id. 新建或修改值班表。")
    async def keep_duty_roster(
        self, info: Info[Any, Any], input: DutyRosterInput, id: strawberry.ID | None = None
    ) -> DutyRoster | None:
        said = {**vars(input), "duties": [vars(duty) for duty in input.duties]}
        client = await client_of(info, NotifyClient)
        roster = None if id is None else uuid_of(id)
        return _roster(await client.keep_roster(roster, _parsed(shapes.RosterIn, said)))

    @strawberry.mutation(description="Ends a roster. 停用值班表。")
    async def close_duty_roster(self, info: Info[Any, Any], id: strawberry.ID) -> bool | None:
        await (await client_of(info, NotifyClient)).close_roster(uuid_of(id))
        return True

    @strawberry.mutation(
        description="Joins a roster, by name; a lead confirms it. 加入值班表，待负责人确认。"
    )
    async def join_duty_roster(self, info: Info[Any, Any], id: strawberry.ID, name: str) -> DutyRoster | None:
        given = _parsed(shapes.JoinIn, {"name": name})
        return _roster(await (await client_of(info, NotifyClient)).join_roster(uuid_of(id), given.name))

    @strawberry.mutation(description="A lead confirms a member. 确认值班人员。")
    async def confirm_duty_member(
        self, info: Info[Any, Any], id: strawberry.ID, member: strawberry.ID
    ) -> DutyRoster | None:
        return _roster(await (await client_of(info, NotifyClient)).confirm_member(uuid_of(id), str(member)))

    @strawberry.mutation(description="Leaves a roster, or is taken out by a lead. 退出或移出值班表。")
    async def leave_duty_roster(
        self, info: Info[Any, Any], id: strawberry.ID, member: strawberry.ID
    ) -> bool | None:
        await (await client_of(info, NotifyClient)).leave_roster(uuid_of(id), str(member))
        return True

    @strawberry.mutation(description="Asks somebody to take a duty for one day. 申请换班。")
    async def swap_duty(
        self,
        info: Info[Any, Any],
        id: strawberry.ID,
        day: date,
        substitute: strawberry.ID,
        member: strawberry.ID | None = None,
    ) -> DutySwap | None:
        asked = _parsed(shapes.SwapIn, {"day": day, "substitute": substitute, "member": member})
        return _swap(await (await client_of(info, NotifyClient)).swap_duty(uuid_of(id), asked))

    @strawberry.mutation(description="Takes the duty one was asked to take. 接受换班。")
    async def accept_duty_swap(self, info: Info[Any, Any], id: strawberry.ID) -> DutySwap | None:
        return _swap(await (await client_of(info, NotifyClient)).accept_swap(uuid_of(id)))


@strawberry.type
class DutySubscription:
    @strawberry.subscription(
        description="One's own notifications as they come; `after` a cursor goes on from it. 我的实时通知。"
    )
    async def notifications(
        self, info: Info[Any, Any], after: str | None = None
    ) -> AsyncGenerator[NotificationEvent, None]:
        if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise coded("BAD_USER_INPUT", "after is the cursor of an event of this subscription")
        client = await client_of(info, NotifyClient)
        async for message in client.stream(INBOX, after=None if after is None else int(after)):
            # Messages from before there were notifications have no words.
            if "notification" in message.data:
                yield _event(message)


def _event(message: Message) -> NotificationEvent:
    words = message.data["words"]
    return NotificationEvent(
        id=strawberry.ID(message.data["notification"]),
        cursor=str(message.seq),
        type=message.data["type"],
        at=message.time,
        title_zh=words["zh"]["title"],
        title_en=words["en"]["title"],
        body_zh=words["zh"]["body"],
        body_en=words["en"]["body"],
    )


def uuid_of(id: strawberry.ID) -> UUID:
    """Raises GraphQLError BAD_USER_INPUT for what cannot be an id."""
    try:
        return UUID(str(id))
    except ValueError as error:
        raise coded("BAD_USER_INPUT", f"{str(id)[:60]} is not an id / 编号无效") from error


def notification(one: shapes.Notification) -> Notification:
    said = {k: v for k, v in vars(one).items() if k not in {"id", "zh", "en", "acknowledge"}}
    return Notification(
        id=strawberry.ID(str(one.id)),
        title_zh=one.zh.title,
        title_en=one.en.title,
        body_zh=one.zh.body,
        body_en=one.en.body,
        needs_acknowledgement=one.acknowledge is not None
        and one.acknowledged_at is None
        and one.over_at is None,
        **said,
    )


def _quiet(hours: shapes.QuietHours | None) -> QuietHours | None:
    if hours is None:
        return None
    return QuietHours(starts=f"{hours.starts:%H:%M}", ends=f"{hours.ends:%H:%M}", time_zone=hours.time_zone)


def _roster(one: shapes.Roster) -> DutyRoster:
    said = {k: v for k, v in vars(one).items() if k not in {"id", "members", "duties", "swaps"}}
    return DutyRoster(
        id=strawberry.ID(str(one.id)),
        members=[DutyMember(**_ids(member, "id")) for member in one.members],
        duties=[_duty(duty) for duty in one.duties],
        swaps=[_swap(swap) for swap in one.swaps],
        **said,
    )


def _duty(duty: shapes.DutyIn) -> Duty:
    hours = {"starts": f"{duty.starts:%H:%M}", "ends": f"{duty.ends:%H:%M}"}
    return Duty(**{**_ids(duty, "member"), **hours})


def _swap(swap: shapes.Swap) -> DutySwap:
    return DutySwap(**_ids(swap, "id", "roster", "member", "substitute"))


def _escalation(one: shapes.Climbing) -> Escalation:
    said = {k: v for k, v in vars(one).items() if k not in {"zh", "en"}}
    return Escalation(title_zh=one.zh.title, title_en=one.en.title, **said)


def _ids(shape: BaseModel, *names: str) -> dict[str, Any]:
    """A shape's fields, those that are ids as GraphQL has them."""
    return {k: strawberry.ID(str(v)) if k in names else v for k, v in vars(shape).items()}


def _parsed(kind: type[M], said: dict[str, Any]) -> M:
    """Raises GraphQLError BAD_USER_INPUT with what is wrong in it."""
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        faults = [
            {"field": ".".join(map(str, fault["loc"])), "message": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults[:3])
        raise coded("BAD_USER_INPUT", words, errors=faults) from error
