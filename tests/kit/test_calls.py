"""Calls between services behave the same in memory and over the network."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.kit import calls as calls_module
from services.kit.calls import Calls, DomainError, ServiceClient, answer_in_memory
from services.kit.problems import Problem
from services.kit.settings import Settings


class OtherClient(ServiceClient):
    service = "other"


async def echo(request: Request) -> Response:
    return JSONResponse(
        {
            "authorization": request.headers.get("authorization"),
            "cookie": request.headers.get("cookie"),
            "query": request.query_params.multi_items(),
        },
        headers={"set-cookie": "someone=else; Path=/"},
    )


async def refuse(request: Request) -> Response:
    status = int(request.path_params["status"])
    return Problem(status, "some_code", "in its own words").response()


async def hang(_request: Request) -> Response:
    await asyncio.sleep(30)
    return Response()


async def crash(_request: Request) -> Response:
    raise ValueError("a secret of the service")


OTHER = Starlette(
    routes=[
        Route("/echo", echo),
        Route("/refuse/{status}", refuse),
        Route("/hang", hang),
        Route("/crash", crash),
    ]
)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """The other service on a real socket."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(OTHER, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(5)


@pytest_asyncio.fixture(params=["in memory", "network"])
async def caller(request: pytest.FixtureRequest, network: str) -> AsyncIterator[Calls]:
    embedded = request.param == "in memory"
    settings = Settings(
        secret="s",
        mode="embedded" if embedded else "separate",
        service_urls={"other": network, "gone": "http://127.0.0.1:9"},
    )
    answer_in_memory({"other": OTHER} if embedded else {})
    found = Calls(settings, "mine")
    yield found
    await found.close()
    answer_in_memory({})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_USER_INPUT"),
        (401, "UNAUTHENTICATED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
        (429, "RATE_LIMITED"),
    ],
)
async def test_a_refusal_carries_its_code_and_words(caller: Calls, status: int, code: str) -> None:
    with pytest.raises(DomainError) as refused:
        await caller.client(OtherClient, token="t").get(f"/refuse/{status}")
    assert (refused.value.service, refused.value.code, refused.value.status) == ("other", code, status)
    assert refused.value.detail == "in its own words"


async def test_a_crash_is_internal_and_keeps_its_words(caller: Calls) -> None:
    with pytest.raises(DomainError) as refused:
        await caller.client(OtherClient, token="t").get("/crash")
    assert refused.value.code == "INTERNAL"
    assert "secret" not in str(refused.value)


async def test_an_address_that_only_nearly_exists_is_not_found(caller: Calls) -> None:
    """As an empty id leaves it; the router would send a browser to the list."""
    with pytest.raises(DomainError) as caught:
        await caller.client(OtherClient, token="t").get("/echo/")
    assert (caught.value.code, caught.value.status) == ("NOT_FOUND", 307)


async def test_a_service_that_hangs_is_given_up_at_the_deadline(caller: Calls) -> None:
    with pytest.raises(DomainError) as late:
        await caller.client(OtherClient, token="t").get("/hang", deadline_s=0.2)
    assert late.value.code == "TIMEOUT"


async def test_a_service_that_is_not_there_is_unavailable_and_then_left_alone(
    caller: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GoneClient(ServiceClient):
        service = "gone"

    for _ in range(calls_module.BREAKER_FAILURES):
        with pytest.raises(DomainError, match="gone") as refused:
            await caller.client(GoneClient, token="t").get("/")
        assert refused.value.code == "SERVICE_UNAVAILABLE"

    async def asked_again(*_args: Any, **_kwargs: Any) -> Any:
        pytest.fail("the breaker should have been open")

    if caller.settings.mode == "separate":
        monkeypatch.setattr(caller, "_send", asked_again)
        with pytest.raises(DomainError, match="does not answer"):
            await caller.client(GoneClient, token="t").get("/")


async def test_the_token_is_handed_on_and_no_cookie_is_kept(caller: Calls) -> None:
    async def current() -> str:
        return "fresh"

    first = await caller.client(OtherClient, token="mine").get("/echo")
    second = await caller.client(OtherClient, token=current).get("/echo", {"ids": ["a,b", "c"], "none": None})
    assert first["authorization"] == "Bearer mine"
    assert second["authorization"] == "Bearer fresh"
    assert second["query"] == [["ids", "a,b"], ["ids", "c"]]
    assert second["cookie"] is None
