"""Who read my data: from the access at a hospital to the person's list, its proof, and a case about it.

Two hospitals of the city and one of its patients. Everything goes through the public doors of the real
suite, which is told that an answer is due at once: what nobody answers is overdue in seconds.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from city.hospital import count_types
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.simulation import City
from services.audit.tree import includes
from tests.support.suite import Suite, running_suite

USAGES = """query ($after: String, $own: Boolean!) { me { hiddenUsages
  dataUsage(first: 50, after: $after, own: $own) {
    nodes { at action actionZh actionEn organisation organisationZh organisationEn reason reasonZh reasonEn
      purpose outcome records proof { leafIndex href } }
    pageInfo { endCursor hasNextPage } } } }"""
REPORT = """mutation ($index: Int!, $words: String!) {
  reportUsage(leafIndex: $index, words: $words) { id state dueAt legalBasis usage { action } } }"""
MINE = """{ me { usageReports(first: 50) { nodes { id state overdue answer } } } }"""
TO_ANSWER = """{ usageReports(first: 50) { nodes { id state overdue words } } }"""
ANSWER = """mutation ($id: ID!, $words: String!) { answerUsageReport(id: $id, words: $words) { state } }"""
CLOSE = """mutation ($id: ID!) { closeUsageReport(id: $id) { state } }"""


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    folder = public_folders / "usage"
    folder.mkdir()
    with running_suite(folder, environment={"HUIMIN_USAGE_REPORT_DAYS": "0"}) as found:
        yield found


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=200, seed=11)


@pytest.fixture(scope="module")
def person(suite: Suite, city: City) -> Person:
    living = [one for one in city.people if one.death is None]
    found = max(living, key=lambda one: len(city.history(one).visits))
    suite.account("patient", kind="person", identifier={"system": CITIZEN_NUMBER, "value": found.number})
    return found


@pytest.fixture(scope="module")
def hospitals(suite: Suite, city: City, person: Person) -> tuple[str, str]:
    """The patient's own, and another; both in the register, each with a privacy officer."""
    own = city.alliance_of(person).hospital
    other = next(a.hospital for a in city.institutions.alliances if a.hospital.code != own.code)
    known = [
        {"uscc": one.code, "name": one.name, "name_en": one.name_en, "kind": "hospital", "area": one.area}
        for one in (own, other)
    ]
    suite.as_stack("POST", "identity", "/identity/organisations", {"organisations": known})
    for name, code in (("officer", own.code), ("other-officer", other.code)):
        suite.account(name, kind="staff", roles=["privacy_officer"], organisation=code, areas=["330100"])
    return own.code, other.code


@pytest.fixture(scope="module")
def accesses(suite: Suite, city: City, person: Person, hospitals: tuple[str, str]) -> dict[str, int]:
    """What was done: the push, two reads by the hospital, three refused ones by the other."""
    own, other = hospitals
    bundle = city.bundle(person, city.history(person))
    with suite.client("hospital", own) as http:
        assert http.post("/fhir", json=bundle).status_code == 200
        form = {"identifier": f"{CITIZEN_NUMBER}|{person.number}"}
        [entry] = http.post("/fhir/Patient/_search", data=form).json()["entry"]
        path = f"/fhir/Patient/{entry['resource']['id']}"
        assert [http.get(path).status_code for _ in range(2)] == [200, 200]
    with suite.client("hospital", other) as http:
        assert [http.get(path).status_code for _ in range(3)] == [404, 404, 404]
    return {"pushed": len(list(count_types(bundle))), "read": 2, "refused": 3}


