"""A crowd gathers: from the gates' counts to the warning on a screen, and who takes it in hand.

Everything goes through the public doors of the real suite, as the organisations and people concerned.
"""

import asyncio
import csv
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect

from city.doors import Caller, Credentials
from city.replay import Replay
from services.stack.home import ROOT
from tests.support.suite import Suite
from tests.transport.reference import episodes

TAXI = ROOT.parent / "shared" / "data" / "nab" / "nyc_taxi.csv"
MINUTE = timedelta(minutes=1)
TOWNSHIPS = itertools.count(500)
LEVELS = ("NORMAL", "YELLOW", "ORANGE", "RED")
SUBSCRIPTION = """
subscription Crowds($area: String, $after: String) {
  crowdWarnings(area: $area, after: $after) {
    id cursor happened at zoneId warningId episode revision level previous people capacity textZh textEn
    zone { id level }
  }
}
"""
ACKNOWLEDGE = """
mutation Take($id: ID!, $note: String) {
  acknowledgeWarning(id: $id, note: $note) { id level acknowledgement { at organisation note } }
}
"""


class Screen:
    """A screen that shows an area's warnings: keeps the last cursor and comes back with it."""

    def __init__(self, suite: Suite, area: str) -> None:
        self._address = suite.address.replace("http://", "ws://") + "/graphql"
        self._area = area
        # From the beginning: on a busy machine "from now on" may come after what is to be seen.
        self.cursor = "0"
        self.shown: list[dict[str, Any]] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncGenerator[dict[str, Any], None]]:
        protocol: Any = "graphql-transport-ws"
        async with connect(self._address, subprotocols=[protocol]) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            variables = {"area": self._area, "after": self.cursor}
            payload = {"query": SUBSCRIPTION, "variables": variables}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            messages = self._messages(socket)
            yield messages
            await messages.aclose()

    async def _messages(self, socket: Any) -> AsyncGenerator[dict[str, Any], None]:
        async for raw in socket:
            message = json.loads(raw)
            if message["type"] == "ping":
                await socket.send(json.dumps({"type": "pong"}))
                continue
            assert message["type"] == "next", message
            assert not message["payload"].get("errors"), message
            event: dict[str, Any] = message["payload"]["data"]["crowdWarnings"]
            self.cursor = event["cursor"]
            self.shown.append(event)
            yield event


class Gates:
    """A scenic area of an organisation of its own: its zone, its gates, its stewards who count."""

    def __init__(self, suite: Suite, site: httpx.AsyncClient, gate: httpx.AsyncClient, area: str) -> None:
        self.suite = suite
        self.zone = f"journey-{uuid4().hex[:12]}"
        self.area = area
        self._site = site
        self._gate = gate
        self._seq = 0

    async def open(self, *, capacity: int) -> None:
        name = {"zh": "断桥残雪", "en": "Broken Bridge"}
        policy = {
            "capacity": capacity,
            "dwell_up": 2,
            "dwell_down": 5,
            "hysteresis": 10,
            "red_at_once": False,
        }
        for path, body in (
            (f"zones/{self.zone}", {"name": name, "area": self.area, "effective_area_m2": 500}),
            (f"zones/{self.zone}/capacity-policy", policy),
        ):
            answer = await self._site.put(f"/transport/{path}", json=body)
            assert answer.status_code == 201, answer.text
        await self.sensor(period_seconds=60)

    async def sensor(self, *, period_seconds: int) -> None:
        body = {"zone_to": self.zone, "period_seconds": period_seconds}
        answer = await self._site.put(f"/transport/sensors/{self.zone}-gate", json=body)
        assert answer.status_code in {200, 201}, answer.text

    def reading(self, at: datetime, n_in: int, n_out: int = 0) -> dict[str, Any]:
        self._seq += 1
        return {
            "sensor": f"{self.zone}-gate",
            "seq": self._seq,
            "start": (at - MINUTE).isoformat(),
            "end": at.isoformat(),
            "in": n_in,
            "out": n_out,
        }

    async def push(self, *readings: dict[str, Any]) -> httpx.Response:
        return await self._gate.post("/transport/readings", json=list(readings))

    async def count(self, counts: list[tuple[datetime, int]]) -> None:
        body = [{"time": at.isoformat(), "count": people} for at, people in counts]
        answer = await self._site.post(f"/transport/zones/{self.zone}/counts", json=body)
        assert answer.status_code == 200, answer.text

    async def seen(self) -> dict[str, Any]:
        """The zone as anybody sees it."""
        query = """query Z($id: ID!) { zone(id: $id) {
            occupancy capacity share density level quality silentSensors
            windows(first: 100) { nodes { peopleIn peopleOut } }
            warnings { nodes { id level state people acknowledgement { organisation by } } }
        } }"""
        answer = await asyncio.to_thread(self.suite.graphql, query, {"id": self.zone})
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]["zone"]
        return found


