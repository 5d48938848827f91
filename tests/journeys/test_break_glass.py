"""Breaking the glass: a record opened in an emergency, told to whom it concerns, and reviewed.

Two hospitals; a person whom only the first has treated lies in the emergency room of the second. Everything
goes through the public doors of the real suite: hospitals push, staff and the patient sign in.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from services.audit.tree import includes
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.support.suite import Suite, running_suite

FIRST, SECOND = "91330100MA2GXXXX1A", "91330100MA2GXXXX2B"
NUMBER = citizen_number(77)
OPEN_S, REVIEW_S = 15, 20
PERSON = "urn:uuid:00000000-0000-4000-8000-000000000001"
REASON = "昏迷送急诊, 查过敏史 · unconscious, allergies unknown"
BREAK = """mutation ($patient: ID!, $reason: String!) {
  breakGlass(patient: $patient, reason: $reason) { id patient reason begunAt endsAt reviewDueAt } }"""
RECORD = """query ($patient: ID!) {
  patientRecord(patient: $patient) { observations { nodes { codes { code } } } } }"""
REVIEWS = """{ accessReviews(first: 50) { nodes {
  id patient actor reason state overdue words decidedBy } } }"""
DECIDE = """mutation ($id: ID!, $justified: Boolean!, $words: String!) {
  decideAccessReview(id: $id, justified: $justified, words: $words) { state words decidedBy } }"""
MINE = """{ me { health { emergencyAccesses { nodes { id organisation reason state words } } } } }"""


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    folder = public_folders / "glass"
    folder.mkdir()
    hours = {
        "HUIMIN_EMERGENCY_ACCESS_HOURS": str(OPEN_S / 3600),
        "HUIMIN_EMERGENCY_REVIEW_HOURS": str(REVIEW_S / 3600),
    }
    with running_suite(folder, environment=hours) as found:
        found.account("patient", kind="person", identifier={"system": CITIZEN_NUMBER, "value": NUMBER})
        staff = {"kind": "staff", "areas": ["330100"]}
        found.account("doctor", roles=["clinician"], organisation=SECOND, **staff)
        found.account("officer", roles=["privacy_officer"], organisation=SECOND, **staff)
        found.account("other-officer", roles=["privacy_officer"], organisation=FIRST, **staff)
        found.account("auditor", roles=["auditor"], organisation=SECOND, **staff)
        yield found


@pytest.fixture(scope="module")
def record(suite: Suite) -> str:
    """The person's Patient at the first hospital, with one result."""
    entries = [post(patient((CITIZEN_NUMBER, NUMBER)), PERSON), post(observation(PERSON, code="known"))]
    with suite.client("hospital", FIRST) as http:
        answer = http.post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    return locations(answer.json())[0]


@pytest.fixture(scope="module")
def opened(suite: Suite, record: str) -> dict[str, Any]:
    """The record, opened by the doctor of the second hospital, who could not read it before."""
    assert codes(suite, record) is None
    answer = suite.graphql(BREAK, {"patient": record, "reason": REASON}, as_="doctor")
    assert "errors" not in answer, answer
    found: dict[str, Any] = answer["data"]["breakGlass"]
    return found | {"at": time.monotonic()}


def codes(suite: Suite, record: str) -> list[str] | None:
    answer = suite.graphql(RECORD, {"patient": record}, as_="doctor")
    observations = ((answer.get("data") or {}).get("patientRecord") or {}).get("observations")
    if observations is None:
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND", answer
        return None
    return [node["codes"][0]["code"] for node in observations["nodes"]]


def code_of(answer: dict[str, Any]) -> str:
    return str(answer["errors"][0]["extensions"]["code"])


def log(suite: Suite) -> list[dict[str, Any]]:
    """Every leaf of the access log, as its verifier reads it."""
    found: list[dict[str, Any]] = []
    after: int | None = -1
    while after is not None:
        page = suite.as_stack("GET", "audit", f"/audit/leaves?after={after}&limit=5000")
        found += [{"index": leaf["index"], **orjson.loads(leaf["body"])} for leaf in page["leaves"]]
        after = page["next"]
    return found


def until(seconds: float, look: Any) -> Any:
    """What the look gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing after {seconds} s")


def told(suite: Suite, username: str, topic: str) -> list[dict[str, Any]]:
    """What notify has for an account, read with its session's token for notify."""
    data = suite.graphql(
        "query ($topic: String!) { notices(topic: $topic) { nodes { type at data } } }",
        {"topic": topic},
        as_=username,
    )
    assert "errors" not in data, data
    nodes: list[dict[str, Any]] = data["data"]["notices"]["nodes"]
    return nodes


