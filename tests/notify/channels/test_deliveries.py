"""Deliveries from the doors to real receivers: signed, filtered, tried again, dead and replayed."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from services.notify import deliveries, dispatcher
from services.notify.channels import robots
from tests.notify.channels.conftest import announced, operator, partner, person, sql, subscribed
from tests.notify.channels.receivers import Receiver, event, saying
from tests.support.running import RunningServices

OK = saying(200, b'{"errcode":0}')


@pytest.fixture(autouse=True)
async def nothing_before(house: RunningServices) -> AsyncIterator[None]:
    yield
    await sql(house, "delete from delivery")
    await sql(house, "delete from destination")


async def until(found: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    async with asyncio.timeout(seconds):
        while not (value := await found()):  # noqa: ASYNC110 - it comes from a server
            await asyncio.sleep(0.02)
    return value


async def came(receiver: Receiver, number: int) -> None:
    async def enough() -> bool:
        return len(receiver.got) >= number

    await until(enough)


async def listed(http: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get("/notify/deliveries", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def settled(http: httpx.AsyncClient, state: str, number: int = 1) -> list[dict[str, Any]]:
    async def enough() -> list[dict[str, Any]]:
        found = await listed(http, state=state, limit=100)
        return found if len(found) >= number else []

    found: list[dict[str, Any]] = await until(enough)
    return found


async def test_every_event_comes_once_signed_under_its_own_id(
    house: RunningServices, receiver: Receiver
) -> None:
    http = await partner(house)
    hook = await subscribed(http, f"{receiver.url}/in?token=t-1")
    sent = await announced(house, *(event() for _ in range(300)))
    await came(receiver, 300)
    for got in receiver.got:
        Webhook(hook["secret"]).verify(got.body, got.headers)
    assert Counter(got.headers["webhook-id"] for got in receiver.got) == Counter(map(str, sent))
    assert len({got.peer_port for got in receiver.got}) <= dispatcher.EACH
    [one] = (await settled(http, "delivered", 100))[:1]
    assert one["raised_at"] <= one["sent_at"] <= one["delivered_at"]
    assert one["place"] == receiver.url.removeprefix("http://")


async def test_the_secret_is_said_once(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    hook = await subscribed(http, receiver.url)
    listed = (await http.get("/notify/webhooks")).json()["items"]
    assert [one["id"] for one in listed] == [hook["id"]]
    assert hook["secret"] not in json.dumps(listed)
    again = await http.post("/notify/webhooks", json={"url": receiver.url, "topic": "crowd-warnings"})
    assert (again.status_code, again.json()["code"]) == (409, "subscribed")


async def test_what_fails_for_good_is_a_dead_letter_that_its_owner_or_an_operator_replays(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS", 2)
    receiver.answer = saying(500)
    owner, other, ops = await partner(house), await partner(house, "partner-b"), await operator(house)
    hook = await subscribed(owner, receiver.url)
    [id] = await announced(house)
    [dead] = await settled(owner, "dead")
    assert (dead["reason"], dead["attempts"], dead["next_at"]) == ("answered 500", 2, None)

    assert await listed(other) == []
    for path in (f"deliveries/{dead['id']}/replay", f"webhooks/{hook['id']}/secret"):
        assert (await other.post(f"/notify/{path}")).status_code == 404
    assert (await owner.get("/notify/dead-deliveries")).status_code == 403
    seen = (await ops.get("/notify/dead-deliveries")).json()["items"]
    assert [one["id"] for one in seen] == [dead["id"]]

    receiver.answer = saying(204)
    assert (await ops.post(f"/notify/dead-deliveries/{dead['id']}/replay")).status_code == 204
    [one] = await settled(owner, "delivered")
    assert {got.headers["webhook-id"] for got in receiver.got} == {str(id)} == {one["told"]}
    assert (await owner.post(f"/notify/deliveries/{dead['id']}/replay")).status_code == 404


async def test_all_dead_letters_of_a_webhook_are_replayed_at_once(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS", 1)
    receiver.answer = saying(500)
    http = await partner(house)
    hook = await subscribed(http, receiver.url)
    await announced(house, event(), event(), event())
    await settled(http, "dead", 3)
    receiver.answer = saying(204)
    assert (await http.post(f"/notify/webhooks/{hook['id']}/replay")).json() == {"deliveries": 3}
    await settled(http, "delivered", 3)


async def test_a_receiver_that_asks_for_a_rest_gets_it(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url)
    receiver.answer = saying(429, retry_after="3600")
    await announced(house, *(event() for _ in range(40)))

    async def resting() -> bool:
        found = await sql(
            house, "select rest_until > now() + interval '50 minutes' as rests from destination"
        )
        return bool(found[0]["rests"])

    await until(resting)
    await asyncio.sleep(0.5)
    # Those on their way when the first was answered come too.
    assert len(receiver.got) <= dispatcher.EACH


async def test_only_what_a_subscription_wants_comes(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url, types=["transport.warning.raised"], area="330100")
    wanted = event()
    await announced(
        house,
        event(type="transport.warning.ended"),
        event(area="320500"),
        {name: value for name, value in event().items() if name != "area"},
        wanted,
    )
    await came(receiver, 1)
    await asyncio.sleep(0.3)
    assert [got.headers["webhook-id"] for got in receiver.got] == [wanted["id"]]


async def test_what_is_for_one_organisation_goes_to_no_other(
    house: RunningServices, receiver: Receiver
) -> None:
    officers = []
    for organisation in ("hospital-a", "hospital-b"):
        http = await house.client(
            "notify",
            kind="staff",
            subject=f"dpo-{organisation}",
            organisation=organisation,
            roles=["privacy_officer"],
            scopes="notify:privacy:read notify:webhooks:write",
        )
        await subscribed(http, f"{receiver.url}/{organisation}", topic="privacy")
        officers.append(http)
    await announced(house, topic="privacy", organisation="hospital-a")
    await settled(officers[0], "delivered")
    assert [got.path for got in receiver.got] == ["/hospital-a"]
    assert await listed(officers[1]) == []


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"topic": "gossip"}, 400, "unknown_topic"),
        ({"topic": "privacy"}, 403, "no_policy"),
        ({"topic": "inbox"}, 403, None),
        ({"url": "http://hooks.example.org/"}, 400, "invalid_destination"),
        ({"url": "https://10.0.0.1/"}, 400, "invalid_destination"),
        ({"url": "https://[::ffff:7f00:1]/"}, 400, "invalid_destination"),
        ({"area": "Hangzhou"}, 400, "invalid_area"),
        ({"types": ["Transport Warning"]}, 422, None),
        ({"kind": "pigeon"}, 422, None),
        ({"headers": {"host": "evil"}}, 422, None),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused(
    house: RunningServices, asked: dict[str, Any], status: int, code: str | None
) -> None:
    http = await partner(house)
    body = {"url": "https://hooks.example.org/in", "topic": "crowd-warnings", **asked}
    answer = await http.post("/notify/webhooks", json=body)
    assert answer.status_code == status, answer.text
    assert code in {None, answer.json()["code"]}


async def test_subscribing_needs_the_scope_and_a_system_or_staff(house: RunningServices) -> None:
    body = {"url": "https://hooks.example.org/", "topic": "crowd-warnings"}
    nobody = await house.client("notify", scopes=None)
    reader = await partner(house, scopes="notify:stream:read")
    citizen = await person(house)
    answers = [
        (await http.post("/notify/webhooks", json=body)).status_code for http in (nobody, reader, citizen)
    ]
    assert answers == [401, 403, 403]


async def test_a_right_that_is_lost_ends_what_is_sent(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url)
    await sql(house, """update destination set holder = holder || '{"scopes": []}'""")
    await announced(house)
    [dead] = await settled(http, "dead")
    assert dead["reason"] == "no longer permitted: no_policy"
    assert receiver.got == []


async def test_after_rotation_both_secrets_hold_for_a_day(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    hook = await subscribed(http, receiver.url)
    new = (await http.post(f"/notify/webhooks/{hook['id']}/secret")).json()["secret"]
    await announced(house)
    await came(receiver, 1)
    for secret in (hook["secret"], new):
        Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)


async def test_a_removed_webhook_gets_nothing_more_and_is_forgotten(
    house: RunningServices, receiver: Receiver
) -> None:
    http = await partner(house)
    hook = await subscribed(http, f"{receiver.url}/in")
    assert (await http.delete(f"/notify/webhooks/{hook['id']}")).status_code == 204
    assert (await http.delete(f"/notify/webhooks/{hook['id']}")).status_code == 404
    await announced(house)
    await asyncio.sleep(0.3)
    assert receiver.got == []
    assert (await sql(house, "select target from destination"))[0]["target"] == ""
    await subscribed(http, f"{receiver.url}/in")


async def test_a_robot_is_told_in_words_twenty_times_a_minute(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robots, "SPACING_S", 0.6)
    receiver.answer = OK
    staff = await house.client(
        "notify",
        kind="staff",
        subject="duty",
        roles=["flow_staff"],
        scopes="notify:stream:read notify:webhooks:write",
    )
    await subscribed(staff, f"{receiver.url}/cgi-bin/webhook/send?key=k", kind="wecom")
    began = asyncio.get_running_loop().time()
    await announced(house, event(), event(), event())
    await settled(staff, "delivered", 3)
    assert asyncio.get_running_loop().time() - began >= 1.2
    assert json.loads(receiver.got[0].body)["msgtype"] == "markdown"


async def test_acknowledging_stops_what_people_are_told_and_not_what_systems_are(
    house: RunningServices, receiver: Receiver
) -> None:
    receiver.answer = saying(503, retry_after="3600")
    http = await partner(house)
    await subscribed(http, receiver.url)
    await subscribed(http, f"{receiver.url}/robot", kind="wecom")
    for zone in ("bridge", "hill", "canal"):
        await announced(house, fact=f"transport.warning/{zone}")
    await came(receiver, 2)
    async with house.kit("notify").db.transaction() as tx:
        at = await tx.fetchval("select now()")
        await deliveries.stop(tx, ["transport.warning/bridge", "transport.warning/hill"], at)
    found = await listed(http)
    assert {
        (one["fact"].rpartition("/")[2], one["channel"]) for one in found if one["state"] == "stopped"
    } == {
        ("bridge", "wecom"),
        ("hill", "wecom"),
    }
    assert [one["state"] for one in found].count("waiting") == 4
    assert {one["fact"] for one in found if not one["acknowledged_at"]} == {"transport.warning/canal"}


async def test_a_clock_that_is_set_back_delays_nothing_for_long(
    house: RunningServices, receiver: Receiver
) -> None:
    receiver.answer = saying(503, retry_after="3600")
    http = await partner(house)
    await subscribed(http, receiver.url)
    await announced(house)
    await settled(http, "waiting")
    await until(lambda: sql(house, "select from destination where rest_until is not null"))
    receiver.answer = saying(204)
    # As if all of it had been said a day ahead.
    await sql(house, "update destination set rest_until = rest_until + interval '1 day'")
    await sql(
        house,
        "update delivery set next_at = next_at + interval '1 day', timed_at = timed_at + interval '1 day'",
    )
    await settled(http, "delivered")


async def test_two_processes_send_each_once(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url)
    second = asyncio.create_task(dispatcher.dispatch(house.kit("notify")))
    try:
        await announced(house, *(event() for _ in range(500)))
        await came(receiver, 500)
        await asyncio.sleep(0.2)
    finally:
        second.cancel()
        await asyncio.wait([second])
    assert max(Counter(got.headers["webhook-id"] for got in receiver.got).values()) == 1


async def test_announcing_twice_changes_nothing(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url)
    one = event()
    await announced(house, one)
    await announced(house, one)
    await settled(http, "delivered")
    await asyncio.sleep(0.2)
    assert len(receiver.got) == 1


async def test_nothing_secret_is_kept_or_logged_in_clear(
    house: RunningServices, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    receiver.answer = saying(500)
    http = await partner(house)
    hook = await subscribed(http, f"{receiver.url}/in?key=robot-token-1")
    await announced(house)
    await came(receiver, 2)
    kept = ""
    for table in ("destination", "delivery", "told", "leaf", "outbox"):
        kept += "".join(str(dict(row)) for row in await sql(house, f"select * from {table}"))
    seen = (await http.get("/notify/deliveries")).text + (await http.get("/notify/webhooks")).text
    for text in (kept, seen, caplog.text, "".join(str(vars(record)) for record in caplog.records)):
        assert "robot-token-1" not in text
        assert hook["secret"].removeprefix("whsec_") not in text


async def test_pages_of_deliveries_follow_each_other(house: RunningServices, receiver: Receiver) -> None:
    http = await partner(house)
    await subscribed(http, receiver.url)
    await announced(house, *(event() for _ in range(7)))
    await settled(http, "delivered", 7)
    found, after = [], None
    while True:
        params = {"limit": 3, **({"after": after} if after else {})}
        page = (await http.get("/notify/deliveries", params=params)).json()
        found += [one["id"] for one in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 7
    assert (await http.get("/notify/deliveries", params={"after": "zzz"})).status_code == 400
