"""Destinations and deliveries."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.kit.calls import DEADLINE_S, ServiceClient
from services.notify.shapes import (
    Attempt,
    Attempted,
    Delivery,
    DeliveryPage,
    Destination,
    DestinationPage,
    EmailRequest,
    NewSecret,
    NewWebhook,
    PushKey,
    PushRequest,
    Replayed,
    Subscriber,
    WebhookRequest,
)

DELIVERIES = 500


class DestinationClient(ServiceClient):
    """Part of `NotifyClient`."""

    service = "notify"

    async def push_key(self) -> str:
        return PushKey.model_validate(await self.get("/notify/push-key")).key

    async def register(self, asked: PushRequest | EmailRequest) -> Destination:
        return Destination.model_validate(await self.post("/notify/destinations", asked.model_dump()))

    async def confirm(self, id: UUID, code: str) -> None:
        await self.post(f"/notify/destinations/{id}/confirmation", {"code": code})

    async def destinations(self, *, first: int, after: str | None) -> DestinationPage:
        """One's own browsers and addresses."""
        found = await self.get("/notify/destinations", {"limit": first, "after": after})
        return DestinationPage.model_validate(found)

    async def remove_destination(self, id: UUID) -> None:
        await self._write("DELETE", f"/notify/destinations/{id}", None, DEADLINE_S)

    async def subscribe(self, asked: WebhookRequest) -> NewWebhook:
        return NewWebhook.model_validate(await self.post("/notify/webhooks", asked.model_dump()))

    async def webhooks(self, *, first: int, after: str | None) -> DestinationPage:
        found = await self.get("/notify/webhooks", {"limit": first, "after": after})
        return DestinationPage.model_validate(found)

    async def remove_webhook(self, id: UUID) -> None:
        await self._write("DELETE", f"/notify/webhooks/{id}", None, DEADLINE_S)

    async def rotate_secret(self, id: UUID) -> NewSecret:
        return NewSecret.model_validate(await self.post(f"/notify/webhooks/{id}/secret"))

    async def activate(self, id: UUID) -> None:
        await self.post(f"/notify/webhooks/{id}/activation")

    async def replay_webhook(self, id: UUID) -> int:
        """How many dead letters are sent again."""
        return Replayed.model_validate(await self.post(f"/notify/webhooks/{id}/replay")).deliveries

    async def endpoint(self, organisation: str, url: str) -> UUID:
        """Where a system of the organisation is told what the calling service keeps for it.

        Raises:
            DomainError: BAD_USER_INPUT for an address that may not be called.
        """
        asked = {"organisation": organisation, "url": url}
        return Subscriber.model_validate(await self.post("/notify/subscribers", asked)).id

    async def attempt(self, endpoint: UUID, said: Attempt) -> Attempted:
        """Sends once to such an endpoint."""
        path = f"/notify/subscribers/{endpoint}/attempts"
        body = said.model_dump(mode="json")
        return Attempted.model_validate(await self.post(path, body, deadline_s=2 * DEADLINE_S))

    async def deliveries(
        self, *, state: str | None, destination: UUID | None, first: int, after: str | None
    ) -> DeliveryPage:
        """One's own, the newest first."""
        params = {"state": state, "destination": destination, "limit": first, "after": after}
        return DeliveryPage.model_validate(await self.get("/notify/deliveries", params))

    async def deliveries_of(self, told: Sequence[str]) -> list[list[Delivery]]:
        """How each of one's notifications went out."""
        found: dict[str, list[Delivery]] = {id: [] for id in told}
        params: dict[str, Any] = {"told": list(told), "limit": DELIVERIES}
        while True:
            page = DeliveryPage.model_validate(await self.get("/notify/deliveries", params))
            for one in page.items:
                found[str(one.told)].append(one)
            if page.next is None:
                return [found[id] for id in told]
            params["after"] = page.next

    async def replay(self, id: int) -> None:
        await self.post(f"/notify/deliveries/{id}/replay")

    async def dead_deliveries(self, *, first: int, after: str | None) -> DeliveryPage:
        """Everybody's, for operators."""
        found = await self.get("/notify/dead-deliveries", {"limit": first, "after": after})
        return DeliveryPage.model_validate(found)

    async def replay_any(self, id: int) -> None:
        await self.post(f"/notify/dead-deliveries/{id}/replay")
