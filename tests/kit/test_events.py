"""Events: once, in order, through an emptied broker, with handlers that fail and logs that were restored."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest

from services.kit import events
from services.kit.app import Kit
from services.kit.calls import DomainError
from services.kit.database import Transaction
from services.kit.events import Draft, Event, on, on_many
from services.kit.events.chores import clean
from services.kit.events.log import stream_of
from services.kit.events.readers import lag, note_reader
from services.kit.waking import stopped
from tests.kit.scratch import OpenDoors, Scratch

SEEN = "create table seen (n bigint generated always as identity, aggregate text, value int, event_id uuid);"


async def note(tx: Transaction, event: Event) -> None:
    await tx.execute(
        "insert into seen (aggregate, value, event_id) values ($1, $2, $3)",
        event.aggregate,
        event.data["value"],
        event.id,
    )


async def seen(kit: Kit) -> list[tuple[str, int]]:
    async with kit.db.read() as connection:
        rows = await connection.fetch("select aggregate, value from seen order by n")
    return [(row["aggregate"], row["value"]) for row in rows]


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background tasks; the test fails with them."""

    async def no_end(work: Coroutine[Any, Any, None]) -> None:
        await work
        raise AssertionError("a background task ended")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(no_end(work)) for work in works]
        yield
        for task in tasks:
            await stopped(task)


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await check():
                return
            await asyncio.sleep(0.02)


async def publish(kit: Kit, *values: tuple[str, int], type: str = "source.thing.changed") -> None:
    async with kit.db.transaction() as tx:
        await events.publish_many(tx, [Draft(type, aggregate, {"value": n}) for aggregate, n in values])


@pytest.fixture
async def source(scratch: Scratch) -> Kit:
    return await scratch.kit("source")


@pytest.fixture
async def target(scratch: Scratch) -> Kit:
    return await scratch.kit("target", SEEN)


async def test_an_event_arrives_in_its_cloudevents_form(source: Kit, target: Kit) -> None:
    found: list[Event] = []

    async def keep(_tx: Transaction, event: Event) -> None:
        found.append(event)

    doors = OpenDoors(source=source.db)
    async with running(events.relay(source), events.consume(target, [on("source.thing.", keep)], logs=doors)):
        async with source.db.transaction() as tx:
            id = await tx.publish(
                "source.thing.changed", aggregate="thing/1", data={"level": "高", "n": 1.5}, area="330100"
            )
        await until(lambda: asyncio.sleep(0, bool(found)))
    [event] = found
    assert (event.id, event.type, event.source) == (id, "source.thing.changed", "source")
    assert (event.aggregate, event.seq, event.area) == ("thing/1", 1, "330100")
    assert event.data == {"level": "高", "n": 1.5}
    entries: Any = await source.redis.xrange(await stream(source))
    [(_, fields)] = entries
    [form] = orjson.loads(fields[b"events"])
    assert form["specversion"] == "1.0"
    assert form["source"] == "urn:huimin:service:source"
    assert form["subject"] == "thing/1"
    assert form["time"].endswith("Z")


async def test_an_undone_transaction_publishes_nothing(source: Kit) -> None:
    async def undone() -> None:
        async with source.db.transaction() as tx:
            await tx.publish("source.thing.changed", aggregate="a", data={})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await undone()
    async with source.db.read() as connection:
        assert await connection.fetchval("select count(*) from outbox") == 0


@pytest.mark.parametrize(
    "type", ["other.thing.changed", "source", "Source.thing", "source..x", "source.thing."]
)
async def test_a_type_that_is_not_the_services_own_is_refused(source: Kit, type: str) -> None:
    async with source.db.transaction() as tx:
        with pytest.raises(ValueError, match="an event of source is named source"):
            await tx.publish(type, aggregate="a", data={})


async def test_a_citizen_number_never_gets_into_an_event(source: Kit) -> None:
    async with source.db.transaction() as tx:
        with pytest.raises(ValueError, match="sector id"):
            await tx.publish("source.thing.changed", aggregate="a", data={"who": ["11010519491231002X"]})
        with pytest.raises(ValueError, match="sector id"):
            await tx.publish("source.thing.changed", aggregate="11010519491231002X", data={})
        # The same digits with a wrong check character are some other number.
        await tx.publish("source.thing.changed", aggregate="a", data={"claim": "110105194912310021"})


