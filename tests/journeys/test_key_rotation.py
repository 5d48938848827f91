"""A new key for every sector: who somebody is stays the same to everybody, and nothing that was stored before
names anybody after it.

Everything goes through the public doors of the real suite, with people of the city. Only the clock is helped:
what is due in minutes or weeks is made due at once.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import asyncpg
import httpx
import pytest

from city import doors
from city.build import dumped
from city.doors import Caller, Credentials
from city.numbers import CITIZEN_NUMBER
from city.push import table
from city.simulation import City
from city.truth import Story, rosters, stories
from services.kit.database import service_url
from services.kit.settings import Settings
from tests.city.dumps import Dump, dump, joined, rows_of, settings_of
from tests.journeys.test_consent import GIVE, REVOKE
from tests.journeys.test_data_usage import ANSWER, CLOSE, REPORT
from tests.journeys.test_enrolment import push
from tests.journeys.test_findings import _key, run_audit
from tests.support.suite import Suite, in_thread, running_suite

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

SECTORS = ("health", "social_security", "education", "exchange", "notify")
KEPT = frozenset({"leaf", "leaf_member"})
"""Access leaves are never rewritten."""
DECLARED = """
select relname, attname from pg_trigger join pg_class on pg_class.oid = tgrelid
join pg_attribute on attrelid = tgrelid and attnum = any(tgattr)
where relnamespace = current_schema()::text::regnamespace and tgname = 'renew_' || attname"""
TEXTS = """
select table_name, column_name from information_schema.columns
where table_schema = current_schema() and data_type in ('text', 'jsonb', 'json', 'ARRAY')"""
ID = "h1_[A-Z2-7]{26}"
RENEWAL = "services.kit.renewal:renew"
ME = """{ me { name
  health { encounters(first: 50) { nodes { id date title } } conditions(first: 50) { nodes { title } }
           emergencyAccesses { nodes { id reason } } }
  learning { stage grade school { name } episodes { since until primary } }
  socialSecurity { contributions { year scheme months } payments(first: 50) { nodes { paymentId amount } }
                   findings(first: 50) { nodes { rule evidence { key } } } }
  consents(first: 50) { nodes { id inForce } } usageReports(first: 50) { nodes { id state } } } }"""
USAGES = """{ me { dataUsage(first: 100, own: false) { nodes { at action outcome organisation } } } }"""
INBOX = """{ notices(topic: "inbox") { nodes { type at } } }"""
BREAK = """mutation ($patient: ID!) { breakGlass(patient: $patient, reason: "昏迷送急诊") { id } }"""
FINDINGS = """{ findings(first: 100, status: OPEN) { nodes { rule evidence { key } amountAtRisk } } }"""


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    folder = public_folders / "rotation"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=100, seed=11)


class Stand:
    """People with data in every domain, who look at it again and again."""

    def __init__(self, suite: Suite, city: City) -> None:
        self.suite, self.city = suite, city
        self.settings: Settings = settings_of(suite)
        self.everybody: list[Story] = list(stories(city))
        self.patient = max((one for one in city.people if one.death is None and one.age_on(city.today) >= 18),
                           key=lambda one: len(city.history(one).visits))  # fmt: skip
        self.pupil = next(p for roster in rosters(city) for p in roster.pupils if p.seat)
        alliances = city.institutions.alliances
        self.hospital = city.alliance_of(self.patient).hospital.code
        self.other = next(a.hospital.code for a in alliances if a.hospital.code != self.hospital)
        self.since = datetime.now(UTC)
        self.consents: list[str] = []
        self.report = ""

    def fill(self) -> None:
        for roster in rosters(self.city):
            receipt = push(self.suite, roster.group.organisation.code, roster.zip())
            assert receipt.status_code == 201, receipt.text
        asyncio.run(self._push())
        for name, person in (("patient", self.patient), ("pupil", self.pupil)):
            identifier = {"system": CITIZEN_NUMBER, "value": person.number}
            self.suite.account(name, kind="person", identifier=identifier)
        staff = {"kind": "staff", "areas": ["000000"]}
        self.suite.account("doctor", roles=["clinician"], organisation=self.other, **staff)
        self.suite.account("officer", roles=["privacy_officer"], organisation=self.hospital, **staff)
        self.suite.account("auditor", roles=["auditor"], **staff)

    async def _push(self) -> None:
        async with httpx.AsyncClient(base_url=self.suite.base_url, timeout=120.0) as http:
            for kind, files in (
                ("agency", ("contributions", "payments")),
                ("insurer", ("claims", "claim_lines")),
            ):
                caller = Caller(http, Credentials(**_key(self.suite, kind, f"rotation-{kind}")))
                tables = {name: table(name, self.everybody) for name in files}
                receipt = await doors.push_social_security(caller, tables, key=f"rotation-{kind}")
                assert receipt["status"] == "accepted", receipt
            caller = Caller(http, Credentials(**_key(self.suite, "hospital", self.hospital)))
            for story in self.everybody:
                if story.person.death is not None or story.person is self.patient:
                    await doors.push_bundle(
                        caller, dumped(story.bundle).encode(), key=story.person.number[-8:]
                    )

    def act(self) -> None:
        """What people do with their data: two consents, an emergency, a report, an audit."""
        until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        for purpose in ("treatment", "research"):
            asked = {
                "purpose": purpose,
                "actions": ["fhir.read"],
                "validUntil": until,
                "organisation": "health",
            }
            given = self.ask(GIVE, {"input": asked}, as_="patient")
            self.consents.append(given["giveConsent"]["id"])
        self.ask(BREAK, {"patient": self.local_id()}, as_="doctor")
        run_audit(self.suite)
        read = eventually(lambda: [u for u in self.usages("patient") if u["action"] == "fhir.search"])
        index = self.ask(
            "{ me { dataUsage(first: 100, own: false) { nodes { action proof { leafIndex } } } } }",
            as_="patient",
        )["me"]["dataUsage"]["nodes"]
        assert read
        [wrong, *_] = [u["proof"]["leafIndex"] for u in index if u["action"] == "fhir.search"]
        said = {"index": wrong, "words": "我那天没有去过这家医院"}
        self.report = self.ask(REPORT, said, as_="patient")["reportUsage"]["id"]
        self.ask(ANSWER, {"id": self.report, "words": "系复诊查阅"}, as_="officer")
        eventually(lambda: self.ask(INBOX, as_="patient")["notices"]["nodes"])
        self.since = datetime.now(UTC)

    def ask(self, query: str, variables: dict[str, Any] | None = None, *, as_: str) -> dict[str, Any]:
        answer = self.suite.graphql(query, variables, as_=as_)
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def local_id(self) -> str:
        with self.suite.client("hospital", self.hospital) as http:
            form = {"identifier": f"{CITIZEN_NUMBER}|{self.patient.number}"}
            [entry] = http.post("/fhir/Patient/_search", data=form).json()["entry"]
        found: str = entry["resource"]["id"]
        return found

    def usages(self, who: str) -> list[dict[str, Any]]:
        nodes = self.ask(USAGES, as_=who)["me"]["dataUsage"]["nodes"]
        return [node for node in nodes if datetime.fromisoformat(node["at"]) <= self.since or not self.report]

    def sign_in_anew(self) -> None:
        """A token of before the new ids were ready has run out by the time of the switch."""
        self.suite._sessions.clear()

    def seen(self) -> dict[str, Any]:
        """What everybody sees; the same push again, and a new audit."""
        asyncio.run(self._push_again())
        for roster in rosters(self.city):
            receipt = push(self.suite, roster.group.organisation.code, packed_anew(roster.zip()))
            assert receipt.status_code == 201, receipt.text
        audit = run_audit(self.suite)
        versions = "select count(*), count(superseded_at) from contribution"
        return {
            "versions": self.rows("social_security", versions),
            "learners": self.rows("education", "select count(*) from learner"),
            "patient": self.ask(ME, as_="patient"),
            "pupil": self.ask(ME, as_="pupil"),
            "usages": self.usages("patient"),
            "inbox": self.ask(INBOX, as_="patient"),
            "hospital": self.local_id(),
            "audit": [{k: o.get(k) for k in ("rule", "outcome", "found")} for o in audit["outcomes"]],
            "changes": [
                (o["new"], o["vanished"], o["back"]) for o in audit["outcomes"] if o["outcome"] == "run"
            ],
            "findings": sorted(map(json.dumps, self.ask(FINDINGS, as_="auditor")["findings"]["nodes"])),
        }

    async def _push_again(self) -> None:
        async with httpx.AsyncClient(base_url=self.suite.base_url, timeout=120.0) as http:
            caller = Caller(http, Credentials(**_key(self.suite, "hospital", self.hospital)))
            story = next(one for one in self.everybody if one.person is self.patient)
            await doors.push_bundle(caller, dumped(story.bundle).encode(), key=f"again-{time.monotonic_ns()}")
            agency = Caller(http, Credentials(**_key(self.suite, "agency", "rotation-agency")))
            for name in ("contributions", "payments"):
                # Each differs from the push before it, and so is compared with what is stored.
                tables = {name: table(name, self.everybody)}
                await doors.push_social_security(agency, tables, key=f"again-{time.monotonic_ns()}")

    # --- the operators ----------------------------------------------------------------------------

    def states(self) -> dict[str, dict[int, dict[str, Any]]]:
        keys = self.suite.as_stack("GET", "identity", "/identity/sector-keys")["keys"]
        return {s: {k["version"]: k for k in keys if k["sector"] == s} for s in SECTORS}

    def begin(self) -> None:
        for sector in SECTORS:
            self.suite.as_stack("POST", "identity", "/identity/sector-keys/rotations", {"sector": sector})
        eventually(lambda: all(found[2]["prepared_at"] for found in self.states().values()))
        eventually(lambda: all(self.rows(s, f"select from job where kind = '{RENEWAL}'") for s in SECTORS))

    def hurry(self, *more: str) -> None:
        """The renewals' next step is due now."""
        for sector in SECTORS:
            for statement in (
                *more,
                f"update job set due_at = now() where kind = '{RENEWAL}' and state = 'queued'",
            ):
                self.rows(sector, statement)

    def switch(self) -> None:
        self.hurry()
        eventually(lambda: all(found[2]["state"] == "current" for found in self.states().values()))
        asked = "select from renewal where understood_until is not null"
        eventually(lambda: all(self.rows(s, asked) for s in SECTORS))

    def end(self) -> None:
        async def over() -> None:
            vault = await asyncpg.connect(service_url(self.settings, "identity", "vault"))
            try:
                await vault.execute(
                    "update vault.sector_key set understood_until = now() where state = 'leaving'"
                )
            finally:
                await vault.close()

        in_thread(over)
        self.hurry("update renewal set understood_until = now()")
        eventually(
            lambda: all(self.rows(s, "select from renewal where ended_at is not null") for s in SECTORS)
        )
        eventually(lambda: all(found[1]["state"] == "retired" for found in self.states().values()))

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        return in_thread(lambda: rows_of(self.settings, service, sql))

    def dump(self, service: str) -> Dump:
        return in_thread(lambda: dump(self.settings, service))

    def columns_with_ids(self, service: str) -> set[tuple[str, str]]:
        """Wherever the id of a person stands, as a value or in one."""
        columns = self.rows(service, TEXTS)
        return {
            (table, column)
            for table, column in columns
            if table not in KEPT
            and self.rows(service, f"""select from "{table}" where "{column}"::text ~ '{ID}' limit 1""")
        }


