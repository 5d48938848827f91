"""Events: from the commit of the fact to the committed effect in another service, and to a live stream.

On the suite as shipped, all of it running. Warnings are published in transport's outbox, 100 facts a commit,
as fast as they go; notify takes them in and makes a message of each: 8,000 a second is the limit. At 1,000 a
second a stream's subscriber is told within 100 ms of the commit (p99). A thousand streams that are told
nothing take less than 150 MB (proportional memory) of the application. None lost or doubled, and each zone's
in order, is checked before anything is reported.
"""

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench._report import Size, run
from services.kit.app import Kit, open_kit
from services.kit.database import Database
from services.kit.events import Draft, publish_many
from services.stack.processes import memory_mb
from tests.support.events import crowd_warning
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 8_000
LIMIT_MS = 100
LIMIT_MB = 150
EVENTS = {"small": 20_000, "full": 100_000}
LIVE_S = {"small": 5, "full": 30}
LIVE_PER_S = 1_000
LIVE_A_COMMIT = 10
STREAMS = 1_000
REST_S = 10.0
A_COMMIT = 100
WARM_UP = 1_000
WRITERS = 2
ZONES = 200
TYPE = "transport.warning.raised"


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, running_suite(Path(folder)) as suite:
        return asyncio.run(measure(suite, size))


async def measure(suite: Suite, size: Size) -> dict[str, Any]:
    settings = suite.settings()
    transport, first = await open_kit("transport", settings=settings)
    notify, second = await open_kit("notify", settings=settings)
    async with first, second:
        await arrived(notify.db, await published(transport, WARM_UP, 0))
        await asyncio.sleep(REST_S)
        idle = await idle_streams(suite)
        live = await live_stream(suite, transport, WARM_UP, LIVE_S[size] * LIVE_PER_S)
        first_number = WARM_UP + LIVE_S[size] * LIVE_PER_S
        figures = await throughput(suite, transport, notify, first_number, EVENTS[size])
        await check(notify.db, first_number + EVENTS[size])
    peer = {
        "events_per_s": LIMIT_PER_S,
        "commit_to_stream_p99_ms": f"limit {LIMIT_MS}",
        "idle_streams_mb": f"limit {LIMIT_MB}",
    }
    return {"figures": {**figures, **live, **idle}, "peer": peer}


async def throughput(suite: Suite, transport: Kit, notify: Kit, first: int, events: int) -> dict[str, float]:
    began, before = time.perf_counter(), cpu_s(suite)
    total = await published(transport, events, first)
    published_s = time.perf_counter() - began
    await arrived(notify.db, total)
    seconds, after = time.perf_counter() - began, cpu_s(suite)
    return {
        "events_per_s": events / seconds,
        "published_per_s": events / published_s,
        "events": events,
        # What a busy machine does not change: the processor time of one event, by process.
        **{f"{name}_cpu_us_per_event": 1e6 * (after[name] - before[name]) / events for name in before},
    }


async def idle_streams(suite: Suite) -> dict[str, float]:
    """What the application's process grows by."""
    before = memory_mb(suite.child("app"))
    async with http_client(suite) as http:
        streams = [
            await http.get(f"{suite.address}/notify/stream?topic=crowd-warnings") for _ in range(STREAMS)
        ]
        for stream in streams:
            assert stream.status == 200, await stream.text()
            await stream.content.readuntil(b"\n\n")
        await asyncio.sleep(REST_S)
        grown = memory_mb(suite.child("app")) - before
        for stream in streams:
            stream.close()
    return {"idle_streams": STREAMS, "idle_streams_mb": grown}


async def live_stream(suite: Suite, transport: Kit, first: int, events: int) -> dict[str, float]:
    """From each commit's end to its events' arrival at a subscriber, both by this process's clock."""
    committed: dict[int, float] = {}
    took: list[float] = []

    async def subscribe(ready: asyncio.Event) -> None:
        async with http_client(suite) as http:
            stream = await http.get(f"{suite.address}/notify/stream?topic=crowd-warnings")
            async for line in stream.content:
                ready.set()
                if line.startswith(b"data: "):
                    now = time.perf_counter()
                    number = json.loads(line[6:])["data"]["people"]
                    took.append(now - committed[number])
                    if len(took) == events:
                        return

    ready = asyncio.Event()
    subscriber = asyncio.create_task(subscribe(ready))
    await ready.wait()
    began = time.perf_counter()
    for start in range(0, events, LIVE_A_COMMIT):
        await asyncio.sleep(began + start / LIVE_PER_S - time.perf_counter())
        numbers = range(first + start, first + start + LIVE_A_COMMIT)
        async with transport.db.transaction() as tx:
            await publish_many(tx, [draft(n) for n in numbers])
        committed |= dict.fromkeys(numbers, time.perf_counter())
    rate = events / (time.perf_counter() - began)
    await asyncio.wait_for(subscriber, 60)
    percentiles = statistics.quantiles(took, n=100)
    return {
        "live_events_per_s": rate,
        "commit_to_stream_p50_ms": percentiles[49] * 1000,
        "commit_to_stream_p99_ms": percentiles[98] * 1000,
    }


def http_client(suite: Suite) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"authorization": f"Bearer {suite.token('site')}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
    )


def cpu_s(suite: Suite) -> dict[str, float]:
    """Processor time used so far by the suite's processes, with those they started."""
    found = {}
    for name in ("app", "postgres", "valkey"):
        whole = psutil.Process(suite.child(name))
        times = [process.cpu_times() for process in (whole, *whole.children(recursive=True))]
        found[name] = sum(t.user + t.system for t in times)
    return found


async def published(transport: Kit, events: int, first: int) -> int:
    """Publishes from several writers, each with zones of its own; returns how many there are then."""

    async def writer(place: int) -> None:
        for start in range(place * A_COMMIT, events, WRITERS * A_COMMIT):
            numbers = range(first + start, first + min(start + A_COMMIT, events))
            async with transport.db.transaction() as tx:
                await publish_many(tx, [draft(n) for n in numbers])

    await asyncio.gather(*(writer(place) for place in range(WRITERS)))
    return first + events


def draft(number: int) -> Draft:
    zone = f"zone/{number % ZONES:04}"
    return Draft(TYPE, zone, crowd_warning(zone=zone, people=number), area="330106")


async def arrived(notify: Database, events: int) -> None:
    query = "select position from inbox_cursor where source = 'transport'"
    async with asyncio.timeout(300), notify.session() as connection:
        while True:
            if (await connection.fetchval(query) or 0) >= events:
                return
            await asyncio.sleep(0.02)


async def check(notify: Database, events: int) -> None:
    """Every event once, and each zone's in order, before anything is reported."""
    async with notify.session() as connection:
        rows = await connection.fetch(
            """select (data->>'people')::bigint as number from message where topic = 'crowd-warnings'
               order by seq"""
        )
    numbers = [row["number"] for row in rows]
    assert len(numbers) == events, f"{len(numbers)} effects of {events} events"
    last: dict[int, int] = {}
    for number in numbers:
        assert last.get(number % ZONES, -1) < number, f"zone {number % ZONES}: {number} out of order"
        last[number % ZONES] = number


if __name__ == "__main__":
    run("outbox", main)
