"""Agreements: asked for by one department, decided by another, in force only as long as they say."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest
from asyncpg import CheckViolationError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from services.exchange import terms, working_days
from services.kit.cursors import encode_cursor
from tests.exchange.conftest import AGREEMENT, DATASET, ORGANISATIONS, Exchange

T = TypeVar("T")


def asked(**changed: Any) -> dict[str, Any]:
    return {
        "dataset": DATASET,
        "consumer": "social_security",
        "items": ["sector_id", "death_date"],
        "purpose": "benefit_administration",
        "details": "停发已故人员待遇前的核实",
        "legal_basis": "《中华人民共和国社会保险法》第七十四条",
        "valid_until": (datetime.now(UTC) + timedelta(days=300)).isoformat(),
        **changed,
    }


async def requested(exchange: Exchange, **changed: Any) -> dict[str, Any]:
    desk = await exchange.staff("social_security")
    answer = await desk.post("/exchange/agreements", json=asked(**changed))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def approved(exchange: Exchange, **changed: Any) -> dict[str, Any]:
    found = await requested(exchange, **changed)
    desk = await exchange.staff("health")
    answer = await desk.post(
        f"/exchange/agreements/{found['id']}/decision", json={"approve": True, "reason": "符合法定职责"}
    )
    assert answer.json()["state"] == "active", answer.text
    decided: dict[str, Any] = answer.json()
    return decided


async def test_from_request_to_end_with_every_step_on_record(exchange: Exchange) -> None:
    found = await requested(exchange)
    assert (found["state"], found["in_force"], found["overdue"]) == ("requested", False, False)
    asked_at = datetime.fromisoformat(found["requested_at"])
    assert datetime.fromisoformat(found["due_at"]) == working_days.term(asked_at, 10).ends
    path = f"/exchange/agreements/{found['id']}"
    health, pensions = await exchange.staff("health"), await exchange.staff("social_security")
    for desk, what, body, state in (
        (health, "decision", {"approve": True}, "active"),
        (health, "suspension", {}, "suspended"),
        (health, "resumption", {}, "active"),
        (pensions, "end", {}, "ended"),
    ):
        answer = await desk.post(f"{path}/{what}", json={"reason": f"because {what}", **body})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    file = (await health.get(f"{path}/file")).json()
    assert [(step["state"], step["organisation"]) for step in file["steps"]] == [
        ("requested", ORGANISATIONS["social_security"]),
        ("active", ORGANISATIONS["health"]),
        ("suspended", ORGANISATIONS["health"]),
        ("active", ORGANISATIONS["health"]),
        ("ended", ORGANISATIONS["social_security"]),
    ]
    assert len(file["use"]) == 30


async def test_a_refusal_needs_words_and_stands(exchange: Exchange) -> None:
    found = await requested(exchange)
    desk = await exchange.staff("health")
    path = f"/exchange/agreements/{found['id']}/decision"
    assert (await desk.post(path, json={"approve": False, "reason": "  "})).status_code == 422
    answer = await desk.post(path, json={"approve": False, "reason": "用途不明确，请补充"})
    assert answer.json()["state"] == "refused"
    again = await desk.post(path, json={"approve": True, "reason": "changed our mind"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


@pytest.mark.parametrize(
    ("service", "who", "code"),
    [
        ("social_security", {}, "not_the_provider"),
        ("education", {}, "not_the_provider"),
        ("transport", {}, "not_the_provider"),
        ("health", {"roles": ["auditor"]}, "no_policy"),
        ("health", {"kind": "person", "roles": []}, "no_policy"),
        ("health", {"scopes": "exchange:catalogue:read"}, "insufficient_scope"),
    ],
)
async def test_only_the_providers_staff_decides(
    exchange: Exchange, service: str, who: dict[str, Any], code: str
) -> None:
    found = await requested(exchange)
    desk = await exchange.staff(service, "other", **who)
    path = f"/exchange/agreements/{found['id']}"
    answer = await desk.post(f"{path}/decision", json={"approve": True, "reason": "we would like that"})
    assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert (await desk.get(path)).json()["state"] == "requested"


async def test_only_the_consumers_staff_asks(exchange: Exchange) -> None:
    for service in ("health", "education"):
        answer = await (await exchange.staff(service)).post("/exchange/agreements", json=asked())
        assert (answer.status_code, answer.json()["code"]) == (403, "not_the_consumer")
        assert set(answer.json()["reason"]) == {"zh", "en"}
    assert (await exchange.admin.post("/exchange/agreements", json=asked())).status_code == 403


async def test_nobody_decides_on_their_own_request(exchange: Exchange) -> None:
    """Somebody who moved to the other department in between is still the one who asked."""
    found = await requested(exchange)
    moved = await exchange.staff("health", subject="social_security-one")
    answer = await moved.post(
        f"/exchange/agreements/{found['id']}/decision", json={"approve": True, "reason": "my own"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "four_eyes")
    with pytest.raises(CheckViolationError, match="four_eyes"):
        async with exchange.kit.db.transaction() as tx:
            await tx.execute(
                "update agreement set state = 'active', decided_by = requested_by where id = $1", found["id"]
            )
    with pytest.raises(CheckViolationError, match="decided_by_somebody"):
        async with exchange.kit.db.transaction() as tx:
            await tx.execute("update agreement set state = 'active' where id = $1", found["id"])


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"items": ["sector_id", "blood_type"]}, 422, "cannot_be_agreed"),
        ({"items": ["death_date", "death_date"]}, 422, "cannot_be_agreed"),
        ({"purpose": "curiosity"}, 422, "cannot_be_agreed"),
        ({"valid_until": "2026-01-01T00:00:00Z"}, 422, "cannot_be_agreed"),
        ({"valid_until": "2100-01-01T00:00:00Z"}, 422, "cannot_be_agreed"),
        ({"filter": [{"item": "sector_id", "op": "eq", "value": "h1_A"}]}, 400, "invalid_filter"),
        ({"filter": [{"item": "death_date", "op": "prefix", "value": "2026"}]}, 400, "invalid_filter"),
        ({"filter": [{"item": "death_date", "op": "ge", "value": "soon"}]}, 400, "invalid_filter"),
        ({"filter": [{"item": "cause", "op": "in", "value": "I21"}]}, 400, "invalid_filter"),
        ({"filter": [{"item": "cause", "op": "like", "value": "I%"}]}, 422, None),
        ({"dataset": "health.moon"}, 404, "unknown_dataset"),
        ({"items": []}, 422, None),
        ({"legal_basis": ""}, 422, None),
        ({"details": "a\0b"}, 422, None),
        ({"reads_per_day": 0}, 422, None),
        ({"state": "active"}, 422, None),
    ],
)
async def test_what_cannot_be_agreed_is_refused_by_name(
    exchange: Exchange, changed: dict[str, Any], status: int, code: str | None
) -> None:
    desk = await exchange.staff("social_security")
    answer = await desk.post("/exchange/agreements", json=asked(**changed))
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code


async def test_a_provider_cannot_ask_itself(exchange: Exchange) -> None:
    answer = await (await exchange.staff("health")).post(
        "/exchange/agreements", json=asked(consumer="health")
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "cannot_be_agreed")


async def test_an_overdue_request_is_shown_and_told_once(exchange: Exchange) -> None:
    found = await requested(exchange)
    async with exchange.kit.db.transaction() as tx:
        await tx.execute(
            "update agreement set due_at = clock_timestamp() - interval '1 second' where id = $1", found["id"]
        )
    told = [await terms.sweep(exchange.kit), await terms.sweep(exchange.kit)]
    async with exchange.kit.db.read() as db:
        events = await db.fetch(
            "select body from outbox where type = 'exchange.agreement.overdue' and aggregate = $1",
            f"agreement/{found['id']}",
        )
    assert (len(events), told) == (1, [1, 0])
    assert events[0]["body"]["provider"] == "health"
    page = (await exchange.admin.get("/exchange/agreements", params={"state": "requested"})).json()
    assert [(one["id"], one["overdue"]) for one in page["items"]] == [(found["id"], True)]


async def test_what_is_past_its_validity_ends(exchange: Exchange) -> None:
    await exchange.agree(valid_until=datetime.now(UTC) - timedelta(seconds=1))
    await terms.sweep(exchange.kit)
    file = (await exchange.admin.get(f"/exchange/agreements/{AGREEMENT}/file")).json()
    assert (file["agreement"]["state"], file["steps"][-1]["state"]) == ("ended", "ended")


async def test_agreements_are_listed_newest_first_page_by_page(exchange: Exchange) -> None:
    ids = [(await requested(exchange))["id"] for _ in range(4)]
    found: list[str] = []
    after: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 2, "state": "requested"} | ({"after": after} if after else {})
        page = (await exchange.admin.get("/exchange/agreements", params=params)).json()
        found += [one["id"] for one in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == ids[::-1]
    for wrong in ("x", "MjAyNh8", "AAAA"):
        answer = await exchange.admin.get("/exchange/agreements", params={"after": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


async def test_an_organisation_answers_for_one_service(exchange: Exchange) -> None:
    body = {"organisation": ORGANISATIONS["health"], "name_zh": "卫健委", "name_en": "Health"}
    taken = await exchange.admin.put("/exchange/departments/transport", json=body)
    assert (taken.status_code, taken.json()["code"]) == (409, "organisation_taken")
    unknown = await exchange.admin.put("/exchange/departments/moon", json=body)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_service")
    own = await exchange.admin.put("/exchange/departments/health", json=body)
    assert own.json()["name_zh"] == "卫健委"
    staff = await exchange.staff("health")
    assert (await staff.put("/exchange/departments/health", json=body)).status_code == 403


PEOPLE = st.sampled_from(
    ["health-one", "health-two", "social_security-one", "social_security-two", "education-one"]
)


class Lifecycle(RuleBasedStateMachine):
    """Any order of requests, decisions and changes by anybody, against what should come of each."""

    exchange: Exchange
    loop: asyncio.AbstractEventLoop
    people: dict[str, httpx.AsyncClient]
    consumer: httpx.AsyncClient
    agreements = Bundle("agreements")

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, str] = {}
        self.asked_by: dict[str, str] = {}
        self.expired: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def post(self, who: str, path: str, **body: Any) -> httpx.Response:
        return self.run(self.people[who].post(f"/exchange/agreements{path}", json=body))

    @initialize(target=agreements)
    def one_is_asked_for(self) -> Any:
        return self.request("social_security-one")

    @rule(target=agreements, who=PEOPLE)
    def request(self, who: str) -> Any:
        answer = self.post(who, "", **asked())
        if not who.startswith("social_security"):
            assert (answer.status_code, answer.json()["code"]) == (403, "not_the_consumer")
            return multiple()
        id = str(answer.json()["id"])
        self.state[id], self.asked_by[id] = "requested", who
        return id

    @rule(id=agreements, who=PEOPLE, approve=st.booleans())
    def decide(self, id: str, who: str, approve: bool) -> None:
        answer = self.post(who, f"/{id}/decision", approve=approve, reason="because")
        if not who.startswith("health"):
            assert answer.status_code == 403
        elif self.state[id] != "requested" or (approve and id in self.expired):
            assert answer.status_code == 409
        else:
            self.state[id] = "active" if approve else "refused"
            assert answer.json()["state"] == self.state[id]

    @rule(id=agreements, who=PEOPLE, what=st.sampled_from(["suspension", "resumption", "end"]))
    def change(self, id: str, who: str, what: str) -> None:
        before, to = {
            "suspension": ({"active"}, "suspended"),
            "resumption": ({"suspended"}, "active"),
            "end": ({"requested", "active", "suspended"}, "ended"),
        }[what]
        answer = self.post(who, f"/{id}/{what}", reason="because")
        if not who.startswith(("health", "social_security") if what == "end" else "health"):
            assert answer.status_code == 403
        elif self.state[id] not in before:
            assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        else:
            self.state[id] = to
            assert answer.json()["state"] == to

    @rule(id=agreements)
    def expire(self, id: str) -> None:
        """A second ago."""
        self.expired.add(id)

        async def end() -> None:
            async with self.exchange.kit.db.transaction() as tx:
                await tx.execute(
                    """update agreement set valid_from = clock_timestamp() - interval '1 hour',
                           valid_until = clock_timestamp() - interval '1 second' where id = $1""",
                    id,
                )

        self.run(end())

    @rule()
    def sweep(self) -> None:
        self.run(terms.sweep(self.exchange.kit))
        for id in self.expired:
            if self.state[id] in {"active", "suspended"}:
                self.state[id] = "ended"

    @rule(id=agreements)
    def read(self, id: str) -> None:
        answer = self.run(self.consumer.get(f"/exchange/reads/{DATASET}", params={"agreement": id}))
        if self.state[id] == "active" and id not in self.expired:
            assert {frozenset(row) for row in answer.json()["rows"]} == {frozenset(asked()["items"])}
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "no_agreement")

    @rule(id=agreements)
    def look(self, id: str) -> None:
        found = self.run(self.consumer.get(f"/exchange/agreements/{id}")).json()
        assert found["state"] == self.state[id]
        assert found["in_force"] == (self.state[id] == "active" and id not in self.expired)


async def test_no_order_of_steps_leads_past_the_rules(exchange: Exchange) -> None:
    await exchange.with_deaths(3)
    Lifecycle.exchange, Lifecycle.loop = exchange, asyncio.get_running_loop()
    Lifecycle.consumer = await exchange.as_service("social_security")
    Lifecycle.people = {
        f"{service}-{name}": await exchange.staff(service, name)
        for service in ("health", "social_security", "education")
        for name in ("one", "two")
    }
    config = settings(
        max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    await asyncio.to_thread(run_machine, Lifecycle, settings=config)


@pytest.mark.parametrize(
    "said",
    [
        {"valid_from": "9998-01-01T00:00:00Z", "valid_until": "9999-12-31T00:00:00Z"},
        {"valid_from": "0001-01-01T00:00:00+14:00"},
        {"valid_until": "9999-12-31T23:59:59-14:00"},
        {"valid_until": 10**19},
        {"valid_until": "2027-01-01T00:00:00"},
        {"details": "\ud800abc"},
        {"details": "a\0bc"},
        {"purpose": "\0"},
        {"reads_per_day": 10**400},
        {"items": [["sector_id"]]},
    ],
)
async def test_bad_values_are_the_senders_fault(exchange: Exchange, said: dict[str, Any]) -> None:
    desk = await exchange.staff("social_security")
    headers = {"content-type": "application/json"}
    answer = await desk.post("/exchange/agreements", content=json.dumps(asked(**said)), headers=headers)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("body", ["[" * 200_000, '{"valid_until": ' + "9" * 5000 + "}", "NaN", "\ud800"])
async def test_a_body_that_is_none_is_refused(exchange: Exchange, body: str) -> None:
    desk = await exchange.staff("social_security")
    content = body.encode(errors="surrogatepass")
    headers = {"content-type": "application/json"}
    answer = await desk.post("/exchange/agreements", content=content, headers=headers)
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize(
    "parts",
    [
        ("0001-01-01T00:00:00+14:00", "x"),
        ("9999-12-31T23:59:59-14:00", "x"),
        ("2026-01-01T00:00:00", "x"),
        ("2026-01-01T00:00:00+00:00", "\0"),
        ("x", "y"),
    ],
)
async def test_a_cursor_of_nowhere_is_refused(exchange: Exchange, parts: tuple[str, str]) -> None:
    path = "/exchange/agreements"
    answer = await exchange.admin.get(path, params={"after": encode_cursor(*parts)})
    assert answer.status_code in {400, 422}
    answer = await exchange.admin.get("/exchange/datasets", params={"after": encode_cursor("\0")})
    assert answer.status_code in {400, 422}
