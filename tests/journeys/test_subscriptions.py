"""Subscriptions: a hospital's word of a death reaches social security by itself, once, and only while agreed.

The services as they are, in this process; between exchange and consumer stands a line that can be cut.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from services.exchange import pushes, reads, signing, subscriptions
from services.exchange.client import ExchangeClient
from services.identity.client import IdentityClient
from services.identity.shapes import CITIZEN_NUMBER as SYSTEM
from services.identity.shapes import Identifier, PersonPush
from services.kit import subscriptions as inbox
from services.kit.calls import Calls, answer_in_memory
from services.kit.database import Row
from services.kit.subscriptions import Batch
from tests.health.support import CITIZEN_NUMBER, FHIR_JSON, citizen_number, patient, put, transaction
from tests.identity.parties import Machine
from tests.support.databases import TestServers
from tests.support.issuer import Issuer
from tests.support.offers import exchange_at
from tests.support.running import RunningServices, running_services

AGREEMENT = "health.deaths-social_security-eligibility"
DATASET = "health.deaths"
INBOX = "/social-security/exchange-inbox"
Told = dict[str, str]


@dataclass
class Line:
    """Between the exchange and social security: passes on, loses answers, or answers itself."""

    app: Any
    lose: int = 0
    answer: int | None = None
    seen: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") != INBOX:
            await self.app(scope, receive, send)
            return
        body = (await receive())["body"]
        self.seen.append(body)
        if self.answer is not None:
            refusal = {"code": "refused_by_test", "detail": "not this one"}
            await JSONResponse(refusal, self.answer)(scope, receive, send)
            return

        async def again() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        if self.lose:
            self.lose -= 1

            async def lost(_message: Any) -> None:
                """The consumer's answer, which nobody hears."""

            await self.app(scope, again, lost)
            await JSONResponse({}, 503)(scope, receive, send)
            return
        await self.app(scope, again, send)


@dataclass
class Journey:
    house: RunningServices
    line: Line
    hospital: httpx.AsyncClient
    admin: httpx.AsyncClient
    number: int = 0

    async def deaths(self, count: int) -> list[tuple[str, str]]:
        """Pushed by the hospital; citizen number and day of each."""
        found = []
        for _ in range(count):
            self.number += 1
            found.append((citizen_number(self.number), f"2026-03-{self.number % 28 + 1:02d}"))
        await self.pushed(*found)
        return found

    async def pushed(self, *deaths: tuple[str, str | None]) -> None:
        entries = [
            put(
                patient(
                    (CITIZEN_NUMBER, number),
                    id=f"p{number[-4:-1]}",
                    **({"deceasedDateTime": day} if day else {"deceasedBoolean": False}),
                )
            )
            for number, day in deaths
        ]
        answer = await self.hospital.post("/fhir", json=transaction(*entries))
        assert answer.status_code == 200, answer.text

    async def theirs(self, *deaths: tuple[str, str]) -> Told:
        """The same by social security's own ids."""
        people = [
            PersonPush(ref=number, identifiers=[Identifier(system=SYSTEM, value=number)])
            for number, _ in deaths
        ]
        calls = Calls(self.house.settings, "social_security")
        found = await calls.client(IdentityClient).resolve(people, organisation=None)
        return {str(one.sector_id): day for one, (_, day) in zip(found, deaths, strict=True)}

    async def told(self) -> Told:
        async with self.house.kit("social_security").db.read() as db:
            rows = await db.fetch("select person, died_on::text from told_death")
        return {row["person"]: row["died_on"] for row in rows}

    async def subscription(self) -> Row:
        async with self.house.kit("exchange").db.read() as db:
            row = await db.fetchrow("select * from subscription where state <> 'ended'")
        assert row is not None
        return row

    async def arrive(self, expected: Told) -> None:
        async def there() -> bool:
            return await self.told() == expected

        await until(there)

    async def step(self, what: str) -> None:
        answer = await self.admin.post(f"/exchange/agreements/{AGREEMENT}/{what}", json={"reason": "journey"})
        assert answer.status_code == 200, answer.text

    async def leaves(self, service: str, action: str) -> list[dict[str, Any]]:
        async with self.house.kit(service).db.read() as db:
            rows = await db.fetch("select body::jsonb as body from leaf order by seq")
        return [row["body"] for row in rows if row["body"]["action"] == action]

    async def as_service(self, name: str) -> httpx.AsyncClient:
        token = await Calls(self.house.settings, name).own_token()
        return await self.house.client("exchange", token=token)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - other services' work
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(servers: TestServers, issuer: Issuer) -> AsyncIterator[Journey]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushes, "LOOK_EVERY_S", 0.1)
        patch.setattr(inbox, "LOOK_EVERY_S", 0.2)
        patch.setattr(subscriptions, "TOLD_AGAIN_AFTER_S", 0.0)
        async with running_services(
            ("identity", "exchange", "health", "social_security"), servers, issuer
        ) as house:
            line = Line(house.front.held["social_security"])
            answer_in_memory({**house.front.held, "social_security": line})
            await house.kit("exchange").calls.close()  # who has been asked so far is asked past the line
            hospital = await house.client(
                "health",
                scopes="system/*.cruds",
                subject="hospital",
                organisation="hospital",
                headers={"content-type": FHIR_JSON},
            )
            stack = await Machine.service(house.settings, "stack").token(
                await house.client("identity", scopes=None)
            )
            admin = await house.client("exchange", token=stack.json()["access_token"])
            yield Journey(house, line, hospital, admin)


