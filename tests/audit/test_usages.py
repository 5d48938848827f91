"""Who had to do with a person's data: the list over all leaf tables, against the leaves themselves."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.audit import repository
from services.kit.leaves import Leaf, write_many
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

SERVICES = ("notify", "exchange")
PEOPLE = 4
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def id_of(service: str, person: int, version: int = 1) -> str:
    """Each service knows a person under other ids; with a new key, under another one again."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "h1_" + (service[:2].upper() + letters[person] + letters[version]) * 6 + "AA"


@pytest.fixture(scope="module")
async def house(servers: TestServers, issuer: Issuer) -> AsyncIterator[RunningServices]:
    async with running_services(("audit", "exchange", "notify"), servers, issuer) as found:
        yield found


@pytest.fixture(scope="module")
async def exchange(house: RunningServices) -> httpx.AsyncClient:
    return await house.client("audit", scopes="audit:usages:read", kind="service", subject="service:exchange")


async def in_tree(house: RunningServices) -> None:
    """Until a signed head covers every leaf there is."""
    async with asyncio.timeout(60):
        while True:
            async with house.kit("audit").db.read() as db:
                head = await repository.latest_head(db)
                waiting = 0
                for service in ("audit", *SERVICES):
                    waiting += len(await repository.unsequenced(db, service, after=0, limit=1))
                if head and not waiting and head.size == await repository.size(db):
                    return
            await asyncio.sleep(0.05)


async def kept(house: RunningServices) -> list[dict[str, Any]]:
    """Every leaf of the tree as it stands at its source, with its index and the persons it is about."""
    found = []
    async with house.kit("audit").db.read() as db:
        for service in SERVICES:
            rows = await db.fetch(
                f"""select tree_leaf.index, leaf.at, leaf.body, leaf.subject,
                       array(select subject from "{service}".leaf_member where leaf_seq = seq) as members
                    from tree_leaf join "{service}".leaf on source_seq = seq where source = '{service}'"""
            )
            for row in rows:
                people = {row["subject"], *row["members"]} - {None}
                found.append({**orjson.loads(row["body"]), **dict(row), "people": people})
    return sorted(found, key=lambda leaf: (leaf["at"], leaf["index"]), reverse=True)


def asked(person: int, **more: Any) -> dict[str, Any]:
    return {"subjects": {s: [id_of(s, person), id_of(s, person, 2)] for s in SERVICES}, **more}


accesses = st.lists(
    st.tuples(
        st.sampled_from(SERVICES),
        st.lists(st.tuples(st.integers(0, PEOPLE - 1), st.integers(1, 2)), max_size=4),
        st.booleans(),
        st.integers(0, 5),
        st.sampled_from([None, "right-1"]),
        st.sampled_from([None, "own_records", "treatment", '"hidden":', '"purpose":"own_records"']),
        st.sampled_from(["permitted", "refused"]),
        st.sampled_from(["test.read", "consents.check"]),
        st.sampled_from([None, "service:notify", "hospital"]),
        st.sampled_from([None, "a" * 32, "b" * 32]),
    ),
    max_size=12,
)


def leaf_of(access: Any) -> Leaf:
    service, people, bulk, minute, hidden, purpose, outcome, action, client, trace = access
    ids = [id_of(service, person, version) for person, version in people]
    return Leaf(
        at=BEGIN + timedelta(minutes=minute),
        service=service,
        action=action,
        client=client,
        trace=trace,
        subject=ids[0] if ids and not bulk else None,
        subjects=ids if bulk else None,
        hidden=hidden,
        purpose=purpose,
        reason=purpose,
        outcome=outcome,
    )


def is_step(leaf: dict[str, Any]) -> bool:
    return leaf["action"] == "consents.check" and str(leaf.get("client", "")).startswith("service:")


