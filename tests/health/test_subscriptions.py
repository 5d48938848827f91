"""Topic Subscriptions (Subscriptions R5 Backport) at the public doors, with a receiver on loopback."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web
from standardwebhooks import Webhook

import health.app
from health.fhir.operations import subscriptions as operation
from health.fhir.subscriptions import asked as asking
from health.fhir.subscriptions import telling
from health.fhir.workers import Workers
from health.repository import fitting
from services.kit.database import Database
from services.notify import dispatcher
from tests.health.support import FHIR_JSON, issues, observation, patient, post, transaction
from tests.health.test_access import (
    RESTRICTED,
    Somebody,
    arrives,
    kept,
    leaves,
    sector_id,
    treating,
    visit,
)
from tests.notify.channels.receivers import LOOPBACK, Receiver, receiving, saying
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.running import RunningServices, running_services

__all__ = ["kept", "treating"]
RESULTS = "urn:huimin:topic:result-available"
GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
HOSPITAL = "hospital-1"
Changed = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
async def kept_house(
    servers: TestServers, issuer: Issuer, workers: Workers
) -> AsyncIterator[RunningServices]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health.app, "Workers", lambda: workers)
        patch.setitem(os.environ, "HUIMIN_WEBHOOK_ALLOW", f'["{LOOPBACK}"]')
        patch.setattr(telling, "LOOK_EVERY_S", 0.05)
        async with running_services(("identity", "health", "notify"), servers, issuer) as found:
            yield found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


def extension(name: str, **value: Any) -> dict[str, Any]:
    return {"url": f"{GUIDE}/{name}", **value}


def subscription(url: str, *filters: str, content: str = "id-only", **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "results for the ward",
        "criteria": RESULTS,
        "channel": {
            "type": "rest-hook",
            "endpoint": url,
            "payload": FHIR_JSON,
            "_payload": {"extension": [extension("backport-payload-content", valueCode=content)]},
        },
        **members,
    }
    if filters:
        told = [extension("backport-filter-criteria", valueString=one) for one in filters]
        found["_criteria"] = {"extension": told}
    return found


async def subscribed(fhir: httpx.AsyncClient, resource: dict[str, Any]) -> str:
    """The id of one that is active."""
    answer = await fhir.post("/fhir/Subscription", json=resource)
    assert answer.status_code == 201, answer.text
    await until(fhir, answer.json()["id"], "active")
    return str(answer.json()["id"])


async def until(fhir: httpx.AsyncClient, id: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await fhir.get(f"/fhir/Subscription/{id}")).json()
            if found["status"] == status:
                return found
            await asyncio.sleep(0.02)


async def came(receiver: Receiver, number: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while len(receiver.got) < number:  # noqa: ASYNC110 - it comes over a socket
            await asyncio.sleep(0.02)
    return [json.loads(one.body) for one in receiver.got]


async def numbered(receiver: Receiver, last: int) -> list[tuple[int, str | None]]:
    """Number and focus of every event that came, once the last is there."""
    async with asyncio.timeout(60):
        while True:
            found = [one for got in receiver.got for one in told(json.loads(got.body))]
            if found and found[-1][0] >= last:
                return found
            await asyncio.sleep(0.02)


def told(bundle: dict[str, Any]) -> list[tuple[int, str | None]]:
    found = []
    for one in bundle["entry"][0]["resource"]["parameter"]:
        if one["name"] == "notification-event":
            parts = {part["name"]: part for part in one["part"]}
            focus = parts.get("focus", {}).get("valueReference", {}).get("reference", "").split("/fhir/")[-1]
            found.append((int(parts["event-number"]["valueString"]), focus or None))
    return found


def said(bundle: dict[str, Any]) -> dict[str, Any]:
    """The single values of a SubscriptionStatus."""
    parameters = bundle["entry"][0]["resource"]["parameter"]
    return {one["name"]: value for one in parameters for key, value in one.items() if key.startswith("value")}


async def sent(fhir: httpx.AsyncClient, resource: dict[str, Any]) -> str:
    answer = await fhir.post(f"/fhir/{resource['resourceType']}", json=resource)
    assert answer.status_code == 201, answer.text
    return f"{resource['resourceType']}/{answer.json()['id']}"


async def test_what_there_is_to_subscribe_to(fhir: httpx.AsyncClient) -> None:
    statement = (await fhir.get("/fhir/metadata")).json()
    [one] = [one for one in statement["rest"][0]["resource"] if one["type"] == "Subscription"]
    url = f"{GUIDE}/capabilitystatement-subscriptiontopic-canonical"
    assert extension(url.rpartition("/")[2], valueCanonical=RESULTS) in one["extension"]
    assert {"status", "events"} <= {operation["name"] for operation in one["operation"]}


async def test_a_result_is_told_signed_with_the_resource_in_it(
    fhir: httpx.AsyncClient, house: RunningServices, receiver: Receiver
) -> None:
    id = await subscribed(fhir, subscription(receiver.url, content="full-resource"))
    [handshake] = await came(receiver, 1)
    assert (said(handshake)["type"], said(handshake)["events-since-subscription-start"]) == ("handshake", "0")
    about: dict[str, Any] = {"scopes": "notify:webhooks:write", "subject": HOSPITAL, "organisation": HOSPITAL}
    notify = await house.client("notify", kind="organisation", **about)
    [hook] = (await notify.get("/notify/webhooks")).json()["items"]
    secret = (await notify.post(f"/notify/webhooks/{hook['id']}/secret")).json()["secret"]

    local = await sent(fhir, observation())
    _, event = await came(receiver, 2)
    assert (event["resourceType"], event["type"]) == ("Bundle", "history")
    assert said(event)["type"] == "event-notification"
    assert said(event)["topic"] == RESULTS
    assert said(event)["subscription"]["reference"].endswith(f"/fhir/Subscription/{id}")
    assert told(event) == [(1, local)]
    assert event["entry"][1]["resource"] == (await fhir.get(f"/fhir/{local}")).json()
    got = receiver.got[-1]
    assert got.headers["content-type"] == FHIR_JSON
    Webhook(secret).verify(got.body, got.headers)

    status = (await fhir.get(f"/fhir/Subscription/{id}/$status")).json()
    assert said(status)["events-since-subscription-start"] == "1"
    assert said(status)["status"] == "active"
    named = await fhir.get("/fhir/Subscription/$status", params={"id": id})
    assert named.json()["total"] == 1
    again = (await fhir.get(f"/fhir/Subscription/{id}/$events", params={"eventsSinceNumber": "1"})).json()
    assert told(again) == [(1, local)]
    assert again["entry"][1]["resource"]["id"] == local.partition("/")[2]


async def test_numbers_have_no_gaps_under_pushes_at_the_same_moment(
    fhir: httpx.AsyncClient, receiver: Receiver
) -> None:
    await subscribed(fhir, subscription(receiver.url))
    pushes = [transaction(*(post(observation(code=f"{n}-{i}")) for i in range(n % 3 + 1))) for n in range(12)]
    answers = await asyncio.gather(*(fhir.post("/fhir", json=one) for one in pushes))
    assert {one.status_code for one in answers} == {200}
    found = await numbered(receiver, 24)
    assert [number for number, _ in found] == list(range(1, 25))
    assert len({focus for _, focus in found}) == 24


async def test_how_more_stand_than_one_answer_holds_is_refused(
    fhir: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await subscribed(fhir, subscription(receiver.url)) for _ in range(2)]
    monkeypatch.setattr(operation, "MOST", 2)
    assert (await fhir.get("/fhir/Subscription/$status")).json()["total"] == 2
    monkeypatch.setattr(operation, "MOST", 1)
    answer = await fhir.get("/fhir/Subscription/$status")
    assert (answer.status_code, list(issues(answer.json()))) == (422, [("too-costly", "id")])
    one = await fhir.get("/fhir/Subscription/$status", params={"id": ids[0]})
    assert one.json()["total"] == 1


async def test_what_is_too_much_for_one_message_comes_in_several(
    fhir: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await subscribed(fhir, subscription(receiver.url, content="full-resource"))
    monkeypatch.setattr(fitting, "ANSWER_BYTES", 1)
    results = transaction(*(post(observation(code=code)) for code in "abc"))
    assert (await fhir.post("/fhir", json=results)).status_code == 200
    assert [number for number, _ in await numbered(receiver, 3)] == [1, 2, 3]
    assert [len(told(json.loads(one.body))) for one in receiver.got] == [0, 1, 1, 1]
    again = (await fhir.get(f"/fhir/Subscription/{id}/$events", params={"eventsSinceNumber": "2"})).json()
    assert [number for number, _ in told(again)] == [2]


async def test_filters_and_what_is_empty(fhir: httpx.AsyncClient, receiver: Receiver) -> None:
    one, other = await sent(fhir, patient()), await sent(fhir, patient())
    await subscribed(fhir, subscription(receiver.url, f"Observation?patient={one}&code=8867-4"))
    async with receiving() as bare:
        await subscribed(fhir, subscription(bare.url, content="empty"))
        await sent(fhir, observation(other))
        await sent(fhir, observation(one, code="1-1"))
        local = await sent(fhir, observation(one))
        assert await numbered(receiver, 1) == [(1, local)]
        async with asyncio.timeout(60):
            while said(json.loads(bare.got[-1].body))["events-since-subscription-start"] != "3":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not any(b"Observation" in got.body for got in bare.got)


async def test_another_hospital_without_a_tie_is_told_nothing(
    fhir: httpx.AsyncClient, hospital: Callable[..., Awaitable[httpx.AsyncClient]], receiver: Receiver
) -> None:
    other = await hospital("other")
    id = await subscribed(other, subscription(receiver.url))
    await sent(fhir, observation(await sent(fhir, patient())))
    mine = await sent(other, observation())
    assert await numbered(receiver, 1) == [(1, mine)]
    status = (await other.get(f"/fhir/Subscription/{id}/$status")).json()
    assert said(status)["events-since-subscription-start"] == "1"
    assert (await fhir.get(f"/fhir/Subscription/{id}/$status")).status_code == 404
    assert (await fhir.get(f"/fhir/Subscription/{id}/$events")).status_code == 404


async def test_what_a_tie_opens_is_told_while_it_holds(
    treating: Somebody,
    kept: dict[str, str],
    house: RunningServices,
    records: Database,
    receiver: Receiver,
) -> None:
    first, other = await treating("A"), await treating("B")
    await arrives(other, visit(1))
    await subscribed(other, subscription(receiver.url, content="full-resource"))
    await sent(first, observation(kept["patient"], meta=RESTRICTED))
    local = await sent(first, observation(kept["patient"]))
    assert await numbered(receiver, 1) == [(1, local)]
    found = [one for one in await leaves(house, "permitted") if one.get("relation") == "treatment"]
    [leaf] = [one for one in found if one["resource"].startswith("Subscription/")]
    person = await sector_id(records)
    assert (leaf["organisation"], leaf["subject"]) == ("B", person)

    about: dict[str, Any] = {"purpose": "own_records", "organisation": None, "sector_id": person}
    me = await house.client("health", kind="person", scopes="patient/*.rs", **about)
    said = await me.post("/health/treatment-claims/me/objections", json={"organisation": "B"})
    assert said.status_code == 204, said.text
    await sent(first, observation(kept["patient"], code="1-1"))
    mine = await sent(other, observation())
    assert (await numbered(receiver, 2))[1:] == [(2, mine)]


async def test_what_was_not_taken_comes_again_in_order_under_its_id(
    fhir: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "FIRST_PAUSE_S", 0.05)
    await subscribed(fhir, subscription(receiver.url))
    fine, receiver.answer = receiver.answer, saying(503)
    first = await sent(fhir, observation())
    await came(receiver, 3)
    receiver.answer = fine
    second = await sent(fhir, observation())
    found = await numbered(receiver, 2)
    assert list(dict.fromkeys(found)) == [(1, first), (2, second)]
    assert receiver.got[1].headers["webhook-id"] == receiver.got[2].headers["webhook-id"]


async def test_a_teller_that_is_killed_after_sending_tells_again(
    fhir: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LEASE_S", 0.3)
    await subscribed(fhir, subscription(receiver.url))
    held = asyncio.Event()

    async def stuck(_: web.Request) -> web.StreamResponse:
        if len(receiver.got) == 2:
            await held.wait()  # its answer is never noted: the lease has passed by then
        return web.Response(status=204)

    receiver.answer = stuck
    local = await sent(fhir, observation())
    await came(receiver, 3)
    held.set()
    assert set(await numbered(receiver, 1)) == {(1, local)}
    assert len({got.headers["webhook-id"] for got in receiver.got[1:]}) == 1
    assert (await numbered(receiver, 1))[-1] == (1, local)


async def test_a_closed_endpoint_ends_in_error_and_begins_again(
    fhir: httpx.AsyncClient, receiver: Receiver
) -> None:
    fine, receiver.answer = receiver.answer, saying(410)
    answer = await fhir.post("/fhir/Subscription", json=subscription(receiver.url))
    found = await until(fhir, answer.json()["id"], "error")
    assert found["error"] == "answered 410"
    receiver.answer = fine
    again = {**found, "status": "requested"}
    assert (await fhir.put(f"/fhir/Subscription/{found['id']}", json=again)).status_code == 200
    assert "error" not in await until(fhir, found["id"], "active")
    assert (await fhir.delete(f"/fhir/Subscription/{found['id']}")).status_code == 204
    number = len(receiver.got)
    await sent(fhir, observation())
    async with receiving() as later:
        await subscribed(fhir, subscription(later.url))
        await sent(fhir, observation())
        await numbered(later, 1)
    assert len(receiver.got) == number


async def test_a_heartbeat_and_the_end(
    fhir: httpx.AsyncClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(asking._NUMBERS, "heartbeat-period", range(1, 60))
    asked = subscription(receiver.url)
    asked["channel"]["extension"] = [extension("backport-heartbeat-period", valueUnsignedInt=1)]
    id = await subscribed(fhir, asked)
    assert [said(one)["type"] for one in (await came(receiver, 2))[:2]] == ["handshake", "heartbeat"]
    for seconds in (1, 10, 60):
        end = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        answer = await fhir.put(f"/fhir/Subscription/{id}", json=asked | {"id": id, "end": end})
        if answer.status_code == 200:
            break  # else this machine was too busy to ask in time
    await until(fhir, id, "off")


LATE = extension("backport-timeout", valueUnsignedInt=60)


def _status(one: dict[str, Any]) -> None:
    one["status"] = "active"


def _topic(one: dict[str, Any]) -> None:
    one["criteria"] = "Observation?code=1"


def _filter(one: dict[str, Any]) -> None:
    told = [extension("backport-filter-criteria", valueString="Observation?performer=Practitioner/1")]
    one["_criteria"] = {"extension": told}


def _channel(**members: Any) -> Changed:
    return lambda one: one["channel"].update(members)


@pytest.mark.parametrize(
    ("change", "element"),
    [
        (_status, "Subscription.status"),
        (_topic, "Subscription.criteria"),
        (_filter, "Subscription.criteria.extension"),
        (_channel(type="websocket"), "Subscription.channel.type"),
        (_channel(endpoint="http://10.1.2.3/in"), "Subscription.channel.endpoint"),
        (_channel(header=["Authorization: Bearer x"]), "Subscription.channel.header"),
        (_channel(payload="application/fhir+xml"), "Subscription.channel.payload"),
        (_channel(_payload={"id": "a"}), "Subscription.channel.payload.extension"),
        (
            _channel(extension=[extension("backport-timeout", valueUnsignedInt=60)]),
            "Subscription.channel.extension",
        ),
        (lambda one: one.update(end="2020-01-01T00:00:00Z"), "Subscription.end"),
        (lambda one: one.update(end="2090-12-31T23:59:60Z"), "Subscription.end"),
    ],
)
async def test_what_cannot_be_had_is_refused_by_its_element(
    fhir: httpx.AsyncClient, change: Changed, element: str
) -> None:
    asked = subscription("http://127.0.0.1:9/in")
    change(asked)
    answer = await fhir.post("/fhir/Subscription", json=asked)
    assert answer.status_code == 422, answer.text
    assert [place for _, place in issues(answer.json())] == [element]


async def test_rights_to_read_what_is_told(
    hospital: Callable[..., Awaitable[httpx.AsyncClient]], receiver: Receiver
) -> None:
    blind = await hospital(scopes="system/Subscription.cruds system/Observation.c")
    answer = await blind.post("/fhir/Subscription", json=subscription(receiver.url))
    assert answer.status_code == 403, answer.text
    none = await hospital(scopes="system/Observation.rs")
    assert (await none.post("/fhir/Subscription", json=subscription(receiver.url))).status_code == 403
    assert not receiver.got
