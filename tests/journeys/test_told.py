"""A warning reaches somebody: those on duty, in the order of the roster, until one of them takes it in hand.

Through the public doors of the real suite, which climbs thirty times as fast as its rules say: the second
tier is told after 4 s, the third after 10, everybody and the operators after 20.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from websockets.asyncio.client import connect

from city.doors import Caller, Credentials
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.replay import Replay
from city.simulation import City
from tests.support.suite import Suite, running_suite

T = TypeVar("T")
PACE = 30
LAKE, HILL, NOBODYS = "330106", "330108", "330110"
KEEP = """mutation Keep($id: ID, $input: DutyRosterInput!) {
  keepDutyRoster(id: $id, input: $input) { id members { id name confirmed } duties { member tier } } }"""
JOIN = "mutation Join($id: ID!, $name: String!) { joinDutyRoster(id: $id, name: $name) { mine } }"
CONFIRM = """mutation Confirm($id: ID!, $member: ID!) {
  confirmDutyMember(id: $id, member: $member) { members { id name confirmed } } }"""
ROSTERS = (
    "query R($area: String) { dutyRosters(area: $area, first: 100) { nodes { id members { id name } } } }"
)
MINE = """query Mine($after: String) { myNotifications(first: 100, after: $after) {
  nodes { id fact type tier level area titleZh titleEn bodyZh urgent needsAcknowledgement
          raisedAt sentAt deliveredAt readAt acknowledgedAt overAt }
  pageInfo { endCursor hasNextPage } } }"""
TAKE = """mutation Take($id: ID!) {
  acknowledgeNotification(id: $id, note: "on my way") { id readAt acknowledgedAt needsAcknowledgement } }"""
CLIMBING = """query Climbing($area: String) { escalations(area: $area, openOnly: false, first: 100) {
  nodes { fact step told nextAt unattendedAt acknowledgedAt overAt } } }"""
QUIET = "mutation Q($hours: QuietHoursInput) { setQuietHours(hours: $hours) { starts ends } }"
LIVE = 'subscription { notifications(after: "0") { id cursor titleZh titleEn } }'
NOTICES = """query N($topic: String!, $after: String) { notices(topic: $topic, first: 100, after: $after) {
  nodes { type area data } pageInfo { endCursor hasNextPage } } }"""


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: its escalation is quick, and its rosters are those of these tests."""
    folder = public_folders / "told"
    folder.mkdir()
    with running_suite(folder, environment={"HUIMIN_ESCALATION_PACE": str(PACE)}) as found:
        yield found


class Room:
    """The duty room of a bureau: a lead, staff of three tiers and one off duty, an operator."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        bureau: dict[str, Any] = {"kind": "staff", "areas": ["330100"], "organisation": "bureau"}
        suite.account("told-lead", roles=["duty_lead"], **bureau)
        for name in ("anna", "ben", "carl", "off"):
            suite.account(f"told-{name}", roles=["flow_staff"], **bureau)
        suite.account("told-operator", kind="staff", roles=["operator"], areas=["330000"], organisation="it")
        suite.account("told-auditor", kind="staff", roles=["auditor"], areas=["330100"], organisation="audit")

    def ask(self, who: str | None, query: str, **variables: Any) -> dict[str, Any]:
        return self.suite.graphql(query, variables, as_=None if who is None else f"told-{who}")

    def data(self, who: str, query: str, **variables: Any) -> Any:
        """The one field that is asked for."""
        answer = self.ask(who, query, **variables)
        assert "errors" not in answer, answer
        [found] = answer["data"].values()
        return found

    def roster(self, area: str, *tiers: str) -> str:
        """A roster of the area: one on duty in each tier, all day and every day, and one off duty."""
        said = {"nameZh": "景区值班", "nameEn": "Scenic area duty", "area": area}
        id: str = self.data("lead", KEEP, input=said)["id"]
        names = (*tiers, "off")
        for name in names:
            self.data(name, JOIN, id=id, name=name)
        [roster] = [one for one in self.data("lead", ROSTERS, area=area)["nodes"] if one["id"] == id]
        ids = {member["name"]: member["id"] for member in roster["members"]}
        for name in names:
            self.data("lead", CONFIRM, id=id, member=ids[name])
        duties = [
            {"member": ids[name], "tier": tier, "firstDay": str(date(2026, 1, 1))}
            for tier, name in enumerate(tiers, 1)
        ]
        kept = self.data("lead", KEEP, id=id, input=said | {"duties": duties})
        assert len(kept["duties"]) == len(tiers)
        return id

    def mine(self, who: str, area: str) -> list[dict[str, Any]]:
        """What somebody was told of an area, the newest first."""
        return [one for one in self.data(who, MINE)["nodes"] if one["area"] == area]

    def raised(self, who: str, area: str) -> list[dict[str, Any]]:
        return [one for one in self.mine(who, area) if one["type"] == "transport.warning.raised"]


@pytest.fixture(scope="module")
def room(suite: Suite) -> Room:
    return Room(suite)


@pytest.fixture(scope="module")
def hill(suite: Suite, room: Room) -> str:
    """A warning that nobody acknowledges: its fact."""
    room.roster(HILL, "anna", "ben", "carl")
    crowd(suite, "told-hill", HILL, 95)
    [told] = until(lambda: room.raised("anna", HILL))
    return str(told["fact"])


def crowd(suite: Suite, zone: str, area: str, people: int) -> None:
    """So many people are counted in a zone that has room for a hundred."""
    with suite.client("site", "bureau") as site:
        about = {"name": {"zh": "断桥", "en": "Broken Bridge"}, "area": area}
        policy = {"capacity": 100, "dwell_up": 1, "dwell_down": 1, "red_at_once": False}
        assert site.put(f"/transport/zones/{zone}", json=about).status_code in {200, 201}
        assert site.put(f"/transport/zones/{zone}/capacity-policy", json=policy).status_code in {200, 201}
        count = [{"time": datetime.now(UTC).isoformat(), "count": people}]
        answer = site.post(f"/transport/zones/{zone}/counts", json=count)
        assert answer.status_code == 200, answer.text


def until(look: Callable[[], T], seconds: float = 60.0) -> T:
    """What the look gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")


