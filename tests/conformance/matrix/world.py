"""One person with records in every domain, and everybody who might want to see them.

All of it is pushed and asked for through the public doors of the running suite. Words that stand in the
owner's records alone (`MARKS`) show wherever one of them comes out.
"""

import time
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson

from services.kit.calls import client_assertion
from services.kit.check_characters import uscc_check_character
from services.kit.client_keys import service_key
from services.kit.settings import Settings
from tests.education.rosters import Roster, pupil, school_roster
from tests.health.support import (
    CITIZEN_NUMBER,
    citizen_number,
    locations,
    observation,
    patient,
    post,
    transaction,
)
from tests.social_security.pushes import claim, contribution, csv_of, line, payment
from tests.support.suite import Suite

BORN = "20150316"
OWNER_NUMBER, GUARDIAN_NUMBER, STRANGER_NUMBER = (
    citizen_number(811, "330106", BORN),
    citizen_number(812, "330106", "19850316"),
    citizen_number(813, "310101", "19900316"),
)
HOSPITAL, HOSPITAL_2, BUREAU, SCHOOL, SCHOOL_2, OFFICE, OFFICE_2 = (
    body + uscc_check_character(body) for body in (f"1233010647011608{digit}" for digit in range(1, 8))
)
NEAR, FAR = "330106", "310101"
MARKS = ("matrix-mark", "矩阵甲", "小矩")
"""Of the owner: in every free text; the name in the register; the given name in the roster."""
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
RUN_S = 90.0

PERSONS = {"owner": OWNER_NUMBER, "guardian": GUARDIAN_NUMBER, "stranger": STRANGER_NUMBER}
STAFF: dict[str, tuple[str, str, str]] = {
    # The role, the organisation, the area.
    "flow_staff": ("flow_staff", BUREAU, NEAR),
    "flow_staff_elsewhere": ("flow_staff", BUREAU, FAR),
    "auditor": ("auditor", OFFICE, NEAR),
    "auditor_elsewhere": ("auditor", OFFICE, FAR),
    "operator": ("operator", OFFICE, NEAR),
    "exchange_staff": ("exchange_staff", OFFICE, NEAR),
    "identity_clerk": ("identity_clerk", OFFICE, NEAR),
    "clinician": ("clinician", HOSPITAL, NEAR),
    "clinician_elsewhere": ("clinician", HOSPITAL_2, NEAR),
    "privacy_officer": ("privacy_officer", HOSPITAL, NEAR),
    "privacy_officer_elsewhere": ("privacy_officer", HOSPITAL_2, NEAR),
    "data_steward": ("data_steward", OFFICE, NEAR),
}
CLIENTS = {
    # The kind of client, and its organisation.
    "hospital": ("hospital", HOSPITAL),
    "hospital_elsewhere": ("hospital", HOSPITAL_2),
    "school": ("school", SCHOOL),
    "school_elsewhere": ("school", SCHOOL_2),
    "agency": ("agency", OFFICE),
    "agency_elsewhere": ("agency", OFFICE_2),
    "site": ("site", BUREAU),
    "gate": ("gate", BUREAU),
    "registry": ("registry", OFFICE),
    "audit_office": ("auditor", OFFICE),
    "portal": ("portal", OFFICE),
    "researcher": ("researcher", OFFICE),
}
SERVICES = {f"service_{name}": name for name in ("health", "social_security", "exchange", "notify", "stack")}
SESSIONS = (*PERSONS, *STAFF)
CALLERS = ("nobody", *SESSIONS, *CLIENTS, *SERVICES)


@dataclass
class World:
    """The callers, and the ids of what was seeded for paths and arguments that need one."""

    suite: Suite
    ids: dict[str, str] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def session(self, caller: str) -> str:
        return self.suite.session(f"matrix-{caller}")

    def graphql(self, caller: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.suite.graphql(query, variables, as_=None if caller == "nobody" else f"matrix-{caller}")

    def token(self, caller: str, service: str) -> str | None:
        """What the caller can show at a service's door: None when it gets no token that is good there."""
        if caller == "nobody":
            return None
        key = (caller, service if caller in SESSIONS else "")
        if key not in self._tokens:
            self._tokens[key] = self._asked(caller, service)
        token = self._tokens[key]
        return token if token is None or service in _audience(token) else None

    def _asked(self, caller: str, service: str) -> str | None:
        if caller in CLIENTS:
            return self.suite.token(*CLIENTS[caller])
        name = SERVICES.get(caller, "gateway")
        settings = Settings(secret=self.suite.home.secret(), public_url=self.suite.base_url)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": client_assertion(
                f"service:{name}", service_key(settings, name), self.suite.base_url
            ),
        }
        if caller in SESSIONS:
            form |= {
                "grant_type": EXCHANGE,
                "subject_token": self.session(caller),
                "subject_token_type": ACCESS_TOKEN,
                "audience": service,
            }
        answer = httpx.post(f"{self.suite.base_url}/oauth/token", data=form, timeout=30.0)
        if answer.status_code == 400 and answer.json()["error"] == "invalid_target":
            return None
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def _audience(token: str) -> list[str]:
    """The services a token is good at; that the others refuse it, tests/kit/test_principals.py says."""
    body = token.split(".")[1]
    found: list[str] = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))["aud"]
    return found


