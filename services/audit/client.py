"""How others read the log."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import date
from typing import Any

import orjson

from services.audit.shapes import (
    ConsistencyProof,
    DailyHead,
    DailyHeadPage,
    Head,
    HeadPage,
    InclusionProof,
    Outcome,
    OutcomeKind,
    OutcomePage,
    StrayPage,
    Tile,
    TilePage,
    UsagePage,
    UsagePeriod,
    UsagesRequest,
)
from services.kit.calls import ServiceClient

LEAVES_A_CALL = 2_048
"""Eight tiles' worth."""


class AuditClient(ServiceClient):
    """Heads, keys and proofs need no token; leaves need `audit:read`."""

    service = "audit"

    async def latest_head(self) -> Head:
        return Head.model_validate(await self._public("/audit/heads/latest"))

    async def heads(self, *, after: int = -1, up_to: int | None = None) -> AsyncGenerator[Head]:
        """All signed heads, smallest first."""
        following: int | None = after
        while following is not None:
            page = HeadPage.model_validate(await self._public("/audit/heads", after=following, limit=5000))
            for head in page.heads:
                if up_to is not None and head.size > up_to:
                    return
                yield head
            following = page.next

    async def daily_heads(self) -> AsyncGenerator[DailyHead]:
        """The last head of each day, oldest first."""
        after: date | None = date(1970, 1, 1)
        while after is not None:
            page = DailyHeadPage.model_validate(await self._public("/audit/heads/daily", after=str(after)))
            for head in page.heads:
                yield head
            after = page.next

    async def leaf_pages(self, *, size: int) -> AsyncGenerator[dict[str, Any]]:
        """The leaves of the tree of that size, in order, as pages of the door (LeafPage).

        The next page is on its way while the caller works on one. They stay plain JSON: to make objects of a
        million leaves would take longer than to check them.
        """
        coming = asyncio.create_task(self._leaf_page(-1, size))
        try:
            while True:
                page = await coming
                if page["next"] is not None:
                    coming = asyncio.create_task(self._leaf_page(page["next"], size))
                yield page
                if page["next"] is None:
                    return
        finally:
            coming.cancel()

    async def _leaf_page(self, after: int, size: int) -> dict[str, Any]:
        params = {"after": after, "size": size, "limit": LEAVES_A_CALL}
        page: dict[str, Any] = await self.get("/audit/leaves", params, deadline_s=60.0)
        return page

    async def upper_tiles(self) -> AsyncGenerator[Tile]:
        """The tiles above the leaves' own, by level and number."""
        after: str | None = "1/-1"
        while after is not None:
            found = await self.get("/audit/tiles", {"after": after}, deadline_s=60.0)
            page = TilePage.model_validate(found)
            for tile in page.tiles:
                yield tile
            after = page.next

    async def strays(self) -> StrayPage:
        return StrayPage.model_validate(await self.get("/audit/strays", deadline_s=60.0))

    async def inclusion(self, index: int, *, size: int | None = None) -> InclusionProof:
        return InclusionProof.model_validate(
            await self._public("/audit/proofs/inclusion", index=index, size=size)
        )

    async def consistency(self, first: int, second: int | None = None) -> ConsistencyProof:
        return ConsistencyProof.model_validate(
            await self._public("/audit/proofs/consistency", first=first, second=second)
        )

    async def tell_outcome(self, outcome: Outcome) -> None:
        """What became of a backup, drill, restore or promotion (scope `audit:outcomes:write`)."""
        await self.post("/audit/outcomes", outcome.model_dump(mode="json"))

    async def outcomes(
        self, *, kind: OutcomeKind | None = None, after: str | None = None, limit: int = 20
    ) -> OutcomePage:
        """Newest first (scope `audit:read`)."""
        asked = {"kind": kind, "after": after, "limit": limit}
        found = await self.get("/audit/outcomes", {k: v for k, v in asked.items() if v is not None})
        return OutcomePage.model_validate(found)

    async def usages(self, request: UsagesRequest) -> UsagePage:
        """Accesses to one person's data (scope `audit:usages:read`, the exchange alone)."""
        body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return UsagePage.model_validate(await self.post("/audit/usages", body, deadline_s=30.0))

    async def usage_period(self) -> UsagePeriod:
        return UsagePeriod.model_validate(await self._public("/audit/usages/period"))

    async def keys(self) -> dict[str, Any]:
        """The JWK set that heads are checked with."""
        found = await self._public("/audit/keys")
        assert isinstance(found, dict)
        return found

    async def _public(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        response = await self.calls.request(self.service, "GET", path, anonymous=True, params=given)
        return orjson.loads(response.content)