def code(answer: dict[str, Any]) -> str:
    return str(answer["errors"][0]["extensions"]["code"])


def test_a_warning_climbs_until_somebody_takes_it_in_hand(suite: Suite, room: Room, hill: str) -> None:
    room.roster(LAKE, "anna", "ben", "carl")
    crowd(suite, "told-lake", LAKE, 95)
    [anna] = until(lambda: room.raised("anna", LAKE))
    assert (anna["titleZh"], anna["titleEn"]) == ("断桥：橙色预警", "Broken Bridge: orange warning")
    assert (anna["tier"], anna["urgent"], anna["needsAcknowledgement"]) == (1, True, True)
    [ben] = until(lambda: room.raised("ben", LAKE))
    taken = room.data("ben", TAKE, id=ben["id"])
    assert None not in (taken["acknowledgedAt"], taken["readAt"])
    assert not taken["needsAcknowledgement"]

    def stopped() -> bool:
        [found] = room.data("lead", CLIMBING, area=LAKE)["nodes"]
        return found["acknowledgedAt"] is not None and found["nextAt"] is None

    until(stopped)
    # From the raising: when the first was told says when somebody looked, which may be late.
    assert _seconds(ben["sentAt"]) - _seconds(ben["raisedAt"]) >= 120 / PACE - 0.1
    assert (ben["tier"], ben["bodyZh"].endswith("转至第 2 级。")) == (2, True)
    # Whoever was told hears that it is in hand; whoever was not yet is left alone, whenever one looks.
    until(lambda: [one for one in room.mine("anna", LAKE) if one["type"] == "transport.warning.acknowledged"])
    [anna] = room.raised("anna", LAKE)
    assert anna["acknowledgedAt"] is not None
    if room.mine("carl", LAKE):  # only if it took this test longer than the third tier's time
        assert _seconds(room.raised("carl", LAKE)[0]["sentAt"]) < _seconds(anna["acknowledgedAt"])
    assert room.mine("off", LAKE) == []


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def test_nobody_acknowledges_in_time_and_everybody_and_the_operators_hear_of_it(
    suite: Suite, room: Room, hill: str
) -> None:
    [off] = until(lambda: room.raised("off", HILL))
    told = [*(room.raised(name, HILL)[0] for name in ("anna", "ben", "carl")), off]
    steps = [_seconds(one["sentAt"]) - _seconds(one["raisedAt"]) for one in told]
    for passed, minutes in zip(steps, (0, 2, 5, 10), strict=True):
        assert minutes * 60 / PACE - 0.1 <= passed

    def heard() -> bool:
        return HILL in [
            one["area"] for one in room.data("operator", NOTICES, topic="unacknowledged")["nodes"]
        ]

    until(heard)


def test_nobody_on_duty_is_shown_and_never_silent(suite: Suite, room: Room) -> None:
    crowd(suite, "told-nobodys", NOBODYS, 95)

    def unattended() -> bool:
        nodes = room.data("operator", CLIMBING, area=NOBODYS)["nodes"]
        return [(one["told"], one["unattendedAt"] is not None) for one in nodes] == [(0, True)]

    until(unattended)
    told = room.data("operator", NOTICES, topic="unacknowledged")["nodes"]
    assert NOBODYS in [one["area"] for one in told]


