"""The demo's duty room: who is told of a crowd, who after them, and one who takes it in hand."""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from services.stack.clients import ClientFile
from services.stack.demo.asking import words_of
from services.stack.terminal import Refusal

if TYPE_CHECKING:
    from services.stack.demo import Demo

PACE = 30
"""The demo does not wait for minutes: its second tier is told after 4 s, the third after 10."""
DRILL = "duty-drill"
WITHIN_S = 60.0
ROSTERS = "{ dutyRosters(first: 100) { nodes { id nameEn members { id name confirmed } duties { tier } } } }"
KEEP = "mutation K($id: ID, $input: DutyRosterInput!) { keepDutyRoster(id: $id, input: $input) { id } }"
JOIN = "mutation J($id: ID!, $name: String!) { joinDutyRoster(id: $id, name: $name) { id } }"
CONFIRM = "mutation C($id: ID!, $member: ID!) { confirmDutyMember(id: $id, member: $member) { id } }"
TOLD = """{ myNotifications(first: 20) {
  nodes { id type titleZh tier sentAt acknowledgedAt needsAcknowledgement } } }"""
TAKE = "mutation T($id: ID!) { acknowledgeNotification(id: $id) { acknowledgedAt } }"
WAITING = "{ escalations(openOnly: false, first: 20) { nodes { fact step nextAt acknowledgedAt titleZh } } }"


async def keep_roster(demo: "Demo", roster: dict[str, Any]) -> None:
    """Through the public doors, as each of them would: the lead keeps it, the others join; safe to repeat."""
    name, lead = roster["name"], roster["lead"]
    said = {"nameZh": name["zh"], "nameEn": name["en"], "area": roster["area"]}
    known = await _known(demo, lead, name["en"])
    if known is not None and known["duties"]:
        return
    id = known["id"] if known else (await _ask(demo, lead, KEEP, input=said))["id"]
    for one in roster["members"]:
        await _ask(demo, one["username"], JOIN, id=id, name=one["name"])
    members = {one["name"]: one["id"] for one in (await _known(demo, lead, name["en"]) or {})["members"]}
    for member in members.values():
        await _ask(demo, lead, CONFIRM, id=id, member=member)
    since = str(date(2020, 1, 1))
    duties = [
        {"member": members[one["name"]], "tier": one["tier"], "firstDay": since} for one in roster["members"]
    ]
    await _ask(demo, lead, KEEP, id=id, input=said | {"duties": duties})


async def climbs_and_stops(demo: "Demo", roster: dict[str, Any]) -> tuple[bool, str]:
    """A crowd that the first on duty does not acknowledge reaches the second, who does; then it is still."""
    first, second, *_ = (one["username"] for one in roster["members"])
    name = {"zh": f"演练 {datetime.now(UTC):%H%M%S}", "en": "Drill"}
    # Whatever a drill before has left is over first.
    await _count(demo, name, 0, 50)
    title = f"{name['zh']}：红色预警"
    told_first = await _told(demo, first, title)
    told_second = await _told(demo, second, title)
    await _ask(demo, second, TAKE, id=told_second["id"])
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        nodes = (await _ask(demo, roster["lead"], WAITING))["nodes"]
        fact = next(one for one in nodes if one["titleZh"] == title)
        if fact["acknowledgedAt"] and not fact["nextAt"]:
            await _count(demo, name, 0)
            waited = _at(told_second["sentAt"]) - _at(told_first["sentAt"])
            held = (told_first["tier"], told_second["tier"]) == (1, 2) and waited >= 120 / PACE - 0.1
            return held, f"tier 2 after {waited:.1f} s ({PACE} times as fast), acknowledged, stopped"
        await asyncio.sleep(0.5)
    return False, "it climbs on after it was acknowledged"


def _at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


async def _count(demo: "Demo", name: dict[str, str], *people: int) -> None:
    """As the stewards of the scenic area do: so many people in a zone that has room for ten."""
    site = await ClientFile.read(demo.home.clients / "scenic-area.json").token(address=demo.address)
    headers = {"authorization": f"Bearer {site}"}
    async with httpx.AsyncClient(base_url=demo.address, headers=headers, timeout=20.0) as http:
        path, now = f"/transport/zones/{DRILL}", datetime.now(UTC)
        policy = {"capacity": 10, "dwell_up": 1, "dwell_down": 1}
        counts = [
            {"time": (now - timedelta(milliseconds=len(people) - place)).isoformat(), "count": number}
            for place, number in enumerate(people)
        ]
        for method, where, body in (
            ("PUT", path, {"name": name, "area": "330106"}),
            ("PUT", f"{path}/capacity-policy", policy),
            ("POST", f"{path}/counts", counts),
        ):
            (await http.request(method, where, json=body)).raise_for_status()


async def _told(demo: "Demo", who: str, title: str) -> dict[str, Any]:
    """The notification, once it is there. Raises Refusal when it does not come."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        for one in (await _ask(demo, who, TOLD))["nodes"]:
            if one["titleZh"] == title:
                return dict(one)
        await asyncio.sleep(0.3)
    raise Refusal(f"{who} 未收到通知 · was not told of {title}")


async def _known(demo: "Demo", who: str, name: str) -> dict[str, Any] | None:
    nodes = (await _ask(demo, who, ROSTERS))["nodes"]
    return next((one for one in nodes if one["nameEn"] == name), None)


async def _ask(demo: "Demo", who: str, query: str, **variables: Any) -> Any:
    """The one field that is asked for. Raises Refusal when there are errors."""
    answer = await demo.gateway.ask(query, variables, as_=who)
    if answer.get("errors"):
        raise Refusal(words_of(answer["errors"]))
    [found] = answer["data"].values()
    return found
