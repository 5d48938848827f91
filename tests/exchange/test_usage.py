"""Who read my data: the person's list, Estonia's door to it, reports of what looks wrong."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from services.exchange.client import ExchangeClient
from services.kit import telemetry
from tests.exchange.persons import HOSPITAL, OTHER, House, Person, house

__all__ = ["house"]
NUMBER = "11010519491231002X"


async def listed(house: House, person: Person, **params: Any) -> dict[str, Any]:
    await house.in_log()
    answer = await (await house.citizen(person)).get("/exchange/usages/me", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_service_and_bulk_reads_show_with_words(house: House) -> None:
    person, other = await house.person(), await house.person()
    await house.access(
        "identity", action="person.read", subject=person.ids["identity"], purpose="registration"
    )
    await house.access("exchange", subject=person.code, legal_basis="《医师法》", system="HIS")
    both = [person.code, other.code]
    await house.access(
        "exchange", action="dataset.read", subjects=both, records=7, purpose="benefit_audit",
        agreement="a1", organisation=None,
    )  # fmt: skip
    await house.access(
        "exchange", subject=person.code, outcome="refused", reason="no_treatment_relation", organisation=OTHER
    )
    items = (await listed(house, person, own=False))["items"]
    refused, bulk, read, register = items[:4]
    assert (refused["outcome"], refused["reason_words"]["en"]) == (
        "refused", "the organisation does not treat this patient",
    )  # fmt: skip
    assert refused["organisation_words"] == {"zh": "惠民市第二医院", "en": "Huimin Second Hospital"}
    assert (bulk["records"], bulk["agreement"], bulk["organisation"]) == (7, "a1", "hospital-client")
    assert (read["organisation"], read["system"], read["legal_basis"]) == (HOSPITAL, "HIS", "《医师法》")
    assert (read["purpose_words"], read["action_words"]["zh"]) == (
        {"zh": "诊疗", "en": "treatment"}, "查阅一份健康档案资源",
    )  # fmt: skip
    assert register["service"] == "identity"
    theirs = (await listed(house, other, own=False))["items"]
    assert [item["leaf_index"] for item in theirs if item["agreement"] == "a1"] == [bulk["leaf_index"]]
    assert all(item["agreement"] or item["service"] == "identity" for item in theirs)


async def test_a_usage_is_proved_by_the_log(house: House) -> None:
    person = await house.person()
    await house.access("exchange", subject=person.code)
    [usage, *_] = (await listed(house, person, own=False))["items"]
    http = await house.running.client("audit", scopes=None)
    proof = (await http.get("/audit/proofs/inclusion", params={"index": usage["leaf_index"]})).json()
    async with house.running.kit("exchange").db.read() as db:
        leaf = await db.fetchval("select hash from leaf where subject = $1 order by seq limit 1", person.code)
    assert proof["leaf"] == leaf.hex()


async def test_what_services_ask_on_the_way_is_part_of_the_access(house: House) -> None:
    """A hospital's read is refused; health had asked the exchange for consent, and that had asked identity.

    Both lists and their totals leave these steps out, and the log keeps them. Alone, they are accesses.
    """
    person = await house.person()
    before = (await listed(house, person, own=False))["total"]
    ids, exchange = [person.ids["health"]], house.calls("health").client(ExchangeClient)
    await exchange.consents(organisation=HOSPITAL, purpose="treatment", ids=ids)
    found = await listed(house, person, own=False)
    assert {"consents.check", "sector_ids.read"} <= {one["action"] for one in found["items"]}
    assert found["total"] == before + 2
    with telemetry.span("request"):
        await exchange.consents(organisation=HOSPITAL, purpose="treatment", ids=ids)
        await house.access("exchange", subject=person.code, outcome="refused", reason="no_treatment_relation")
    found = await listed(house, person, own=False)
    assert (found["total"], found["items"][0]["action"]) == (before + 3, "fhir.read")
    answer = await find(house, person.code, person.code)
    said = answer.json()
    assert said["totalUsages"] == len(said["usages"])
    theirs = [one["proof"] for one in said["usages"] if one.get("purpose") != "own_records"]
    assert theirs == [one["leaf_index"] for one in found["items"]]
    assert len(await house.leaves("consents.check", client="service:health")) >= 2


async def test_reading_the_list_is_a_usage_that_may_be_left_out(house: House) -> None:
    person = await house.person()
    await listed(house, person)
    seen = await listed(house, person)
    assert [item["action"] for item in seen["items"]].count("usages.read") == 1
    own = next(item for item in seen["items"] if item["action"] == "usages.read")
    assert own["organisation_words"]["en"] == "you or your guardian"
    assert "usages.read" not in [item["action"] for item in (await listed(house, person, own=False))["items"]]


async def test_a_guardian_reads_a_childs_list_until_it_is_of_age(house: House) -> None:
    mother, child, grown = await house.person(), await house.person(date(2015, 6, 1)), await house.person()
    stranger = await house.person()
    await house.guardian(mother, child)
    await house.access("exchange", subject=child.code)
    http = await house.citizen(mother)
    wards = (await http.get("/exchange/wards/me")).json()["items"]
    assert [(ward["code"], ward["name"]) for ward in wards] == [(child.code, child.name)]
    seen = (await listed(house, mother, ward=child.code))["items"]
    assert "fhir.read" in [item["action"] for item in seen]
    for other in (grown, stranger):
        answer = await http.get("/exchange/usages/me", params={"ward": other.code})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_your_own")
        assert await house.leaves("usages.read", outcome="refused", subject=other.code)
    refused = (await listed(house, grown))["items"]
    assert refused[0]["reason"] == "not_your_own"


async def test_a_guardianship_that_ended_shows_nothing(house: House) -> None:
    mother, child = await house.person(), await house.person(date(2015, 6, 1))
    await house.guardian(mother, child, until=date(2024, 1, 1))
    answer = await (await house.citizen(mother)).get("/exchange/usages/me", params={"ward": child.code})
    assert answer.status_code == 403


# --- Estonia's door -----------------------------------------------------------------------------------


async def find(house: House, user: str, code: str, **params: Any) -> Any:
    headers = {"X-Road-UserId": user, **params.pop("headers", {})}
    http = params.pop("http", None) or await house.portal()
    return await http.get("/v2/findUsage", params={"userCode": code, **params}, headers=headers)


async def test_a_portal_finds_usages_in_estonias_form(house: House) -> None:
    person = await house.person()
    for number in range(5):
        await house.access("exchange", subject=person.code, records=number)
    await house.in_log()
    end = datetime.now(UTC).isoformat()
    whole = (await find(house, person.code, person.code, periodEnd=end)).json()
    assert whole["totalUsages"] == len(whole["usages"])
    times = [usage["logtime"] for usage in whole["usages"]]
    assert times == sorted(times, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", time) for time in times)
    newest = whole["usages"][0]
    assert {**newest, "logtime": "", "proof": 0} == {
        "logtime": "",
        "action": "查阅一份健康档案资源",
        "receiverCode": HOSPITAL,
        "receiverName": "惠民市第一医院",
        "receiverSystem": "数据共享交换平台",
        "action_code": "fhir.read",
        "outcome": "permitted",
        "reason": "诊疗",
        "purpose": "treatment",
        "record_ids_count": 4,
        "proof": 0,
    }
    english = await find(house, person.code, person.code, limit=1, headers={"accept-language": "en-GB"})
    assert english.json()["usages"][0]["receiverName"] != whole["usages"][0]["receiverName"]
    parts = []
    for offset in range(0, whole["totalUsages"] + 2, 2):
        await house.access("exchange", subject=person.code)
        await house.in_log()
        page = await find(house, person.code, person.code, periodEnd=end, offset=offset, limit=2)
        assert page.json()["totalUsages"] == whole["totalUsages"]
        parts += page.json()["usages"]
    assert parts == whole["usages"]
    nothing = await find(house, person.code, person.code, periodEnd=times[-1], limit=0)
    assert nothing.json() == {"totalUsages": 1, "usages": []}


async def test_a_citizen_number_in_the_address_is_refused_and_stands_nowhere(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    person = await house.person()
    with caplog.at_level(logging.DEBUG):
        answers = [
            await find(house, person.code, NUMBER),
            await find(house, NUMBER, person.code),
            await find(house, person.code, f"EE{NUMBER}"),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_code")
        assert NUMBER not in answer.text
    told = [json.dumps(vars(record), default=str) for record in caplog.records if record.name != "httpx"]
    assert NUMBER not in "".join(told)
    assert NUMBER not in json.dumps(await house.leaves("usages.read"))


@pytest.mark.parametrize(
    "params",
    [
        {"offset": -1},
        {"limit": -1},
        {"limit": 10_001},
        {"offset": 2**31},
        {"periodStart": "2026-01-01"},
        {"periodEnd": "2026-01-01T00:00:00"},
        {"after": "x"},
    ],
)
async def test_what_the_standard_does_not_know_is_400(house: House, params: Mapping[str, Any]) -> None:
    code = "h1_" + "A" * 26
    assert (await find(house, code, code, **params)).status_code == 400


async def test_the_header_is_needed_and_somebody_unknown_has_no_usages(house: House) -> None:
    code = "h1_" + "A" * 26
    http = await house.portal()
    assert (await http.get("/v2/findUsage", params={"userCode": code})).status_code == 400
    assert (await find(house, code, code)).json() == {"totalUsages": 0, "usages": []}


async def test_who_acts_for_another_is_their_guardian(house: House) -> None:
    mother, child, stranger = await house.person(), await house.person(date(2015, 6, 1)), await house.person()
    await house.guardian(mother, child)
    assert (await find(house, mother.code, child.code)).status_code == 200
    refused = await find(house, stranger.code, child.code)
    assert (refused.status_code, refused.json()["code"]) == (403, "no_policy")
    [leaf] = await house.leaves("usages.read", outcome="refused", subject=child.code)
    assert leaf["organisation"] == "test-organisation"


async def test_who_may_ask_at_estonias_door(house: House) -> None:
    person, other = await house.person(), await house.person()
    mine = await find(house, person.code, person.code, http=await house.citizen(person))
    assert mine.status_code == 200
    posing = await find(house, other.code, other.code, http=await house.citizen(person))
    assert (posing.status_code, posing.json()["code"]) == (403, "not_you")
    assert (await find(house, person.code, person.code, http=await house.nobody())).status_code == 401
    school = await house.running.client("exchange", scopes="exchange:catalogue:read")
    assert (await find(house, person.code, person.code, http=school)).status_code == 403


async def test_period_and_heartbeat(house: House) -> None:
    await house.in_log()
    http = await house.nobody()
    period = (await http.get("/v2/usagePeriod")).json()
    assert set(period) == {"periodStart"}
    begin = datetime.fromisoformat(period["periodStart"])
    assert timedelta() <= datetime.now(UTC) - begin < timedelta(days=2)
    assert (await http.get("/v2/heartbeat")).json() == {"status": "OK"}


# --- hidden -------------------------------------------------------------------------------------------


async def test_a_hidden_usage_is_counted_and_not_shown(house: House) -> None:
    person = await house.person()
    await house.access("exchange", subject=person.code, hidden="right-1")
    await house.access("exchange", subject=person.code, reason='not "hidden": at all')
    found = await listed(house, person, own=False)
    mine = [item for item in found["items"] if item["service"] == "exchange"]
    assert ([item["reason"] for item in mine], found["hidden"]) == (['not "hidden": at all'], 1)


async def test_a_hiding_right_needs_its_law_and_a_term_and_is_open_to_all(house: House) -> None:
    stack = await house.as_service("stack")
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    right = {"organisation": "gongan", "legal_basis": "《刑事诉讼法》第一百五十四条", "valid_until": until}
    recorded = await stack.post("/exchange/hiding-rights", json=right)
    assert recorded.status_code == 201, recorded.text
    for wrong in ({"legal_basis": ""}, {"valid_until": "2020-01-01T00:00:00Z"}):
        assert (await stack.post("/exchange/hiding-rights", json={**right, **wrong})).status_code == 422
    assert (await (await house.portal()).post("/exchange/hiding-rights", json=right)).status_code == 403
    shown = (await (await house.nobody()).get("/exchange/hiding-rights")).json()["items"]
    assert [one["legal_basis"] for one in shown] == [right["legal_basis"]]


# --- this looks wrong ---------------------------------------------------------------------------------


async def reported(house: House, person: Person, **about: Any) -> dict[str, Any]:
    await house.access("exchange", subject=person.code, **about)
    usage = (await listed(house, person, own=False))["items"][0]
    answer = await (await house.citizen(person)).post(
        "/exchange/usage-reports", json={"leaf_index": usage["leaf_index"], "words": "我没有在这家医院看过病"}
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_report_is_opened_answered_and_closed(house: House) -> None:
    person = await house.person()
    report = await reported(house, person)
    assert (report["state"], report["overdue"], report["answer"]) == ("open", False, None)
    assert "第五十条" in report["legal_basis"]
    assert datetime.fromisoformat(report["due_at"]) >= datetime.now(UTC) + timedelta(days=15)
    officer, citizen = await house.staff("privacy_officer", HOSPITAL), await house.citizen(person)
    waiting = (await officer.get("/exchange/usage-reports", params={"state": "open"})).json()["items"]
    assert [one["id"] for one in waiting if one["id"] == report["id"]]
    path = f"/exchange/usage-reports/{report['id']}"
    early = await citizen.post(f"{path}/closing")
    assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
    answered = await officer.post(f"{path}/answer", json={"words": "系急诊会诊，记录已附"})
    assert (answered.status_code, answered.json()["state"]) == (200, "answered")
    again = await officer.post(f"{path}/answer", json={"words": "again"})
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")
    [mine] = (await citizen.get("/exchange/usage-reports/me")).json()["items"]
    assert (mine["state"], mine["answer"]) == ("answered", "系急诊会诊，记录已附")
    closed = await citizen.post(f"{path}/closing")
    assert (closed.status_code, closed.json()["state"]) == (200, "closed")
    actions = [item["action"] for item in (await listed(house, person))["items"]]
    assert {"usages.report", "cases.decide", "cases.read"} <= set(actions)
    for change in ("opened", "answered", "closed"):
        events = await house.events(f"exchange.usage_report.{change}")
        assert report["id"] in {event["report"] for event in events}
        assert person.code not in json.dumps(events)


async def test_only_a_usage_in_ones_own_list_is_reported_and_once(house: House) -> None:
    person, other = await house.person(), await house.person()
    report = await reported(house, person)
    body = {"leaf_index": report["usage"]["leaf_index"], "words": "this is not mine"}
    for index in (body["leaf_index"], 2**40):
        answer = await (await house.citizen(other)).post(
            "/exchange/usage-reports", json={**body, "leaf_index": index}
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "not_in_this_list")
    twice = await (await house.citizen(person)).post("/exchange/usage-reports", json=body)
    assert (twice.status_code, twice.json()["code"]) == (409, "already_reported")


async def test_others_neither_see_nor_answer_a_report(house: House) -> None:
    person, other = await house.person(), await house.person()
    report = await reported(house, person)
    path = f"/exchange/usage-reports/{report['id']}"
    stranger = await house.staff("privacy_officer", OTHER)
    refused = await stranger.post(f"{path}/answer", json={"words": "not mine to answer"})
    assert refused.status_code == 403
    assert await house.leaves("cases.decide", outcome="refused", subject=person.code)
    theirs = (await stranger.get("/exchange/usage-reports")).json()["items"]
    assert report["id"] not in {one["id"] for one in theirs}
    assert (await (await house.citizen(other)).post(f"{path}/closing")).status_code == 403
    assert (await (await house.citizen(other)).get("/exchange/usage-reports/me")).json()["items"] == []
    assert (await (await house.citizen(person)).get("/exchange/usage-reports")).status_code == 403


async def test_exchange_staff_answer_for_the_suites_own_services(house: House) -> None:
    person = await house.person()
    report = await reported(house, person, organisation=None)
    path = f"/exchange/usage-reports/{report['id']}/answer"
    for role, organisation, status in (
        ("privacy_officer", HOSPITAL, 403),
        ("operator", None, 403),
        ("exchange_staff", None, 200),
    ):
        staff = await house.staff(role, organisation)
        answer = await staff.post(path, json={"words": "checked, and explained"})
        assert answer.status_code == status, (role, answer.text)


async def test_a_report_nobody_answers_in_time_is_overdue_and_tells_once(house: House) -> None:
    person = await house.person()
    report = await reported(house, person)
    async with house.running.kit("exchange").db.transaction() as tx:
        await tx.execute("update usage_report set due_at = now() where id = $1::text::uuid", report["id"])
    for _ in range(600):
        told = [e for e in await house.events("exchange.usage_report.overdue") if e["report"] == report["id"]]
        if told:
            break
        await asyncio.sleep(0.1)
    [mine] = (await (await house.citizen(person)).get("/exchange/usage-reports/me")).json()["items"]
    assert (mine["state"], mine["overdue"], len(told)) == ("open", True, 1)
    officer = await house.staff("privacy_officer", HOSPITAL)
    answer = await officer.post(f"/exchange/usage-reports/{report['id']}/answer", json={"words": "late"})
    assert (answer.json()["state"], answer.json()["overdue"]) == ("answered", True)
