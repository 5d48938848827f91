"""Duty rosters through their doors: who keeps them, who joins, and who is on duty when."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.notify.repository import rosters as repository
from tests.notify.watch import Watch
from tests.support.running import RunningServices

Db = Callable[[str], Awaitable[Any]]
ROSTERS = "/notify/duties/rosters"
LEAD = "notify:rosters:write notify:duties:take notify:stream:read"
STAFF = "notify:duties:take notify:stream:read"


class Room:
    """A lead and the staff of one bureau, each with a client at notify's doors."""

    def __init__(self, house: RunningServices) -> None:
        self.house = house
        self.lead_id, self.anna_id, self.ben_id = (
            f"{name}-{uuid4().hex[:8]}" for name in ("lead", "anna", "ben")
        )

    async def staff(self, subject: str, scopes: str = STAFF, **who: Any) -> httpx.AsyncClient:
        said = {"roles": ["flow_staff"], "areas": ["330100"], "organisation": "bureau"} | who
        return await self.house.client("notify", kind="staff", subject=subject, scopes=scopes, **said)

    async def open(self) -> "Room":
        self.lead = await self.staff(self.lead_id, LEAD, roles=["duty_lead"])
        self.anna, self.ben = await self.staff(self.anna_id), await self.staff(self.ben_id)
        answer = await self.lead.post(ROSTERS, json=self.roster())
        assert answer.status_code == 201, answer.text
        self.path = f"{ROSTERS}/{answer.json()['id']}"
        return self

    def roster(self, *duties: dict[str, Any], **about: Any) -> dict[str, Any]:
        return {
            "name_zh": "西湖值班",
            "name_en": "West Lake duty",
            "area": "330106",
            "duties": [*duties],
        } | about

    def duty(self, member: str, **about: Any) -> dict[str, Any]:
        return {"member": member, "first_day": "2026-01-01"} | about

    async def staffed(self) -> None:
        for client, name, id in ((self.anna, "安娜", self.anna_id), (self.ben, "本", self.ben_id)):
            assert (await client.post(f"{self.path}/members", json={"name": name})).status_code == 201
            assert (await self.lead.put(f"{self.path}/members/{id}")).status_code == 200
        answer = await self.lead.put(
            self.path, json=self.roster(self.duty(self.anna_id), self.duty(self.ben_id, tier=2))
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture
async def room(house: RunningServices) -> Room:
    return await Room(house).open()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_staff_join_a_lead_confirms_and_gives_duties(room: Room) -> None:
    joined = (await room.anna.post(f"{room.path}/members", json={"name": "安娜"})).json()
    assert (joined["mine"], joined["kept"], joined["members"]) == (True, False, [])
    refused = await room.lead.put(room.path, json=room.roster(room.duty(room.anna_id)))
    assert code(refused) == (422, "invalid_duties")
    assert refused.json()["errors"][0]["field"] == "duties[0].member"
    await room.staffed()
    seen = (await room.anna.get(ROSTERS, params={"first": 100})).json()["items"][-1]
    assert [(m["name"], m["confirmed"]) for m in seen["members"]] == [("安娜", True), ("本", True)]
    on_duty = (await room.anna.get("/notify/duties", params={"first": 100})).json()["items"]
    found = [(one["name"], one["tier"]) for one in on_duty if room.path.endswith(one["roster"])]
    assert found == [("安娜", 1), ("本", 2)]


async def test_who_is_in_a_roster_is_for_its_leads_and_members(room: Room) -> None:
    await room.staffed()
    stranger = await room.staff("stranger")
    for client in (stranger, await room.staff("other-lead", LEAD, roles=["duty_lead"], organisation="other")):
        seen = (await client.get(ROSTERS, params={"first": 100})).json()["items"][-1]
        assert (seen["members"], seen["duties"], seen["mine"], seen["kept"]) == ([], [], False, False)
        assert (await client.get("/notify/duties", params={"first": 100})).json()["items"] == []
    elsewhere = await room.staff("elsewhere", areas=["320000"])
    assert (await elsewhere.get(ROSTERS)).json()["items"] == []


async def test_only_its_own_leads_keep_a_roster_in_their_areas(room: Room) -> None:
    await room.staffed()
    other = await room.staff("other-lead", LEAD, roles=["duty_lead"], organisation="other")
    away = await room.staff("away-lead", LEAD, roles=["duty_lead"], areas=["320000"])
    for client in (other, away):
        assert (await client.put(room.path, json=room.roster())).status_code == 403
        assert (await client.delete(room.path)).status_code == 403
        assert (await client.put(f"{room.path}/members/{room.anna_id}")).status_code == 403
        assert (await client.delete(f"{room.path}/members/{room.anna_id}")).status_code == 403
    assert (await away.post(ROSTERS, json=room.roster())).status_code == 403
    assert (await room.anna.put(room.path, json=room.roster())).status_code == 403
    assert (
        await (await room.staff("elsewhere", areas=["320000"])).post(
            f"{room.path}/members", json={"name": "x"}
        )
    ).status_code == 403
    operator = await room.staff("operator", LEAD, roles=["operator"], organisation="elsewhere")
    assert (await operator.put(room.path, json=room.roster())).status_code == 200
    citizen = await room.house.client("notify", kind="person", scopes=LEAD, sector_id="h1_CITIZEN")
    assert (await citizen.get(ROSTERS)).status_code == 403


async def test_a_swap_holds_once_the_substitute_accepts(room: Room, house: RunningServices) -> None:
    await room.staffed()
    today = datetime.now(UTC).astimezone().date()
    day = str(today + timedelta(days=1))
    asked = await room.anna.post(f"{room.path}/swaps", json={"day": day, "substitute": room.ben_id})
    assert (asked.status_code, asked.json()["accepted"]) == (201, False)
    accept = f"/notify/duties/swaps/{asked.json()['id']}/acceptance"
    assert code(await room.anna.put(accept)) == (404, "no_swap")
    assert (await room.ben.put(accept)).json()["accepted"]
    led = await room.lead.post(
        f"{room.path}/swaps", json={"day": day, "member": room.ben_id, "substitute": room.anna_id}
    )
    assert led.json()["accepted"]
    for client, body in (
        (room.anna, {"day": day, "member": room.ben_id, "substitute": room.anna_id}),
        (room.lead, {"day": "2020-01-01", "member": room.anna_id, "substitute": room.ben_id}),
        (room.anna, {"day": day, "substitute": "nobody"}),
        (room.anna, {"day": day, "substitute": room.anna_id}),
    ):
        assert (await client.post(f"{room.path}/swaps", json=body)).status_code in {403, 422}


async def test_whoever_leaves_has_no_duties_any_more(room: Room) -> None:
    await room.staffed()
    assert (await room.anna.delete(f"{room.path}/members/{room.anna_id}")).status_code == 204
    assert (await room.anna.delete(f"{room.path}/members/{room.anna_id}")).status_code == 404
    roster = (await room.lead.get(ROSTERS, params={"first": 100})).json()["items"][-1]
    assert [duty["member"] for duty in roster["duties"]] == [room.ben_id]
    assert (await room.lead.delete(room.path)).status_code == 204
    assert code(await room.ben.post(f"{room.path}/members", json={"name": "本"})) == (404, "no_roster")


@pytest.mark.parametrize(
    ("about", "status"),
    [
        ({"area": "Hangzhou"}, 400),
        ({"from_level": 4}, 422),
        ({"name_zh": " "}, 422),
        ({"surprise": 1}, 422),
        ({"name_en": "11010519491231002X"}, 422),
    ],
)
async def test_a_roster_that_cannot_be_is_refused(room: Room, about: dict[str, Any], status: int) -> None:
    assert (await room.lead.put(room.path, json=room.roster(**about))).status_code == status


@pytest.mark.parametrize(
    "about",
    [
        {"tier": 4},
        {"last_day": "2025-12-31"},
        {"weekdays": [8]},
        {"weekdays": []},
        {"starts": "08:00Z"},
        {"starts": "25:00"},
    ],
)
async def test_a_duty_that_cannot_be_is_refused(room: Room, about: dict[str, Any]) -> None:
    await room.staffed()
    answer = await room.lead.put(room.path, json=room.roster(room.duty(room.anna_id, **about)))
    assert answer.status_code == 422, answer.text


def china(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of May 2026 by the clock in China; the 1st is a Friday."""
    return datetime(2026, 5, day, hour, minute, tzinfo=UTC) - timedelta(hours=8)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (china(1, 7, 59), set()),
        (china(1, 8), {"day"}),
        (china(1, 19, 59), {"day"}),
        (china(1, 20), {"night"}),
        (china(2, 7, 59), {"night"}),  # Friday's night goes on into Saturday
        (china(2, 8), {"weekend"}),
        (china(3, 7, 59), {"weekend"}),  # a whole day, from eight to eight
        (china(3, 8), set()),
        (china(8, 8), {"day"}),
        (china(15, 8), set()),  # after the last day
        (china(14, 21), {"night"}),  # Thursday
    ],
)
async def test_hours_go_over_midnight_by_the_clock_in_china(db: Db, at: datetime, expected: set[str]) -> None:
    watch = Watch(await db("notify"))
    roster = await watch.roster()
    await watch.member(roster, "day", "night", "weekend")
    first, last = date(2026, 5, 1), date(2026, 5, 14)
    await watch.duties(
        roster,
        ("day", 1, [5], time(8), time(20), first, last),
        ("night", 1, [4, 5], time(20), time(8), first, None),
        ("weekend", 1, [6], time(8), time(8), first, date(2026, 5, 2)),
    )
    rows = await repository.on_duty(watch.connection, at, [roster])
    assert {row["member"] for row in rows} == expected


async def test_a_swapped_day_is_the_substitutes_and_no_other(db: Db) -> None:
    watch = Watch(await db("notify"))
    roster = await watch.roster()
    await watch.member(roster, "anna", "ben")
    await watch.duties(roster, ("anna", 1, [*range(1, 8)], time(20), time(8)))
    swap = {"id": uuid4(), "roster": roster, "day": date(2026, 5, 1), "member": "anna", "substitute": "ben"}
    swap |= {"asked_by": "anna", "asked_at": watch.now, "accepted_at": None}

    async def on_duty(at: datetime) -> list[str]:
        return [row["member"] for row in await repository.on_duty(watch.connection, at, [roster])]

    asked = await repository.ask_swap(watch.connection, swap)
    assert await on_duty(china(1, 23)) == ["anna"]
    assert await repository.accept_swap(watch.connection, asked["id"], "anna", watch.now) is None
    await repository.accept_swap(watch.connection, UUID(str(asked["id"])), "ben", watch.now)
    assert await on_duty(china(1, 23)) == await on_duty(china(2, 7)) == ["ben"]
    assert await on_duty(china(1, 7)) == await on_duty(china(2, 23)) == ["anna"]