@pytest.fixture
async def gates(suite: Suite) -> AsyncIterator[Gates]:
    organisation = f"scenic-{uuid4().hex[:8]}"

    def headers(kind: str) -> dict[str, str]:
        return {"authorization": f"Bearer {suite.token(kind, organisation)}"}

    # An area of its own, below the district: other journeys' warnings are not ours.
    area = f"330106{next(TOWNSHIPS)}"
    async with (
        httpx.AsyncClient(base_url=suite.address, headers=headers("site"), timeout=60) as site,
        httpx.AsyncClient(base_url=suite.address, headers=headers("gate"), timeout=60) as gate,
    ):
        yield Gates(suite, site, gate, area)


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0)


async def test_a_crowd_is_seen_warned_of_taken_in_hand_and_gone(
    suite: Suite, gates: Gates, now: datetime
) -> None:
    await gates.open(capacity=100)
    suite.account(
        "journey-steward", kind="staff", roles=["flow_staff"], areas=["330106"], organisation="bureau"
    )
    screen = Screen(suite, gates.area)
    async with screen.connected() as messages, asyncio.timeout(60):
        told = asyncio.ensure_future(anext(messages))
        readings = [gates.reading(now - 10 * MINUTE, 40), gates.reading(now - 9 * MINUTE, 45)]
        for push in ([readings[0]], readings, [gates.reading(now - 8 * MINUTE, 1)]):
            assert (await gates.push(*push)).status_code == 200
        raised = await told
        assert (raised["happened"], raised["level"], raised["people"]) == ("RAISED", "YELLOW", 86)
        assert raised["textZh"] == "断桥残雪：黄色预警，86 人，为瞬时承载量 100 人的 86.0%"
        assert raised["zone"] == {"id": gates.zone, "level": "YELLOW"}

        zone = await gates.seen()
        assert (zone["occupancy"], zone["share"], zone["density"]) == (86, 0.86, 0.172)
        assert [w["peopleIn"] for w in zone["windows"]["nodes"]] == [1, 45, 40]
        [warning] = zone["warnings"]["nodes"]
        assert warning["acknowledgement"] is None

        variables = {"id": raised["warningId"], "note": "two more stewards"}
        answer = await asyncio.to_thread(suite.graphql, ACKNOWLEDGE, variables, as_="journey-steward")
        assert answer["data"]["acknowledgeWarning"]["acknowledgement"]["note"] == "two more stewards", answer
        assert (await anext(messages))["happened"] == "ACKNOWLEDGED"

        await gates.push(*(gates.reading(now - (7 - i) * MINUTE, 0, 86 if i == 0 else 0) for i in range(7)))
        ended = await anext(messages)
        assert (ended["happened"], ended["previous"], ended["level"]) == ("ENDED", "YELLOW", "NORMAL")
    [warning] = (await gates.seen())["warnings"]["nodes"]
    assert (warning["state"], warning["acknowledgement"]) == ("ENDED", {"organisation": "bureau", "by": None})


async def test_a_gate_that_misses_its_periods_makes_the_zone_uncertain_and_not_empty(
    gates: Gates, now: datetime
) -> None:
    await gates.open(capacity=100)
    await gates.push(gates.reading(now, 40))
    assert (await gates.seen())["quality"] == "GOOD"
    await gates.sensor(period_seconds=1)
    async with asyncio.timeout(60):
        while (zone := await gates.seen())["quality"] == "GOOD":  # noqa: ASYNC110 - time makes it so
            await asyncio.sleep(0.2)
    assert (zone["quality"], zone["silentSensors"], zone["occupancy"]) == (
        "DEGRADED",
        [f"{gates.zone}-gate"],
        40,
    )


