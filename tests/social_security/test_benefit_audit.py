"""Audit runs and findings: what a run does, who may see it, and what it must never do."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import pytest

from services.exchange.client import ExchangeClient
from services.exchange.shapes import ReadPage
from services.identity.client import IdentityClient
from services.identity.register import Register
from services.identity.repository import people, sectors
from services.identity.vault import vault_of
from services.kit.calls import DomainError
from services.kit.database import Transaction
from services.kit.jobs.running import run as run_job
from social_security import benefit_audit, process, snapshot
from social_security.analytics.__main__ import answer
from social_security.analytics.tables import TABLES
from social_security.app import app
from social_security.repository import runs
from social_security.shapes import AuditRun
from tests.social_security.conftest import Door
from tests.social_security.pushes import claim, contribution, csv_of, line, payment, uscc
from tests.support.running import RunningServices

AUDITOR = "social_security:audits:run social_security:findings:read"


class Exchange:
    """Stands in for the exchange: gives these deaths, or refuses."""

    def __init__(
        self, *deaths: tuple[str, str], refusal: DomainError | None = None, pushed: str | None = None
    ) -> None:
        self.deaths = deaths
        self.refusal = refusal
        self.pushed = pushed

    async def settled(self, dataset: str) -> str | None:
        assert dataset == "health.deaths"
        return self.pushed

    async def page(self, dataset: str, *, after: str | None = None, limit: int = 5000) -> ReadPage:
        assert dataset == "health.deaths"
        if self.refusal is not None:
            raise self.refusal
        rows = [{"sector_id": person, "death_date": day} for person, day in self.deaths]
        at = int(after or 0)
        following = str(at + 1) if at + 1 < len(rows) else None
        return ReadPage(agreement="a-1", rows=rows[at : at + 1], next=following, untranslated=0)


AWAY = DomainError("exchange", "SERVICE_UNAVAILABLE", "not asked for rows")
NO_AGREEMENT = DomainError(
    "exchange",
    "FORBIDDEN",
    "no agreement in force lets social_security read health.deaths",
    problem={"code": "no_agreement"},
)


@pytest.fixture
async def clean(house: RunningServices) -> None:
    """An empty service: what other tests of this file pushed and found is gone."""
    async with house.kit("social_security").db.transaction() as tx:
        await tx.execute("truncate finding, audit_run, data_snapshot, job, receipt, refusal cascade")
    shutil.rmtree(snapshot.root_of(house.kit("social_security").settings.home), ignore_errors=True)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The analytics in this process: the same code without the seconds that its libraries take to load."""

    async def told(module: str, what: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        assert (module, deadline_s) == ("social_security.analytics", snapshot.DEADLINE_S)
        return await asyncio.to_thread(answer, what)

    monkeypatch.setattr(process, "told", told)


@pytest.fixture
async def audited(in_process: None, clean: None, door: Door) -> "Audited":
    return Audited(door, await auditor_of(door.house, "000000"))


async def auditor_of(house: RunningServices, *areas: str) -> httpx.AsyncClient:
    return await house.client(
        "social_security",
        scopes=AUDITOR,
        kind="staff",
        subject="auditor",
        roles=["auditor"],
        areas=areas,
        purpose="benefit_audit",
    )


class Audited:
    """One agency's data, and the auditor who has them looked through."""

    def __init__(self, door: Door, auditor: httpx.AsyncClient) -> None:
        self.door = door
        self.auditor = auditor

    async def push(self, **rows: Sequence[dict[str, Any]]) -> None:
        files = {kind: csv_of(kind, found) for kind, found in rows.items()}
        answer = await self.door.push_together(**files)
        assert answer.status_code in {200, 201}, answer.text

    async def person_of(self, payment_id: str) -> str:
        rows = await self.door.rows(
            "select person from payment where organisation = $1 and payment_id = $2", payment_id
        )
        return str(rows[0]["person"])

    async def start(self, *rules: str) -> httpx.Response:
        return await self.auditor.post("/social-security/audit-runs", json={"rules": list(rules)})

    async def run(self, exchange: Exchange, *rules: str) -> AuditRun:
        """Starts a run at the door and does its work here, with this exchange."""
        started = await self.start(*rules)
        assert started.status_code == 202, started.text
        kit = self.door.house.kit("social_security")
        done: list[int] = []

        async def progress(step: int, _steps: int) -> None:
            done.append(step)

        finished = await benefit_audit.run(
            database=kit.db,
            commit=kit.db.transaction,
            exchange=cast(ExchangeClient, exchange),
            identity=kit.calls.client(IdentityClient),
            home=kit.settings.home,
            run_id=uuid.UUID(started.json()["id"]),
            progress=progress,
        )
        assert done == [1, 2, 3, 4]
        async with kit.db.transaction() as tx:
            await tx.execute("update job set state = 'done' where id = $1", finished.job_id)
        return finished

    async def findings(self, **params: Any) -> list[dict[str, Any]]:
        answer = await self.auditor.get("/social-security/findings", params=params)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


def outcomes(run: AuditRun) -> dict[str, tuple[str, int | None, int | None, int | None, int | None]]:
    return {o.rule: (o.outcome, o.new, o.known, o.back, o.vanished) for o in run.outcomes}


DOUBLE = (payment("p1", 1), payment("p2", 1, scheme="resident_pension", amount="180.00"))


class TestWhoMayRun:
    async def test_nobody_without_the_scope(self, house: RunningServices) -> None:
        for scopes in (None, "social_security:imports:write"):
            stranger = await house.client("social_security", scopes=scopes)
            answer = await stranger.post("/social-security/audit-runs", json={})
            assert answer.status_code == (401 if scopes is None else 403)

    async def test_a_rule_nobody_knows_is_refused(self, audited: Audited) -> None:
        answer = await audited.start("stop_all_benefits")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["code"] == "unknown_rule"

    async def test_one_run_at_a_time(self, audited: Audited) -> None:
        first = await audited.start()
        second = await audited.start()
        assert second.status_code == 409
        assert second.json()["run_id"] == first.json()["id"]

    async def test_an_unknown_run(self, audited: Audited) -> None:
        answer = await audited.auditor.get(f"/social-security/audit-runs/{uuid.uuid4()}")
        assert answer.status_code == 404


class TestDeathsThatWerePushed:
    async def test_are_read_where_they_are_all_there_are_and_fetched_where_not(
        self, audited: Audited
    ) -> None:
        await audited.push(payments=[payment("p1", 1, period="2026-04", amount="3200.00")])
        dead = await audited.person_of("p1")
        async with audited.door.house.kit("social_security").db.transaction() as tx:
            await tx.execute("insert into told_death values ('a-1', $1, '2026-03-31')", dead)
            await tx.execute("insert into told_death values ('a-2', 'another-agreement', '2026-03-31')")
        run = await audited.run(Exchange(refusal=AWAY, pushed="a-1"), "payment_after_death")
        assert outcomes(run) == {"payment_after_death": ("run", 1, 0, 0, 0)}
        [deaths] = [file for file in run.snapshot_files if file["table"] == "deaths"]
        assert (deaths["rows"], deaths["agreement"]) == (1, "a-1")
        run = await audited.run(Exchange(), "payment_after_death")
        assert outcomes(run) == {"payment_after_death": ("run", 0, 0, 0, 1)}


class TestARun:
    async def test_finds_explains_and_gives_its_evidence(self, audited: Audited) -> None:
        await audited.push(
            payments=[
                *DOUBLE,
                payment("p3", 2, period="2026-04", amount="3200.00"),
                payment("p4", 3, scheme="unemployment", benefit="unemployment_benefit", amount="1800.00"),
            ],
            contributions=[contribution("k1", 3)],
            claims=[claim("c1", 4)],
            claim_lines=[line("c1", 1), line("c1", 2)],
        )
        dead = await audited.person_of("p3")
        run = await audited.run(Exchange((dead, "2026-03-31"), ("nobody-here", "2020-01-01")))
        assert outcomes(run) == {
            "duplicate_charge": ("run", 1, 0, 0, 0),
            "incompatible_benefits": ("run", 2, 0, 0, 0),
            "payment_after_death": ("run", 1, 0, 0, 0),
        }
        found = {finding["form"]: finding for finding in await audited.findings()}
        organisation = audited.door.organisation
        late = found["payment_after_death"]
        assert late["evidence"] == [{"kind": "payment", "organisation": organisation, "key": "p3"}]
        assert late["amount_at_risk"] == "3200.00"
        assert (late["result"], late["severity"], late["status"]) == ("violation", "medium", "open")
        assert late["subject"] == dead
        assert late["explanation"] == {
            "zh": "登记的死亡日期为 2026-03-31，2026-04 的养老金仍于 2026-03-20 支付 3200.00 CNY。",
            "en": "The registered date of death is 2026-03-31; the pension for 2026-04 was still paid on "
            "2026-03-20, 3200.00 CNY.",
        }
        assert found["two_pensions"]["amount_at_risk"] == "180.00"
        assert [key["key"] for key in found["unemployed_and_insured"]["evidence"]] == ["k1", "p4"]
        twice = found["duplicate_charge"]
        assert (twice["result"], twice["party_role"], twice["amount_at_risk"]) == (
            "suspicion",
            "provider",
            "80.00",
        )
        assert twice["observed"]["provider_uscc"] == uscc(9)

    async def test_again_adds_nothing(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        exchange = Exchange()
        first = await audited.run(exchange)
        before = await audited.findings()
        again = await audited.run(exchange)
        assert outcomes(again)["incompatible_benefits"] == ("run", 0, 1, 0, 0)
        after = await audited.findings()
        assert [f["finding_key"] for f in after] == [f["finding_key"] for f in before]
        assert [f["first_seen_at"] for f in after] == [f["first_seen_at"] for f in before]
        assert again.snapshot_sha256 == first.snapshot_sha256
        assert again.pack_sha256 == first.pack_sha256

    async def test_marks_what_is_gone_and_opens_what_is_back(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        await audited.run(Exchange())
        await audited.push(payments=[DOUBLE[1] | {"period": "2026-02"}])
        gone = await audited.run(Exchange())
        assert outcomes(gone)["incompatible_benefits"] == ("run", 0, 0, 0, 1)
        assert [f["status"] for f in await audited.findings()] == ["vanished"]
        assert await audited.findings(status="open") == []
        await audited.push(payments=[DOUBLE[1]])
        back = await audited.run(Exchange())
        assert outcomes(back)["incompatible_benefits"] == ("run", 0, 0, 1, 0)
        assert [(f["status"], f["vanished_at"]) for f in await audited.findings()] == [("open", None)]

    async def test_of_one_rule_leaves_the_others_findings(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        await audited.run(Exchange())
        await audited.push(payments=[DOUBLE[1] | {"period": "2026-02"}])
        run = await audited.run(Exchange(), "duplicate_charge")
        assert list(outcomes(run)) == ["duplicate_charge"]
        assert [f["status"] for f in await audited.findings()] == ["open"]

    async def test_over_nothing_finds_nothing(self, audited: Audited) -> None:
        run = await audited.run(Exchange())
        assert {outcome.found for outcome in run.outcomes} == {0}
        assert {file["table"]: file["rows"] for file in run.snapshot_files} == {
            "claim_lines": 0, "claims": 0, "contributions": 0, "deaths": 0, "payments": 0
        }  # fmt: skip

    async def test_says_on_what_it_rests(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        run = await audited.run(Exchange(("x", "2026-01-01")))
        answer = await audited.auditor.get(f"/social-security/audit-runs/{run.id}")
        told = answer.json()
        assert told["status"] == "finished"
        assert told["engines"].keys() == {"duckdb", "ibis", "sqlglot", "pyarrow"}
        deaths = next(file for file in told["snapshot_files"] if file["table"] == "deaths")
        assert (deaths["rows"], deaths["agreement"], deaths["untranslated"]) == (1, "a-1", 0)
        assert all(len(file["sha256"]) == 64 for file in told["snapshot_files"])
        assert {outcome["version"] for outcome in told["outcomes"]}

    async def test_done_twice_is_done_once(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        run = await audited.run(Exchange())
        kit = audited.door.house.kit("social_security")

        async def progress(_step: int, _steps: int) -> None:
            raise AssertionError("there is nothing left to do")

        again = await benefit_audit.run(
            database=kit.db,
            commit=kit.db.transaction,
            exchange=cast(ExchangeClient, Exchange()),
            identity=kit.calls.client(IdentityClient),
            home=kit.settings.home,
            run_id=run.id,
            progress=progress,
        )
        assert again.outcomes == run.outcomes


class TestOnePerson:
    """A hospital's patient without a number, known first; then somebody with one, who draws a pension."""

    async def test_is_audited_as_one_once_decided_and_apart_again_when_taken_back(
        self, audited: Audited
    ) -> None:
        house = audited.door.house
        health, exchange = await _service(house, "health"), await _service(house, "exchange")
        patient = {"ref": "a", "identifiers": [{"system": "urn:hospital:a:mrn", "value": "7"}]}
        resolved = await health.post("/identity/resolve", json={"people": [patient]})
        known = resolved.json()["people"][0]["sector_id"]
        await audited.push(payments=[payment("p3", 777, period="2026-04", amount="3200.00")])
        stored = await audited.person_of("p3")
        clerks = [
            await house.client(
                "identity", kind="staff", subject=subject, roles=["identity_clerk"], areas=["000000"],
                scopes="identity:matches:decide", purpose="registration",
            )
            for subject in ("clerk", "another")
        ]  # fmt: skip

        async def found() -> tuple[str, list[tuple[str, str]]]:
            """The id the death comes with, and every finding of the rule: whose, and whether it stands."""
            asked = {"from": "health", "to": "social_security", "ids": [known]}
            [dead] = (await exchange.post("/identity/translate", json=asked)).json()["ids"]
            await audited.run(Exchange((dead, "2026-01-31")))
            findings = await audited.findings(rule="payment_after_death")
            return dead, [(finding["subject"], finding["status"]) for finding in findings]

        assert (await found())[1] == []
        one, other = await _names(house, known, stored)
        why = {"reason": "the hospital has seen the identity card"}
        for clerk in clerks:
            merged = await clerk.post("/identity/merges", json={"person": one, "other": other, **why})
            assert merged.status_code == 201, merged.text
        dead, findings = await found()
        assert (dead != stored, findings) == (True, [(dead, "open")])
        me = await house.client(
            "social_security", scopes="social_security:records:read", kind="person",
            organisation=None, sector_id=f"{dead} {stored}", purpose="own_records",
        )  # fmt: skip
        record = (await me.get("/social-security/records/me")).json()
        assert len(record["payments"]["items"]) == len(record["findings"]["items"]) == 1
        undone = await clerk.post(f"/identity/match-reviews/{merged.json()['id']}/unmerge", json=why)
        assert undone.status_code == 200, undone.text
        assert (await found())[1] == [(dead, "vanished")]


async def _service(house: RunningServices, name: str) -> httpx.AsyncClient:
    return await house.client(
        "identity",
        kind="service",
        subject=f"service:{name}",
        organisation=None,
        scopes=["identity:persons:resolve", "identity:translate"],
    )


async def _names(house: RunningServices, *ids: str) -> list[str]:
    """How a clerk's screen names the people behind these sector ids."""
    kit = house.kit("identity")
    register: Register = kit.parts["register"]
    async with vault_of(kit).transaction() as tx:
        pids = {row["id"]: row["pid"] for row in await sectors.owners(tx, ids)}
        named = {pid: register.sectors.id_of("identity", pid) for pid in pids.values()}
        version = register.sectors.version("identity")
        await people.remember_sector_ids(tx, "identity", version, [(id, pid) for pid, id in named.items()])
    return [named[pids[id]] for id in ids]


class TestARuleThatCannotLook:
    async def test_is_recorded_with_its_reason_and_keeps_its_findings(self, audited: Audited) -> None:
        await audited.push(payments=[payment("p1", 1, period="2026-04"), *DOUBLE[1:]])
        dead = await audited.person_of("p1")
        await audited.run(Exchange((dead, "2026-01-31")))
        refused = await audited.run(Exchange(refusal=NO_AGREEMENT))
        by_rule = {outcome.rule: outcome for outcome in refused.outcomes}
        assert by_rule["payment_after_death"].outcome == "not_run"
        assert by_rule["payment_after_death"].code == "no_agreement"
        assert "no agreement in force" in str(by_rule["payment_after_death"].reason)
        assert by_rule["payment_after_death"].found is None
        assert by_rule["incompatible_benefits"].outcome == "run"
        assert [f["status"] for f in await audited.findings(rule="payment_after_death")] == ["open", "open"]

    async def test_through_the_job_while_the_exchange_is_away(
        self, audited: Audited, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        await audited.push(payments=DOUBLE)
        started = (await audited.start()).json()
        assert started["status"] == "queued"
        await run_job("social_security", uuid.UUID(started["job_id"]))
        told = (await audited.auditor.get(f"/social-security/audit-runs/{started['id']}")).json()
        assert told["status"] == "finished", told
        assert told["progress"] == {"done": 4, "of": 4}
        reasons = {o["rule"]: o["code"] for o in told["outcomes"] if o["outcome"] == "not_run"}
        assert reasons == {"payment_after_death": "service_unavailable"}
        assert len(await audited.findings()) == 1


class TestAFailure:
    async def test_of_the_analytics_changes_nothing(
        self, audited: Audited, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        await audited.push(payments=DOUBLE)
        monkeypatch.setattr(snapshot, "PROGRAM", "social_security.no_such_program")
        with pytest.raises(process.ProgramFailed, match="no_such_program"):
            await audited.run(Exchange())
        assert await audited.findings() == []

    async def test_of_the_one_runner_changes_nothing(self, audited: Audited) -> None:
        """A runner that lost its job finds so at the commit; what it found is not written."""
        await audited.push(payments=DOUBLE)
        started = (await audited.start()).json()
        kit = audited.door.house.kit("social_security")

        @asynccontextmanager
        async def lost() -> AsyncIterator[Transaction]:
            async with kit.db.transaction() as tx:
                yield tx
                raise RuntimeError("another worker has the job")

        async def progress(_step: int, _steps: int) -> None:
            return

        with pytest.raises(RuntimeError, match="another worker"):
            await benefit_audit.run(
                database=kit.db,
                commit=lost,
                exchange=cast(ExchangeClient, Exchange()),
                identity=kit.calls.client(IdentityClient),
                home=kit.settings.home,
                run_id=uuid.UUID(started["id"]),
                progress=progress,
            )
        assert await audited.findings() == []
        told = (await audited.auditor.get(f"/social-security/audit-runs/{started['id']}")).json()
        assert told["status"] == "queued"

    async def test_of_an_older_run_that_comes_late_changes_nothing(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        newer = await audited.run(Exchange())
        async with audited.door.house.kit("social_security").db.transaction() as tx:
            await tx.execute("update data_snapshot set as_of = now() + interval '1 hour'")
        late = await audited.run(Exchange())
        assert (newer.status, late.status, late.outcomes) == ("finished", "superseded", [])


class TestReadingFindings:
    async def test_is_for_auditors(self, house: RunningServices) -> None:
        for scopes, status in ((None, 401), ("social_security:imports:write", 403)):
            stranger = await house.client("social_security", scopes=scopes)
            assert (await stranger.get("/social-security/findings")).status_code == status

    async def test_goes_page_by_page_largest_first(self, audited: Audited) -> None:
        people = range(10, 17)
        await audited.push(
            payments=[payment(f"e{n}", n, scheme="employee_pension") for n in people]
            + [payment(f"r{n}", n, scheme="resident_pension", amount=f"{100 + n % 3}.00") for n in people]
        )
        await audited.run(Exchange())
        seen: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            params = {"first": 3} | ({"after": after} if after else {})
            page = (await audited.auditor.get("/social-security/findings", params=params)).json()
            seen += page["items"]
            after = page["next"]
            if after is None:
                break
        assert len({finding["finding_key"] for finding in seen}) == 7
        amounts = [float(finding["amount_at_risk"]) for finding in seen]
        assert amounts == sorted(amounts, reverse=True)

    async def test_is_limited_to_the_auditors_areas(self, audited: Audited) -> None:
        await audited.push(
            payments=[row | {"area": "370102"} for row in DOUBLE]
            + [payment("p5", 5, area="330106"), payment("p6", 5, area="330106", scheme="resident_pension")]
        )
        run = (await audited.run(Exchange())).id
        for areas, count in (
            (["000000"], 2),
            ([], 0),
            (["370000"], 1),
            (["3701"], 1),
            (["33"], 1),
            (["37", "33"], 2),
            (["440000"], 0),
        ):
            client = await auditor_of(audited.door.house, *areas)
            assert len((await client.get("/social-security/findings")).json()["items"]) == count, areas
            told = (await client.get(f"/social-security/audit-runs/{run}")).json()
            assert sum(one.get("found", 0) for one in told["outcomes"]) == count, areas
            assert bool(told["snapshot_files"]) is (areas == ["000000"])

    @pytest.mark.parametrize(
        ("params", "status", "code"),
        [
            ({"rule": "no_such_rule"}, 400, "unknown_rule"),
            ({"after": "zzz"}, 400, "invalid_cursor"),
            ({"area": "37"}, 400, "unknown_parameter"),
            ({"status": "closed"}, 422, "invalid_input"),
            ({"first": "0"}, 422, "invalid_input"),
        ],
    )
    async def test_refuses_what_it_does_not_understand(
        self, audited: Audited, params: dict[str, str], status: int, code: str
    ) -> None:
        answer = await audited.auditor.get("/social-security/findings", params=params)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    async def test_leaves_a_trace_each_of_them_can_see(self, audited: Audited) -> None:
        await audited.push(payments=[payment("p1", 901), payment("p2", 901, scheme="resident_pension")])
        await audited.run(Exchange())
        person = await audited.person_of("p1")
        await audited.findings()
        kit = audited.door.house.kit("social_security")
        assert kit.leaves is not None
        await kit.leaves.flush()
        async with kit.db.read() as connection:
            actions = await connection.fetch(
                "select body::jsonb->>'action' as action from leaf join leaf_member on leaf_seq = seq "
                "where leaf_member.subject = $1 order by seq",
                person,
            )
        assert [row["action"] for row in actions] == ["import", "audit-run", "findings.read"]


class TestWhatMustNeverHappen:
    def test_no_door_stops_reduces_or_recovers_a_benefit(self) -> None:
        doors = {(method, path) for path, methods in app.openapi()["paths"].items() for method in methods}
        assert {door for door in doors if door[0] != "get"} == {
            ("post", "/social-security/imports"),
            ("post", "/social-security/audit-runs"),
            # An event is taken in again; no event of another service concerns a benefit.
            ("post", "/social-security/dead-letters/{id}/replay"),
            # Another service says how far it has read our events.
            ("post", "/social-security/outbox/readers"),
            # What the exchange pushes is kept for audits to read.
            ("post", "/social-security/exchange-inbox"),
        }

    async def test_a_run_leaves_every_payment_as_it_was(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        before = await audited.door.rows("select * from payment where organisation = $1 order by id")
        await audited.run(Exchange((await audited.person_of("p1"), "2020-01-01")))
        assert await audited.door.rows("select * from payment where organisation = $1 order by id") == before

    async def test_a_finding_takes_no_state_that_decides(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE)
        await audited.run(Exchange())
        for status in ("confirmed", "closed", "recovered", "stopped"):
            with pytest.raises(asyncpg.CheckViolationError):
                async with audited.door.house.kit("social_security").db.transaction() as tx:
                    await tx.execute("update finding set status = $1", status)


class TestOnesOwnFindings:
    async def test_are_all_there_without_ones_id(self, audited: Audited) -> None:
        """The gateway passes them on, and may not hold a person's ids of two sectors."""
        await audited.push(payments=DOUBLE)
        await audited.run(Exchange())
        person = await audited.person_of("p1")
        client = await audited.door.house.client(
            "social_security",
            scopes="social_security:records:read",
            kind="person",
            organisation=None,
            sector_id=person,
        )
        answer = await client.get("/social-security/records/me", params={"parts": "findings"})
        (finding,) = answer.json()["findings"]["items"]
        assert finding["rule"] == "incompatible_benefits"
        assert finding["explanation"]["zh"]
        assert person not in answer.text


class TestSnapshots:
    async def test_hold_no_name_and_no_number_and_only_the_newest_stay(self, audited: Audited) -> None:
        await audited.push(payments=DOUBLE, contributions=[contribution(name="王秀英")])
        for _ in range(3):
            await audited.run(Exchange())
        root = snapshot.root_of(audited.door.house.kit("social_security").settings.home)
        folders = sorted(root.iterdir())
        assert len(folders) == snapshot.KEPT
        for folder in folders:
            assert folder.stat().st_mode & 0o077 == 0
            for file in folder.iterdir():
                assert "王秀英".encode() not in file.read_bytes()
        same = [
            [(folder / name).read_bytes() for folder in folders]
            for name in ("findings.ndjson", "payments.parquet")
        ]
        assert all(first == second for first, second in same)

    def test_take_the_columns_the_rules_read(self) -> None:
        for table, sql in runs.CURRENT.items():
            columns = sql.partition("select")[2].partition("from")[0]
            assert [column.strip() for column in columns.split(",")] == list(TABLES[table])

    @pytest.mark.parametrize(
        ("death", "day"),
        [("2026-02-03", "2026-02-03"), ("2026-02", "2026-02-28"), ("2026", "2026-12-31"),
         ("2026-02-03T23:10:00+08:00", "2026-02-03")],
    )  # fmt: skip
    def test_take_a_vague_death_at_its_last_day(self, death: str, day: str) -> None:
        assert snapshot.day_of(death).isoformat() == day

    async def test_are_private(self, tmp_path: Path) -> None:
        folder = tmp_path / "deep" / "snapshot"
        snapshot._make_private(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
