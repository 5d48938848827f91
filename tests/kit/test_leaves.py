"""Access leaves: canonical, unchangeable, in the record's commit or grouped, never lost in silence."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import asyncpg
import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from services.kit import leaves
from services.kit.app import Kit
from services.kit.canonical import FIRST, canonical, chain, leaf_hash, set_root
from services.kit.leaves import Leaf, LeafBuffer
from services.kit.principals import Principal
from services.kit.problems import Problem
from tests.kit.scratch import Scratch

HOSPITAL = Principal(
    kind="organisation", subject="hospital-7", client_id="hospital-7", organisation="H7", purpose="care"
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture
async def register(scratch: Scratch) -> Kit:
    return await scratch.kit("register", "create table record (n int);")


async def rows(kit: Kit) -> list[Any]:
    async with kit.db.read() as connection:
        return await connection.fetch("select seq, at, subject, body, hash from leaf order by seq")


@given(
    st.builds(
        Leaf,
        at=st.datetimes(timezones=st.just(UTC)),
        service=WORDS,
        action=WORDS,
        organisation=st.none() | WORDS,
        actor=st.none() | WORDS,
        subject=st.none() | WORDS,
        subjects=st.none() | st.lists(WORDS, max_size=4),
        records=st.integers(0, 2**53 - 1),
        reason=st.none() | WORDS,
        resource=st.none() | WORDS,
        outcome=st.sampled_from(["permitted", "refused"]),
    )
)
def test_a_leafs_body_is_its_rfc_8785_form(leaf: Leaf) -> None:
    body = leaf.body()
    assert body == rfc8785.dumps(orjson.loads(body))
    assert leaf.row()[3] == leaf_hash(body)


def test_a_body_says_what_is_known_and_nothing_else() -> None:
    at = datetime(2026, 11, 23, 16, 0, 0, 5, timezone(timedelta(hours=8)))
    leaf = Leaf(at=at, service="health", action="patient.read", subject="h1_x", purpose="care", reason="会诊")
    assert leaf.body().decode() == (
        '{"action":"patient.read","at":"2026-11-23T08:00:00.000005Z","outcome":"permitted","purpose":"care",'
        '"reason":"会诊","records":1,"service":"health","subject":"h1_x"}'
    )


def test_a_bulk_read_names_its_persons_by_their_root() -> None:
    leaf = Leaf(at=datetime.now(UTC), service="x", action="y", subjects=["b", "a", "b"], records=9)
    said = orjson.loads(leaf.body())
    assert (said["subjects_root"], said["subjects_count"]) == (set_root(["a", "b"]).hex(), 2)
    assert "subjects" not in said


def test_a_chain_holds_each_record_to_the_one_before() -> None:
    first = chain(None, canonical({"n": 1}))
    assert first == chain(FIRST, canonical({"n": 1}))
    second = chain(first, canonical({"n": 2}))
    assert second != chain(None, canonical({"n": 2}))
    assert chain(chain(None, canonical({"n": 0})), canonical({"n": 2})) != second


async def test_a_leaf_is_in_the_records_own_commit(register: Kit) -> None:
    async def undone() -> None:
        async with register.db.transaction(HOSPITAL) as tx:
            await tx.execute("insert into record values (1)")
            await tx.leaf(action="record.create", subject="h1_a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    assert await rows(register) == []
    async with register.db.transaction(HOSPITAL) as tx:
        await tx.execute("insert into record values (1)")
        await tx.leaf(action="record.create", subject="h1_a", batch_hash="ab" * 32)
    [row] = await rows(register)
    said = orjson.loads(row["body"])
    assert said.pop("at") == row["at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert said == {
        "service": "register",
        "action": "record.create",
        "actor": "hospital-7",
        "client": "hospital-7",
        "organisation": "H7",
        "purpose": "care",
        "subject": "h1_a",
        "batch_hash": "ab" * 32,
        "records": 1,
        "outcome": "permitted",
    }
    assert (row["subject"], row["hash"]) == ("h1_a", leaf_hash(row["body"].encode()))


async def test_a_bulk_leaf_keeps_the_persons_behind_its_root(register: Kit) -> None:
    async with register.db.transaction() as tx:
        await tx.leaf(action="offer.read", subjects=["h1_b", "h1_a", "h1_b"], records=3, agreement="a-1")
    [row] = await rows(register)
    async with register.db.read() as connection:
        members = await connection.fetch("select subject, leaf_seq from leaf_member order by subject")
    assert [tuple(member) for member in members] == [("h1_a", row["seq"]), ("h1_b", row["seq"])]
    said = orjson.loads(row["body"])
    assert said["subjects_root"] == set_root([member["subject"] for member in members]).hex()
    assert said["client"] == "service:register"


@pytest.mark.parametrize("table", ["leaf", "leaf_member"])
@pytest.mark.parametrize("statement", ["delete from {}", "truncate {}", "update {} set subject = 'x'"])
async def test_a_leaf_can_be_neither_changed_nor_deleted(register: Kit, table: str, statement: str) -> None:
    async with register.db.transaction() as tx:
        await tx.leaf(action="x", subjects=["a"])

    async def bend(*first: str) -> None:
        async with register.db.transaction() as tx:
            for each in first:
                await tx.execute(each)
            await tx.execute(statement.format(table))

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await bend()
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await bend(f"grant all on {table} to current_user")


async def test_leaves_of_reads_are_committed_together(register: Kit) -> None:
    buffer = buffer_of(register)
    for n in range(100):
        buffer.add(HOSPITAL, action="record.read", subject=f"h1_{n}")
    await until(lambda: counted(register, 100))
    async with register.db.read() as connection:
        assert await connection.fetchval("select count(distinct xid) from leaf") == 1
    assert [row["subject"] for row in await rows(register)] == [f"h1_{n}" for n in range(100)]


async def test_a_protected_read_waits_for_its_leaf(register: Kit) -> None:
    buffer = buffer_of(register)
    buffer.add(HOSPITAL, action="record.read")
    await buffer.write(HOSPITAL, action="record.read.protected", outcome="refused", reason="no consent")
    found = [orjson.loads(row["body"]) for row in await rows(register)]
    assert [said["action"] for said in found] == ["record.read", "record.read.protected"]
    assert found[1]["outcome"] == "refused"


async def test_many_protected_reads_share_a_few_commits(register: Kit) -> None:
    buffer = buffer_of(register)
    await asyncio.gather(*(buffer.write(HOSPITAL, action="record.read") for _ in range(200)))
    async with register.db.read() as connection:
        assert await connection.fetchval("select count(*) from leaf") == 200
        assert await connection.fetchval("select count(distinct xid) from leaf") < 20


async def test_stopping_commits_what_is_waiting(scratch: Scratch) -> None:
    kit = await scratch.kit("stopping")
    buffer = LeafBuffer(kit.db, within_s=30.0)
    await buffer.start()
    buffer.add(None, action="x")
    await buffer.stop()
    assert len(await rows(kit)) == 1


async def test_nothing_is_shown_that_cannot_be_recorded(register: Kit) -> None:
    buffer = LeafBuffer(register.db, within_s=0.0, patience_s=0.5)
    await buffer.start()
    async with register.db.session() as connection:
        await connection.execute("alter table leaf rename to gone")
        buffer.add(HOSPITAL, action="record.read", subject="h1_1")
        with pytest.raises(Problem) as refused:
            await until(lambda: tried(buffer))
        assert refused.value.status == 503
        await connection.execute("alter table gone rename to leaf")
    await until(lambda: accepted(buffer))
    await buffer.flush()
    subjects = [row["subject"] for row in await rows(register)]
    assert subjects[0] == "h1_1", "what was waiting came first"
    await buffer.stop()


async def test_a_full_buffer_refuses(register: Kit) -> None:
    buffer = LeafBuffer(register.db, within_s=30.0, most=3)
    for _ in range(3):
        buffer.add(HOSPITAL, action="record.read")
    with pytest.raises(Problem, match="recorded"):
        buffer.add(HOSPITAL, action="record.read")


async def test_many_leaves_keep_their_order(register: Kit) -> None:
    at = datetime.now(UTC)
    async with register.db.transaction() as tx:
        await leaves.write_many(tx, [Leaf(at=at, service="r", action=f"a{n}") for n in range(1000)])
    assert [orjson.loads(row["body"])["action"] for row in await rows(register)] == [
        f"a{n}" for n in range(1000)
    ]


def buffer_of(kit: Kit) -> LeafBuffer:
    assert kit.leaves is not None
    return kit.leaves


async def counted(kit: Kit, expected: int) -> bool:
    return len(await rows(kit)) == expected


async def tried(buffer: LeafBuffer) -> bool:
    buffer.add(HOSPITAL, action="record.read", subject="h1_2")
    return False


async def accepted(buffer: LeafBuffer) -> bool:
    try:
        buffer.add(HOSPITAL, action="record.read", subject="h1_3")
    except Problem:
        return False
    return True


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)
