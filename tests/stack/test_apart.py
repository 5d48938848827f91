"""Services apart: each on its own, and the rest answers when one of them is gone."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.stack.clients import calls_as_stack
from services.stack.demo import WARNINGS
from services.stack.demo.asking import Gateway
from services.stack.demo.city import FIRST, REST, City
from services.stack.demo.registers import PASSWORD, audit_benefits, open_accounts, register_city
from services.stack.home import Home
from services.stack.house import NAMES
from tests.support.apart import Apart

pytestmark = pytest.mark.chaos
Start = Callable[..., Awaitable[Apart]]
ASKED = "{ zones(first: 1) { nodes { id } } suite { name ready } }"


def ready(answer: dict[str, object]) -> set[str]:
    data = answer["data"]
    assert isinstance(data, dict)
    return {state["name"] for state in data["suite"] if state["ready"]}


async def test_a_killed_service_is_a_coded_null_and_the_rest_still_answers(apart: Start) -> None:
    house = await apart("identity", "transport", "gateway")
    whole = house.graphql(ASKED)
    assert "errors" not in whole
    assert ready(whole) == {"identity", "transport"}

    house.kill("transport")
    without = house.graphql(ASKED)
    assert without["data"]["zones"] is None
    assert without["errors"][0]["path"] == ["zones"]
    assert without["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert without["errors"][0]["extensions"]["service"] == "transport"
    assert ready(without) == {"identity"}

    house.start("transport")
    async with asyncio.timeout(60):  # the gateway asks a service that failed again after two seconds
        while ready(house.graphql(ASKED)) != {"identity", "transport"}:  # noqa: ASYNC110 - time makes it so
            await asyncio.sleep(0.3)


async def test_a_service_alone_answers_only_its_own_paths(apart: Start) -> None:
    house = await apart("identity")
    async with httpx.AsyncClient(base_url=house.url("identity"), timeout=60) as client:
        assert (await client.get("/identity/readyz")).status_code == 200
        assert (await client.get("/transport/livez")).status_code == 404


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_city_through_the_proxy_to_services_that_all_run_apart(
    apart: Start, public_folder: Path
) -> None:
    """As docker-compose.yml has it: one secret a service, a worker, the same paths at one origin."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not here; .ci/run installs it for the reverse proxy")
    house = await apart(*NAMES, demo=True)
    house.start_worker()
    house.start_proxy(caddy)
    home = Home(public_folder / "home")
    home.make()
    city = City(home, house.address, people=100, seed=1)
    gateway = Gateway(house.address, PASSWORD)
    roster = await city.roster()
    async with calls_as_stack(home, house.address) as calls:
        await register_city(calls, home, roster)
        first = [report async for report in city.push(*FIRST)]
        await open_accounts(calls, roster)
        events, listening = await listen(gateway)
        rest = [report async for report in city.push(*REST, "readings")]
        run = await audit_benefits(calls)
    assert [report["refused"] for report in (first[-1], rest[-1])] == [0, 0]
    assert run["status"] == "finished"
    truth = json.loads(city.truth_file.read_text())
    assert sum(one["found"] for one in run["outcomes"]) == len(truth["findings"])

    told = await gateway.ask("{ suite { name ready counts { name value } } }")
    counts = {(s["name"], c["name"]): c["value"] for s in told["data"]["suite"] for c in s["counts"]}
    assert all(state["ready"] for state in told["data"]["suite"])
    assert counts["health", "patients"] == 100 + len(truth["walk_ins"])
    person = roster["accounts"][0]["username"]
    me = await gateway.ask("{ me { name health { timeline(first: 1) { nodes { id } } } } }", as_=person)
    assert "errors" not in me
    assert me["data"]["me"]["health"]["timeline"]["nodes"]

    steps = sum(len(zone["steps"]) for zone in truth["warnings"]["zones"].values())
    async with asyncio.timeout(60):
        while len(events) < steps:  # noqa: ASYNC110 - read by a task that knows nothing of steps
            await asyncio.sleep(0.2)
    assert len({event["cursor"] for event in events}) == len(events) == steps
    listening.cancel()


async def listen(gateway: Gateway) -> tuple[list[dict[str, Any]], "asyncio.Task[None]"]:
    """Warnings from now on, as they come over the proxied socket."""
    events: list[dict[str, Any]] = []
    ready = asyncio.Event()

    async def read() -> None:
        async for event in gateway.subscribe(WARNINGS, "crowdWarnings", ready):
            events.append(event)

    task = asyncio.create_task(read())
    await asyncio.wait_for(ready.wait(), 60)
    return events, task
