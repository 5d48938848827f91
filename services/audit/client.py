"""How others read the log."""

from collections.abc import AsyncGenerator
from typing import Any

import orjson

from services.audit.shapes import (
    ConsistencyProof,
    Head,
    HeadPage,
    InclusionProof,
    Leaf,
    LeafPage,
    Stray,
    StrayPage,
)
from services.kit.calls import ServiceClient


class AuditClient(ServiceClient):
    """Heads, keys and proofs need no token; leaves need `audit:read`."""

    service = "audit"

    async def latest_head(self) -> Head:
        return Head.model_validate(await self._public("/audit/heads/latest"))

    async def heads(self, *, up_to: int | None = None) -> AsyncGenerator[Head]:
        """All signed heads, smallest first."""
        after: int | None = -1
        while after is not None:
            page = HeadPage.model_validate(await self._public("/audit/heads", after=after, limit=5000))
            for head in page.heads:
                if up_to is not None and head.size > up_to:
                    return
                yield head
            after = page.next

    async def leaves(self, *, size: int) -> AsyncGenerator[Leaf]:
        """The leaves of the tree of that size, in order."""
        after: int | None = -1
        while after is not None:
            params = {"after": after, "size": size, "limit": 2000}
            page = LeafPage.model_validate(await self.get("/audit/leaves", params, deadline_s=60.0))
            for leaf in page.leaves:
                yield leaf
            after = page.next

    async def strays(self) -> list[Stray]:
        return StrayPage.model_validate(await self.get("/audit/strays", deadline_s=60.0)).strays

    async def inclusion(self, index: int, *, size: int | None = None) -> InclusionProof:
        return InclusionProof.model_validate(
            await self._public("/audit/proofs/inclusion", index=index, size=size)
        )

    async def consistency(self, first: int, second: int | None = None) -> ConsistencyProof:
        return ConsistencyProof.model_validate(
            await self._public("/audit/proofs/consistency", first=first, second=second)
        )

    async def keys(self) -> dict[str, Any]:
        """The JWK set that heads are checked with."""
        found = await self._public("/audit/keys")
        assert isinstance(found, dict)
        return found

    async def _public(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        response = await self.calls.request(self.service, "GET", path, anonymous=True, params=given)
        return orjson.loads(response.content)
