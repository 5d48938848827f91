"""Findings: from what offices and hospitals push, through the audit, to the auditor and the person.

Everything goes through the public doors of the real suite, with the city's offices and hospitals, and is held
to the city's own truth: every irregularity found, no near miss among them.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from city import doors
from city.build import dumped
from city.doors import Caller, Credentials
from city.numbers import CITIZEN_NUMBER
from city.push import table
from city.simulation import City
from city.truth import Story, compute, stories
from tests.support.suite import Suite

AGENCY, INSURER = "journey-pension-office", "journey-medical-fund"
AGREEMENT = "health.deaths-social_security-eligibility"
RUN_S = 120.0
FINDINGS = """query Findings($after: String) { findings(first: 100, after: $after, status: OPEN) {
    nodes { rule form subject amountAtRisk result severity explanation { zh en } legalBasis
            evidence { kind organisation key } }
    pageInfo { endCursor hasNextPage } } }"""
MINE = """{ me { socialSecurity {
    contributions { year scheme months }
    payments(first: 5) { nodes { paymentId amount } }
    findings(first: 50) { nodes { rule explanation { zh } evidence { key } } } } } }"""
Found = tuple[str, str, tuple[str, ...], str]


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=300, seed=11)


@pytest.fixture(scope="module")
def truth(city: City) -> dict[str, Any]:
    return compute(city)


@pytest.fixture(scope="module")
def pushed(suite: Suite, city: City) -> list[Story]:
    """Everybody's rows from the two offices, and the dead from the hospitals."""
    everybody = list(stories(city))
    senders = {
        "agency": Credentials(**_key(suite, "agency", AGENCY)),
        "insurer": Credentials(**_key(suite, "insurer", INSURER)),
        "hospital": Credentials(**_key(suite, "hospital", "journey-hospital")),
    }

    async def push() -> None:
        async with httpx.AsyncClient(base_url=suite.base_url, timeout=120.0) as http:
            callers = {kind: Caller(http, credentials) for kind, credentials in senders.items()}
            for kind, files in (
                ("agency", ("contributions", "payments")),
                ("insurer", ("claims", "claim_lines")),
            ):
                tables = {name: table(name, everybody) for name in files}
                receipt = await doors.push_social_security(callers[kind], tables, key=f"journey-{kind}")
                assert receipt["status"] == "accepted", receipt
            for story in everybody:
                if story.person.death is not None:
                    bundle = dumped(story.bundle).encode()
                    await doors.push_bundle(callers["hospital"], bundle, key=story.person.number[-8:])

    asyncio.run(push())
    return everybody


def _key(suite: Suite, kind: str, organisation: str) -> dict[str, Any]:
    found = asdict(suite.client_file(kind, organisation))
    return {name: found[name] for name in ("client_id", "issuer", "kind", "jwk")}


@pytest.fixture(scope="module")
def auditor(suite: Suite) -> str:
    suite.account("journey-auditor", kind="staff", roles=["auditor"], areas=["000000"])
    return "journey-auditor"


@pytest.fixture(scope="module")
def audited(suite: Suite, pushed: list[Story]) -> dict[str, Any]:
    return run_audit(suite)


def run_audit(suite: Suite) -> dict[str, Any]:
    """Has the rules run as the operators do, and returns how that ended."""
    until = time.monotonic() + RUN_S
    run = suite.as_stack("POST", "social_security", "/social-security/audit-runs", {})
    while run["status"] in {"queued", "running"}:
        assert time.monotonic() < until, run
        time.sleep(0.3)
        run = suite.as_stack("GET", "social_security", f"/social-security/audit-runs/{run['id']}")
    assert run["status"] == "finished", run
    found: dict[str, Any] = run
    return found


def findings(suite: Suite, auditor: str) -> Iterator[dict[str, Any]]:
    """What the auditor sees of this journey's two offices."""
    after: str | None = None
    while True:
        answer = suite.graphql(FINDINGS, {"after": after}, as_=auditor)
        assert "errors" not in answer, answer
        page = answer["data"]["findings"]
        for node in page["nodes"]:
            if {key["organisation"] for key in node["evidence"]} <= {AGENCY, INSURER}:
                yield node
        if not page["pageInfo"]["hasNextPage"]:
            return
        after = page["pageInfo"]["endCursor"]


def found(node: dict[str, Any]) -> Found:
    keys = tuple(sorted(f"{key['kind']} {key['key']}" for key in node["evidence"]))
    return node["rule"], node["form"], keys, node["amountAtRisk"]


def expected(truth: dict[str, Any]) -> set[Found]:
    return {
        (one["rule"], one["form"], tuple(sorted(one["evidence"])), one["amount_at_risk"])
        for one in truth["findings"]
    }


def test_every_rule_looks_and_says_on_what(audited: dict[str, Any]) -> None:
    assert {outcome["rule"]: outcome["outcome"] for outcome in audited["outcomes"]} == {
        "duplicate_charge": "run",
        "incompatible_benefits": "run",
        "payment_after_death": "run",
    }
    deaths = next(file for file in audited["snapshot_files"] if file["table"] == "deaths")
    assert deaths["agreement"] == AGREEMENT
    assert deaths["rows"] > 0


