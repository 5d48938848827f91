"""Operations: what an operator sees of a suite in trouble, and what a button of the page puts right.

Everything goes through the public doors and the page itself; the trouble is made where trouble comes from:
in the database, and by ending a process.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from services.kit.database import service_url
from services.kit.settings import Settings
from services.stack.house import owner
from tests.gateway.visitor import PASSWORD, Visitor
from tests.identity.parties import Machine
from tests.support.apart import Apart
from tests.support.suite import Suite, running_suite

HERE = "/console/operations"
BREAK = """
create function broken() returns trigger language plpgsql as
    $$ begin raise exception 'this table is being repaired'; end $$;
create trigger broken before insert on message execute function broken();
"""


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: its notices are held up."""
    folder = public_folders / "operations"
    folder.mkdir()
    with running_suite(folder) as found:
        found.account("operator", kind="staff", roles=["operator"], areas=["330100"])
        found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        yield found


class Operator(Visitor):
    async def page(self) -> str:
        answer = await self.get(HERE, lang="en")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def part(self, id: str) -> str:
        found = re.search(rf'<section aria-labelledby="{id}">(.*?)</section>', await self.page(), re.S)
        assert found, id
        return found[1]

    async def until(self, id: str, *words: str, gone: bool = False, seconds: float = 60.0) -> str:
        """A part of the page once it says all of these words, or none of them any more."""
        end = time.monotonic() + seconds
        while True:
            text = await self.part(id)
            if (all if not gone else any)(word in text for word in words) is not gone:
                return text
            assert time.monotonic() < end, f"{words} {'stay' if gone else 'never come'} in\n{text}"
            await asyncio.sleep(0.5)


@pytest.fixture
async def operator(suite: Suite) -> AsyncIterator[Operator]:
    async with httpx.AsyncClient(base_url=suite.base_url, timeout=60.0) as http:
        visitor = Operator(http)
        assert (await visitor.sign_in("operator", at=HERE, password="demo-password-1")).status_code == 200
        yield visitor


def settings_of(suite: Suite) -> Settings:
    """What its application was started with."""
    environment = Path(f"/proc/{suite.child('app')}/environ").read_text().split("\0")
    said = dict(one.split("=", 1) for one in environment if "=" in one)
    return Settings(database_url=said["HUIMIN_DATABASE_URL"], secret=said["HUIMIN_SECRET"])


@asynccontextmanager
async def notify_at(suite: Suite) -> AsyncIterator[Any]:
    """The database as notify has it."""
    connection = await asyncpg.connect(service_url(settings_of(suite), "notify"))
    try:
        yield connection
    finally:
        await connection.close()


def a_crowd(suite: Suite) -> str:
    """Gates count a zone over its first level; the zone's id."""
    organisation, zone = f"scenic-{uuid4().hex[:8]}", f"ops-{uuid4().hex[:12]}"
    policy = {"capacity": 10, "dwell_up": 1, "dwell_down": 5, "hysteresis": 10, "red_at_once": True}
    name = {"zh": "断桥", "en": "Bridge"}
    with suite.client("site", organisation) as site:
        for path, body in (
            (f"zones/{zone}", {"name": name, "area": "330106", "effective_area_m2": 500}),
            (f"zones/{zone}/capacity-policy", policy),
        ):
            assert site.put(f"/transport/{path}", json=body).status_code == 201
        at = datetime.now(UTC).replace(second=0, microsecond=0)
        counts = [{"time": (at - timedelta(minutes=5 - n)).isoformat(), "count": 9} for n in range(5)]
        assert site.post(f"/transport/zones/{zone}/counts", json=counts).status_code == 200
    return zone


async def test_a_notice_that_could_not_be_taken_in_is_by_a_button(suite: Suite, operator: Operator) -> None:
    async with notify_at(suite) as db:
        await db.execute(BREAK)
        zone = await asyncio.to_thread(a_crowd, suite)
        text = await operator.until("letters", "transport.warning.raised")
        assert "this table is being repaired" in text
        assert "断桥" not in text
        told = "select topic, recipient, event_id from message where strpos(data::text, $1) > 0"
        assert await db.fetch(told, zone) == []
        await db.execute("drop trigger broken on message; drop function broken")
        [(service, id), *_] = re.findall(
            r'name="service" value="(\w+)"><input [^>]*name="id" value="(\d+)', text
        )
        sent = await operator.send(f"{HERE}/replay", {"service": service, "id": id}, at=HERE)
        assert sent.headers["location"] == f"{HERE}#letters"
        await operator.until("letters", "transport.warning", gone=True)
        messages = await db.fetch(told, zone)
        assert len(messages) == len(set(messages)) >= 1
        assert await db.fetchval("select count(*) from dead_letter") == 0