def build(suite: Suite) -> World:
    """Everybody registered, the owner's records pushed, the audit run, a warning acknowledged."""
    world = World(suite)
    _accounts(suite)
    _health(world)
    _social_security(world)
    _education(world)
    _transport(world)
    _asked_of_the_exchange(world)
    _emergency(world)
    return world


def _accounts(suite: Suite) -> None:
    people = [
        {
            "ref": who,
            "identifiers": [{"system": CITIZEN_NUMBER, "value": number}],
            "name": MARKS[1] if who == "owner" else f"矩阵{who}",
            "area": NEAR,
        }
        for who, number in PERSONS.items()
    ]
    answer = suite.as_stack("POST", "identity", "/identity/persons", {"people": people})
    assert {one["outcome"] for one in answer["people"]} <= {"created", "matched"}, answer
    kinds = {HOSPITAL: "hospital", HOSPITAL_2: "hospital", SCHOOL: "school", SCHOOL_2: "school"}
    organisations = [
        {"uscc": code, "name": f"矩阵机构 {code}", "kind": kinds.get(code, "agency"), "area": NEAR}
        for code in (HOSPITAL, HOSPITAL_2, BUREAU, SCHOOL, SCHOOL_2, OFFICE, OFFICE_2)
    ]
    suite.as_stack("POST", "identity", "/identity/organisations", {"organisations": organisations})
    ward = {
        "guardian": {"system": CITIZEN_NUMBER, "value": GUARDIAN_NUMBER},
        "ward": {"system": CITIZEN_NUMBER, "value": OWNER_NUMBER},
        "relation": "parent",
        "valid_from": "2015-03-16",
    }
    suite.as_stack("POST", "identity", "/identity/guardianships", {"guardianships": [ward]})
    for who, number in PERSONS.items():
        suite.account(f"matrix-{who}", kind="person", identifier={"system": CITIZEN_NUMBER, "value": number})
    for who, (role, organisation, area) in STAFF.items():
        suite.account(f"matrix-{who}", kind="staff", roles=[role], organisation=organisation, areas=[area])


def _health(world: World) -> None:
    full = "urn:uuid:11111111-1111-4111-8111-111111111111"
    entries = [
        post(patient((CITIZEN_NUMBER, OWNER_NUMBER), name=[{"text": MARKS[1]}], gender="male"), full),
        post(
            observation(
                full,
                effectiveDateTime="2026-03-01T08:00:00+08:00",
                valueString=MARKS[0],
                category=[{"text": MARKS[0]}],
            )
        ),
    ]
    with world.suite.client("hospital", HOSPITAL) as http:
        answer = http.post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    world.ids["patient"], world.ids["observation"] = (
        location.split("/")[1] for location in locations(answer.json())
    )


def _social_security(world: World) -> None:
    mine: dict[str, Any] = {"citizen_number": OWNER_NUMBER, "area": NEAR}
    files = {
        "contributions": [contribution(f"{MARKS[0]}-k", **mine)],
        "payments": [
            payment(f"{MARKS[0]}-1", **mine),
            payment(f"{MARKS[0]}-2", scheme="resident_pension", amount="180.00", **mine),
        ],
        "claims": [claim(f"{MARKS[0]}-c", total="80.00", **mine)],
        "claim_lines": [line(f"{MARKS[0]}-c")],
    }
    with world.suite.client("agency", OFFICE) as http:
        answer = http.post(
            "/social-security/imports",
            files={kind: (f"{kind}.csv", csv_of(kind, rows), "text/csv") for kind, rows in files.items()},
        )
    assert answer.status_code in {200, 201}, answer.text
    world.ids["social_security_import"] = answer.json()["receipt_id"]
    until = time.monotonic() + RUN_S
    run = world.suite.as_stack("POST", "social_security", "/social-security/audit-runs", {})
    while run["status"] in {"queued", "running"}:
        assert time.monotonic() < until, run
        time.sleep(0.3)
        run = world.suite.as_stack("GET", "social_security", f"/social-security/audit-runs/{run['id']}")
    assert run["status"] == "finished", run
    world.ids["audit_run"] = run["id"]