@pytest.fixture(scope="module")
async def kept(servers: TestServers, issuer: Issuer) -> AsyncIterator[Journey]:
    async with running(servers, issuer) as found:
        yield found


@pytest.fixture
async def journey(kept: Journey) -> AsyncIterator[Journey]:
    """Subscribed by itself, and everything so far taken."""

    async def subscribed() -> bool:
        client = Calls(kept.house.settings, "social_security").client(ExchangeClient)
        return kept.number == 0 or await client.settled(DATASET) == AGREEMENT

    await until(subscribed)
    yield kept
    kept.line.answer, kept.line.lose = None, 0
    kept.line.seen.clear()


async def test_a_death_arrives_once_under_the_consumers_own_ids(journey: Journey) -> None:
    before = await journey.told()
    dead = await journey.deaths(3)
    await journey.arrive(before | await journey.theirs(*dead))
    client = Calls(journey.house.settings, "social_security").client(ExchangeClient)

    async def settled() -> bool:
        return await client.settled(DATASET) == AGREEMENT

    await until(settled)
    batches = (await journey.subscription())["batches"]
    await asyncio.sleep(0.5)
    assert (await journey.subscription())["batches"] == batches == len(journey.line.seen)
    [pushed, *_] = await journey.leaves("exchange", "dataset.push")
    assert (pushed["client"], pushed["agreement"], pushed["subjects_count"]) == (
        "service:social_security",
        AGREEMENT,
        3,
    )
    [taken, *_] = await journey.leaves("social_security", "batches.take")
    assert (taken["client"], taken["records"]) == ("service:exchange", 3)


async def test_a_correction_arrives_and_a_withdrawn_death_is_gone(journey: Journey) -> None:
    before = await journey.told()
    [one, other] = await journey.deaths(2)
    await journey.arrive(before | await journey.theirs(one, other))
    await journey.pushed((one[0], "2026-05-05"), (other[0], None))
    await journey.arrive(before | await journey.theirs((one[0], "2026-05-05")))


async def test_an_answer_that_is_lost_brings_the_batch_again_and_it_counts_once(journey: Journey) -> None:
    before = await journey.told()
    taken = len(await journey.leaves("social_security", "batches.take"))
    journey.line.lose = 1
    dead = await journey.deaths(2)
    await journey.arrive(before | await journey.theirs(*dead))
    batches = (await journey.subscription())["batches"]

    async def answered() -> bool:
        return int((await journey.subscription())["batches"]) > batches or len(journey.line.seen) > 1

    await until(answered)
    first, second, *_ = [Batch.model_validate_json(body) for body in journey.line.seen]
    assert first.number == second.number
    assert len(await journey.leaves("social_security", "batches.take")) == taken + 1