async def test_everything_takes_effect_once_and_in_order(source: Kit, target: Kit) -> None:
    doors = OpenDoors(source=source.db)
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", note)], logs=doors)
    ):
        for n in range(0, 1200, 100):
            await publish(source, *((f"a{i % 7}", i) for i in range(n, n + 100)))
        await until(lambda: _count(target, 1200))
    assert [value for _, value in await seen(target)] == list(range(1200))


async def test_a_relay_that_starts_again_sends_what_was_not_noted_as_sent(source: Kit, target: Kit) -> None:
    doors = OpenDoors(source=source.db)
    await publish(source, *(("a", n) for n in range(20)))
    async with running(events.relay(source)):
        await until(lambda: _stream_length(source, 20))
    async with source.db.transaction() as tx:
        await tx.execute("update outbox_head set sent = 5")
    await publish(source, ("a", 20))
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", note)], logs=doors)
    ):
        await until(lambda: _count(target, 21))
    assert [value for _, value in await seen(target)] == list(range(21))


async def test_an_emptied_broker_loses_nothing_and_keeps_the_order(source: Kit, target: Kit) -> None:
    doors = OpenDoors(source=source.db)
    subscriptions = [on("source.thing.changed", note)]
    async with running(events.relay(source)):
        await publish(source, *(("a", n) for n in range(50)))
        await until(lambda: _stream_length(source, 50))
        await source.redis.flushall()
        await publish(source, *(("a", n) for n in range(50, 60)))
        async with running(events.consume(target, subscriptions, logs=doors)):
            await until(lambda: _count(target, 60))
            await source.redis.flushall()
            await publish(source, *(("a", n) for n in range(60, 70)))
            await until(lambda: _count(target, 70))
    assert [value for _, value in await seen(target)] == list(range(70))


async def test_what_the_broker_lost_without_anything_new_is_sent_again(source: Kit, target: Kit) -> None:
    async with running(events.relay(source)):
        await publish(source, *(("a", n) for n in range(50)))
        await until(lambda: _stream_length(source, 50))
        await source.redis.flushall()
        await until(lambda: _stream_length(source, 50))


async def test_nothing_behind_a_gap_is_touched_until_the_door_answers(source: Kit, target: Kit) -> None:
    doors = OpenDoors(source=source.db)
    subscriptions = [on("source.thing.changed", note)]
    await publish(source, ("a", 0))
    async with running(events.relay(source), events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 1))
    async with running(events.relay(source)):
        for first, end in ((1, 10), (10, 20), (20, 30)):
            await publish(source, *(("a", n) for n in range(first, end)))
            await until(partial(_stream_length, source, end))
    await source.redis.xdel(await stream(source), "20-0")
    doors.shut = DomainError("source", "SERVICE_UNAVAILABLE", "down")
    async with running(events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 10))
        await asyncio.sleep(1.5)
        assert len(await seen(target)) == 10
        doors.shut = None
        await until(lambda: _count(target, 30))
    assert [value for _, value in await seen(target)] == list(range(30))


async def test_without_a_broker_events_come_from_their_source(
    source: Kit, target: Kit, scratch: Scratch
) -> None:
    doors = OpenDoors(source=source.db)
    source.redis = target.redis = _broker_that_is_not_there()
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", note)], logs=doors)
    ):
        await publish(source, *(("a", n) for n in range(30)))
        await until(lambda: _count(target, 30))
    await source.redis.aclose()


async def test_a_log_restored_to_an_earlier_state_is_taken_in_anew(source: Kit, target: Kit) -> None:
    doors = OpenDoors(source=source.db)
    subscriptions = [on("source.thing.changed", note)]
    await publish(source, *(("a", n) for n in range(10)))
    async with running(events.relay(source), events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 10))
    async with source.db.transaction() as tx:  # a backup from before the last four
        await tx.execute("delete from outbox where position > 6")
        await tx.execute("update outbox_head set position = 6, sent = 6")
    await publish(source, *(("a", n) for n in range(100, 104)))
    async with running(events.relay(source), events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 14))
    assert [value for _, value in await seen(target)] == [*range(10), *range(100, 104)]


