"""A dataset as the exchange reads it, whole and in pages."""

from typing import Any

import httpx
import orjson

from tests.support.running import RunningServices


async def exchange_at(house: RunningServices, service: str) -> httpx.AsyncClient:
    """The one caller that may read what a service offers."""
    return await house.client(
        service,
        kind="service",
        subject="service:exchange",
        scopes="exchange:offers:read",
        organisation=None,
    )


async def offered(
    exchange: httpx.AsyncClient, path: str, *conditions: dict[str, Any]
) -> list[dict[str, Any]]:
    """Every row that keeps the conditions. In pages of any size they are the same rows in the same order."""
    said = {"filter": orjson.dumps(conditions).decode()} if conditions else {}
    found = [await _pages(exchange, path, {**said, "limit": limit}) for limit in (1000, 2, 1)]
    assert found[0] == found[1] == found[2]
    return found[0]


async def _pages(exchange: httpx.AsyncClient, path: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while True:
        answer = await exchange.get(path, params=params)
        assert answer.status_code == 200, answer.text
        rows += answer.json()["rows"]
        if answer.json()["next"] is None:
            return rows
        params = {**params, "after": answer.json()["next"]}


async def fresh_at(house: RunningServices, service: str, path: str) -> dict[str, str | None]:
    """When each dataset of a service last changed, as its catalogue entry says."""
    nobody = await house.client(service, scopes=None)
    offers = (await nobody.get(path)).json()["offers"]
    return {offer["dataset"]: offer["fresh_at"] for offer in offers}
