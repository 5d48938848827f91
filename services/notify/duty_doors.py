"""The doors of who is told: one's notifications and quiet hours, duty rosters, what climbs."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

from services.kit.app import KitDep, Read, Router, Tx, permitted
from services.kit.policy import Resource
from services.kit.principals import Principal, allowed
from services.notify import escalation, messages, notifications, quiet_hours, rosters
from services.notify.duty_shapes import (
    Climbing,
    JoinIn,
    ListOf,
    Notification,
    OnDuty,
    QuietHours,
    Roster,
    RosterIn,
    Swap,
    SwapIn,
)

router = Router(prefix="/notify")

READS = ("notify:stream:read", "notify:privacy:read", "notify:rosters:write")
DUTIES = ("notify:duties:take", "notify:rosters:write")
Told = Annotated[Principal, allowed(*READS, kinds=("person", "staff"))]
OnDuties = Annotated[Principal, allowed(*DUTIES, kinds=("staff",))]
Leads = Annotated[Principal, allowed("notify:rosters:write", kinds=("staff",))]
_ALL = Resource("Notify::Message", id=messages.UNACKNOWLEDGED)
Watches = Annotated[Principal, permitted("escalations.read", _ALL, "notify:rosters:write")]
After = Annotated[str | None, Query(max_length=400)]
Area = Annotated[str | None, Query(max_length=12)]
First = Annotated[int, Query(ge=1, le=100)]
MemberId = Annotated[str, Path(max_length=80)]


@router.get("/notifications")
async def my_notifications(
    tx: Tx, kit: KitDep, who: Told, unread_only: bool = False, after: After = None, first: First = 20
) -> ListOf[Notification]:
    """One's own, the newest first."""
    messages.own_inbox(kit, who)
    return await notifications.mine(tx, who, unread_only=unread_only, after=after, limit=first)


@router.get("/notifications/{id}")
async def my_notification(read: Read, kit: KitDep, who: Told, id: UUID) -> Notification:
    messages.own_inbox(kit, who)
    return await notifications.one(read, who, id)


@router.put("/notifications/{id}/read")
async def mark_read(tx: Tx, kit: KitDep, who: Told, id: UUID) -> Notification:
    messages.own_inbox(kit, who)
    return await notifications.mark_read(tx, who, id)


@router.get("/quiet-hours")
async def get_quiet_hours(read: Read, kit: KitDep, who: Told) -> QuietHours | None:
    messages.own_inbox(kit, who)
    return await quiet_hours.mine(read, who)


@router.put("/quiet-hours")
async def put_quiet_hours(tx: Tx, kit: KitDep, who: Told, hours: QuietHours) -> QuietHours:
    """What is not urgent waits until they end."""
    messages.own_inbox(kit, who)
    return await quiet_hours.put(tx, who, hours)


@router.delete("/quiet-hours", status_code=204)
async def no_quiet_hours(tx: Tx, kit: KitDep, who: Told) -> None:
    messages.own_inbox(kit, who)
    await quiet_hours.remove(tx, who)


@router.get("/duties")
async def on_duty(
    read: Read, kit: KitDep, who: OnDuties, area: Area = None, after: After = None, first: First = 20
) -> ListOf[OnDuty]:
    """Who is on duty now, of a page of rosters."""
    return await rosters.on_duty(kit, read, who, area=area, after=after, limit=first)


@router.get("/duties/rosters")
async def list_rosters(
    read: Read, kit: KitDep, who: OnDuties, area: Area = None, after: After = None, first: First = 20
) -> ListOf[Roster]:
    return await rosters.listed(kit, read, who, area=area, after=after, limit=first)


@router.get("/duties/rosters/{id}")
async def get_roster(read: Read, kit: KitDep, who: OnDuties, id: UUID) -> Roster:
    return await rosters.one(kit, read, who, id)


@router.post("/duties/rosters", status_code=201)
async def add_roster(tx: Tx, kit: KitDep, who: Leads, roster: RosterIn) -> Roster:
    return await rosters.keep(kit, tx, who, None, roster)


@router.put("/duties/rosters/{id}")
async def put_roster(tx: Tx, kit: KitDep, who: Leads, id: UUID, roster: RosterIn) -> Roster:
    return await rosters.keep(kit, tx, who, id, roster)


@router.delete("/duties/rosters/{id}", status_code=204)
async def close_roster(tx: Tx, kit: KitDep, who: Leads, id: UUID) -> None:
    await rosters.close(kit, tx, who, id)


@router.post("/duties/rosters/{id}/members", status_code=201)
async def join(tx: Tx, kit: KitDep, who: OnDuties, id: UUID, asked: JoinIn) -> Roster:
    """Oneself; a lead confirms it."""
    return await rosters.join(kit, tx, who, id, asked.name)


@router.put("/duties/rosters/{id}/members/{member}")
async def confirm(tx: Tx, kit: KitDep, who: Leads, id: UUID, member: MemberId) -> Roster:
    return await rosters.confirm(kit, tx, who, id, member)


@router.delete("/duties/rosters/{id}/members/{member}", status_code=204)
async def leave(tx: Tx, kit: KitDep, who: OnDuties, id: UUID, member: MemberId) -> None:
    await rosters.leave(kit, tx, who, id, member)


@router.post("/duties/rosters/{id}/swaps", status_code=201)
async def swap(tx: Tx, kit: KitDep, who: OnDuties, id: UUID, asked: SwapIn) -> Swap:
    return await rosters.swap(kit, tx, who, id, asked)


@router.put("/duties/swaps/{id}/acceptance")
async def accept(tx: Tx, who: OnDuties, id: UUID) -> Swap:
    """By the substitute."""
    return await rosters.accept(tx, who, id)


@router.get("/escalations")
async def escalations(
    read: Read,
    who: Watches,
    area: Area = None,
    open_only: bool = True,
    after: After = None,
    first: First = 20,
) -> ListOf[Climbing]:
    """What climbs in the caller's areas, the newest first, and what met nobody on duty."""
    return await escalation.listed(read, who, area=area, open_only=open_only, after=after, limit=first)
