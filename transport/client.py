"""How others call transport."""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel

from services.kit.calls import ServiceClient
from transport import shapes

P = TypeVar("P", bound=BaseModel)


class TransportClient(ServiceClient):
    """Zones, windows and warnings. Batch reads take keys and answer in their order."""

    service: ClassVar[str] = "transport"

    async def zones(self, ids: Sequence[str]) -> list[shapes.Zone | None]:
        """The zones with these ids; None where there is none."""
        found = await self.get("/transport/zones", {"ids": list(dict.fromkeys(ids))})
        by_id = {item["id"]: shapes.Zone.model_validate(item) for item in found["items"]}
        return [by_id.get(id) for id in ids]

    async def zones_in(self, *, area: str | None, first: int, after: str | None) -> shapes.Page[shapes.Zone]:
        """A page of the zones in an area (a GB/T 2260 code)."""
        found = await self.get("/transport/zones", {"area": area, "first": first, "after": after})
        return shapes.Page[shapes.Zone].model_validate(found)

    async def newest_windows(self, keys: Sequence[tuple[str, int]]) -> list[shapes.Page[shapes.Window]]:
        """For each (zone, how many) the first page of its windows, newest first."""
        return await self._newest("/transport/windows", keys, shapes.Page[shapes.Window])

    async def windows(self, zone: str, *, first: int, after: str) -> shapes.Page[shapes.Window]:
        """A further page of a zone's windows."""
        found = await self.get(f"/transport/zones/{zone}/windows", {"first": first, "after": after})
        return shapes.Page[shapes.Window].model_validate(found)

    async def newest_warnings(
        self, keys: Sequence[tuple[str, int]]
    ) -> list[shapes.Page[shapes.CrowdWarning]]:
        """For each (zone, how many) the first page of its warnings, newest first."""
        return await self._newest("/transport/warnings/newest", keys, shapes.Page[shapes.CrowdWarning])

    async def _newest(self, path: str, keys: Sequence[tuple[str, int]], kind: type[P]) -> list[P]:
        zones_by_count: dict[int, list[str]] = defaultdict(list)
        for zone, each in dict.fromkeys(keys):
            zones_by_count[each].append(zone)
        found: dict[tuple[str, int], P] = {}
        for each, zones in zones_by_count.items():
            answer = await self.get(path, {"zone": zones, "each": each})
            for zone, page in answer.items():
                found[zone, each] = kind.model_validate(page)
        return [found[key] for key in keys]

    async def warnings(self, ids: Sequence[UUID]) -> list[shapes.CrowdWarning | None]:
        """The warnings with these ids; None where there is none."""
        found = await self.get("/transport/warnings", {"ids": [str(id) for id in dict.fromkeys(ids)]})
        by_id = {w.id: w for w in map(shapes.CrowdWarning.model_validate, found["items"])}
        return [by_id.get(id) for id in ids]

    async def warnings_in(
        self,
        *,
        first: int,
        area: str | None = None,
        zone: str | None = None,
        open_only: bool = False,
        after: str | None = None,
    ) -> shapes.Page[shapes.CrowdWarning]:
        """A page of warnings, newest first: of an area, of one zone, or only those whose episode goes on."""
        params = {"area": area, "zone": zone, "open": open_only, "first": first, "after": after}
        found = await self.get("/transport/warnings", params)
        return shapes.Page[shapes.CrowdWarning].model_validate(found)

    async def acknowledge(self, id: UUID, note: str | None) -> shapes.CrowdWarning:
        """Says that the caller has taken the warning in hand; said before, it stays as it was.

        Raises:
            DomainError: NOT_FOUND; FORBIDDEN for others than the area's flow staff.
        """
        found = await self.post(f"/transport/warnings/{id}/acknowledgements", {"note": note})
        return shapes.CrowdWarning.model_validate(found)

    async def capacity_policy(self, zone: str) -> shapes.CapacityPolicy:
        """The policy in force now, with its arithmetic.

        Raises:
            DomainError: NOT_FOUND where there is none.
        """
        return shapes.CapacityPolicy.model_validate(
            await self.get(f"/transport/zones/{zone}/capacity-policy")
        )
