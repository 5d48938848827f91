"""How the domains read each other's data: through the exchange, under an agreement."""

from collections.abc import AsyncIterator
from typing import Any

from services.exchange.shapes import AgreementPage, DatasetPage, ReadPage
from services.kit.calls import ServiceClient

READ_DEADLINE_S = 60.0


class ExchangeClient(ServiceClient):
    service = "exchange"

    async def read(self, dataset: str, *, limit: int = 5000) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows of a dataset that the calling service has an agreement for, in batches.

        Each batch holds the agreed items only, with people under the calling service's own sector ids.

        Args:
            dataset: provider and name, e.g. `health.deaths`.

        Raises:
            DomainError: FORBIDDEN (`problem["code"]` is `no_agreement`) without an agreement in force, also
                in the middle when it was suspended; SERVICE_UNAVAILABLE when the provider does not answer.
        """
        after: str | None = None
        while True:
            page = await self.page(dataset, after=after, limit=limit)
            if page.rows:
                yield page.rows
            if page.next is None:
                return
            after = page.next

    async def page(self, dataset: str, *, after: str | None = None, limit: int = 5000) -> ReadPage:
        """One batch, for callers that keep their place themselves."""
        answer = await self.get(
            f"/exchange/reads/{dataset}", {"after": after, "limit": limit}, deadline_s=READ_DEADLINE_S
        )
        return ReadPage.model_validate(answer)

    async def datasets(self, *, after: str | None = None, limit: int = 100) -> DatasetPage:
        answer = await self.get("/exchange/datasets", {"after": after, "limit": limit})
        return DatasetPage.model_validate(answer)

    async def agreements(self, *, after: str | None = None, limit: int = 100) -> AgreementPage:
        answer = await self.get("/exchange/agreements", {"after": after, "limit": limit})
        return AgreementPage.model_validate(answer)
