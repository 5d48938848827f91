"""The suite about itself: which services answer, and how much they keep. Totals only, nothing of a person."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader
from strawberry.types import Info

from gateway.sessions import Session
from services.kit.calls import Calls, DomainError

SERVICES = (
    "identity",
    "exchange",
    "audit",
    "notify",
    "health",
    "social_security",
    "education",
    "transport",
)
PROBE_DEADLINE_S = 2.0


@strawberry.type(description="How many of one thing a service keeps. 某项数据的数量。")
class Count:
    name: str
    value: int


@strawberry.type(description="One service of the suite. 一项服务。")
class ServiceState:
    name: str
    ready: bool
    detail: str | None
    counts: list[Count]


@strawberry.type
class Query:
    @strawberry.field(
        description="The services, whether they answer, and what they keep. 各服务状态与数据量。"
    )
    async def suite(self, info: Info[Any, Any]) -> list[ServiceState]:
        session = info.context
        assert isinstance(session, Session)
        # Under however many aliases it is asked for, each service is asked once.
        loader = session.loaders.get(("gateway", "states"))
        if loader is None:
            loader = session.loaders["gateway", "states"] = DataLoader(
                load_fn=partial(_states, session.calls)
            )
        return list(await loader.load_many(SERVICES))


async def _states(calls: Calls, names: Sequence[str]) -> list[ServiceState]:
    return list(await asyncio.gather(*(_state(calls, name) for name in names)))


async def _state(calls: Calls, name: str) -> ServiceState:
    """Asked by the gateway itself: these are its totals to show, whoever looks."""
    prefix = "/" + name.replace("_", "-")
    try:
        await calls.request(
            name, "GET", f"{prefix}/readyz", anonymous=True, probe=True, deadline_s=PROBE_DEADLINE_S
        )
        answer = await calls.request(name, "GET", f"{prefix}/counts", deadline_s=PROBE_DEADLINE_S)
    except DomainError as error:
        return ServiceState(name=name, ready=False, detail=error.detail, counts=[])
    counts = [Count(name=key, value=value) for key, value in answer.json().items()]
    return ServiceState(name=name, ready=True, detail=None, counts=counts)