async def test_a_source_made_anew_begins_a_log_of_its_own(source: Kit, target: Kit, scratch: Scratch) -> None:
    doors = OpenDoors(source=source.db)
    subscriptions = [on("source.thing.changed", note)]
    await publish(source, *(("a", n) for n in range(10)))
    async with running(events.relay(source), events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 10))
    async with (
        source.db.transaction() as tx
    ):  # as with an empty database: the broker still has the old stream
        await tx.execute("truncate outbox")
        await tx.execute("update outbox_head set log = gen_random_uuid(), position = 0, sent = 0")
    await publish(source, *(("a", n) for n in range(100, 112)))
    async with running(events.relay(source), events.consume(target, subscriptions, logs=doors)):
        await until(lambda: _count(target, 22))
    assert [value for _, value in await seen(target)] == [*range(10), *range(100, 112)]


async def test_a_failing_event_waits_with_its_aggregate_and_the_rest_goes_on(
    source: Kit, target: Kit
) -> None:
    broken = {3}

    async def picky(tx: Transaction, event: Event) -> None:
        await note(tx, event)
        if event.data["value"] in broken:
            raise LookupError("11010519491231002X is not there")

    doors = OpenDoors(source=source.db)
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", picky)], logs=doors)
    ):
        await publish(source, *(("ab"[n % 2], n) for n in range(10)))
        await until(lambda: _count(target, 6))
        assert [value for _, value in await seen(target)] == [0, 1, 2, 4, 6, 8]
        waiting: list[Any] = []

        async def all_wait() -> bool:
            async with target.db.read() as connection:
                waiting[:] = await events.waiting_letters(connection)
            return len(waiting) >= 4

        await until(all_wait)
        assert [letter.event.data["value"] for letter in waiting] == [3, 5, 7, 9]
        assert waiting[0].reason == "LookupError: [citizen-number] is not there"
        await publish(source, ("b", 11))
        broken.clear()
        await until(lambda: _count(target, 11))
    assert [value for aggregate, value in await seen(target) if aggregate == "b"] == [1, 3, 5, 7, 9, 11]


async def test_an_event_that_keeps_failing_becomes_a_dead_letter_and_can_be_replayed(
    source: Kit, target: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kit.events.dead_letters.FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("services.kit.events.dead_letters.ATTEMPTS", 3)
    tried: list[int] = []
    broken = True

    async def failing(tx: Transaction, event: Event) -> None:
        tried.append(event.data["value"])
        if broken:
            raise LookupError("no")
        await note(tx, event)

    async def dead() -> bool:
        async with target.db.read() as connection:
            return any(letter.next_at is None for letter in await events.waiting_letters(connection))

    doors = OpenDoors(source=source.db)
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", failing)], logs=doors)
    ):
        await publish(source, ("a", 1), ("a", 2))
        await until(dead)
        # Once with its batch, then alone: the first attempt of three.
        assert tried == [1, 1, 1, 1]
        broken = False
        async with target.db.transaction() as tx:
            [first, _] = await events.waiting_letters(tx)
            assert await events.replay(tx, first.id)
        await until(lambda: _count(target, 2))
    assert [value for _, value in await seen(target)] == [1, 2]


async def test_a_second_consumer_of_the_same_service_waits_its_turn(
    source: Kit, target: Kit, scratch: Scratch
) -> None:
    doors = OpenDoors(source=source.db)
    other: list[int] = []

    async def elsewhere(tx: Transaction, event: Event) -> None:
        other.append(event.data["value"])
        await note(tx, event)

    first = asyncio.ensure_future(events.consume(target, [on("source.thing.changed", note)], logs=doors))
    async with running(events.relay(source)):
        await publish(source, ("a", 1))
        await until(lambda: _count(target, 1))
        async with running(events.consume(target, [on("source.thing.changed", elsewhere)], logs=doors)):
            await publish(source, ("a", 2))
            await until(lambda: _count(target, 2))
            assert other == []
            first.cancel()
            await asyncio.wait([first])
            await publish(source, ("a", 3))
            await until(lambda: _count(target, 3))
            assert other == [3]


async def test_events_that_come_in_numbers_are_taken_in_numbers_and_singly_when_one_fails(
    source: Kit, target: Kit
) -> None:
    sizes: list[int] = []

    async def many(tx: Transaction, found: Sequence[Event]) -> None:
        sizes.append(len(found))
        for event in found:
            await note(tx, event)
        if any(event.data["value"] == 7 for event in found):
            raise LookupError("seven")

    doors = OpenDoors(source=source.db)
    await publish(source, *((f"a{n}", n) for n in range(10)))
    async with running(events.relay(source)):
        await until(lambda: _stream_length(source, 10))
    async with running(events.consume(target, [on_many("source.thing.", many)], logs=doors)):
        await until(lambda: _count(target, 9))
    assert [value for _, value in await seen(target)] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert sizes[:11] == [10, *[1] * 10]


