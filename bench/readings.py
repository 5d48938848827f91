"""Readings: from the request to the committed window, over HTTP, on the suite as it is shipped.

4,000 readings/s are 1,000 areas of 20 gates that report every 5 s; the issue asks for 5,000. Every figure is
taken from the sender's side, and the sums are compared with what was sent before anything is reported.
"""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson

from bench._report import Size, run
from tests.support.suite import Suite, running_suite

LIMIT_PER_S = 5_000
ZONES = 50
GATES = 4
BATCH = 1_000
WRITERS = 4
SINGLES = 400
READINGS = {"small": 60_000, "full": 400_000}


def edge_of(zone: int, gate: int) -> tuple[str | None, str]:
    """Most gates lead outside; the last one of each zone leads to the next zone, and moves people in both."""
    before = f"z{zone:03d}"
    return (before, f"z{(zone + 1) % ZONES:03d}") if gate == GATES - 1 else (None, before)


EDGES = {f"z{zone:03d}-g{gate}": edge_of(zone, gate) for zone in range(ZONES) for gate in range(GATES)}


@dataclass(frozen=True)
class Load:
    """What the gates have to say, and how many people the zones must have gained in the end."""

    readings: list[dict[str, Any]]
    people: Counter[str]

    @classmethod
    def of(cls, number: int, now: datetime) -> "Load":
        dice = random.Random(2026)
        sensors = list(EDGES)
        start = now - timedelta(seconds=5 * (number // len(sensors)) + 60)
        people: Counter[str] = Counter()
        readings = []
        for i in range(number):
            sensor = sensors[i % len(sensors)]
            at = start + timedelta(seconds=5 * (i // len(sensors)))
            n_in, n_out = dice.randrange(4), dice.randrange(4)
            before, after = EDGES[sensor]
            people[after] += n_in - n_out
            if before is not None:
                people[before] -= n_in - n_out
            readings.append(
                {
                    "sensor": sensor,
                    "seq": i // len(sensors),
                    "start": at.isoformat(),
                    "end": (at + timedelta(seconds=5)).isoformat(),
                    "in": n_in,
                    "out": n_out,
                }
            )
        return cls(readings, people)

    def batches(self) -> list[list[dict[str, Any]]]:
        return [self.readings[i : i + BATCH] for i in range(0, len(self.readings), BATCH)]


def main(size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        # The supervisor gives its servers to a plain user when it runs as root.
        Path(folder).chmod(0o755)
        with running_suite(Path(folder)) as suite:
            return asyncio.run(_measure(suite, Load.of(READINGS[size], datetime.now(UTC))))


async def _measure(suite: Suite, load: Load) -> dict[str, Any]:
    token = await asyncio.to_thread(suite.token, "site")
    figures: dict[str, Any] = {"readings": len(load.readings)}
    async with httpx.AsyncClient(
        base_url=suite.address, headers={"authorization": f"Bearer {token}"}, timeout=120
    ) as http:
        await set_up(http)
        bodies = [orjson.dumps(batch) for batch in load.batches()]
        seconds, waits = await _by_writers(bodies, lambda body: _push(http, body, "application/json"))
        figures |= {
            "json_batches_per_s": len(load.readings) / seconds,
            "batch_p50_ms": _quantile(waits, 0.5),
            "batch_p95_ms": _quantile(waits, 0.95),
        }
        await _check(suite, load)
        lines = [b"\n".join(map(orjson.dumps, batch)) + b"\n" for batch in load.batches()]
        seconds, _ = await _by_writers([lines], lambda parts: _stream(http, parts))
        figures["ndjson_duplicates_per_s"] = len(load.readings) / seconds
        await _check(suite, load)
        later = {"in": 0, "out": 0}
        singles = [orjson.dumps(r | later | {"seq": r["seq"] + 10**9}) for r in load.readings[-SINGLES:]]
        seconds, waits = await _by_writers(singles, lambda body: _push(http, body, "application/json"))
        figures |= {"single_per_s": SINGLES / seconds, "single_p95_ms": _quantile(waits, 0.95)}
        waits = await _warning_waits(suite, http)
        figures |= {
            "warning_to_screen_p50_ms": _quantile(waits, 0.5),
            "warning_to_screen_p95_ms": _quantile(waits, 0.95),
        }
    return {
        "figures": figures,
        "peer": {"json_batches_per_s": LIMIT_PER_S, "warning_to_screen_p95_ms": 2_000},
    }


async def set_up(http: httpx.AsyncClient) -> None:
    for number in range(ZONES):
        zone = f"z{number:03d}"
        body: dict[str, Any] = {"name": {"zh": zone, "en": zone}, "area": "330106"}
        (await http.put(f"/transport/zones/{zone}", json=body)).raise_for_status()
        policy = {"capacity": 10_000}
        (await http.put(f"/transport/zones/{zone}/capacity-policy", json=policy)).raise_for_status()
    for sensor, (before, after) in EDGES.items():
        edge = {"zone_from": before, "zone_to": after, "period_seconds": 5}
        (await http.put(f"/transport/sensors/{sensor}", json=edge)).raise_for_status()


async def _by_writers(
    parts: Sequence[Any], send: Callable[[Any], Awaitable[None]]
) -> tuple[float, list[float]]:
    """All parts, a few at a time: how long in all, and each."""
    waits: list[float] = []
    waiting = iter(parts)

    async def write() -> None:
        for part in waiting:
            began = time.perf_counter()
            await send(part)
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    return time.perf_counter() - began, waits


async def _push(http: httpx.AsyncClient, body: bytes, kind: str) -> None:
    answer = await http.post("/transport/readings", content=body, headers={"content-type": kind})
    answer.raise_for_status()


async def _stream(http: httpx.AsyncClient, parts: Sequence[bytes]) -> None:
    async def chunks() -> Any:
        for part in parts:
            yield part

    answer = await http.post(
        "/transport/readings", content=chunks(), headers={"content-type": "application/x-ndjson"}
    )
    answer.raise_for_status()
    receipt = answer.json()
    assert receipt["duplicates"] == receipt["received"], "a second sending must change nothing"


async def _check(suite: Suite, load: Load) -> None:
    query = "{ zones(first: 100) { nodes { id occupancy } } }"
    answer = await asyncio.to_thread(suite.graphql, query)
    found = {zone["id"]: zone["occupancy"] for zone in answer["data"]["zones"]["nodes"]}
    expected = {zone: max(0, people) for zone, people in load.people.items()}
    assert found == expected, "the windows do not add up to what was sent"


async def _warning_waits(suite: Suite, http: httpx.AsyncClient, number: int = 40) -> list[float]:
    """From a count that raises a warning to its message at a subscriber of the gateway, in seconds."""
    zones = [f"warned-{i}" for i in range(number)]
    for zone in zones:
        body = {"name": {"zh": zone, "en": zone}, "area": "330106"}
        (await http.put(f"/transport/zones/{zone}", json=body)).raise_for_status()
        policy = {"capacity": 10}
        (await http.put(f"/transport/zones/{zone}/capacity-policy", json=policy)).raise_for_status()
    told: dict[str, float] = {}
    listening = asyncio.create_task(_listen(suite, told, number))
    await asyncio.sleep(1.0)
    sent: dict[str, float] = {}
    for zone in zones:
        sent[zone] = time.perf_counter()
        count = {"time": datetime.now(UTC).isoformat(), "count": 10}
        (await http.post(f"/transport/zones/{zone}/counts", json=count)).raise_for_status()
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        await listening
    return [told[zone] - sent[zone] for zone in zones]


async def _listen(suite: Suite, told: dict[str, float], number: int) -> None:
    query = {"query": "subscription { crowdWarnings { zoneId } }"}
    headers = {"accept": "text/event-stream"}
    async with (
        httpx.AsyncClient(timeout=60) as http,
        http.stream("POST", f"{suite.address}/graphql", json=query, headers=headers) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data:") and '"zoneId"' in line:
                zone = orjson.loads(line[5:])["data"]["crowdWarnings"]["zoneId"]
                told[zone] = time.perf_counter()
                if len(told) == number:
                    return


def _quantile(values: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


if __name__ == "__main__":
    run("readings", main)