def opening(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """On a busy machine the review may be overdue already, and said to be."""
    return [message for message in messages if message["type"] == "health.emergency_access.opened"]


def test_the_record_is_open_with_a_reason_and_every_read_of_it_is_in_the_log(
    suite: Suite, record: str, opened: dict[str, Any]
) -> None:
    assert codes(suite, record) == ["known"]
    leaves = until(60, lambda: [leaf for leaf in log(suite) if leaf.get("relation") == "break_glass"][1:])
    reading = leaves[0]
    assert (reading["action"], reading["organisation"]) == ("fhir.read", SECOND)
    assert (reading["reason"], reading["purpose"]) == (REASON, "emergency")
    assert "个人信息保护法" in reading["legal_basis"]
    proof = httpx.get(
        f"{suite.base_url}/audit/proofs/inclusion", params={"index": reading["index"]}, timeout=60
    ).json()
    path = [bytes.fromhex(step) for step in proof["path"]]
    root, size = bytes.fromhex(proof["head"]["root"]), proof["head"]["size"]
    assert includes(root, size, reading["index"], bytes.fromhex(proof["leaf"]), path)


def test_before_it_was_opened_the_attempt_was_refused_and_is_in_the_log(
    suite: Suite, record: str, opened: dict[str, Any]
) -> None:
    refused = [leaf for leaf in log(suite) if leaf["outcome"] == "refused" and leaf.get("resource") == record]
    assert refused[0]["reason"] == "no_treatment_relation"
    [glass] = [leaf for leaf in log(suite) if leaf["action"] == "break_glass"]
    assert refused[0]["subject"] == glass["subject"]
    assert (glass["resource"], glass["reason"]) == (record, REASON)


def test_the_patient_and_the_privacy_officer_are_told_at_once(suite: Suite, opened: dict[str, Any]) -> None:
    [mine] = suite.graphql(MINE, as_="patient")["data"]["me"]["health"]["emergencyAccesses"]["nodes"]
    assert (mine["id"], mine["organisation"], mine["reason"]) == (opened["id"], SECOND, REASON)
    for username, topic in (("patient", "inbox"), ("officer", "privacy")):
        [message] = until(60, lambda u=username, t=topic: opening(told(suite, u, t)))
        assert message["data"]["id"] == opened["id"]
        assert "recipient" not in message["data"]
        assert "h1_" not in str(message)
    assert told(suite, "other-officer", "privacy") == []


def test_who_may_not_break_the_glass_or_read_what_others_are_told(suite: Suite, record: str) -> None:
    for username in ("auditor", "officer", "patient"):
        answer = suite.graphql(BREAK, {"patient": record, "reason": REASON}, as_=username)
        assert code_of(answer) == "FORBIDDEN", (username, answer)
    nobody = suite.graphql(BREAK, {"patient": record, "reason": REASON})
    assert code_of(nobody) == "UNAUTHENTICATED"
    assert code_of(suite.graphql(REVIEWS, as_="doctor")) == "FORBIDDEN"
    for username, topic in (("doctor", "inbox"), ("patient", "privacy"), ("auditor", "privacy")):
        query = f'{{ notices(topic: "{topic}") {{ nodes {{ type }} }} }}'
        assert code_of(suite.graphql(query, as_=username)) == "FORBIDDEN"
    with suite.client("hospital", SECOND) as http:
        assert http.post("/health/emergency-accesses", json={}).status_code == 403


@pytest.mark.parametrize(
    ("patient_id", "reason", "code"),
    [
        ("Patient/nobody", REASON, "NOT_FOUND"),
        (None, "x", "BAD_USER_INPUT"),
        (None, f"病人 {NUMBER}", "BAD_USER_INPUT"),
        ("Patient/not an id", REASON, "BAD_USER_INPUT"),
    ],
)
def test_what_is_refused(suite: Suite, record: str, patient_id: str | None, reason: str, code: str) -> None:
    answer = suite.graphql(BREAK, {"patient": patient_id or record, "reason": reason}, as_="doctor")
    assert code_of(answer) == code
    assert NUMBER not in str(answer)


def test_after_its_time_the_record_is_closed_again(suite: Suite, record: str, opened: dict[str, Any]) -> None:
    time.sleep(max(0.0, opened["at"] + OPEN_S + 1 - time.monotonic()))
    assert codes(suite, record) is None
    last = [leaf for leaf in log(suite) if leaf.get("resource") == record and leaf["outcome"] == "refused"][
        -1
    ]
    assert last["reason"] == "no_treatment_relation"


def test_a_review_that_nobody_does_is_told_as_overdue_and_can_still_be_done(
    suite: Suite, opened: dict[str, Any]
) -> None:
    overdue = until(
        OPEN_S + REVIEW_S + 60,
        lambda: [m for m in told(suite, "officer", "privacy") if m["type"].endswith(".overdue")],
    )
    assert [message["data"]["id"] for message in overdue] == [opened["id"]]
    [review] = suite.graphql(REVIEWS, as_="officer")["data"]["accessReviews"]["nodes"]
    assert (review["id"], review["state"], review["overdue"]) == (opened["id"], "PENDING", True)
    assert review["reason"] == REASON
    assert suite.graphql(REVIEWS, as_="other-officer")["data"]["accessReviews"]["nodes"] == []
    said = {"id": opened["id"], "justified": True, "words": "昏迷, 急救记录相符"}
    assert code_of(suite.graphql(DECIDE, said, as_="other-officer")) == "NOT_FOUND"
    done = suite.graphql(DECIDE, said, as_="officer")["data"]["decideAccessReview"]
    assert (done["state"], done["words"]) == ("JUSTIFIED", said["words"])
    again = suite.graphql(DECIDE, said | {"justified": False}, as_="officer")
    assert code_of(again) == "BAD_USER_INPUT"
    [mine] = suite.graphql(MINE, as_="patient")["data"]["me"]["health"]["emergencyAccesses"]["nodes"]
    assert (mine["state"], mine["words"]) == ("JUSTIFIED", said["words"])


def test_the_log_of_all_this_verifies(suite: Suite) -> None:
    from services.audit.client import AuditClient
    from services.audit.verify import verify_suite
    from services.stack.clients import calls_as_stack
    from tests.support.suite import in_thread

    async def verified() -> list[str]:
        async with calls_as_stack(suite.home, suite.base_url) as calls:
            return (await verify_suite(calls.client(AuditClient))).faults

    assert in_thread(verified) == []
