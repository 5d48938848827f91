"""The door where the suite's command line tells what became of backups, and operators read it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.support.running import RunningServices

Running = Callable[..., Awaitable[RunningServices]]
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def outcome(**said: Any) -> dict[str, Any]:
    told = {"id": str(uuid4()), "at": BEGIN.isoformat(), "kind": "drill", "ok": True, "detail": "words"}
    return told | {"seconds": 1.5, "rpo_s": 0.25, "rto_s": 4.0, "bytes": 10} | said


@pytest.fixture
async def house(running: Running) -> RunningServices:
    return await running("audit")


async def teller(house: RunningServices) -> httpx.AsyncClient:
    scopes = "audit:outcomes:write audit:read"
    return await house.client("audit", scopes=scopes, kind="service", subject="service:stack")


async def test_an_outcome_is_kept_once_and_is_a_leaf(house: RunningServices) -> None:
    stack, told = await teller(house), outcome()
    for _ in range(2):
        assert (await stack.post("/audit/outcomes", json=told)).status_code == 201
    assert (await stack.post("/audit/outcomes", json=told | {"ok": False})).status_code == 409
    operator = await house.client("audit", scopes="audit:read", kind="staff", roles=["operator"])
    (found,) = (await operator.get("/audit/outcomes")).json()["items"]
    assert found | {"at": told["at"]} == told
    assert datetime.fromisoformat(found["at"]) == BEGIN
    async with house.kit("audit").db.read() as db:
        bodies = [orjson.loads(row["body"]) for row in await db.fetch("select body from leaf")]
    (leaf,) = [body for body in bodies if body["action"] == "drill.done"]
    assert leaf["resource"] == f"drill/{told['id']}"
    assert leaf["client"] == "service:stack"


async def test_the_list_pages_through_equal_times(house: RunningServices) -> None:
    stack = await teller(house)
    told = [outcome(at=(BEGIN + timedelta(seconds=number // 3)).isoformat()) for number in range(8)]
    for one in [*told, outcome(kind="backup")]:
        await stack.post("/audit/outcomes", json=one)
    seen: list[str] = []
    after: str | None = None
    while True:
        asked = {"kind": "drill", "limit": "3"} | ({"after": after} if after else {})
        page = (await stack.get("/audit/outcomes", params=asked)).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(seen) == sorted(one["id"] for one in told)
    assert seen[:2] == sorted((one["id"] for one in told[6:]), reverse=True)


@pytest.mark.parametrize(
    ("method", "who"),
    [
        ("POST", {"scopes": "audit:read", "kind": "staff", "roles": ["operator"]}),
        ("POST", {"scopes": "audit:outcomes:write", "kind": "service", "subject": "service:health"}),
        ("GET", {"scopes": "audit:read", "kind": "service", "subject": "service:gateway"}),
        ("GET", {"scopes": "audit:read", "kind": "staff", "roles": ["auditor"]}),
    ],
)
async def test_nobody_else_tells_or_reads(house: RunningServices, method: str, who: dict[str, Any]) -> None:
    client = await house.client("audit", **who)
    body = outcome() if method == "POST" else None
    assert (await client.request(method, "/audit/outcomes", json=body)).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "party"}, {"seconds": -1}, {"at": "2026-03-01T12:00:00"}, {"detail": "\0"}, {"more": 1}],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_what_is_no_outcome_is_refused(house: RunningServices, wrong: dict[str, Any]) -> None:
    assert (await (await teller(house)).post("/audit/outcomes", json=outcome(**wrong))).status_code == 422


@pytest.mark.parametrize("after", ["x", "MjAyNi0wMy0wMVQxMjowMDowMB9ub25l", "AAAA"])
async def test_a_foreign_cursor_is_refused(house: RunningServices, after: str) -> None:
    answer = await (await teller(house)).get("/audit/outcomes", params={"after": after})
    assert answer.status_code == 400
