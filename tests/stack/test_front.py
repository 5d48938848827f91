"""Several apps behind one door: chosen by path, started and stopped together, answering in memory."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.stack import front as front_module
from services.stack.front import Front
from services.stack.house import HOUSE, chosen, named
from services.stack.lifespan import Held
from tests.support.running import RunningServices


def test_a_list_of_services_is_in_the_order_of_the_house() -> None:
    assert [service.name for service in chosen("gateway, identity")] == ["identity", "gateway"]
    assert chosen("") == HOUSE
    with pytest.raises(KeyError):
        chosen("identity,nobody")


class Toy:
    """An app that notes what it is asked."""

    def __init__(self, name: str, journal: list[str], *, fails: str = "") -> None:
        self.name, self.journal, self.fails = name, journal, fails

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.journal.append(f"{self.name} {scope['path']} {scope['state']}")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.name.encode()})
            return
        while True:
            phase = (await receive())["type"].removeprefix("lifespan.")
            self.journal.append(f"{self.name} {phase}")
            if phase == self.fails:
                await send({"type": f"lifespan.{phase}.failed", "message": "no luck"})
                return
            scope["state"]["of"] = self.name
            await send({"type": f"lifespan.{phase}.complete"})
            if phase == "shutdown":
                return


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Front, list[str]]]:
    """A front over toys in place of the real apps."""

    def make(*names: str, fails: dict[str, str] | None = None) -> tuple[Front, list[str]]:
        journal: list[str] = []
        monkeypatch.setattr(
            front_module,
            "_load",
            lambda service: Toy(service.name, journal, fails=(fails or {}).get(service.name, "")),
        )
        return Front(named(name) for name in names), journal

    return make


def client_of(front: Front) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://huimin")


async def test_each_path_reaches_its_service_with_that_services_state(toys: Any) -> None:
    front, journal = toys("health", "gateway")
    async with front.running(), client_of(front) as client:
        assert (await client.get("/fhir/Patient")).text == "health"
        assert (await client.get("/anything")).text == "gateway"
    assert "health /fhir/Patient {'of': 'health'}" in journal
    assert "gateway /anything {'of': 'gateway'}" in journal


async def test_services_start_in_order_and_stop_in_reverse(toys: Any) -> None:
    front, journal = toys("identity", "health")
    async with front.running():
        pass
    assert journal == ["identity startup", "health startup", "health shutdown", "identity shutdown"]


async def test_a_service_that_does_not_start_stops_the_others(toys: Any) -> None:
    front, journal = toys("identity", "health", fails={"health": "startup"})
    with pytest.raises(RuntimeError, match="health failed at startup: no luck"):
        async with front.running():
            pass
    assert journal[-1] == "identity shutdown"


async def test_an_app_that_dies_at_startup_is_named() -> None:
    async def dying(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a bug")

    with pytest.raises(RuntimeError, match="broken failed at startup: ValueError"):
        await Held("broken", dying).start()


async def test_a_path_of_a_service_that_does_not_run_here_is_a_problem(toys: Any) -> None:
    front, _ = toys("health")
    async with front.running(), client_of(front) as client:
        answer = await client.get("/transport/zones")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_an_app_without_lifespan_state_is_held_too() -> None:
    app = FastAPI()

    @app.get("/x")
    async def x() -> str:
        return "x"

    held = Held("plain", app)
    await held.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(held), base_url="http://x") as client:
        assert (await client.get("/x")).json() == "x"
    await held.stop()


async def test_real_services_run_behind_one_door(running: Callable[..., Awaitable[RunningServices]]) -> None:
    house = await running("identity")
    client = await house.client("identity", scopes=None)
    assert (await client.get("/identity/livez")).json()["service"] == "identity"
    assert (await client.get("/.well-known/jwks.json")).json()["keys"]
    ready = await client.get("/identity/readyz")
    assert ready.json()["checks"] == {"broker": "ok", "database": "ok"}


async def test_a_minted_token_is_believed_and_another_audiences_is_not(
    running: Callable[..., Awaitable[RunningServices]],
) -> None:
    house = await running("identity")
    stack: dict[str, Any] = {
        "kind": "service",
        "subject": "service:stack",
        "scopes": "identity:clients:write",
    }
    keeper = await house.client("identity", **stack)
    assert (await keeper.get("/identity/keys")).status_code == 200
    token = house.token("health", **stack)
    stranger = await house.client("identity", token=token)
    refused = await stranger.get("/identity/keys")
    assert refused.status_code == 401
    assert "another audience" in refused.json()["detail"]