async def test_a_senders_refused_pushes_are_as_many_as_it_was_told(suite: Suite, operator: Operator) -> None:
    told = []
    with suite.client("gate", "station-east") as gate:
        for body in (b"{", b"[]", b'[{"sensor": "nowhere"}]', b"{"):
            told.append(gate.post("/transport/readings", content=body).status_code)
    refused = sum(status >= 400 for status in told)
    assert refused >= 3
    said = f'data-label="Refused" class="number">{refused}</td>'
    text = await operator.until("pushes", "station-east", said)
    [row] = re.findall(r"<tr>\s*<th scope=\"row\">station-east.*?</tr>", text, re.S)
    assert said in row
    assert 'data-label="Failed" class="number">0</td>' in row


async def test_a_backup_that_is_overdue_is_wrong(suite: Suite, operator: Operator) -> None:
    def told(kind: str, *, days: float, ok: bool) -> None:
        at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        body = {"id": str(uuid4()), "at": at, "kind": kind, "ok": ok, "seconds": 4.0, "rto_s": 6.0}
        suite.as_stack("POST", "audit", "/audit/outcomes", body)

    await asyncio.to_thread(told, "backup", days=4, ok=True)
    await asyncio.to_thread(told, "drill", days=0.1, ok=False)
    text = await operator.until("saved", "4 d ago", "failed")
    assert text.count('class="level wrong"') == 2
    await asyncio.to_thread(told, "backup", days=0, ok=True)
    await asyncio.to_thread(told, "drill", days=0, ok=True)
    text = await operator.until("saved", "went well", "6 s")
    await operator.until("saved", 'class="level wrong"', gone=True)


async def test_an_auditor_may_neither_look_nor_replay(suite: Suite) -> None:
    async with httpx.AsyncClient(base_url=suite.base_url, timeout=60.0) as http:
        visitor = Visitor(http)
        await visitor.sign_in("auditor", password="demo-password-1")
        assert (await visitor.get(HERE)).status_code == 403
        sent = await visitor.send(f"{HERE}/replay", {"service": "notify", "id": "1"})
        assert sent.status_code == 403
    for question in (
        "{ operations { service } }",
        '{ deadLetters(service: "notify") { nodes { id } } }',
        'mutation { replayDeadLetter(service: "notify", id: "1") }',
    ):
        answer = await asyncio.to_thread(suite.graphql, question, as_="auditor")
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", question


class Routed(httpx.AsyncBaseTransport):
    """One origin over services that run apart, as the reverse proxy makes it."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        service = owner(request.url.path)
        assert service is not None
        request.url = request.url.copy_with(port=service.port(self._base))
        return await self._inner.handle_async_request(request)


@pytest.mark.chaos
@pytest.mark.long
async def test_a_service_that_is_killed_shows_as_down_and_comes_back(
    apart: Callable[..., Awaitable[Apart]],
) -> None:
    house = await apart("identity", "transport", "gateway", demo=True)
    settings = Settings(secret=house.secret, port=house.base)
    async with httpx.AsyncClient(transport=Routed(house.base), base_url=house.address, timeout=60.0) as http:
        granted = (await Machine.service(settings, "stack").token(http)).json()
        account = {"kind": "staff", "username": "op", "password": PASSWORD, "roles": ["operator"]}
        headers = {"authorization": f"Bearer {granted['access_token']}"}
        answer = await http.post("/identity/accounts", json={**account, "areas": ["330100"]}, headers=headers)
        assert answer.status_code in {200, 201}, answer.text
        operator = Operator(http)
        await operator.sign_in("op", at=HERE)
        up = await operator.until("processes", "Transport and tourism")
        assert down(up) == {"Exchange", "Access log", "Delivery", "Health", "Social security", "Education"}
        house.kill("transport")
        await operator.until("now", "Transport and tourism does not answer")
        assert "Transport and tourism" in down(await operator.part("processes"))
        assert "Identity" not in down(await operator.part("processes"))
        house.start("transport")
        await operator.until("now", "Transport and tourism does not answer", gone=True)


def down(text: str) -> set[str]:
    rows = re.findall(
        r'<tr[^>]*>\s*<th scope="row"><span class="dot.*?</span> (.*?)</th>(.*?)</tr>', text, re.S
    )
    return {name for name, row in rows if "does not answer" in row}