def _education(world: World) -> None:
    roster: Roster = school_roster(pupils=0)
    user = pupil(roster, 1, "s-1", userIds=f"{{citizen-number:{OWNER_NUMBER}}}", givenName=MARKS[2])
    roster.add(
        "enrollments",
        sourcedId="e-1",
        classSourcedId="s-1-k-0",
        schoolSourcedId="s-1",
        userSourcedId=user,
        role="student",
        primary="false",
        beginDate="2026-09-01",
    )
    roster.rows["demographics"][0]["birthDate"] = "2015-03-16"
    roster.rows["demographics"][0]["sex"] = "male"
    with world.suite.client("school", SCHOOL) as http:
        answer = http.post(
            "/education/imports", content=roster.zip(), headers={"content-type": "application/zip"}
        )
    assert answer.status_code == 201, answer.text
    world.ids["education_import"] = answer.headers["location"].rpartition("/")[2]


def _transport(world: World) -> None:
    zone, now = f"matrix-{uuid4().hex[:8]}", datetime.now(UTC).replace(second=0, microsecond=0)
    name = {"zh": "矩阵区", "en": "Matrix"}
    policy = {"capacity": 100, "dwell_up": 2, "dwell_down": 5, "hysteresis": 10, "red_at_once": False}
    with world.suite.client("site", BUREAU) as http:
        for path, body in (
            (f"zones/{zone}", {"name": name, "area": NEAR, "effective_area_m2": 500}),
            (f"zones/{zone}/capacity-policy", policy),
        ):
            assert http.put(f"/transport/{path}", json=body).status_code == 201
        counts = [{"time": (now - timedelta(minutes=ago)).isoformat(), "count": 120} for ago in (2, 1)]
        taken = http.post(f"/transport/zones/{zone}/counts", json=counts)
        assert taken.status_code == 200, taken.text
    query = "query ($zone: ID!) { zone(id: $zone) { warnings(first: 1) { nodes { id } } } }"
    found = world.graphql("flow_staff", query, {"zone": zone})
    world.ids |= {"zone": zone, "warning": found["data"]["zone"]["warnings"]["nodes"][0]["id"]}
    mutation = "mutation ($id: ID!, $note: String) { acknowledgeWarning(id: $id, note: $note) { id } }"
    answer = world.graphql("flow_staff", mutation, {"id": world.ids["warning"], "note": MARKS[0]})
    assert "errors" not in answer, answer


def _asked_of_the_exchange(world: World) -> None:
    """A consent of the owner's, and a report that a usage looks wrong."""
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    give = "mutation ($input: ConsentInput!) { giveConsent(input: $input) { id } }"
    consent = {
        "organisation": HOSPITAL_2,
        "purpose": "research",
        "validUntil": until,
        "actions": ["fhir.read"],
    }
    answer = world.graphql("owner", give, {"input": consent})
    assert "errors" not in answer, answer
    world.ids["consent"] = answer["data"]["giveConsent"]["id"]
    listed = "{ me { dataUsage(first: 20) { nodes { action proof { leafIndex } } } } }"
    waited = time.monotonic() + 20
    usages: list[dict[str, Any]] = []
    while not usages:
        assert time.monotonic() < waited, "no usage of the owner's data is listed"
        time.sleep(0.3)
        answer = world.graphql("owner", listed)
        assert "errors" not in answer, answer
        usages = answer["data"]["me"]["dataUsage"]["nodes"]
    report = "mutation ($leaf: Int!, $words: String!) { reportUsage(leafIndex: $leaf, words: $words) { id } }"
    leaf = usages[-1]["proof"]["leafIndex"]
    answer = world.graphql("owner", report, {"leaf": leaf, "words": MARKS[0]})
    assert "errors" not in answer, answer
    world.ids |= {"report": answer["data"]["reportUsage"]["id"], "leaf": str(leaf)}


def _emergency(world: World) -> None:
    opening = "mutation ($id: ID!, $reason: String!) { breakGlass(patient: $id, reason: $reason) { id } }"
    variables = {"id": world.ids["patient"], "reason": f"{MARKS[0]} 昏迷送医"}
    answer = world.graphql("clinician_elsewhere", opening, variables)
    assert "errors" not in answer, answer
