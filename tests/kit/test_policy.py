"""The decision point itself: nothing without a permit, forbid wins, and bad files stop the start."""

import dataclasses
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.policy import CANNOT_TELL, NO_POLICY, Policies, PolicyError, Resource, package_of
from services.kit.principals import ANONYMOUS, UNGUARDED, Kind, Principal
from services.kit.problems import Problem

SCHEMA = """
entity Principal = {
  kind: String, organisation?: String, sector_id?: String, service?: String,
  scopes: Set<String>, roles: Set<String>, unguarded: Bool
};
type Asked = { purpose?: String, consent: Bool, in_area: Bool, relations: Set<String> };
entity Thing = { owner?: String, organisation?: String, area?: String, special: Bool };
action "read", "write" appliesTo { principal: [Principal], resource: [Thing], context: Asked };
"""
NOTES = '@reason("{id}_reason") @reason_zh("理由") @reason_en("Reason") @legal_basis("《法》第一条")'
PERMIT = f'@id("own") {NOTES.format(id="own")} permit (principal, action, resource) ' + (
    'when { context.relations.contains("self") };'
)
FORBID = f'@id("special") {NOTES.format(id="special")} forbid (principal, action, resource) ' + (
    "when { resource.special } unless { context.consent };"
)


def policies(*texts: str) -> Policies:
    return Policies({f"{place}.cedar": text for place, text in enumerate(texts)}, [SCHEMA])


def person(sector_id: str = "h1_a") -> Principal:
    return Principal(kind="person", subject="u_1", sector_ids=(sector_id,))


def test_nothing_is_permitted_that_no_policy_permits() -> None:
    found = policies(PERMIT).decide(person(), "read", Resource("Thing", owner="h1_b"))
    assert (found.permitted, found.reason, found.policy) == (False, NO_POLICY, None)


def test_an_action_or_a_resource_nobody_knows_is_refused() -> None:
    held = policies(PERMIT)
    assert held.decide(person(), "read", Resource("Thing", owner="h1_a")).permitted
    assert not Policies.of("health").decide(person(), "shred", Resource("Health::Record")).permitted
    assert not Policies.of("health").decide(person(), "fhir.read", Resource("Education::Record")).permitted


def test_a_decision_is_that_policys_with_its_words() -> None:
    found = policies(PERMIT).decide(person(), "read", Resource("Thing", owner="h1_a"))
    assert dataclasses.astuple(found) == (True, "own_reason", "理由", "Reason", "《法》第一条", "own")


def test_forbid_wins_over_permit() -> None:
    held = policies(PERMIT, FORBID)
    special = Resource("Thing", owner="h1_a", special=True)
    refused = held.decide(person(), "read", special)
    assert (refused.permitted, refused.policy) == (False, "special")
    assert held.decide(person(), "read", special, consent=True).permitted


def test_refusal_is_a_403_in_both_languages_and_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    who = Principal(kind="person", subject="u_1", sector_ids=("h1_secret",), token="eyJ.secret")
    with pytest.raises(Problem) as refused:
        policies(PERMIT, FORBID).require(who, "read", Resource("Thing", owner="h1_secret", special=True))
    assert (refused.value.status, refused.value.code) == (403, "special_reason")
    assert refused.value.body()["reason"] == {"zh": "理由", "en": "Reason"}
    [line] = [vars(line) for line in caplog.records if line.message == "refused"]
    assert (line["action"], line["reason"], line["policy"]) == ("read", "special_reason", "special")
    assert "secret" not in str(line)


def test_a_policy_that_cannot_be_evaluated_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """The engine passes over it, and it might have been the one that forbids."""
    schema = SCHEMA.replace("special: Bool", "special: Long")
    broken = FORBID.replace("resource.special", "resource.special > 1")
    held = Policies({"a.cedar": PERMIT, "b.cedar": broken}, [schema])
    found = held.decide(person(), "read", Resource("Thing", owner="h1_a"))
    assert found == CANNOT_TELL
    assert [line.message for line in caplog.records] == ["policy error"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit (principal, action, resource) when {", "1.cedar: "),
        (PERMIT.replace("own", "two").replace("relations", "relation"), "1.cedar: policy two"),
        (FORBID.replace("resource.special", "resource.secret"), "1.cedar: policy special"),
        (PERMIT.replace('@id("own")', ""), "lacks @id"),
        (FORBID.replace('@reason_zh("理由")', ""), "1.cedar: policy special lacks @reason_zh"),
        (PERMIT, "has the id of another"),
        (
            FORBID.replace("(principal, action,", '(principal, action == Action::"shred",'),
            "1.cedar: policy special",
        ),
    ],
)
def test_a_file_that_does_not_hold_stops_the_start_and_is_named(text: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        policies(PERMIT, text)


def test_everybody_may_under_no_auth_and_nobody_without_a_token() -> None:
    for package in ("health", "social_security", "education", "transport", "services.exchange"):
        held = Policies.of(package)
        assert held.decide(UNGUARDED, "anything", Resource("Kit::Offer")).permitted
        assert not held.decide(ANONYMOUS, "offers.read", Resource("Kit::Offer")).permitted


def test_where_services_live() -> None:
    assert (package_of("health"), package_of("identity")) == ("health", "services.identity")


callers = st.builds(
    Principal,
    kind=st.sampled_from(["person", "staff", "organisation", "service", "anonymous"]),
    subject=st.just("somebody"),
    organisation=st.sampled_from([None, "A", "B"]),
    roles=st.frozensets(st.sampled_from(["clinician", "auditor", "privacy_officer"])),
    areas=st.sampled_from([(), ("330100",), ("000000",)]),
    purpose=st.sampled_from([None, "treatment", "benefit_audit"]),
    sector_ids=st.sampled_from([(), ("h1_a",), ("h1_a", "h1_b")]),
)
records = st.builds(
    Resource,
    st.just("Health::Record"),
    id=st.text(max_size=5),
    owner=st.sampled_from([None, "h1_a", "h1_b"]),
    organisation=st.sampled_from([None, "A", "B"]),
    area=st.sampled_from([None, "330106", "310101"]),
    special=st.booleans(),
)


@given(callers, records)
def test_what_a_person_is_refused_of_another_no_role_or_area_opens(who: Principal, record: Resource) -> None:
    if who.kind == "person" and record.owner not in {None, *who.sector_ids}:
        assert Policies.of("health").decide(who, "fhir.read", record).reason == "not_your_own"


@pytest.mark.parametrize("kind", ["organisation", "staff"])
def test_custodian_is_seen_from_the_organisation_and_never_from_an_empty_one(kind: Kind) -> None:
    held = policies(PERMIT.replace('"self"', '"custodian"'))
    mine = Principal(kind=kind, subject="x", organisation="A")
    nobody = Principal(kind=kind, subject="x")
    assert held.decide(mine, "read", Resource("Thing", organisation="A")).permitted
    assert not held.decide(mine, "read", Resource("Thing", organisation="B")).permitted
    assert not held.decide(nobody, "read", Resource("Thing", organisation="")).permitted
    assert not held.decide(nobody, "read", Resource("Thing")).permitted
