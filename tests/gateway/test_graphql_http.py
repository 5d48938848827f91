"""GraphQL over HTTP at the gateway's own door; the npm audits run in tests/conformance."""

from typing import Any

import httpx
import orjson
import pytest

from tests.gateway.toy import client

RESPONSE = "application/graphql-response+json"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUIMIN_SECRET", "a secret of the test")


async def asked(query: str, *, accept: str = RESPONSE, **more: Any) -> httpx.Response:
    async with client() as http:
        return await http.post("/graphql", json={"query": query, **more}, headers={"accept": accept})


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"{", "application/json", 400, id="malformed"),
        pytest.param(b"[]", "application/json", 400, id="a batch"),
        pytest.param(b"{}", "application/json", 400, id="no query"),
        pytest.param(b'{"query": 1}', "application/json", 400, id="query is no text"),
        pytest.param(
            b'{"query": "{ hello }", "variables": []}', "application/json", 400, id="variables a list"
        ),
        pytest.param(b'{"query": "{ hello }", "vars": {}}', "application/json", 400, id="unknown parameter"),
        pytest.param(b"query=%7Bhello%7D", "application/x-www-form-urlencoded", 415, id="a form"),
        pytest.param(b'{"query": "{ hello }"}', "text/plain", 415, id="text"),
        pytest.param(
            '{"query": "{ hello }"}'.encode("utf-16"), "application/json; charset=utf-16", 415, id="UTF-16"
        ),
    ],
)
async def test_a_request_that_cannot_be_executed_is_a_4xx_with_a_coded_error(
    body: bytes, content_type: str, status: int
) -> None:
    async with client() as http:
        answer = await http.post(
            "/graphql", content=body, headers={"content-type": content_type, "accept": RESPONSE}
        )
    assert answer.status_code == status
    assert "data" not in answer.json()
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("query", ["{ hello(", "{ nothing }", "{ hello(name: 3) }"])
async def test_a_document_that_does_not_hold_is_400_in_the_new_media_type_and_200_in_the_old(
    query: str,
) -> None:
    new, old = await asked(query), await asked(query, accept="application/json")
    assert (new.status_code, old.status_code) == (400, 200)
    assert new.headers["content-type"] == f"{RESPONSE}; charset=utf-8"
    assert "data" not in new.json()
    assert "data" not in old.json()


async def test_a_variable_that_cannot_be_coerced_is_a_400_without_data() -> None:
    answer = await asked("query q($n: Int!) { hello(times: $n) }", variables={"n": "many"})
    assert answer.status_code == 400
    assert "data" not in answer.json()


async def test_misspelt_fields_are_not_guessed_at() -> None:
    answer = await asked("{ helo }")
    assert "hello" not in answer.text


async def test_a_mutation_by_get_is_a_405() -> None:
    async with client() as http:
        answer = await http.get("/graphql", params={"query": "mutation { change }"})
        fine = await http.get(
            "/graphql", params={"query": "query q($n: Int!) { hello(times: $n) }", "variables": '{"n":2}'}
        )
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert fine.json() == {"data": {"hello": "hello you hello you"}}


async def test_other_answer_types_are_not_acceptable() -> None:
    assert (await asked("{ hello }", accept="text/csv")).status_code == 406


async def test_a_service_that_is_down_leaves_a_null_with_its_code_and_the_rest_answers() -> None:
    answer = await asked("{ hello down { value } part { value } }")
    body = answer.json()
    assert answer.status_code == 200
    assert body["data"] == {"hello": "hello you", "down": None, "part": {"value": 1}}
    assert body["errors"][0]["path"] == ["down"]
    assert body["errors"][0]["extensions"] | {"traceId": ""} == {
        "code": "SERVICE_UNAVAILABLE",
        "service": "health",
        "traceId": "",
    }


async def test_an_unforeseen_error_is_masked() -> None:
    answer = await asked("{ broken }")
    assert "secret" not in answer.text
    assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"


async def test_an_operation_that_hangs_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.graphql_http.DEADLINE_S", 0.1)
    body = (await asked("{ hanging }")).json()
    assert body["data"] is None
    assert body["errors"][0]["extensions"]["code"] == "TIMEOUT"


async def test_a_bad_token_is_a_401() -> None:
    async with client() as http:
        answer = await http.post(
            "/graphql", json={"query": "{ hello }"}, headers={"authorization": "Basic x", "accept": RESPONSE}
        )
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_token_that_nobody_can_look_at_is_a_503() -> None:
    async with client() as http:
        headers = {"authorization": "Bearer a.b.c", "accept": RESPONSE}
        answer = await http.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert answer.status_code == 503
    assert answer.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"


async def test_a_subscription_by_plain_post_is_told_where_to_go() -> None:
    answer = await asked("subscription { count }")
    assert answer.status_code == 400
    assert "graphql-transport-ws" in answer.json()["errors"][0]["message"]


async def test_a_subscription_as_server_sent_events_gives_each_result_and_completes() -> None:
    async with client() as http:
        answer = await http.post(
            "/graphql",
            json={"query": "subscription { count(to: 2) }"},
            headers={"accept": "text/event-stream"},
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    values = [orjson.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert [value["data"] for value in values] == [{"count": 0}, {"count": 1}]
    assert "event: complete" in answer.text
