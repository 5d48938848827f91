"""Dead letters over GraphQL: found and replayed by operators, by nobody else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.stack.signin import sign_in
from tests.gateway.visitor import PASSWORD, Pages, pages_of
from tests.kit.test_dead_letter_doors import SECRET_VALUE, parked
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

LETTERS = """query ($service: String!) { deadLetters(service: $service, first: 1) {
    nodes { id service type source aggregate attempts reason firstAt nextAt }
    pageInfo { endCursor hasNextPage } } }"""
REPLAY = "mutation ($service: String!, $id: ID!) { replayDeadLetter(service: $service, id: $id) }"


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "exchange", "gateway"), servers, issuer) as found:
        await found.account("operator", kind="staff", roles=["operator"], areas=["330100"])
        await found.account("clerk", kind="staff", roles=["identity_clerk"], areas=["330100"])
        await parked(found.house)
        yield found


async def ask(pages: Pages, username: str | None, query: str, **variables: Any) -> dict[str, Any]:
    headers = {}
    if username is not None:
        http = await pages.house.client("gateway", scopes=None)
        token = await sign_in(http, pages.house.settings.public_url, username, PASSWORD)
        headers = {"authorization": f"Bearer {token}"}
    http = await pages.house.client("gateway", scopes=None, headers=headers)
    answer = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
    assert isinstance(answer, dict)
    return answer


async def test_an_operator_finds_and_replays_one(pages: Pages) -> None:
    found = await ask(pages, "operator", LETTERS, service="exchange")
    [letter] = found["data"]["deadLetters"]["nodes"]
    assert (letter["service"], letter["source"], letter["attempts"]) == ("exchange", "elsewhere", 3)
    assert (letter["reason"], letter["nextAt"]) == ("LookupError: not there", None)
    assert SECRET_VALUE not in str(found)
    assert found["data"]["deadLetters"]["pageInfo"] == {"endCursor": None, "hasNextPage": False}
    replayed = await ask(pages, "operator", REPLAY, service="exchange", id=letter["id"])
    assert replayed["data"]["replayDeadLetter"] is True
    again = await ask(pages, "operator", LETTERS, service="exchange")
    assert again["data"]["deadLetters"]["nodes"][0]["nextAt"] is not None
    async with pages.house.kit("exchange").db.read() as db:
        left = await db.fetchval("select count(*) from leaf where body like '%event.replay%'")
    assert left == 1, "who had it tried again stands in the log"


@pytest.mark.parametrize(
    ("username", "variables", "code"),
    [
        ("clerk", {"service": "exchange", "id": "1"}, "FORBIDDEN"),
        (None, {"service": "identity", "id": "1"}, "UNAUTHENTICATED"),
        ("operator", {"service": "exchange", "id": "99"}, "NOT_FOUND"),
        ("operator", {"service": "exchange", "id": "x"}, "BAD_USER_INPUT"),
        ("operator", {"service": "nowhere", "id": "1"}, "BAD_USER_INPUT"),
    ],
)
async def test_everything_else_is_refused(
    pages: Pages, username: str | None, variables: dict[str, str], code: str
) -> None:
    answer = await ask(pages, username, REPLAY, **variables)
    assert answer["data"]["replayDeadLetter"] is None
    assert answer["errors"][0]["extensions"]["code"] == code