def usages(suite: Suite, *, own: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        answer = suite.graphql(USAGES, {"after": after, "own": own}, as_="patient")
        assert "errors" not in answer, answer
        page = answer["data"]["me"]["dataUsage"]
        found += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


def eventually(read: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60.0) -> Any:
    until = time.monotonic() + seconds
    while not good(found := read()) and time.monotonic() < until:
        time.sleep(0.3)
    return found


def about_health(suite: Suite) -> list[dict[str, Any]]:
    return [one for one in usages(suite) if one["action"].startswith("fhir.")]


@pytest.fixture(scope="module")
def listed(suite: Suite, accesses: dict[str, int]) -> list[dict[str, Any]]:
    """Everything about health, once the log has it all."""
    expected = 2 + accesses["read"] + accesses["refused"]
    found = eventually(lambda: about_health(suite), lambda now: len(now) >= expected)
    assert isinstance(found, list)
    return found


def test_the_list_is_what_happened(
    listed: list[dict[str, Any]], accesses: dict[str, int], hospitals: tuple[str, str]
) -> None:
    own, other = hospitals
    said = [(one["action"], one["outcome"], one["organisation"]) for one in reversed(listed)]
    assert said == [
        ("fhir.transaction", "permitted", own),
        ("fhir.search", "permitted", own),
        *[("fhir.read", "permitted", own)] * accesses["read"],
        *[("fhir.read", "refused", other)] * accesses["refused"],
    ]
    pushed = listed[-1]
    assert pushed["records"] == accesses["pushed"]


def test_each_says_who_and_why_in_both_languages(
    listed: list[dict[str, Any]], city: City, person: Person
) -> None:
    hospital = city.alliance_of(person).hospital
    read = next(one for one in listed if one["outcome"] == "permitted")
    refused = next(one for one in listed if one["outcome"] == "refused")
    assert (read["organisationZh"], read["organisationEn"]) == (hospital.name, hospital.name_en)
    assert (read["purpose"], "诊疗" in read["reasonZh"], "treatment" in read["reasonEn"]) == (
        "treatment", True, True,
    )  # fmt: skip
    assert (refused["reason"], refused["reasonEn"]) == (
        "no_treatment_relation", "the organisation does not treat this patient",
    )  # fmt: skip
    for one in listed:
        assert len({one["actionZh"], one["actionEn"], one["action"]}) == 3


def test_the_log_proves_each_usage(suite: Suite, listed: list[dict[str, Any]]) -> None:
    for one in listed:
        proof = httpx.get(f"{suite.base_url}{one['proof']['href']}", timeout=60).json()
        root, leaf = bytes.fromhex(proof["head"]["root"]), bytes.fromhex(proof["leaf"])
        path = [bytes.fromhex(step) for step in proof["path"]]
        assert includes(root, proof["head"]["size"], one["proof"]["leafIndex"], leaf, path)


def test_looking_at_ones_own_list_stands_in_it(suite: Suite, listed: list[dict[str, Any]]) -> None:
    found = eventually(
        lambda: [one["action"] for one in usages(suite, own=True)], lambda now: "usages.read" in now
    )
    assert "usages.read" in found
    assert "usages.read" not in [one["action"] for one in usages(suite)]


def test_a_case_is_opened_answered_and_closed(suite: Suite, listed: list[dict[str, Any]]) -> None:
    wrong = next(one for one in listed if one["outcome"] == "permitted")
    asked = {"index": wrong["proof"]["leafIndex"], "words": "我那天没有去过这家医院"}
    report = suite.graphql(REPORT, asked, as_="patient")["data"]["reportUsage"]
    assert (report["state"], "第五十条" in report["legalBasis"]) == ("open", True)
    waiting = suite.graphql(TO_ANSWER, as_="officer")["data"]["usageReports"]["nodes"]
    assert [(one["id"], one["words"]) for one in waiting] == [(report["id"], asked["words"])]
    said = {"id": report["id"], "words": "系复诊查阅，已核对"}
    assert suite.graphql(ANSWER, said, as_="officer")["data"]["answerUsageReport"]["state"] == "answered"
    [mine] = suite.graphql(MINE, as_="patient")["data"]["me"]["usageReports"]["nodes"]
    assert (mine["state"], mine["answer"]) == ("answered", said["words"])
    closed = suite.graphql(CLOSE, {"id": report["id"]}, as_="patient")
    assert closed["data"]["closeUsageReport"]["state"] == "closed"
    again = suite.graphql(REPORT, asked, as_="patient")
    assert again["data"]["reportUsage"]["state"] == "open", "a closed case may be taken up again"


def test_a_case_that_nobody_answers_is_overdue(suite: Suite, listed: list[dict[str, Any]]) -> None:
    refused = next(one for one in listed if one["outcome"] == "refused")
    asked = {"index": refused["proof"]["leafIndex"], "words": "为什么要查我的档案？"}
    report = suite.graphql(REPORT, asked, as_="patient")["data"]["reportUsage"]
    assert datetime.fromisoformat(report["dueAt"]) <= datetime.now(UTC)

    def overdue() -> list[dict[str, Any]]:
        nodes = suite.graphql(TO_ANSWER, as_="other-officer")["data"]["usageReports"]["nodes"]
        return [one for one in nodes if one["id"] == report["id"] and one["overdue"]]

    [late] = eventually(overdue, bool)
    assert late["state"] == "open"


def test_only_ones_own_usages_are_reported(suite: Suite, listed: list[dict[str, Any]]) -> None:
    known = {one["proof"]["leafIndex"] for one in usages(suite, own=True)}
    stranger = next(index for index in range(10_000) if index not in known)
    answer = suite.graphql(REPORT, {"index": stranger, "words": "not mine"}, as_="patient")
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_who_may_not_sees_nothing(suite: Suite, listed: list[dict[str, Any]]) -> None:
    refusals = {
        "nobody": suite.graphql(USAGES, {"own": True}),
        "staff": suite.graphql(USAGES, {"own": True}, as_="officer"),
        "citizen": suite.graphql(TO_ANSWER, as_="patient"),
    }
    codes = {who: answer["errors"][0]["extensions"]["code"] for who, answer in refusals.items()}
    assert codes == {"nobody": "UNAUTHENTICATED", "staff": "FORBIDDEN", "citizen": "FORBIDDEN"}
    nodes = suite.graphql(MINE, as_="patient")["data"]["me"]["usageReports"]["nodes"]
    other = next(one for one in nodes if one["state"] == "open")  # about the other hospital's attempt
    answer = suite.graphql(ANSWER, {"id": other["id"], "words": "not mine"}, as_="officer")
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_estonias_door_takes_no_citizen_number(suite: Suite, listed: list[dict[str, Any]]) -> None:
    with suite.client("portal") as http:
        answer = http.get(
            "/v2/findUsage", params={"userCode": "11010519491231002X"}, headers={"X-Road-UserId": "EE1"}
        )
        assert answer.status_code == 400
        assert "11010519491231002X" not in answer.text
        assert http.get("/v2/heartbeat").json() == {"status": "OK"}
        period = http.get("/v2/usagePeriod").json()
        assert datetime.fromisoformat(period["periodStart"]) <= datetime.now(UTC)
    with suite.client("hospital") as http:
        code = "h1_" + "A" * 26
        refused = http.get("/v2/findUsage", params={"userCode": code}, headers={"X-Road-UserId": code})
        assert refused.status_code in (401, 403)
