"""The frame of a service, seen from outside: a tiny service of its own for each question."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import Query
from fastapi.requests import Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from services.kit.app import Router, service, standard_app
from services.kit.calls import DomainError
from services.kit.principals import Anyone, allowed
from services.kit.problems import Fault, Problem, bad_request, unauthenticated


class Thing(BaseModel):
    count: int


router = Router(prefix="/thing")


@router.post("")
async def make(thing: Thing) -> Thing:
    return thing


@router.get("")
async def look(limit: Annotated[int, Query(ge=1, le=10)] = 5, _who: Anyone = None) -> dict[str, int]:  # type: ignore[assignment]
    return {"limit": limit}


@router.get("/many")
async def many(
    ids: Annotated[list[int] | None, Query()] = None,
    kind: Annotated[Literal["a", "b"] | None, Query()] = None,
) -> int:
    return len(ids or [])


@router.get("/guarded")
async def guarded(_who: Annotated[Any, allowed("thing:read")]) -> str:
    return "in"


@router.get("/broken")
async def broken() -> None:
    raise ZeroDivisionError("330106199001011234 must not leave")


@router.get("/slow")
async def slow() -> None:
    await asyncio.sleep(5)


@router.get("/beyond")
async def beyond() -> None:
    raise DomainError("health", "SERVICE_UNAVAILABLE", "gone")


@router.post("/raw")
async def raw(request: Request) -> int:
    return len(await request.body())


standard = Router()


@standard.get("/")
async def base() -> str:
    return "base"


@standard.get("/refused")
async def refused() -> None:
    raise bad_request("no", "because", Fault("here", line=3))


def in_its_own_form(problem: Problem) -> Response:
    return JSONResponse({"own": problem.detail}, problem.status)


@asynccontextmanager
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = service(
        "thing",
        routers=[router],
        mounts={"/standard": standard_app("standard", in_its_own_form, routers=[standard])},
        database=False,
        body_limit_bytes=1000,
        request_timeout_s=0.2,
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://thing") as http:
            yield http


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUIMIN_SECRET", "a secret of the test")


async def test_malformed_json_is_a_400_that_says_where() -> None:
    async with client() as http:
        answer = await http.post(
            "/thing", content=b'{"count": }', headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["errors"][0]["path"]) == ("malformed_json", "$[10]")


async def test_a_wrong_value_is_a_422_that_names_its_path() -> None:
    async with client() as http:
        answer = await http.post("/thing", json={"count": "many"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0] | {"message": ""} == {
        "message": "",
        "field": "count",
        "path": "body.count",
        "code": "int_parsing",
    }


async def test_an_unknown_query_parameter_is_refused_and_the_known_ones_named() -> None:
    async with client() as http:
        answer = await http.get("/thing", params={"limit": 3, "offset": 2})
        fine = await http.get("/thing", params={"limit": 3})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "unknown query parameter offset; this path knows limit"
    assert answer.json()["errors"] == [{"message": "unknown query parameter offset", "field": "offset"}]
    assert fine.json() == {"limit": 3}


async def test_a_query_parameter_that_would_count_once_is_not_given_twice() -> None:
    async with client() as http:
        once = await http.get("/thing/many?ids=1&ids=2&kind=a")
        twice = await http.get("/thing/many?ids=1&kind=a&kind=b")
    assert once.json() == 2
    assert twice.status_code == 400
    assert twice.json()["code"] == "repeated_parameter"
    assert twice.json()["errors"][0]["field"] == "kind"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/thing", 405)])
async def test_wrong_paths_and_methods_are_problems_too(method: str, path: str, status: int) -> None:
    async with client() as http:
        answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_a_token_a_guarded_door_challenges() -> None:
    async with client() as http:
        answer = await http.get("/thing/guarded")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_an_unforeseen_error_is_a_500_without_its_words() -> None:
    async with client() as http:
        answer = await http.get("/thing/broken")
    assert answer.status_code == 500
    assert "3301" not in answer.text
    assert answer.json()["code"] == "internal"
    assert answer.headers["x-request-id"]


def test_a_problem_is_told_even_if_it_names_half_a_surrogate_pair() -> None:
    answer = bad_request("no", "because of \ud800", Fault("here", path="\ud800")).response()
    assert json.loads(bytes(answer.body))["errors"][0]["path"] == "\ud800"


def test_a_challenge_stays_within_what_a_header_may_hold() -> None:
    answer = unauthenticated('no key "你"\n').response()
    assert answer.headers["www-authenticate"].endswith("error_description=\"no key '?'?\"")


async def test_a_needed_service_that_is_down_makes_a_503_with_retry_after() -> None:
    async with client() as http:
        answer = await http.get("/thing/beyond")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "health" in answer.json()["detail"]


async def test_a_body_over_the_limit_is_a_413_whether_or_not_it_says_its_length() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    async with client() as http:
        told = await http.post("/thing/raw", content=b"x" * 1001)
        untold = await http.post("/thing/raw", content=pieces())
        fits = await http.post("/thing/raw", content=b"x" * 1000)
    assert told.status_code == untold.status_code == 413
    assert told.json()["code"] == untold.json()["code"] == "body_too_large"
    assert fits.json() == 1000


async def test_a_compressed_body_is_refused_in_words() -> None:
    async with client() as http:
        answer = await http.post("/thing/raw", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415
    assert "gzip" in answer.json()["detail"]


async def test_an_answer_that_takes_too_long_is_a_503() -> None:
    async with client() as http:
        answer = await http.get("/thing/slow")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_a_standard_answers_at_its_bare_path_and_in_its_own_error_form() -> None:
    async with client() as http:
        bare = await http.get("/standard")
        wrong = await http.get("/standard/refused")
        nowhere = await http.get("/standard/nowhere")
        unsized = await http.get("/standard", headers={"content-encoding": "br"})
    assert bare.json() == "base"
    assert (wrong.status_code, wrong.json()) == (400, {"own": "because"})
    assert (nowhere.status_code, set(nowhere.json())) == (404, {"own"})
    assert (unsized.status_code, set(unsized.json())) == (415, {"own"})


async def test_requests_get_an_id_and_a_callers_own_is_kept_unless_it_holds_a_citizen_number() -> None:
    async with client() as http:
        given = await http.get("/thing", headers={"x-request-id": "abcdefgh-1"})
        smuggled = await http.get("/thing", headers={"x-request-id": "330106199001011234"})
    assert given.headers["x-request-id"] == "abcdefgh-1"
    assert smuggled.headers["x-request-id"] != "330106199001011234"


async def test_liveness_needs_nothing_and_metrics_carry_templates_not_paths() -> None:
    async with client() as http:
        assert (await http.get("/thing/livez")).json()["status"] == "live"
        await http.get("/nowhere/330106199001011234")
        metrics = (await http.get("/thing/metrics")).text
        document = (await http.get("/thing/openapi.json")).json()
    assert 'route="/thing/livez"' in metrics
    assert "330106" not in metrics
    assert "/thing/guarded" in document["paths"]