async def test_it_is_there_live_and_again_for_whoever_comes_back(suite: Suite, room: Room, hill: str) -> None:
    token = await asyncio.to_thread(suite.session, "told-anna")
    first = await _first_live(suite, token)
    assert await _first_live(suite, token) == first
    assert first["titleEn"] == "Broken Bridge: orange warning"


async def _first_live(suite: Suite, token: str) -> dict[str, Any]:
    address = suite.address.replace("http://", "ws://") + "/graphql"
    protocol: Any = "graphql-transport-ws"
    async with connect(address, subprotocols=[protocol]) as socket, asyncio.timeout(60):
        payload = {"authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": LIVE}}))
        message = json.loads(await socket.recv())
        assert message["type"] == "next", message
        found: dict[str, Any] = message["payload"]["data"]["notifications"]
        return found


def test_what_cannot_be_is_refused(room: Room, hill: str) -> None:
    duties = [{"member": "nobody", "firstDay": "2026-01-01"}]
    said = {"nameZh": "值班", "nameEn": "Duty", "area": HILL, "duties": duties}
    [roster] = room.data("lead", ROSTERS, area=HILL)["nodes"]
    assert code(room.ask("lead", KEEP, id=roster["id"], input=said)) == "BAD_USER_INPUT"
    [mine] = room.raised("anna", HILL)
    assert code(room.ask("ben", TAKE, id=mine["id"])) == "NOT_FOUND"
    night = {"starts": "22:00", "ends": "07:00"}
    assert code(room.ask("anna", QUIET, hours=night | {"timeZone": "Mars/Olympus"})) == "BAD_USER_INPUT"
    assert room.data("anna", QUIET, hours=night) == night
    assert room.data("anna", QUIET) is None


def test_the_wrong_role_keeps_no_roster_and_sees_none(suite: Suite, room: Room, hill: str) -> None:
    person: Person = City(people=200, seed=11).people[0]
    identifier = {"system": CITIZEN_NUMBER, "value": person.number}
    suite.account("told-citizen", kind="person", identifier=identifier)
    said = {"nameZh": "值班", "nameEn": "Duty", "area": HILL}
    for who in ("anna", "auditor", "citizen", None):
        assert code(room.ask(who, KEEP, input=said)) in {"FORBIDDEN", "UNAUTHENTICATED"}
        assert code(room.ask(who, CLIMBING)) in {"FORBIDDEN", "UNAUTHENTICATED"}
    for who in ("auditor", "citizen", None):
        assert code(room.ask(who, ROSTERS)) in {"FORBIDDEN", "UNAUTHENTICATED"}
    assert room.data("citizen", MINE)["nodes"] == []
    assert code(room.ask("citizen", NOTICES, topic="unacknowledged")) == "FORBIDDEN"
    [fact] = [one for one in room.data("lead", CLIMBING, area=HILL)["nodes"] if one["fact"] == hill]
    assert fact["acknowledgedAt"] is None


async def test_a_day_at_the_sights_is_told_as_the_city_says_and_no_near_miss(
    suite: Suite, room: Room, tmp_path: Path
) -> None:
    """Each level that the city's truth file has reached the one who is on duty, once."""
    await asyncio.to_thread(room.roster, "330100", "anna")
    async with httpx.AsyncClient(base_url=suite.address, timeout=60) as http:

        async def caller(kind: str) -> Caller:
            client = await asyncio.to_thread(suite.client_file, kind, "sights")
            return Caller(http, Credentials(client.client_id, client.issuer, kind, client.jwk))

        day = Replay(await caller("site"), await caller("gate"), seed=7, memory=tmp_path / "reported.json")
        done = await day.all_at_once()
    expected = sorted(
        (zone, step["kind"], step["level"])
        for zone, truth in done["expected"].items()
        for step in truth["steps"]
        if step["kind"] != "ended"
    )

    def told() -> list[tuple[str, str, str]]:
        found = []
        after: str | None = "0"
        while after is not None:
            page = room.data("anna", NOTICES, topic="inbox", after=after)
            found += [
                (one["data"]["zone"], one["type"].rpartition(".")[2], one["data"]["level"])
                for one in page["nodes"]
                if one["data"]["zone"] in done["expected"]
            ]
            after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
        return sorted(one for one in found if one[1] in {"raised", "changed"})

    assert expected
    await asyncio.to_thread(until, lambda: len(told()) >= len(expected))
    assert await asyncio.to_thread(told) == expected