def test_the_auditor_gets_the_citys_truth_and_no_near_miss(
    suite: Suite, auditor: str, audited: dict[str, Any], truth: dict[str, Any]
) -> None:
    nodes = list(findings(suite, auditor))
    assert {found(node) for node in nodes} == expected(truth)
    assert {one["rule"] for one in truth["planted"]} == {node["rule"] for node in nodes}
    guilty = {row for one in truth["findings"] for row in one["evidence"]}
    spared = {row for miss in truth["near_misses"] for row in miss["rows"]} - guilty
    shown = {key for node in nodes for key in found(node)[2]}
    assert spared
    assert not spared & shown
    assert all(node["explanation"]["zh"] and node["explanation"]["en"] for node in nodes)
    assert all(node["legalBasis"] for node in nodes)


def test_a_second_run_adds_nothing(suite: Suite, auditor: str, audited: dict[str, Any]) -> None:
    before = sorted(found(node) for node in findings(suite, auditor))
    again = run_audit(suite)
    assert {outcome["new"] for outcome in again["outcomes"]} == {0}
    assert sorted(found(node) for node in findings(suite, auditor)) == before


def test_a_person_sees_every_flag_on_them_and_goes_on_being_paid(
    suite: Suite, city: City, audited: dict[str, Any], truth: dict[str, Any]
) -> None:
    flagged = next(one for one in truth["findings"] if one["form"] == "two_pensions")
    mine = _record(suite, flagged["citizen_number"])
    theirs = [one for one in truth["findings"] if one["citizen_number"] == flagged["citizen_number"]]
    assert {tuple(sorted(key["key"] for key in node["evidence"])) for node in mine["findings"]["nodes"]} == {
        tuple(sorted(row.partition(" ")[2] for row in one["evidence"])) for one in theirs
    }
    assert all(node["explanation"]["zh"] for node in mine["findings"]["nodes"])
    assert mine["payments"]["nodes"]


def test_a_person_without_flags_sees_none(
    suite: Suite, city: City, audited: dict[str, Any], truth: dict[str, Any], pushed: list[Story]
) -> None:
    flagged = {one["citizen_number"] for one in truth["findings"]}
    story = next(s for s in pushed if s.social.contributions and s.person.number not in flagged)
    mine = _record(suite, story.person.number)
    assert mine["findings"]["nodes"] == []
    assert mine["contributions"]


def _record(suite: Suite, number: str) -> dict[str, Any]:
    username = f"findings-{number[-6:]}"
    identifier = {"system": CITIZEN_NUMBER, "value": number}
    suite.account(username, kind="person", identifier=identifier)
    answer = suite.graphql(MINE, as_=username)
    assert "errors" not in answer, answer
    record: dict[str, Any] = answer["data"]["me"]["socialSecurity"]
    return record


def test_findings_are_for_auditors_alone(suite: Suite, truth: dict[str, Any]) -> None:
    citizen = "findings-citizen"
    identifier = {"system": CITIZEN_NUMBER, "value": truth["findings"][0]["citizen_number"]}
    suite.account(citizen, kind="person", identifier=identifier)
    for who, code in ((citizen, "FORBIDDEN"), (None, "UNAUTHENTICATED")):
        answer = suite.graphql(FINDINGS, as_=who)
        assert answer["data"] == {"findings": None}
        assert answer["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize(
    ("kind", "words"), [(None, "needs a bearer token"), ("school", "for another audience")]
)
def test_only_agencies_and_insurers_push(suite: Suite, kind: str | None, words: str) -> None:
    with suite.client(kind, "journey-school") as http:
        answer = http.post(
            "/social-security/imports?kind=payments", content=b"x", headers={"content-type": "text/csv"}
        )
    assert answer.status_code == 401
    assert words in answer.json()["detail"]


def test_a_push_with_a_wrong_row_is_refused_whole(suite: Suite, pushed: list[Story]) -> None:
    rows = table("payments", pushed[:40]).decode().splitlines()
    rows[1] = rows[1].replace("CNY", "RMB")
    with suite.client("agency", "journey-careless-office") as http:
        answer = http.post(
            "/social-security/imports?kind=payments",
            content="\n".join(rows).encode(),
            headers={"content-type": "text/csv"},
        )
    assert answer.status_code == 422, answer.text
    assert [(fault["line"], fault["field"], fault["code"]) for fault in answer.json()["errors"]] == [
        (2, "currency", "iso4217")
    ]
    assert json.loads(answer.text)["refused"] == {"payments": 1}


def test_without_its_agreement_a_rule_does_not_run_and_says_so(
    suite: Suite, auditor: str, audited: dict[str, Any]
) -> None:
    """The city's dead stay findings: not having looked is not having found nothing."""
    before = sorted(found(node) for node in findings(suite, auditor))
    path = f"/exchange/agreements/{AGREEMENT}"
    suite.as_stack("POST", "exchange", f"{path}/suspension", {"reason": "a journey's test"})
    try:
        run = run_audit(suite)
    finally:
        suite.as_stack("POST", "exchange", f"{path}/resumption", {"reason": "a journey's test"})
    told = {outcome["rule"]: outcome for outcome in run["outcomes"]}
    assert told["payment_after_death"]["outcome"] == "not_run"
    assert told["payment_after_death"]["code"] == "no_agreement"
    assert told["duplicate_charge"]["outcome"] == "run"
    assert sorted(found(node) for node in findings(suite, auditor)) == before