async def test_a_push_with_one_reading_from_the_future_changes_nothing(gates: Gates, now: datetime) -> None:
    await gates.open(capacity=100)
    answer = await gates.push(gates.reading(now, 500), gates.reading(now + timedelta(hours=1), 1))
    assert (answer.status_code, answer.json()["code"]) == (422, "future_reading")
    assert answer.json()["errors"][0]["path"] == "$[1].end"
    zone = await gates.seen()
    assert (zone["occupancy"], zone["level"], zone["windows"]["nodes"]) == (None, "NORMAL", [])


async def test_a_warning_is_not_taken_in_hand_by_whoever_happens_to_see_it(
    suite: Suite, gates: Gates, now: datetime
) -> None:
    await gates.open(capacity=100)
    await gates.count([(now - 2 * MINUTE, 120), (now - MINUTE, 120)])
    [warning] = (await gates.seen())["warnings"]["nodes"]
    suite.account("journey-elsewhere", kind="staff", roles=["flow_staff"], areas=["320000"])
    suite.account("crowd-auditor", kind="staff", roles=["auditor"], areas=["330106"])
    for account in ("journey-elsewhere", "crowd-auditor", None):
        answer = await asyncio.to_thread(suite.graphql, ACKNOWLEDGE, {"id": warning["id"]}, as_=account)
        assert answer["data"]["acknowledgeWarning"] is None
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", answer
    [warning] = (await gates.seen())["warnings"]["nodes"]
    assert warning["acknowledgement"] is None


async def test_a_day_at_the_citys_sights_raises_what_the_city_says_and_no_near_miss(
    suite: Suite, tmp_path: Path
) -> None:
    """Several gates a zone, an inner one, a boat that lands for one minute, lunch between two crowds."""
    async with httpx.AsyncClient(base_url=suite.address, timeout=60) as http:

        async def caller(kind: str) -> Caller:
            client = await asyncio.to_thread(suite.client_file, kind, "sights")
            return Caller(http, Credentials(client.client_id, client.issuer, kind, client.jwk))

        memory = tmp_path / "reported.json"
        day = Replay(await caller("site"), await caller("gate"), seed=7, memory=memory)
        done = await day.all_at_once()
    begin = datetime.fromisoformat(done["begin"])
    expected = [
        (zone, begin + (step["after_minutes"] + 1) * MINUTE, step["kind"].upper(), step["level"].upper())
        for zone, truth in done["expected"].items()
        for step in truth["steps"]
    ]
    assert len({level for _, _, _, level in expected}) == 4, "the day has all levels, and the way back"
    screen = Screen(suite, "330000")
    async with screen.connected() as messages, asyncio.timeout(60):
        while len(told := [e for e in screen.shown if e["zoneId"] in done["expected"]]) < len(expected):
            await anext(messages)
    found = [(e["zoneId"], datetime.fromisoformat(e["at"]), e["happened"], e["level"]) for e in told]
    assert sorted(found) == sorted(expected)


@pytest.mark.skipif(not TAXI.exists(), reason=f"needs shared data: {TAXI.name}")
async def test_a_year_of_counts_raises_the_episodes_of_the_rule_and_each_is_told_once(
    suite: Suite, gates: Gates
) -> None:
    """The taxi demand of New York, 10,320 half hours, as if it were one zone's manual counts."""
    with TAXI.open() as lines:
        counts = [
            (datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC), int(row["value"]))
            for row in csv.DictReader(lines)
        ]
    expected = episodes(counts, 30_000, up=2, down=5, points=10)
    await gates.open(capacity=30_000)
    screen = Screen(suite, gates.area)

    async def look(number: int) -> None:
        async with screen.connected() as messages:
            while len(screen.shown) < number:
                await anext(messages)

    async def count_all() -> None:
        for start in range(0, len(counts), 1000):
            await gates.count(counts[start : start + 1000])

    # Away three times, once while counts go on coming in.
    async with screen.connected() as messages:
        first = asyncio.ensure_future(anext(messages))
        counting = asyncio.create_task(count_all())
        await first
    await asyncio.sleep(1.0)
    await look(len(expected) // 2)
    await counting
    await look(len(expected))

    shown = [
        (datetime.fromisoformat(e["at"]), LEVELS.index(e["previous"]), LEVELS.index(e["level"]))
        for e in screen.shown
    ]
    assert shown == expected
    assert len({e["id"] for e in screen.shown}) == len(expected)
    assert [e["revision"] == 1 for e in screen.shown] == [before == 0 for _, before, _ in expected]
