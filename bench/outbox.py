"""Events: from the commit of the fact to the committed effect in another service, on the suite as shipped.

Warnings are published in transport's outbox, 100 facts a commit, as fast as they go; notify takes them in
and makes a message of each, while the whole suite runs beside it. The brief's target is 8,000 a second; none
lost or doubled and each zone's in order is checked before anything is reported.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench._report import Size, run
from services.kit.app import Kit, open_kit
from services.kit.database import Database
from services.kit.events import Draft, publish_many
from services.kit.settings import Settings
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 8_000
EVENTS = {"small": 20_000, "full": 100_000}
A_COMMIT = 100
WARM_UP = 1_000
WRITERS = 2
ZONES = 200
TYPE = "transport.warning.raised"


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, running_suite(Path(folder)) as suite:
        return asyncio.run(measure(suite, EVENTS[size]))


async def measure(suite: Suite, events: int) -> dict[str, Any]:
    settings = settings_of(suite)
    transport, first = await open_kit("transport", settings=settings)
    notify, second = await open_kit("notify", settings=settings)
    async with first, second:
        await arrived(notify.db, await published(transport, WARM_UP, 0))
        began, before = time.perf_counter(), cpu_s(suite)
        publishing = asyncio.create_task(published(transport, events, WARM_UP))
        total = await publishing
        published_s = time.perf_counter() - began
        await arrived(notify.db, total)
        seconds, after = time.perf_counter() - began, cpu_s(suite)
        await check(notify.db, total)
    figures = {
        "events_per_s": events / seconds,
        "published_per_s": events / published_s,
        "events": events,
        # What a busy machine does not change: the processor time of one event, by process.
        **{f"{name}_cpu_us_per_event": 1e6 * (after[name] - before[name]) / events for name in before},
    }
    return {"figures": figures, "peer": {"events_per_s": LIMIT_PER_S}}


def cpu_s(suite: Suite) -> dict[str, float]:
    """Processor time used so far by the suite's processes, with those they started."""
    found = {}
    for name in ("app", "postgres", "valkey"):
        whole = psutil.Process(suite.child(name))
        times = [process.cpu_times() for process in (whole, *whole.children(recursive=True))]
        found[name] = sum(t.user + t.system for t in times)
    return found


def settings_of(suite: Suite) -> Settings:
    """What the suite's own application was started with, read from its environment."""
    raw = Path(f"/proc/{suite.child('app')}/environ").read_bytes()
    found = dict(item.split("=", 1) for item in raw.decode().split("\0") if item.startswith("HUIMIN_"))
    return Settings(
        home=suite.home.path,
        database_url=found["HUIMIN_DATABASE_URL"],
        redis_url=found["HUIMIN_REDIS_URL"],
        secret=found["HUIMIN_SECRET"],
        public_url=found["HUIMIN_PUBLIC_URL"],
        log_level="WARNING",
    )


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
    data = {"zone": zone, "number": number, "level": "orange", "occupancy": number, "capacity": 30_000}
    return Draft(TYPE, zone, data, area="330106")


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
            "select (data->>'number')::bigint as number from message where data ? 'number' order by seq"
        )
    numbers = [row["number"] for row in rows]
    assert len(numbers) == events, f"{len(numbers)} effects of {events} events"
    last: dict[int, int] = {}
    for number in numbers:
        assert last.get(number % ZONES, -1) < number, f"zone {number % ZONES}: {number} out of order"
        last[number % ZONES] = number


if __name__ == "__main__":
    run("outbox", main)
