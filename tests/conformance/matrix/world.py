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
BROWSER = (
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "BTBZMqHH6r4Tts7J_aSIgg",
)
"""Keys of a browser that rings: RFC 8291 section 5."""
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
    "identity_clerk_elsewhere": ("identity_clerk", OFFICE, FAR),
    "clinician": ("clinician", HOSPITAL, NEAR),
    "clinician_elsewhere": ("clinician", HOSPITAL_2, NEAR),
    "privacy_officer": ("privacy_officer", HOSPITAL, NEAR),
    "privacy_officer_elsewhere": ("privacy_officer", HOSPITAL_2, NEAR),
    "data_steward": ("data_steward", OFFICE, NEAR),
    "duty_lead": ("duty_lead", BUREAU, NEAR),
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
    ids: dict[str, Any] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def session(self, caller: str) -> str:
        return self.suite.session(f"matrix-{caller}")

    def graphql(self, caller: str, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.suite.graphql(query, variables, as_=None if caller == "nobody" else f"matrix-{caller}")

    def done(self, caller: str, query: str, **variables: Any) -> Any:
        """The one field that is asked for."""
        answer = self.graphql(caller, query, variables)
        assert "errors" not in answer, answer
        [found] = answer["data"].values()
        return found

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
        answer = httpx.post(f"{self.suite.base_url}/oauth/token", data=form, timeout=60.0)
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
    """Everybody registered, the owner's records pushed, audits and linkage run, a warning acknowledged."""
    world = World(suite)
    _accounts(suite)
    _health(world)
    _social_security(world)
    _education(world)
    _told(world)
    _transport(world)
    _asked_of_the_exchange(world)
    _emergency(world)
    _operated(world)
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
    double = {
        "ref": "double",
        "identifiers": [{"system": "urn:matrix:mrn", "value": "1"}],
        "name": MARKS[1],
        "birth_date": "2015-03-15",
        "area": NEAR,
    }
    answer = suite.as_stack("POST", "identity", "/identity/persons", {"people": [*people, double]})
    assert [one["outcome"] for one in answer["people"]] == ["created"] * len(people) + ["review"], answer
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
    world.ids["owner_number"] = OWNER_NUMBER
    world.ids["patient"], world.ids["observation"] = (
        location.split("/")[1] for location in locations(answer.json())
    )
    _claimed(world)


def _claimed(world: World) -> None:
    """Another hospital says that it treats the owner, who objects: it sees no more than before."""
    full = "urn:uuid:22222222-2222-4222-8222-222222222222"
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": full},
        "period": {"start": "2026-03-02T08:00:00+08:00"},
    }
    with world.suite.client("hospital", HOSPITAL_2) as http:
        entries = (post(patient((CITIZEN_NUMBER, OWNER_NUMBER)), full), post(visit))
        answer = http.post("/fhir", json=transaction(*entries))
    assert answer.status_code == 200, answer.text
    objection = "mutation ($who: String!) { objectToTreatment(organisation: $who) }"
    assert world.done("owner", objection, who=HOSPITAL_2)


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


def _told(world: World) -> None:
    """Where the owner is told; and of the area a roster, with one of the flow staff on duty at all hours."""
    ring = """mutation ($at: String!, $key: String!, $auth: String!) {
      registerPush(endpoint: $at, p256dh: $key, auth: $auth) { id } }"""
    world.done("owner", ring, at=f"https://{MARKS[0]}.example/", key=BROWSER[0], auth=BROWSER[1])
    keep = "mutation ($id: ID, $input: DutyRosterInput!) { keepDutyRoster(id: $id, input: $input) { id } }"
    roster = {"nameZh": "矩阵值班", "nameEn": "Matrix duty", "area": NEAR}
    id = world.ids["roster"] = world.done("duty_lead", keep, input=roster)["id"]
    join = "mutation ($id: ID!, $name: String!) { joinDutyRoster(id: $id, name: $name) { id } }"
    world.done("flow_staff", join, id=id, name=MARKS[0])
    inside = "query ($id: ID!) { dutyRoster(id: $id) { members { id } } }"
    [member] = world.done("duty_lead", inside, id=id)["members"]
    confirm = "mutation ($id: ID!, $member: ID!) { confirmDutyMember(id: $id, member: $member) { id } }"
    world.done("duty_lead", confirm, id=id, member=member["id"])
    duty = {"member": member["id"], "firstDay": "2026-01-01"}
    world.done("duty_lead", keep, id=id, input=roster | {"duties": [duty]})


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
    found = world.done("flow_staff", query, zone=zone)
    world.ids |= {"zone": zone, "warning": found["warnings"]["nodes"][0]["id"]}
    mutation = "mutation ($id: ID!, $note: String) { acknowledgeWarning(id: $id, note: $note) { id } }"
    world.done("flow_staff", mutation, id=world.ids["warning"], note=MARKS[0])


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
    world.ids["consent"] = world.done("owner", give, input=consent)["id"]
    listed = "{ me { dataUsage(first: 50) { nodes { action proof { leafIndex } } } } }"
    waited = time.monotonic() + 60
    leaf = None
    while leaf is None:
        assert time.monotonic() < waited, "no usage of the owner's data alone is listed"
        time.sleep(0.3)
        usages = world.done("owner", listed)["dataUsage"]["nodes"]
        alone = (one["proof"]["leafIndex"] for one in usages if one["action"] == "persons.resolved")
        leaf = next(alone, None)
    report = "mutation ($leaf: Int!, $words: String!) { reportUsage(leafIndex: $leaf, words: $words) { id } }"
    reported = world.done("owner", report, leaf=leaf, words=MARKS[0])
    world.ids |= {"report": reported["id"], "leaf": leaf}


def _emergency(world: World) -> None:
    opening = "mutation ($id: ID!, $reason: String!) { breakGlass(patient: $id, reason: $reason) { id } }"
    world.done("clinician_elsewhere", opening, id=world.ids["patient"], reason=f"{MARKS[0]} 昏迷送医")


def _operated(world: World) -> None:
    """A drill's outcome told, changes pushed to somebody, the register looked through for doubles."""
    outcome = {
        "id": str(uuid4()), "at": datetime.now(UTC).isoformat(), "kind": "drill", "ok": True, "seconds": 9.5,
        "rpo_s": 0.0, "rto_s": 4.5, "bytes": 1_000_000, "detail": "restored",
    }  # fmt: skip
    world.suite.as_stack("POST", "audit", "/audit/outcomes", outcome)
    [push] = world.done("exchange_staff", "{ dataPushes { nodes { id } } }")["nodes"]
    world.ids["push"] = push["id"]
    [review] = world.done("identity_clerk", "{ matchReviews { nodes { id } } }")["nodes"]
    world.ids["match_review"] = review["id"]
    until = time.monotonic() + RUN_S
    run = world.done("identity_clerk", "mutation { startLinkage { state } }")
    while run["state"] in {"QUEUED", "RUNNING"}:
        assert time.monotonic() < until, run
        time.sleep(0.3)
        [run] = world.done("identity_clerk", "{ linkageRuns(first: 1) { nodes { state error } } }")["nodes"]
    assert run["state"] == "DONE", run