async def test_handlers_may_publish_and_effects_commit_together(source: Kit, target: Kit) -> None:
    async def answer(tx: Transaction, event: Event) -> None:
        await note(tx, event)
        await tx.publish("target.thing.answered", aggregate=event.aggregate, data=event.data)

    doors = OpenDoors(source=source.db, target=target.db)
    async with running(
        events.relay(source),
        events.relay(target),
        events.consume(target, [on("source.thing.changed", answer), on("target.thing.", note)], logs=doors),
    ):
        await publish(source, ("a", 1))
        await until(lambda: _count(target, 2))
    assert await seen(target) == [("a", 1), ("a", 1)]


async def test_cleaning_keeps_a_week_of_the_log(source: Kit) -> None:
    await publish(source, ("a", 1), ("a", 2))
    async with running(events.relay(source)):
        await until(lambda: _sent(source, 2))
    async with source.db.session() as connection:
        await connection.execute("update outbox set time = now() - interval '8 days' where position = 1")
        gone = await clean(connection)
        assert gone["outbox"] == 1
        assert await connection.fetchval("select array_agg(position) from outbox") == [2]


async def test_the_stream_is_trimmed_behind_its_slowest_reader(
    source: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["services.kit.events.relay"], "STREAM_AT_LEAST", 0)
    async with source.db.read() as connection:
        log = await connection.fetchval("select log from outbox_head")

    async def reached(reader: str, position: int) -> None:
        async with source.db.transaction() as tx:
            await note_reader(tx, reader, log, position)

    await reached("slow", 0)
    await reached("fast", 0)
    async with running(events.relay(source)):
        for end in (100, 200, 300):
            await publish(source, *(("a", n) for n in range(end - 100, end)))
            await until(partial(_stream_length, source, end))
        await reached("fast", 300)
        await reached("slow", 150)
        await until(lambda: _stream_length(source, 200))
        await asyncio.sleep(1.5)
        assert await _stream_length(source, 200), "what the slow one has not taken stays"
        await source.redis.flushall()
        await until(lambda: _stream_length(source, 150))
        await reached("slow", 300)
        await until(lambda: _stream_length(source, 0))
        # One that is away for a day finds the log at its door.
        await reached("slow", 0)
        async with source.db.transaction() as tx:
            await tx.execute(
                "update outbox_reader set heard_at = now() - interval '25 hours' where reader = 'slow'"
            )
        await publish(source, ("a", 301))
        await reached("fast", 301)
        await until(lambda: _stream_length(source, 0))
    async with source.db.session() as connection:
        assert [(one.reader, one.behind) for one in await lag(connection)] == [("fast", 0), ("slow", 301)]
        await connection.execute("update outbox set time = now() - interval '8 days'")
        assert (await clean(connection))["outbox"] == 0, "kept for whoever comes back within a month"
        await connection.execute("update outbox_reader set heard_at = now() - interval '31 days'")
        assert (await clean(connection))["outbox"] == 301


async def test_a_consumer_tells_its_source_how_far_it_is(source: Kit, target: Kit) -> None:
    async def told(position: int) -> bool:
        async with source.db.read() as connection:
            return [one.behind for one in await lag(connection)] == [30 - position]

    doors = OpenDoors(source=source.db)
    await publish(source, *(("a", n) for n in range(30)))
    async with running(
        events.relay(source), events.consume(target, [on("source.thing.changed", note)], logs=doors)
    ):
        await until(lambda: told(30))


async def _count(kit: Kit, expected: int) -> bool:
    return len(await seen(kit)) >= expected


async def _sent(kit: Kit, expected: int) -> bool:
    """Also noted as sent."""
    async with kit.db.read() as connection:
        return bool(await connection.fetchval("select sent = $1 from outbox_head", expected))


async def _stream_length(kit: Kit, expected: int) -> bool:
    entries: Any = await kit.redis.xrange(await stream(kit))
    return sum(len(orjson.loads(fields[b"events"])) for _, fields in entries) == expected


async def stream(kit: Kit) -> str:
    async with kit.db.read() as connection:
        return stream_of(kit.name, await connection.fetchval("select log from outbox_head"))


def _broker_that_is_not_there() -> Any:
    import redis.asyncio as redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return redis.Redis.from_url("redis://127.0.0.1:1/0", retry=Retry(NoBackoff(), 0))
