"""A running transport with one site's zones, and its callers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services
from transport.models import Base

NAME = {"zh": "断桥", "en": "Broken Bridge"}


@dataclass
class Transport:
    """Transport behind its doors: `site` sets up and counts, `gate` pushes, `citizen` looks, `staff` acts."""

    house: RunningServices
    site: httpx.AsyncClient
    gate: httpx.AsyncClient
    citizen: httpx.AsyncClient
    staff: httpx.AsyncClient
    _seq: dict[str, int] = field(default_factory=dict)

    @classmethod
    async def of(cls, house: RunningServices) -> "Transport":
        async def caller(kind: str, scopes: str, **who: Any) -> httpx.AsyncClient:
            return await house.client("transport", kind=kind, scopes=scopes, **who)

        run = {"organisation": "xihu"}
        return cls(
            house,
            await caller("organisation", "transport:sites:write transport:readings:write", **run),
            await caller("organisation", "transport:readings:write", **run),
            await caller("person", "transport:flows:read", subject="citizen", organisation=None),
            await caller(
                "staff",
                "transport:flows:read transport:warnings:acknowledge",
                subject="staff-1",
                organisation="bureau",
                roles=["flow_staff"],
                areas=["330100"],
            ),
        )

    async def zone(self, id: str, *, area: str = "330106", **zone: Any) -> None:
        answer = await self.site.put(f"/transport/zones/{id}", json={"name": NAME, "area": area, **zone})
        assert answer.status_code in {200, 201}, answer.text

    async def sensor(self, id: str, **sensor: Any) -> None:
        answer = await self.site.put(f"/transport/sensors/{id}", json=sensor)
        assert answer.status_code in {200, 201}, answer.text

    async def policy(self, zone: str, **policy: Any) -> dict[str, Any]:
        answer = await self.site.put(f"/transport/zones/{zone}/capacity-policy", json=policy)
        assert answer.status_code in {200, 201}, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def reading(
        self, sensor: str, at: datetime, n_in: int, n_out: int = 0, *, seconds: int = 60
    ) -> dict[str, Any]:
        """Numbered by sensor; counted in the span that ends at `at`."""
        self._seq[sensor] = self._seq.get(sensor, 0) + 1
        return {
            "sensor": sensor,
            "seq": self._seq[sensor],
            "start": (at - timedelta(seconds=seconds)).isoformat(),
            "end": at.isoformat(),
            "in": n_in,
            "out": n_out,
        }

    async def push(self, *readings: dict[str, Any]) -> dict[str, Any]:
        answer = await self.gate.post("/transport/readings", json=list(readings))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def count(self, zone: str, *counts: tuple[datetime, int]) -> dict[str, Any]:
        body = [{"time": at.isoformat(), "count": people} for at, people in counts]
        answer = await self.site.post(f"/transport/zones/{zone}/counts", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def see(self, path: str, **params: Any) -> Any:
        answer = await self.citizen.get(f"/transport/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def steps(self, zone: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.see(f"zones/{zone}/episodes", first=1000))["items"]
        return found


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    """Transport alone, kept over a file's tests; each finds its tables empty."""
    async with running_services(("transport",), servers, issuer) as found:
        yield found


async def emptied(house: RunningServices) -> Transport:
    """Transport with nothing in it; what it published before stays published."""
    async with house.kit("transport").db.transaction() as tx:
        for table in reversed(Base.metadata.sorted_tables):
            await tx.execute(f"delete from {table.name}")
    return await Transport.of(house)


@pytest.fixture
async def transport(house: RunningServices) -> Transport:
    return await emptied(house)


@pytest.fixture
def now() -> datetime:
    """The last full minute: what a gate would report next."""
    return datetime.now(UTC).replace(second=0, microsecond=0)
