"""Consent: given for one purpose, receipted, asked where it counts, revoked at once."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.exchange.client import ExchangeClient
from services.exchange.repository import consents as repository
from services.kit.calls import DomainError
from tests.exchange.persons import HOSPITAL, OTHER, House, Person, house

__all__ = ["house"]


def input_of(**said: Any) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    asked = {"organisation": HOSPITAL, "purpose": "treatment", "actions": ["fhir.read"], "valid_until": until}
    return {name: value for name, value in {**asked, **said}.items() if value is not None}


async def given(house: House, person: Person, **said: Any) -> dict[str, Any]:
    answer = await (await house.citizen(person)).post("/exchange/consents", json=input_of(**said))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def asked(house: House, *people: Person, **said: Any) -> list[bool]:
    """As health asks, about its own people."""
    what = {"organisation": HOSPITAL, "purpose": "treatment", "action": "fhir.read", **said}
    client = house.calls("health").client(ExchangeClient)
    return await client.consents(ids=[person.ids["health"] for person in people], **what)


async def test_a_consent_covers_what_it_says_and_nothing_else(house: House) -> None:
    person, other = await house.person(), await house.person()
    await given(house, person)
    assert await asked(house, person, other, person) == [True, False, True]
    for said in ({"organisation": OTHER}, {"purpose": "research"}, {"action": "fhir.search"}):
        assert await asked(house, person, **said) == [False], said
    assert await asked(house, person, action=None, dataset="health.deaths") == [False]


async def test_revoked_is_revoked_at_once_and_for_good(house: House) -> None:
    person = await house.person()
    consent = await given(house, person)
    http = await house.citizen(person)
    path = f"/exchange/consents/{consent['id']}/revocation"
    revoked = await http.post(path)
    assert (revoked.status_code, revoked.json()["in_force"]) == (200, False)
    assert await asked(house, person) == [False]
    again = await http.post(path)
    assert (again.status_code, again.json()["code"]) == (409, "revoked_before")
    await given(house, person)
    assert await asked(house, person) == [True]
    [newest, oldest] = (await http.get("/exchange/consents/me")).json()["items"]
    assert (newest["in_force"], oldest["in_force"], oldest["id"]) == (True, False, consent["id"])


async def test_it_holds_from_its_first_to_its_last_moment(house: House) -> None:
    person = await house.person()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await given(house, person, purpose="research", valid_from=later)
    assert await asked(house, person, purpose="research") == [False]
    for seconds in (0.5, 5.0, 60.0):
        soon = datetime.now(UTC) + timedelta(seconds=seconds)
        await given(house, person, valid_until=soon.isoformat())
        if (found := await asked(house, person)) == [True] or datetime.now(UTC) < soon:
            break  # else this machine was too busy to ask in time
    assert found == [True]
    await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.05)
    assert await asked(house, person) == [False]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"organisation": "nowhere"}, "unknown_organisation"),
        ({"purpose": "curiosity"}, "unknown_purpose"),
        ({"purpose": "own_records"}, "unknown_purpose"),
        ({"actions": []}, "nothing_allowed"),
        ({"datasets": ["health.secrets"]}, "unknown_dataset"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, "empty_term"),
        ({"valid_until": "2099-01-01T00:00:00Z"}, "term_too_long"),
        ({"valid_from": "2020-01-01T00:00:00Z"}, "begins_in_the_past"),
        ({"valid_until": "2030-01-01T00:00:00"}, "timezone_aware"),
        ({"extra": 1}, "extra_forbidden"),
        ({"language": "fr"}, "literal_error"),
    ],
)
async def test_what_cannot_be_consented_to_is_refused_by_name(
    house: House, said: dict[str, Any], code: str
) -> None:
    person = await house.person()
    answer = await (await house.citizen(person)).post("/exchange/consents", json=input_of(**said))
    assert answer.status_code == 422, answer.text
    assert code in {fault["code"] for fault in answer.json()["errors"]}


async def test_a_guardian_consents_for_a_child_and_nobody_else_does(house: House) -> None:
    mother, child, stranger = await house.person(), await house.person(date(2015, 6, 1)), await house.person()
    await house.guardian(mother, child)
    http, other = await house.citizen(mother), await house.citizen(stranger)
    refused = await other.post("/exchange/consents", json=input_of(ward=child.code))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_your_own")
    assert await house.leaves("consents.give", outcome="refused", subject=child.code)
    consent = (await http.post("/exchange/consents", json=input_of(ward=child.code))).json()
    assert consent["by_guardian"] is True
    assert await asked(house, child, mother) == [True, False]
    path = f"/exchange/consents/{consent['id']}"
    assert (await other.post(f"{path}/revocation")).status_code == 403
    assert (await other.get(f"{path}/receipt")).status_code == 403
    assert await asked(house, child) == [True]
    assert (await http.post(f"{path}/revocation")).status_code == 200
    assert await asked(house, child) == [False]


async def test_who_may_ask_for_consents(house: House) -> None:
    person = await house.person()
    body = {"organisation": HOSPITAL, "purpose": "treatment", "ids": [person.ids["health"]]}
    for http, status in (
        (await house.nobody(), 401),
        (await house.citizen(person), 403),
        (await house.portal(), 403),
        (await house.as_service("gateway"), 403),
        (await house.as_service("health"), 200),
    ):
        assert (await http.post("/exchange/consents/check", json=body)).status_code == status
    with pytest.raises(DomainError) as foreign:
        await (
            house.calls("education")
            .client(ExchangeClient)
            .consents(organisation=HOSPITAL, purpose="treatment", ids=[person.ids["health"]])
        )
    assert foreign.value.code != "FORBIDDEN"


async def test_every_step_is_a_leaf_and_an_event_without_a_person(house: House) -> None:
    person = await house.person()
    consent = await given(house, person)
    http = await house.citizen(person)
    await asked(house, person)
    await http.get("/exchange/consents/me")
    await http.post(f"/exchange/consents/{consent['id']}/revocation")
    for action in ("consents.give", "consents.read", "consents.revoke"):
        [leaf] = await house.leaves(action, subject=person.code)
        assert (leaf["purpose"], leaf["reason"]) == ("own_records", "own_records")
        assert "第十" in leaf["legal_basis"] or "第四十" in leaf["legal_basis"]
    assert await house.leaves("consents.check", resource=HOSPITAL, client="service:health")
    for change in ("given", "revoked"):
        events = await house.events(f"exchange.consent.{change}")
        assert consent["id"] in {event["consent"] for event in events}
        assert not any(id in json.dumps(events) for id in person.ids.values())


async def test_the_receipt_says_all_of_it_in_terms_others_know(house: House) -> None:
    rdflib = pytest.importorskip("rdflib")
    person = await house.person()
    consent = await given(house, person)
    http = await house.citizen(person)
    path = f"/exchange/consents/{consent['id']}/receipt"
    answer = await http.get(path)
    assert answer.headers["content-type"] == "application/ld+json"
    assert "attachment" in answer.headers["content-disposition"]
    assert person.number not in answer.text
    graph = rdflib.Graph().parse(data=answer.text, format="json-ld")
    dpv = rdflib.Namespace("https://w3id.org/dpv#")
    record = rdflib.URIRef(f"urn:uuid:{consent['id']}")
    assert (record, rdflib.RDF.type, dpv.ConsentRecord) in graph
    assert (record, dpv.hasStatus, dpv.ConsentGiven) in graph
    assert (record, dpv.hasLegalBasis, dpv.Consent) in graph
    controller = graph.value(record, dpv.hasDataController)
    assert str(graph.value(controller, rdflib.DCTERMS.identifier)) == HOSPITAL
    assert {str(title) for title in graph.objects(controller, dpv.hasName)} == {
        "惠民市第一医院", "Huimin First Hospital",
    }  # fmt: skip
    assert str(graph.value(graph.value(record, dpv.hasPurpose), rdflib.DCTERMS.identifier)) == "treatment"
    assert {str(one) for one in graph.objects(record, rdflib.DCTERMS.conformsTo)} == {
        "https://w3id.org/dpv/schema/dpv-27560#record"
    }
    withdrawal = graph.value(record, dpv.hasConsentControl)
    assert (withdrawal, rdflib.RDF.type, dpv.WithdrawConsent) in graph
    [event] = graph.subjects(dpv.hasConsentStatus, dpv.ConsentGiven)
    for term in (rdflib.DCTERMS.date, rdflib.DCTERMS.valid, dpv.hasLegalBasis, dpv.isImplementedByEntity):
        assert graph.value(event, term) is not None, term
    assert graph.value(record, dpv.hasNotice) is not None
    assert str(graph.value(record, rdflib.DCTERMS.language)) == "zh"
    until = datetime.fromisoformat(str(graph.value(record, rdflib.DCTERMS.valid)))
    assert until == datetime.fromisoformat(consent["valid_until"])
    await http.post(f"/exchange/consents/{consent['id']}/revocation")
    graph = rdflib.Graph().parse(data=(await http.get(path)).text, format="json-ld")
    assert (record, dpv.hasStatus, dpv.ConsentWithdrawn) in graph


async def test_the_database_itself_changes_no_consent(house: House) -> None:
    person = await house.person()
    id = (await given(house, person))["id"]
    database = house.running.kit("exchange").db
    for statement in (
        "update consent set purpose = 'research' where id = $1::text::uuid",
        "update consent set revoked_at = now(), revoked_by = 'x', subject = 'y' where id = $1::text::uuid",
        "delete from consent where id = $1::text::uuid",
    ):
        with pytest.raises(Exception, match="only be revoked"):
            async with database.transaction() as tx:
                await tx.execute(statement, id)
    assert await asked(house, person) == [True]


async def test_who_revokes_waits_for_what_was_being_answered(house: House) -> None:
    """The lock: either the access is before the revocation, whole, or it is refused."""
    person = await house.person()
    consent = await given(house, person)
    database, http = house.running.kit("exchange").db, await house.citizen(person)
    who: dict[str, Any] = {"organisations": [HOSPITAL], "purpose": "treatment", "action": "fhir.read"}
    async with database.transaction() as tx:
        assert await repository.consenting(tx, [person.code], **who) == {person.code}
        revoking = asyncio.create_task(http.post(f"/exchange/consents/{consent['id']}/revocation"))
        done, _ = await asyncio.wait({revoking}, timeout=0.5)
        assert not done, "it did not wait for the reader"
    assert (await revoking).status_code == 200
    async with database.transaction() as tx:
        assert await repository.consenting(tx, [person.code], **who) == set()


async def test_whatever_happens_in_whatever_order(house: House) -> None:
    """Against a model: what was given, minus what was revoked, is what is found."""
    loop = asyncio.get_running_loop()
    people = [await house.person() for _ in range(3)]
    purposes = ("treatment", "research")

    class Consents(RuleBasedStateMachine):
        def run(self, work: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(work, loop).result(30)

        @initialize()
        def begin(self) -> None:
            self.held: dict[str, tuple[int, str, str]] = {}
            for number, person in enumerate(people):
                for one in self.run(self._mine(person)):
                    if one["in_force"]:
                        self.revoke_id(number, one["id"])

        async def _mine(self, person: Person) -> list[dict[str, Any]]:
            http = await house.citizen(person)
            found: list[dict[str, Any]] = (
                await http.get("/exchange/consents/me", params={"limit": 1000})
            ).json()["items"]
            return found

        def revoke_id(self, who: int, id: str) -> None:
            async def revoke() -> int:
                http = await house.citizen(people[who])
                return (await http.post(f"/exchange/consents/{id}/revocation")).status_code

            assert self.run(revoke()) == 200

        @rule(who=st.integers(0, 2), purpose=st.sampled_from(purposes), to=st.sampled_from([HOSPITAL, OTHER]))
        def give(self, who: int, purpose: str, to: str) -> None:
            found = self.run(given(house, people[who], purpose=purpose, organisation=to))
            self.held[found["id"]] = (who, purpose, to)

        @rule(data=st.data())
        def revoke(self, data: st.DataObject) -> None:
            if self.held:
                id = data.draw(st.sampled_from(sorted(self.held)))
                self.revoke_id(self.held.pop(id)[0], id)

        @invariant()
        def found(self) -> None:
            for purpose in purposes:
                for to in (HOSPITAL, OTHER):
                    expected = [(who, purpose, to) in self.held.values() for who in range(3)]
                    assert self.run(asked(house, *people, purpose=purpose, organisation=to)) == expected

    machine = settings(max_examples=5, stateful_step_count=6, deadline=None)
    await asyncio.to_thread(run_state_machine_as_test, Consents, settings=machine)


async def test_pages_of_consents_hold_each_once(house: House) -> None:
    person = await house.person()
    made = [(await given(house, person))["id"] for _ in range(5)]
    http, after, seen = await house.citizen(person), None, []
    while True:
        params = {"limit": 2} | ({"after": after} if after else {})
        found = (await http.get("/exchange/consents/me", params=params)).json()
        seen += [one["id"] for one in found["items"]]
        after = found["next"]
        if after is None:
            break
    assert seen == made[::-1]
    for wrong in ("AAAA", "bm90LWFuLWlk"):
        answer = await http.get("/exchange/consents/me", params={"after": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
