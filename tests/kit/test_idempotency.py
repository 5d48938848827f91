"""A push sent twice counts once; a key names one request; of two at a time one does the work."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kit.app import Kit
from services.kit.events.chores import clean
from services.kit.idempotency import Answer, content_key, idempotent, request_hash
from services.kit.problems import Problem
from tests.kit.scratch import Scratch

PUSHES = "create table push (n bigint generated always as identity, client text, key text, body bytea);"


@pytest.fixture
async def register(scratch: Scratch) -> Kit:
    return await scratch.kit("register", PUSHES)


class BrokenError(Exception):
    pass


async def push(
    kit: Kit,
    client: str,
    key: str,
    body: bytes,
    *,
    broken: bool = False,
    slow_s: float = 0.0,
    begun: asyncio.Event | None = None,
) -> Answer:
    async with (
        kit.db.transaction() as tx,
        idempotent(tx, client, key, request_hash(b"POST", b"/things", body)) as slot,
    ):
        if slot.answer is not None:
            return slot.answer
        n = await tx.fetchval(
            "insert into push (client, key, body) values ($1, $2, $3) returning n", client, key, body
        )
        if begun is not None:
            begun.set()
        await asyncio.sleep(slow_s)
        if broken:
            raise BrokenError
        answer = Answer(201, f"receipt {n}".encode(), {"location": f"/things/{n}"})
        slot.keep(answer)
        return answer


async def pushes(kit: Kit) -> list[tuple[str, str, bytes]]:
    async with kit.db.read() as connection:
        rows = await connection.fetch("select client, key, body from push order by n")
    return [(row["client"], row["key"], row["body"]) for row in rows]


async def test_a_key_with_another_request_is_refused_and_changes_nothing(register: Kit) -> None:
    first = await push(register, "c", "k", b"one")
    with pytest.raises(Problem) as refused:
        await push(register, "c", "k", b"two")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert await pushes(register) == [("c", "k", b"one")]
    assert await push(register, "c", "k", b"one") == first


async def test_a_repetition_gets_the_first_answer_with_its_headers(register: Kit) -> None:
    first = await push(register, "c", "k", b"one")
    again = await push(register, "c", "k", b"one")
    assert again == first == Answer(201, first.body, {"location": f"/things/{first.body.decode()[8:]}"})
    assert len(await pushes(register)) == 1


async def test_another_clients_key_is_another_key(register: Kit) -> None:
    await push(register, "c", "k", b"one")
    await push(register, "d", "k", b"two")
    assert len(await pushes(register)) == 2


async def test_a_push_that_failed_may_be_sent_again(register: Kit) -> None:
    with pytest.raises(BrokenError):
        await push(register, "c", "k", b"one", broken=True)
    assert await pushes(register) == []
    await push(register, "c", "k", b"one")
    assert len(await pushes(register)) == 1


async def test_of_two_at_the_same_time_the_second_waits_and_gets_the_firsts_answer(register: Kit) -> None:
    first, *others = await asyncio.gather(*(push(register, "c", "k", b"one", slow_s=0.2) for _ in range(5)))
    assert all(other == first for other in others)
    assert len(await pushes(register)) == 1


async def test_if_the_first_is_undone_the_second_does_the_work(register: Kit) -> None:
    begun = asyncio.Event()
    first = asyncio.create_task(push(register, "c", "k", b"one", broken=True, slow_s=0.2, begun=begun))
    await begun.wait()
    second = asyncio.create_task(push(register, "c", "k", b"one"))
    with pytest.raises(BrokenError):
        await first
    assert (await second).status == 201
    assert len(await pushes(register)) == 1


async def test_work_whose_answer_nobody_kept_is_undone(register: Kit) -> None:
    async def forgetful() -> None:
        async with register.db.transaction() as tx, idempotent(tx, "c", "k", b"h" * 32):
            await tx.execute("insert into push (client) values ('c')")

    with pytest.raises(RuntimeError, match="without keeping"):
        await forgetful()
    assert await pushes(register) == []


async def test_a_batch_named_by_its_content_counts_once_for_good(register: Kit) -> None:
    await push(register, "c", content_key(bytes(32)), b"one")
    await push(register, "c", "chosen", b"two")
    async with register.db.session() as connection:
        await connection.execute("update idempotency set at = now() - interval '31 days'")
        assert (await clean(connection))["idempotency"] == 1
        assert await connection.fetchval("select key from idempotency") == content_key(bytes(32))


def test_parts_cannot_be_moved_from_one_to_the_next() -> None:
    assert request_hash(b"ab", b"c") != request_hash(b"a", b"bc")
    assert request_hash(b"ab") != request_hash(b"ab", b"")


STEPS = st.lists(
    st.tuples(st.sampled_from("cd"), st.sampled_from("kl"), st.sampled_from([b"x", b"y"]), st.booleans()),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_is_sent_in_whatever_order_each_key_counts_once(register: Kit, steps: Any) -> None:
    async with register.db.transaction() as tx:
        await tx.execute("truncate push, idempotency")
    kept: dict[tuple[str, str], tuple[bytes, Answer]] = {}
    for client, key, body, broken in steps:
        known = kept.get((client, key))
        if known is not None and known[0] != body:
            with pytest.raises(Problem):
                await push(register, client, key, body, broken=broken)
        elif known is not None:
            assert await push(register, client, key, body, broken=broken) == known[1]
        elif broken:
            with pytest.raises(BrokenError):
                await push(register, client, key, body, broken=True)
        else:
            kept[client, key] = (body, await push(register, client, key, body))
    assert sorted(await pushes(register)) == sorted((c, k, body) for (c, k), (body, _) in kept.items())
