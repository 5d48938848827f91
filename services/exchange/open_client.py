"""What the exchange publishes, and the applications for exports."""

from urllib.parse import quote
from uuid import UUID

from services.exchange.open_shapes import (
    Application,
    ApplicationPage,
    ApplicationState,
    ProductPage,
    Release,
    ReleasePage,
)
from services.kit.calls import ServiceClient


class OpenDataClient(ServiceClient):
    """Part of `ExchangeClient`."""

    service = "exchange"

    async def open_data(self, *, after: str | None = None, limit: int = 50) -> ProductPage:
        """The open datasets, each with its newest release."""
        found = await self.get("/open-data/products", {"after": after, "limit": limit})
        return ProductPage.model_validate(found)

    async def releases(self, id: str, *, after: str | None = None, limit: int = 50) -> ReleasePage:
        """Versions of an open dataset, the newest first."""
        path = f"/open-data/products/{_step(id)}/releases"
        found = await self.get(path, {"after": after, "limit": limit})
        return ReleasePage.model_validate(found)

    async def order_release(self, id: str) -> Release:
        """Has the next version made (role data_steward)."""
        return Release.model_validate(await self.post(f"/exchange/open-data/{_step(id)}/releases"))

    async def withdraw_release(self, id: str, version: int, reason: str) -> Release:
        path = f"/exchange/open-data/{_step(id)}/releases/{version}/withdrawal"
        return Release.model_validate(await self.post(path, {"reason": reason}))

    async def applications(
        self, *, state: ApplicationState | None = None, after: str | None = None, limit: int = 50
    ) -> ApplicationPage:
        """Applications for exports, the newest first: all of them for a data steward."""
        found = await self.get("/exchange/exports", {"state": state, "after": after, "limit": limit})
        return ApplicationPage.model_validate(found)

    async def decide_export(self, id: UUID, *, approve: bool, reason: str) -> Application:
        body = {"approve": approve, "reason": reason}
        return Application.model_validate(await self.post(f"/exchange/exports/{id}/decision", body))


def _step(id: str) -> str:
    """An id as one step of a path, whatever a caller has written into it."""
    return quote(id, safe="")
