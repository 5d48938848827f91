"""/console/operations: both languages, whom it opens to, a dead letter tried again, a service down."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.pages.operations.view import View
from gateway.pages.rendering import texts
from services.kit.events.dead_letters import park
from services.kit.events.log import Event
from tests.gateway.visitor import Pages, Visitor, pages_of
from tests.support.databases import TestServers
from tests.support.issuer import Issuer

HERE = "/console/operations"
SECTOR_ID = "h1_" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CITIZEN = "330106198503140017"
SECRET_VALUE = "what the event says of a person"


@pytest.fixture(scope="module")
async def pages(servers: TestServers, issuer: Issuer) -> AsyncIterator[Pages]:
    async with pages_of(("identity", "transport", "gateway"), servers, issuer) as found:
        await found.account("operator", kind="staff", roles=["operator"], areas=["330100"])
        await found.account("auditor", kind="staff", roles=["auditor"], areas=["330100"])
        yield found


async def a_letter(pages: Pages, reason: str = "LookupError: not there") -> UUID:
    """An event from a source that does not run here: nothing takes it up, it waits for a person."""
    event = Event(
        id=uuid4(),
        type="elsewhere.thing.changed",
        source="health",
        aggregate=f"thing/{SECTOR_ID}",
        seq=1,
        time=datetime.now(UTC),
        area=None,
        data={"note": SECRET_VALUE},
        traceparent=None,
    )
    async with pages.house.kit("transport").db.transaction() as tx:
        await park(tx, event, attempts=12, reason=reason)
        await tx.execute("update dead_letter set next_at = null where event_id = $1", event.id)
    return event.id


async def shown(visitor: Visitor, words: str, lang: str = "en", seconds: float = 60.0) -> str:
    """The page, once it says these words."""
    end = time.monotonic() + seconds
    while True:
        text = (await visitor.get(HERE, lang=lang)).text
        if words in text:
            return text
        assert time.monotonic() < end, f"{words!r} never stood in\n{text}"
        await asyncio.sleep(0.5)


def part(text: str, id: str) -> str:
    found = re.search(rf'<section aria-labelledby="{id}">(.*?)</section>', text, re.S)
    assert found, id
    return found[1]


async def test_the_page_reads_in_both_languages(pages: Pages) -> None:
    visitor = await pages.signed_in("operator", at=HERE)
    english = await shown(visitor, "Processes and heartbeats")
    chinese = (await visitor.get(HERE, lang="zh")).text
    for id, zh, en in (
        ("now", "当前", "Now"),
        ("processes", "进程与心跳", "Processes and heartbeats"),
        ("streams", "事件与任务", "Events and jobs"),
        ("letters", "滞留事件", "Dead letters"),
        ("pushes", "各单位失败的推送", "Failed pushes by sender"),
        ("deliveries", "各渠道的通知", "Deliveries by channel"),
        ("datasets", "共享数据集的更新", "Freshness of shared datasets"),
        ("saved", "备份与演练", "Backups and drills"),
        ("disks", "磁盘", "Disks"),
    ):
        assert zh in part(chinese, id), id
        assert en in part(english, id), id
    assert "not done yet" in part(english, "saved")
    assert "GB" in part(english, "disks")


async def test_a_service_that_is_down_shows_as_down_and_the_others_still_answer(pages: Pages) -> None:
    visitor = await pages.signed_in("operator", at=HERE)
    text = await shown(visitor, "Processes and heartbeats")
    rows = dict(re.findall(r'<th scope="row"><span class="dot.*?</span> (.*?)</th>(.*?)</tr>', text, re.S))
    assert "does not answer" in rows["Exchange"]
    for up in ("Identity", "Transport and tourism", "Gateway"):
        assert "does not answer" not in rows[up], up
    assert "Exchange does not answer" in part(text, "now")
    assert "交换平台没有应答" in (await visitor.get(HERE, lang="zh")).text.replace("数据共享交换", "交换平台")


async def test_a_dead_letter_is_tried_again_by_a_button(pages: Pages) -> None:
    event = await a_letter(pages, f"LookupError: {SECTOR_ID} of {CITIZEN} is not there")
    visitor = await pages.signed_in("operator", at=HERE)
    text = part(await shown(visitor, "elsewhere.thing.changed"), "letters")
    assert "waits for a person" in text
    assert "LookupError" in text
    for hidden in (SECTOR_ID, CITIZEN, SECRET_VALUE):
        assert hidden not in text
    [id] = re.findall(r'name="id" value="(\d+)"', text)
    answer = await visitor.send(f"{HERE}/replay", {"service": "transport", "id": id}, at=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HERE}#letters")
    assert "It is tried again at once." in (await visitor.get(HERE, lang="en")).text
    async with pages.house.kit("transport").db.transaction() as tx:
        row = await tx.fetchrow("delete from dead_letter where event_id = $1 returning *", event)
    assert row is not None
    assert (row["attempts"], row["next_at"] is None) == (0, False)
    gone = await visitor.send(f"{HERE}/replay", {"service": "transport", "id": id}, at=HERE)
    assert gone.status_code == 303
    assert 'class="notice bad"' in (await visitor.get(HERE, lang="en")).text


@pytest.mark.parametrize("fields", [{"service": "nowhere", "id": "1"}, {"service": "transport", "id": "x"}])
async def test_what_is_no_letter_is_said(pages: Pages, fields: dict[str, str]) -> None:
    visitor = await pages.signed_in("operator", at=HERE)
    assert (await visitor.send(f"{HERE}/replay", fields, at=HERE)).status_code == 303
    assert 'class="notice bad"' in (await visitor.get(HERE, lang="en")).text


async def test_a_senders_failed_pushes_are_drawn(pages: Pages) -> None:
    gate = await pages.house.client(
        "transport", organisation="<b>station", subject="gate-7", scopes="transport:readings:write"
    )
    for _ in range(3):
        assert (await gate.post("/transport/readings", content=b"{")).status_code == 400
    visitor = await pages.signed_in("operator", at=HERE)
    text = part(await shown(visitor, "3 × POST /transport/readings"), "pushes")
    assert "&lt;b&gt;station" in text
    assert "POST /transport/readings → 400 malformed_json" in text
    assert '<svg class="spark watch"' in text
    assert re.search(r"each hour: 0[0, ]*, 3\"", text), re.findall(r"each hour[^>]*", text)


async def test_it_opens_to_operators_alone(pages: Pages) -> None:
    auditor = await pages.signed_in("auditor")
    assert (await auditor.get(HERE)).status_code == 403
    assert HERE not in (await auditor.get("/console")).text
    sent = await auditor.send(f"{HERE}/replay", {"service": "transport", "id": "1"})
    assert sent.status_code == 403
    nobody = await pages.visitor()
    assert "password" in (await nobody.get(HERE)).text


@pytest.mark.parametrize(("who", "code"), [(None, "UNAUTHENTICATED"), ("auditor", "FORBIDDEN")])
async def test_the_field_is_for_operators_alone(pages: Pages, who: str | None, code: str) -> None:
    headers = {}
    if who is not None:
        token = pages.house.token("gateway", kind="staff", subject=who, roles=[who], scopes="audit:read")
        headers = {"authorization": f"Bearer {token}"}
    client = await pages.house.client("gateway", scopes=None, headers=headers)
    answer = (await client.post("/graphql", json={"query": "{ operations { service answers } }"})).json()
    assert answer["errors"][0]["extensions"]["code"] == code


# --- what the figures mean ---------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def fine() -> dict[str, Any]:
    """A service with which all is well."""
    now = datetime.now(UTC).isoformat()
    return {
        "service": "transport",
        "answers": True,
        "detail": None,
        "checks": [{"name": "database", "ok": True, "detail": "ok"}],
        "processes": [{"role": "relay", "process": "h:1", "alive": 1, "silentS": 3.0}],
        "disks": [{"name": "database", "freeBytes": 8e11, "totalBytes": 1e12, "reserveBytes": 2.56e8}],
        "relay": {"waiting": 0, "oldestS": 0.0},
        "readers": [{"reader": "notify", "behind": 0, "heardAt": now}],
        "deadLetters": {"waiting": 0, "parked": 0, "oldestAt": None},
        "jobs": {"queued": 0, "running": 0, "failed": 0, "overdueS": 0.0},
        "failedPushes": [],
        "deliveries": [a_channel()],
        "datasets": [{"dataset": "a.b", "titleZh": "甲", "titleEn": "A", "freshAt": now, "late": False}],
        "outcomes": [outcome("backup"), outcome("drill")],
    }


def a_channel(**said: Any) -> dict[str, Any]:
    counts = {"raised": 4, "sent": 4, "delivered": 4, "acknowledged": 0, "waiting": 0, "dead": 0}
    times = {"sentP50S": 0.1, "sentP95S": 0.2, "deliveredP50S": 0.4, "deliveredP95S": 2.0}
    return {"channel": "email", **counts, **times, **said}


def outcome(kind: str, *, ok: bool = True, days: float = 0.1) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    return {"kind": kind, "at": at, "ok": ok, "seconds": 4.0, "rpoS": None, "rtoS": None, "bytes": None}


def alerts(change: Change) -> list[tuple[str, str]]:
    service = fine()
    change(service)
    return [(level, where) for level, _, where in View([service], texts("operations", "en"), "en").alerts()]


def test_where_all_is_well_nothing_is_said() -> None:
    assert alerts(lambda service: None) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.update(answers=False, processes=[]), ("wrong", "processes")),
        (lambda s: s["checks"][0].update(ok=False), ("wrong", "processes")),
        (lambda s: s["processes"][0].update(silentS=31.0), ("watch", "processes")),
        (lambda s: s["processes"][0].update(silentS=61.0), ("wrong", "processes")),
        (lambda s: s["processes"][0].update(silentS=None), ("wrong", "processes")),
        (lambda s: s["relay"].update(waiting=1, oldestS=6.0), ("watch", "streams")),
        (lambda s: s["readers"][0].update(behind=20_001), ("wrong", "streams")),
        (lambda s: s["jobs"].update(overdueS=601.0), ("wrong", "streams")),
        (lambda s: s["deadLetters"].update(waiting=1), ("wrong", "letters")),
        (lambda s: s.update(deliveries=[a_channel(dead=1)]), ("wrong", "deliveries")),
        (lambda s: s.update(deliveries=[a_channel(deliveredP95S=61.0)]), ("watch", "deliveries")),
        (lambda s: s["datasets"][0].update(late=True), ("watch", "datasets")),
        (lambda s: s["outcomes"].pop(), ("watch", "saved")),
        (lambda s: s.update(outcomes=[outcome("backup", days=1.5), outcome("drill")]), ("watch", "saved")),
        (lambda s: s.update(outcomes=[outcome("backup", days=3.5), outcome("drill")]), ("wrong", "saved")),
        (lambda s: s.update(outcomes=[outcome("backup"), outcome("drill", ok=False)]), ("wrong", "saved")),
        (lambda s: s["disks"][0].update(freeBytes=2e8), ("wrong", "disks")),
        (lambda s: s["disks"][0].update(freeBytes=4e10), ("watch", "disks")),
    ],
)
def test_what_is_amiss_is_said_at_its_place(change: Change, expected: tuple[str, str]) -> None:
    assert alerts(change) == [expected]


def test_the_worst_is_said_first() -> None:
    def change(service: dict[str, Any]) -> None:
        service["relay"]["oldestS"] = 6.0
        service["disks"][0]["freeBytes"] = 1.0

    assert [level for level, _ in alerts(change)] == ["wrong", "watch"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.34, "340 ms"),
        (119.4, "119 s"),
        (180, "3 min"),
        (7300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_a_length_of_time_is_said_shortly(seconds: float | None, said: str) -> None:
    assert View([], texts("operations", "en"), "en").span(seconds) == said
