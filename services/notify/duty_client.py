"""Notifications, quiet hours, duty rosters, and what climbs."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

from services.kit.calls import DEADLINE_S, ServiceClient
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

ROSTERS = "/notify/duties/rosters"


class DutyClient(ServiceClient):
    """Part of `NotifyClient`."""

    service = "notify"

    async def my_notifications(
        self, *, unread_only: bool, first: int, after: str | None
    ) -> ListOf[Notification]:
        """One's own, the newest first."""
        params = {"unread_only": unread_only, "first": first, "after": after}
        return ListOf[Notification].model_validate(await self.get("/notify/notifications", params))

    async def my_notification(self, id: UUID) -> Notification:
        return Notification.model_validate(await self.get(f"/notify/notifications/{id}"))

    async def mark_read(self, id: UUID) -> Notification:
        return Notification.model_validate(await self.put(f"/notify/notifications/{id}/read"))

    async def quiet_hours(self) -> QuietHours | None:
        found = await self.get("/notify/quiet-hours")
        return None if found is None else QuietHours.model_validate(found)

    async def set_quiet_hours(self, hours: QuietHours | None) -> QuietHours | None:
        """None: from now on everything comes at once."""
        if hours is None:
            await self._write("DELETE", "/notify/quiet-hours", None, DEADLINE_S)
            return None
        return QuietHours.model_validate(await self.put("/notify/quiet-hours", hours.model_dump(mode="json")))

    async def on_duty(self, *, area: str | None, first: int, after: str | None) -> ListOf[OnDuty]:
        """Who is on duty now, of a page of rosters."""
        params = {"area": area, "first": first, "after": after}
        return ListOf[OnDuty].model_validate(await self.get("/notify/duties", params))

    async def rosters(self, *, area: str | None, first: int, after: str | None) -> ListOf[Roster]:
        params = {"area": area, "first": first, "after": after}
        return ListOf[Roster].model_validate(await self.get(ROSTERS, params))

    async def roster(self, id: UUID) -> Roster:
        return _roster(await self.get(f"{ROSTERS}/{id}"))

    async def keep_roster(self, id: UUID | None, roster: RosterIn) -> Roster:
        """A new roster without an id; otherwise the one there is, as it is to be."""
        body = roster.model_dump(mode="json")
        return _roster(await (self.post(ROSTERS, body) if id is None else self.put(f"{ROSTERS}/{id}", body)))

    async def close_roster(self, id: UUID) -> None:
        await self._write("DELETE", f"{ROSTERS}/{id}", None, DEADLINE_S)

    async def join_roster(self, id: UUID, name: str) -> Roster:
        return _roster(await self.post(f"{ROSTERS}/{id}/members", JoinIn(name=name).model_dump()))

    async def confirm_member(self, id: UUID, member: str) -> Roster:
        return _roster(await self.put(f"{ROSTERS}/{id}/members/{quote(member, safe='')}"))

    async def leave_roster(self, id: UUID, member: str) -> None:
        await self._write("DELETE", f"{ROSTERS}/{id}/members/{quote(member, safe='')}", None, DEADLINE_S)

    async def swap_duty(self, id: UUID, swap: SwapIn) -> Swap:
        return Swap.model_validate(await self.post(f"{ROSTERS}/{id}/swaps", swap.model_dump(mode="json")))

    async def accept_swap(self, id: UUID) -> Swap:
        return Swap.model_validate(await self.put(f"/notify/duties/swaps/{id}/acceptance"))

    async def escalations(
        self, *, area: str | None, open_only: bool, first: int, after: str | None
    ) -> ListOf[Climbing]:
        """What climbs, the newest first."""
        params = {"area": area, "open_only": open_only, "first": first, "after": after}
        return ListOf[Climbing].model_validate(await self.get("/notify/escalations", params))


def _roster(found: Any) -> Roster:
    return Roster.model_validate(found)