def packed_anew(archive: bytes) -> bytes:
    """The same files in other bytes: no repetition of an earlier push."""
    body = BytesIO(archive)
    with ZipFile(body, "a") as file:
        file.comment = str(time.monotonic_ns()).encode()
    return body.getvalue()


def eventually(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until, f"nothing after {seconds} s"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def stand(suite: Suite, city: City) -> Stand:
    found = Stand(suite, city)
    found.fill()
    found.act()
    return found


@pytest.fixture(scope="module")
def old(stand: Stand) -> dict[str, set[str]]:
    """The ids each service has before anything begins."""
    return {service: stand.dump(service).ids for service in SECTORS}


Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(stand: Stand, old: dict[str, set[str]]) -> Seen:
    """What everybody sees before, during and after."""
    found = {"before": stand.seen()}
    stand.begin()
    stand.sign_in_anew()
    found["prepared"] = stand.seen()
    stand.switch()
    found["in the overlap, with tokens of before"] = stand.seen()
    stand.sign_in_anew()
    found["in the overlap"] = stand.seen()
    stand.end()
    stand.sign_in_anew()
    found["after"] = stand.seen()
    return found


def test_everybody_sees_the_same_before_during_and_after(seen: Seen) -> None:
    first = seen["before"]
    assert first["patient"]["me"]["health"]["encounters"]["nodes"]
    assert first["pupil"]["me"]["learning"]["school"]
    assert first["findings"]
    assert first["inbox"]["notices"]["nodes"]
    for when, found in seen.items():
        assert found == first, when
    assert set(first["changes"]) == {(0, 0, 0)}, "a finding is the same one, whatever its person is called"


def test_every_column_with_ids_is_declared_and_none_has_an_old_one(
    stand: Stand, old: dict[str, set[str]], seen: Seen
) -> None:
    for service in SECTORS:
        declared = {tuple(row) for row in stand.rows(service, DECLARED)}
        found = stand.columns_with_ids(service)
        assert found, service
        assert found <= declared, service
        now = stand.dump(service)
        left = {
            t for t, rows in now.rows.items() if t not in KEPT and Dump(service, {t: rows}).ids & old[service]
        }
        assert not left, service
        assert now.ids - old[service], service


def test_no_two_sectors_dumps_share_a_part_of_an_id(stand: Stand, seen: Seen) -> None:
    dumps = [stand.dump(service) for service in (*SECTORS, "transport")]
    assert joined(dumps) == []


def test_an_old_id_is_refused_in_the_end(stand: Stand, old: dict[str, set[str]], seen: Seen) -> None:
    [(code,)] = set(stand.rows("exchange", "select subject from usage_report"))
    with stand.suite.client("portal") as http:
        for asked, status in ((code, 200), (f"h1_{next(iter(old['exchange']))}", 403)):
            answer = http.get("/v2/findUsage", params={"userCode": asked}, headers={"X-Road-UserId": code})
            assert answer.status_code == status, (asked == code, answer.text)


def test_what_was_begun_before_is_ended_after(stand: Stand, seen: Seen) -> None:
    for id in stand.consents:
        assert stand.ask(REVOKE, {"id": id}, as_="patient")["revokeConsent"]["inForce"] is False
    closed = stand.ask(CLOSE, {"id": stand.report}, as_="patient")
    assert closed["closeUsageReport"]["state"] == "closed"


def test_only_the_operators_begin_a_rotation(stand: Stand) -> None:
    with stand.suite.client("registry") as http:
        answer = http.post("/identity/sector-keys/rotations", json={"sector": "health"})
    assert answer.status_code == 403, answer.text