async def test_while_suspended_nothing_arrives_and_then_exactly_what_was_missed(journey: Journey) -> None:
    before = await journey.told()
    await journey.step("suspension")
    dead = await journey.deaths(2)
    await asyncio.sleep(0.5)
    assert (await journey.told(), journey.line.seen) == (before, [])
    # What a push does that saw the agreement in force a moment before, and was refused; a slow one does it
    # when all is well again.
    exchange, seen = journey.house.kit("exchange"), await journey.subscription()
    await pushes._put_off(exchange, seen, "no_agreement", 3600.0)
    await journey.step("resumption")
    await pushes._put_off(exchange, seen, "no_agreement", 3600.0)
    await journey.arrive(before | await journey.theirs(*dead))
    rows = [row for body in journey.line.seen for row in Batch.model_validate_json(body).rows]
    assert {row["sector_id"]: row["death_date"] for row in rows} == await journey.theirs(*dead)


async def test_suspended_between_the_record_and_the_push_nothing_goes_out(
    journey: Journey, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, recorded = await journey.told(), reads.recorded

    async def then_suspended(*args: Any, **named: Any) -> Any:
        found = await recorded(*args, **named)
        await journey.step("suspension")
        monkeypatch.setattr(reads, "recorded", recorded)
        return found

    monkeypatch.setattr(reads, "recorded", then_suspended)
    dead = await journey.deaths(1)

    async def refused() -> bool:
        last = (await journey.leaves("exchange", "dataset.push"))[-1]
        return bool(last["outcome"] == "refused" and last["reason"] == "no_agreement")

    await until(refused)
    assert (await journey.told(), journey.line.seen) == (before, [])
    await journey.step("resumption")
    await journey.arrive(before | await journey.theirs(*dead))


async def test_a_consumer_that_is_down_gets_it_later_and_one_that_refuses_parks(journey: Journey) -> None:
    before = await journey.told()
    journey.line.answer = 503
    dead = await journey.deaths(1)

    async def tried() -> bool:
        return int((await journey.subscription())["attempts"]) > 0

    await until(tried)
    journey.line.answer = 422

    async def parked() -> bool:
        return bool((await journey.subscription())["state"] == "parked")

    await until(parked)
    assert "refused_by_test" in (await journey.subscription())["reason"]
    journey.line.answer = None
    consumer = await journey.as_service("social_security")
    id = (await journey.subscription())["id"]
    answer = await consumer.post(f"/exchange/subscriptions/{id}/resumption")
    assert (answer.status_code, answer.json()["state"]) == (200, "active")
    await journey.arrive(before | await journey.theirs(*dead))


async def test_staff_of_the_provider_hold_it_back_and_have_it_told_again(journey: Journey) -> None:
    before, path = await journey.told(), "/exchange/pushes"
    id = (await journey.subscription())["id"]
    said = {"reason": "核对数据质量"}
    answer = await journey.admin.post(f"{path}/{id}/pause", json=said)
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (
        200,
        "paused",
        *said.values(),
    )
    dead = await journey.deaths(1)
    consumer = await journey.as_service("social_security")
    assert (await consumer.post(f"/exchange/subscriptions/{id}/resumption")).json()["state"] == "paused"
    await asyncio.sleep(0.5)
    assert (await journey.told(), journey.line.seen) == (before, [])
    again = await journey.admin.post(f"{path}/{id}/pause", json=said)
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    assert (await journey.admin.post(f"{path}/{id}/resumption", json=said)).json()["state"] == "active"
    expected = before | await journey.theirs(*dead)
    await journey.arrive(expected)

    journey.line.seen.clear()
    since = (await journey.subscription())["even_at"]
    assert (await journey.admin.post(f"{path}/{id}/retelling", json=said)).status_code == 200

    async def told_again() -> bool:
        rows = [Batch.model_validate_json(body) for body in journey.line.seen]
        return any(batch.first for batch in rows) and sum(len(batch.rows) for batch in rows) >= len(expected)

    await until(told_again)
    await journey.arrive(expected)

    async def even() -> bool:
        [shown] = (await journey.admin.get(path)).json()["items"]
        return bool(shown["even_at"]) and (since is None or datetime.fromisoformat(shown["even_at"]) > since)

    await until(even)
    for caller, status in ((consumer, 403), (await journey.house.client("exchange", scopes=None), 401)):
        assert (await caller.post(f"{path}/{id}/pause", json=said)).status_code == status
    other = await journey.house.client(
        "exchange", kind="staff", roles=["exchange_staff"], scopes="exchange:agreements:write",
        subject="elsewhere", organisation="11330100MB0000009X", areas=["330100"],
    )  # fmt: skip
    assert (await other.post(f"{path}/{id}/pause", json=said)).status_code == 403
    for action in ("pause", "resume", "retell"):
        [leaf] = await journey.leaves("exchange", f"subscriptions.{action}")
        assert (leaf["agreement"], leaf["reason"]) == (AGREEMENT, *said.values())


async def test_without_an_agreement_nobody_subscribes_and_nobody_sees_anothers(journey: Journey) -> None:
    stranger = await journey.as_service("education")
    answer = await stranger.post("/exchange/subscriptions", json={"dataset": DATASET})
    assert (answer.status_code, answer.json()["code"]) == (403, "no_agreement")
    last = (await journey.leaves("exchange", "dataset.push"))[-1]
    assert (last["client"], last["outcome"]) == ("service:education", "refused")
    assert (await stranger.get("/exchange/subscriptions")).json()["items"] == []
    id = (await journey.subscription())["id"]
    for what in ("end", "resumption"):
        assert (await stranger.post(f"/exchange/subscriptions/{id}/{what}")).status_code == 404


async def test_only_what_the_exchange_signed_for_this_consumer_is_taken(journey: Journey) -> None:
    before, kit = await journey.told(), journey.house.kit("exchange")
    batch = Batch(
        subscription=uuid4(), agreement=AGREEMENT, consumer="social_security", dataset=DATASET, number=0,
        first=True, sector_id="sector_id", place="x",
        rows=[{"sector_id": "h1_x", "death_date": "2026-01-01"}],
    )  # fmt: skip
    body = batch.model_dump_json().encode()
    signed = signing.signed_push(kit, body, path=INBOX)
    other = batch.model_copy(update={"consumer": "education"}).model_dump_json().encode()
    exchange = await journey.house.client(
        "social_security",
        token=await Calls(journey.house.settings, "exchange").own_token(),
        headers={"content-type": "application/json"},
    )
    for sent, headers, code in (
        (body.replace(b"2026-01-01", b"2025-01-01"), signed, "bad_signature"),
        (body, {}, "bad_signature"),
        (body, signing.signed_push(kit, body, path="/education/exchange-inbox"), "bad_signature"),
        (other, signing.signed_push(kit, other, path=INBOX), "wrong_audience"),
    ):
        answer = await exchange.post(INBOX, content=sent, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    stranger = await journey.house.client(
        "social_security", kind="service", subject="service:education", scopes="exchange:batches:push"
    )
    assert (await stranger.post(INBOX, content=body, headers=signed)).status_code == 403
    assert await journey.told() == before


async def test_what_commits_later_is_not_passed_over(journey: Journey) -> None:
    health = journey.house.kit("health").db
    exchange = await exchange_at(journey.house, "health")
    path, was = "/health/offers/deaths/changes", [{"death_date": "2026-01-01"}]
    change = "insert into offer_change (dataset, sector_id, was) values ('deaths', $1, $2)"
    start = (await exchange.get(path, params={"limit": 10_000})).json()["next"]
    async with health.transaction() as slow:
        await slow.execute(change, "h1_slow", was)
        async with health.transaction() as quick:
            await quick.execute(change, "h1_quick", was)
        meanwhile = (await exchange.get(path, params={"after": start})).json()
    assert (meanwhile["rows"], meanwhile["next"], meanwhile["settled"]) == ([], None, False)

    async def both() -> bool:
        found = (await exchange.get(path, params={"after": start})).json()["rows"]
        return [row["sector_id"] for row in found] == ["h1_slow", "h1_quick"]

    await until(both)


async def test_once_people_were_merged_all_is_told_again(journey: Journey) -> None:
    expected = await journey.told()
    async with journey.house.kit("social_security").db.transaction() as tx:
        await tx.execute("insert into told_death values ($1, 'h1_of_before', '2026-01-01')", AGREEMENT)
    async with journey.house.kit("identity").db.transaction() as tx:
        await tx.publish(
            "identity.persons.merged", aggregate="match/x", data={"sector": "health", "sealed": "x"}
        )
    await journey.arrive(expected)
    assert any(Batch.model_validate_json(body).first for body in journey.line.seen)
