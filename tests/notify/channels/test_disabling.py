"""Endpoints that are disabled: after days of failing, or at once when they are gone; their owner hears."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from services.notify import dispatcher
from tests.notify.channels.conftest import announced, partner, sql, subscribed
from tests.notify.channels.receivers import Receiver, event, receiving, saying
from tests.notify.channels.test_deliveries import came, listed, settled, until
from tests.support.running import RunningServices


@pytest.fixture(autouse=True)
async def nothing_before(house: RunningServices) -> AsyncIterator[None]:
    yield
    await sql(house, "delete from delivery")
    await sql(house, "delete from destination")


async def test_an_endpoint_that_fails_for_days_is_disabled_and_its_owner_told(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS", 1000)  # however long the steps between take here
    http = await partner(house)
    async with receiving(saying(500)) as broken:
        hook = await subscribed(http, broken.url)
        await announced(house)
        await came(broken, 1)
        # Whatever else it asks for: the notice is none of what is filtered.
        await subscribed(http, receiver.url, types=["transport.warning.ended"], area="330100")
        await sql(
            house,
            """update destination set failing_since = now() - interval '4 days', rest_until = null
                where id = $1""",
            UUID(hook["id"]),
        )
        await came(receiver, 1)
    told = json.loads(receiver.got[0].body)
    assert (told["type"], told["data"]["destination"]) == ("notify.destination.disabled", hook["id"])
    [found] = [one for one in (await http.get("/notify/webhooks")).json()["items"] if one["id"] == hook["id"]]
    assert (found["state"], found["reason"]) == ("disabled", "failed for 3 days")
    [dead] = await listed(http, destination=hook["id"])
    assert dead["state"] == "dead"
    assert (await http.post(f"/notify/deliveries/{dead['id']}/replay")).status_code == 404
    assert (await http.post(f"/notify/webhooks/{hook['id']}/activation")).status_code == 204
    assert (await http.post(f"/notify/deliveries/{dead['id']}/replay")).status_code == 204


async def test_staff_are_told_when_their_robot_is_disabled(
    house: RunningServices, receiver: Receiver
) -> None:
    receiver.answer = saying(200, b'{"errcode":93000}')
    staff = await house.client(
        "notify",
        kind="staff",
        subject="duty-1",
        roles=["flow_staff"],
        scopes="notify:stream:read notify:webhooks:write notify:destinations:write",
    )
    robot = await subscribed(staff, f"{receiver.url}/?access_token=t", kind="dingtalk", secret="SEC1")
    await announced(house)
    await came(receiver, 1)
    await sql(house, "update destination set failing_since = now() - interval '4 days', rest_until = null")

    async def told() -> Any:
        items = (await staff.get("/notify/notifications")).json()["items"]
        return [one for one in items if one["type"] == "notify.destination.disabled"]

    [one] = await until(told)
    assert robot["place"] in one["zh"]["body"]
    assert robot["place"] in one["en"]["title"]


async def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once_and_its_owner_told(
    house: RunningServices, receiver: Receiver
) -> None:
    http, other = await partner(house), await partner(house, "partner-b")
    await subscribed(http, f"{receiver.url}/mine", types=["transport.warning.ended"], area="330100")
    await subscribed(other, f"{receiver.url}/other", types=["transport.warning.ended"])
    async with receiving(saying(410)) as closed:
        hook = await subscribed(http, closed.url)
        [id] = await announced(house)
        await came(receiver, 1)
        [dead] = await settled(http, "dead")
        await announced(house)
        ended = event(type="transport.warning.ended")
        await announced(house, ended)
        await came(receiver, 3)
        assert [got.headers["webhook-id"] for got in closed.got] == [str(id)]
    told = {(got.path, json.loads(got.body)["type"]) for got in receiver.got}
    notice, news = "notify.destination.disabled", "transport.warning.ended"
    assert told == {("/mine", notice), ("/mine", news), ("/other", news)}
    [found] = [one for one in (await http.get("/notify/webhooks")).json()["items"] if one["id"] == hook["id"]]
    assert (found["state"], found["reason"]) == ("disabled", "it answered that it is gone")
    assert (dead["told"], dead["reason"], dead["attempts"]) == (str(id), "answered 410", 1)
    assert (await http.post(f"/notify/webhooks/{hook['id']}/activation")).status_code == 204
    assert (await http.post(f"/notify/deliveries/{dead['id']}/replay")).status_code == 204


async def test_what_waits_for_an_endpoint_that_is_gone_becomes_dead_letters(
    house: RunningServices, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ATTEMPTS", 1000)
    receiver.answer = saying(500)
    http = await partner(house)
    await subscribed(http, receiver.url)
    await announced(house, *(event() for _ in range(20)))
    await came(receiver, 2)
    receiver.answer = saying(410)
    dead = await settled(http, "dead", 20)
    assert {one["reason"] for one in dead} <= {"answered 410", "it answered that it is gone"}
    assert await listed(http, state="waiting") == []