@given(accesses=accesses, window=st.tuples(st.integers(0, 5), st.integers(0, 5)), own=st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_list_is_what_the_leaves_say(
    house: RunningServices, exchange: httpx.AsyncClient, accesses: Any, window: tuple[int, int], own: bool
) -> None:
    """For every person, whatever was written before: compared with a pass over all leaves.

    What a service asked on the way to an access is not one of its own; nothing else is ever left out.
    """
    for service in SERVICES:
        async with house.kit(service).db.transaction() as tx:
            await write_many(tx, [leaf_of(access) for access in accesses if access[0] == service])
    await in_tree(house)
    since, until = (BEGIN + timedelta(minutes=minute) for minute in window)
    leaves = await kept(house)
    for person in range(PEOPLE):
        mine = {id_of(s, person, version) for s in SERVICES for version in (1, 2)}
        about = [leaf for leaf in leaves if leaf["people"] & mine]
        wholes = {leaf["trace"] for leaf in about if "trace" in leaf and not is_step(leaf)}
        about = [leaf for leaf in about if not is_step(leaf) or leaf.get("trace") not in wholes]
        about = [leaf for leaf in about if since <= leaf["at"] <= until]
        about = [leaf for leaf in about if own or leaf.get("purpose") != "own_records"]
        shown = [leaf for leaf in about if "hidden" not in leaf]
        body = asked(person, own=own, **{"from": since.isoformat(), "until": until.isoformat()})
        answer = (await exchange.post("/audit/usages", json=body)).json()
        assert [item["index"] for item in answer["items"]] == [leaf["index"] for leaf in shown]
        assert (answer["total"], answer["hidden"]) == (len(shown), len(about) - len(shown))
        for item, leaf in zip(answer["items"], shown, strict=True):
            for field in ("service", "action", "purpose", "reason", "outcome", "records"):
                assert item[field] == leaf.get(field)


async def pages(exchange: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    after = None
    while True:
        found = (await exchange.post("/audit/usages", json={**body, "after": after, "limit": 3})).json()
        yield found
        after = found["next"]
        if after is None:
            return


async def test_pages_show_each_usage_once_while_more_arrive(
    house: RunningServices, exchange: httpx.AsyncClient
) -> None:
    """Also those that arrive with an earlier time, as from a transaction that took long."""
    dice = random.Random(7)
    subject = id_of("notify", 9)

    async def arrive(count: int) -> None:
        async with house.kit("notify").db.transaction() as tx:
            for _ in range(count):
                at = BEGIN + timedelta(days=9, seconds=dice.randrange(5))
                await write_many(tx, [Leaf(at=at, service="notify", action="test.read", subject=subject)])
        await in_tree(house)

    await arrive(20)
    body = {"subjects": {"notify": [subject]}}
    there = (await exchange.post("/audit/usages", json=body)).json()
    seen: list[int] = []
    totals = set()
    async for page in pages(exchange, body):
        seen += [item["index"] for item in page["items"]]
        totals.add(page["total"])
        await arrive(2)
    assert seen == [item["index"] for item in there["items"]]
    assert totals == {20}
    assert (await exchange.post("/audit/usages", json=body)).json()["total"] == 20 + 2 * 7


async def test_offsets_count_from_the_newest_and_leave_the_total(
    house: RunningServices, exchange: httpx.AsyncClient
) -> None:
    subject = id_of("notify", 10)
    async with house.kit("notify").db.transaction() as tx:
        leaf = Leaf(at=BEGIN, service="notify", action="test.read", subject=subject)
        await write_many(tx, [leaf] * 7)
    await in_tree(house)
    body: dict[str, Any] = {"subjects": {"notify": [subject]}}
    whole = [i["index"] for i in (await exchange.post("/audit/usages", json=body)).json()["items"]]
    assert whole == sorted(whole, reverse=True)
    for offset, limit in ((0, 3), (3, 3), (6, 3), (7, 3), (0, 0), (2, 1)):
        page = (await exchange.post("/audit/usages", json={**body, "offset": offset, "limit": limit})).json()
        assert [item["index"] for item in page["items"]] == whole[offset : offset + limit]
        assert page["total"] == 7
    one = (await exchange.post("/audit/usages", json={**body, "index": whole[4]})).json()
    assert [item["index"] for item in one["items"]] == [whole[4]]
    stranger = {"subjects": {"notify": [id_of("notify", 11)]}, "index": whole[4]}
    assert (await exchange.post("/audit/usages", json=stranger)).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"subjects": {"notify": ["11010519491231002X"]}}, 422, "invalid_input"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "after": "AAAA"}, 400, "invalid_cursor"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "after": "OTkfeB85"}, 400, "invalid_cursor"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "limit": -1}, 422, "invalid_input"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "offset": 2**31}, 422, "invalid_input"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "from": "2026-03-01T00:00:00"}, 422, "invalid_input"),
        ({"subjects": {"notify": [id_of("notify", 1)]}, "whose": 1}, 422, "invalid_input"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    exchange: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await exchange.post("/audit/usages", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code
    assert "11010519491231002X" not in answer.text


async def test_a_service_that_is_not_there_has_no_leaves(exchange: httpx.AsyncClient) -> None:
    for name in ("nowhere", 'notify".leaf; drop table "x'):
        found = await exchange.post("/audit/usages", json={"subjects": {name: [id_of("notify", 1)]}})
        assert (found.status_code, found.json()["total"]) == (200, 0)


async def test_a_service_that_can_no_longer_be_read_leaves_no_half_a_list(
    house: RunningServices, exchange: httpx.AsyncClient
) -> None:
    await in_tree(house)
    notify = house.kit("notify").db
    async with notify.transaction() as tx:
        await tx.execute("revoke select on leaf from huimin_audit")
    answer = await exchange.post("/audit/usages", json=asked(1))
    async with notify.transaction() as tx:
        await tx.execute("grant select on leaf to huimin_audit")
    assert (answer.status_code, "notify" in answer.json()["detail"]) == (503, True)


async def test_the_exchange_alone_may_ask(house: RunningServices) -> None:
    for who, status in (
        ({"scopes": None}, 401),
        ({"scopes": "audit:read", "kind": "staff"}, 403),
        ({"scopes": "audit:usages:read", "kind": "organisation"}, 403),
    ):
        http = await house.client("audit", **who)
        assert (await http.post("/audit/usages", json=asked(1))).status_code == status


async def test_since_when_there_are_accesses(house: RunningServices) -> None:
    http = await house.client("audit", scopes=None)
    found = (await http.get("/audit/usages/period")).json()
    async with house.kit("audit").db.read() as db:
        first = await db.fetchval("select min(at) from tree_leaf")
    assert found["since"] is None or datetime.fromisoformat(found["since"]) == first
