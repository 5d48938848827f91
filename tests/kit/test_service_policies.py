"""Each service's access policies against a table written by hand; every policy must decide some of it."""

from dataclasses import replace
from typing import Any

import pytest

from services.kit.policy import Policies, Resource
from services.kit.principals import Principal
from services.stack.house import NAMES

CITIZEN = Principal(kind="person", subject="u_1", sector_ids=("h1_me",), purpose="own_records")
NOBODY = Principal(kind="anonymous", subject="anonymous")


def staff(role: str, purpose: str = "operations", *areas: str) -> Principal:
    return Principal(
        kind="staff",
        subject="u_2",
        organisation="A",
        roles=frozenset({role}),
        areas=areas or ("330100",),
        purpose=purpose,
    )


def organisation(purpose: str | None = None, *scopes: str) -> Principal:
    return Principal(
        kind="organisation",
        subject="client-a",
        client_id="client-a",
        organisation="A",
        purpose=purpose,
        scopes=frozenset(scopes),
    )


def service(name: str, *scopes: str) -> Principal:
    return Principal(
        kind="service",
        subject=f"service:{name}",
        client_id=f"service:{name}",
        service=name,
        scopes=frozenset(scopes),
    )


AUDITOR = staff("auditor", "benefit_audit")
CLINICIAN = staff("clinician", "treatment")
OFFICER = staff("privacy_officer")
EXCHANGER = staff("exchange_staff")
CLERK = staff("identity_clerk", "registration")
STEWARD = staff("data_steward", "statistics")
FLOW = staff("flow_staff")
LEAD = replace(staff("duty_lead"), scopes=frozenset({"notify:rosters:write"}))
HOSPITAL = organisation("treatment")
STACK = service("stack")
OURS = {"organisation": "A"}
THEIRS = {"organisation": "B"}
ME = {"owner": "h1_me"}
ANOTHER = {"owner": "h1_you"}
NEAR = {"area": "330106"}
FAR = {"area": "310101"}

Case = tuple[Principal, str, str, dict[str, Any], str | None]
"""Who, action, resource type, facts (of the resource; `relations`, `consent`), and the id of the policy that
decides, None where none does and so nothing is permitted. A leading + permits, a leading - forbids."""

CASES: dict[str, list[Case]] = {
    "social_security": [
        (AUDITOR, "findings.read", "SocialSecurity::Finding", {}, "+auditor_reads_findings"),
        (AUDITOR, "findings.read", "SocialSecurity::Finding", NEAR, "+auditor_reads_findings"),
        (AUDITOR, "findings.read", "SocialSecurity::Finding", FAR, "-staff_outside_area"),
        (replace(AUDITOR, areas=()), "findings.read", "SocialSecurity::Finding", NEAR, "-staff_outside_area"),
        (
            replace(AUDITOR, areas=("000000",)),
            "findings.read",
            "SocialSecurity::Finding",
            FAR,
            "+auditor_reads_findings",
        ),
        (replace(AUDITOR, purpose="research"), "findings.read", "SocialSecurity::Finding", NEAR, None),
        (FLOW, "findings.read", "SocialSecurity::Finding", NEAR, None),
        (CITIZEN, "findings.read", "SocialSecurity::Finding", ME, None),
        (CITIZEN, "findings.read", "SocialSecurity::Finding", ANOTHER, "-person_not_own"),
        (HOSPITAL, "findings.read", "SocialSecurity::Finding", {}, None),
        (NOBODY, "findings.read", "SocialSecurity::Finding", {}, None),
        (STACK, "audit-run.request", "SocialSecurity::AuditRun", {}, "+operation_reads_findings"),
        (service("health"), "audit-run.request", "SocialSecurity::AuditRun", {}, None),
        (CITIZEN, "record.read", "SocialSecurity::Record", ME, "+own_record"),
        (CITIZEN, "record.read", "SocialSecurity::Record", ANOTHER, "-person_not_own"),
        (
            CITIZEN,
            "record.read",
            "SocialSecurity::Record",
            ANOTHER | {"relations": ["guardian"]},
            "+guardian_reads_record",
        ),
        (AUDITOR, "record.read", "SocialSecurity::Record", ME, None),
        (organisation(), "import", "SocialSecurity::Import", OURS, "+own_imports"),
        (organisation(), "import.read", "SocialSecurity::Import", THEIRS, "-import_of_another"),
        (AUDITOR, "import.read", "SocialSecurity::Import", THEIRS, "-import_of_another"),
    ],
    "education": [
        (CITIZEN, "education.record.read", "Education::Record", ME, "+own_learning"),
        (CITIZEN, "education.record.read", "Education::Record", ANOTHER, "-person_not_own"),
        (
            CITIZEN,
            "education.record.read",
            "Education::Record",
            ANOTHER | {"relations": ["guardian"]},
            "+guardian_reads_learning",
        ),
        (organisation("education"), "education.record.read", "Education::Record", ME, None),
        (AUDITOR, "education.record.read", "Education::Record", ME, None),
        (organisation("education"), "education.roster.import", "Education::Roster", OURS, "+own_rosters"),
        (
            organisation("education"),
            "education.roster.read",
            "Education::Roster",
            THEIRS,
            "-roster_of_another",
        ),
        (CITIZEN, "education.roster.decide", "Education::Roster", OURS, "-roster_of_another"),
    ],
    "transport": [
        (FLOW, "warning.acknowledge", "Transport::Warning", NEAR, "+flow_staff"),
        (FLOW, "acknowledgement.read", "Transport::Warning", NEAR, "+flow_staff"),
        (FLOW, "warning.acknowledge", "Transport::Warning", FAR, "-staff_outside_area"),
        (FLOW, "acknowledgement.read", "Transport::Warning", FAR, "-staff_outside_area"),
        (replace(FLOW, areas=()), "acknowledgement.read", "Transport::Warning", NEAR, "-staff_outside_area"),
        (LEAD, "warning.acknowledge", "Transport::Warning", NEAR, "+flow_staff"),
        (LEAD, "warning.acknowledge", "Transport::Warning", FAR, "-staff_outside_area"),
        (AUDITOR, "warning.acknowledge", "Transport::Warning", NEAR, "-not_flow_staff"),
        (CITIZEN, "warning.acknowledge", "Transport::Warning", NEAR, "-not_flow_staff"),
        (CITIZEN, "acknowledgement.read", "Transport::Warning", NEAR, None),
        (service("notify"), "acknowledgement.read", "Transport::Warning", NEAR, None),
    ],
    "identity": [
        (CITIZEN, "person.read", "Identity::Person", {"relations": ["self"]}, "+own_person"),
        (CITIZEN, "person.read", "Identity::Person", ANOTHER, "-person_not_own"),
        (AUDITOR, "person.read", "Identity::Person", ANOTHER, None),
        (
            service("health", "identity:persons:resolve"),
            "persons.resolved",
            "Identity::Person",
            {},
            "+own_sector",
        ),
        (HOSPITAL, "persons.resolved", "Identity::Person", {}, None),
        (
            service("notify", "identity:sector-ids:renew"),
            "sector_ids.renewed",
            "Identity::Person",
            {},
            "+renewed_own_sector",
        ),
        (service("health", "identity:persons:resolve"), "sector_ids.renewed", "Identity::Person", {}, None),
        (HOSPITAL, "sector_ids.renewed", "Identity::Person", {}, None),
        (
            service("exchange", "identity:wards:read"),
            "wards.read",
            "Identity::Person",
            {},
            "+wards_of_own_sector",
        ),
        (CITIZEN, "wards.read", "Identity::Person", {}, None),
        (
            service("education", "identity:residents:read"),
            "residents.read",
            "Identity::Register",
            {},
            "+projections_start_from_residents",
        ),
        (CLERK, "residents.read", "Identity::Register", {}, None),
        (service("exchange"), "sector_ids.translated", "Identity::Person", {}, "+exchange_translates"),
        (
            service("health"),
            "sector_ids.translated",
            "Identity::Person",
            {},
            "-translated_for_exchange_alone",
        ),
        (STACK, "sector_ids.read", "Identity::Person", {}, "-translated_for_exchange_alone"),
        (
            organisation("registration", "identity:persons:write"),
            "persons.registered",
            "Identity::Person",
            {},
            "+registry_registers",
        ),
        (HOSPITAL, "persons.registered", "Identity::Person", {}, None),
        (STACK, "keys.rotated", "Identity::Client", {}, "+operation_sets_up"),
        (staff("operator"), "keys.rotated", "Identity::Client", {}, None),
        (STACK, "account.registered", "Identity::Account", {}, "+operation_sets_up"),
        (CLERK, "match.decided", "Identity::Match", NEAR, "+clerk_decides_matches"),
        (CLERK, "matches.read", "Identity::Match", FAR, "-staff_outside_area"),
        (CLERK, "linkage.run", "Identity::Match", {}, "+clerk_decides_matches"),
        (AUDITOR, "linkage.run", "Identity::Match", {}, None),
        (AUDITOR, "matches.read", "Identity::Match", NEAR, None),
    ],
    "audit": [
        (organisation(None, "audit:read"), "audit.leaves.read", "Audit::Log", {}, "+auditor_reads_log"),
        (organisation(), "audit.leaves.read", "Audit::Log", {}, None),
        (staff("operator"), "audit.leaves.read", "Audit::Log", {}, "+operator_reads_log"),
        (AUDITOR, "audit.leaves.read", "Audit::Log", {}, None),
        (STACK, "audit.strays.read", "Audit::Log", {}, "+stack_reads_log"),
        (service("exchange"), "audit.leaves.read", "Audit::Log", {}, None),
        (service("exchange"), "usages.read", "Audit::Usage", {}, "+exchange_reads_usages"),
        (service("health"), "usages.read", "Audit::Usage", {}, None),
        (CITIZEN, "usages.read", "Audit::Usage", {}, None),
        (CITIZEN, "audit.leaves.read", "Audit::Log", {}, None),
        (STACK, "outcomes.told", "Audit::Outcome", {}, "+stack_tells_outcomes"),
        (STACK, "outcomes.read", "Audit::Outcome", {}, "+stack_tells_outcomes"),
        (staff("operator"), "outcomes.read", "Audit::Outcome", {}, "+operator_reads_outcomes"),
        (staff("operator"), "outcomes.told", "Audit::Outcome", {}, None),
        (organisation(None, "audit:read"), "outcomes.read", "Audit::Outcome", {}, "+auditor_reads_outcomes"),
        (service("gateway"), "outcomes.read", "Audit::Outcome", {}, None),
        (CITIZEN, "outcomes.read", "Audit::Outcome", {}, None),
    ],
    "notify": [
        (
            replace(CITIZEN, scopes=frozenset({"notify:stream:read"})),
            "stream.read",
            "Notify::Message",
            {},
            "+public_topics",
        ),
        (
            replace(CITIZEN, scopes=frozenset({"notify:stream:read"})),
            "stream.read",
            "Notify::Message",
            ME,
            None,
        ),
        (CITIZEN, "stream.read", "Notify::Message", {}, None),
        (OFFICER, "stream.read", "Notify::Message", OURS | {"special": True}, "+privacy_topic"),
        (OFFICER, "stream.read", "Notify::Message", THEIRS | {"special": True}, None),
        (FLOW, "stream.read", "Notify::Message", OURS | {"special": True}, None),
        (CITIZEN, "inbox.read", "Notify::Inbox", ME, "+own_inbox"),
        (CITIZEN, "inbox.read", "Notify::Inbox", ANOTHER, "-person_not_own"),
        (FLOW, "inbox.read", "Notify::Inbox", ME, None),
        (FLOW, "inbox.read", "Notify::Inbox", {"relations": ["self"]}, "+own_inbox"),
        (LEAD, "rosters.write", "Notify::Roster", OURS | NEAR, "+rosters_of_the_lead"),
        (LEAD, "rosters.write", "Notify::Roster", THEIRS | NEAR, None),
        (LEAD, "rosters.write", "Notify::Roster", OURS | FAR, "-staff_outside_area"),
        (replace(LEAD, kind="person"), "rosters.write", "Notify::Roster", OURS | NEAR, None),
        (LEAD, "rosters.join", "Notify::Roster", THEIRS | NEAR, "+duties_of_staff"),
        (AUDITOR, "rosters.read", "Notify::Roster", OURS | NEAR, None),
        (LEAD, "escalations.read", "Notify::Message", {}, "+unacknowledged_for_leads"),
        (FLOW, "escalations.read", "Notify::Message", {}, None),
        *(
            (replace(who, scopes=frozenset({"notify:destinations:write"})), action, where, about, expected)
            for action in ("destinations.write", "deliveries.read")
            for who, where, about, expected in (
                (CITIZEN, "Notify::Destination", ME, "+own_destinations"),
                (CITIZEN, "Notify::Destination", ANOTHER, "-person_not_own"),
                (FLOW, "Notify::Destination", {}, "+own_destinations"),
                (HOSPITAL, "Notify::Destination", {}, None),
            )
        ),
        *(
            (replace(who, scopes=frozenset({"notify:webhooks:write"})), action, where, about, expected)
            for action in ("webhooks.write", "deliveries.read")
            for who, where, about, expected in (
                (HOSPITAL, "Notify::Destination", {}, "+subscriptions_of_systems"),
                (FLOW, "Notify::Destination", {}, "+subscriptions_of_systems"),
                (CITIZEN, "Notify::Destination", ME, None),
            )
        ),
        (HOSPITAL, "webhooks.write", "Notify::Destination", {}, None),
        (
            replace(FLOW, scopes=frozenset({"events:replay"})),
            "deliveries.operate",
            "Notify::Delivery",
            {},
            "+operators_replay",
        ),
        (FLOW, "deliveries.operate", "Notify::Delivery", {}, None),
    ],
    "exchange": [
        (EXCHANGER, "agreements.read", "Exchange::Agreement", {}, "+staff_read_agreements"),
        (AUDITOR, "agreements.read", "Exchange::Agreement", {}, None),
        (
            EXCHANGER,
            "agreements.request",
            "Exchange::Agreement",
            {"relations": ["consumer"]},
            "+staff_request_agreements",
        ),
        (EXCHANGER, "agreements.request", "Exchange::Agreement", {}, "-not_the_consumer"),
        (EXCHANGER, "agreements.decide", "Exchange::Agreement", OURS, "+provider_decides"),
        (EXCHANGER, "agreements.decide", "Exchange::Agreement", THEIRS, "-not_the_provider"),
        (
            EXCHANGER,
            "agreements.decide",
            "Exchange::Agreement",
            OURS | {"relations": ["requester"]},
            "-four_eyes",
        ),
        (EXCHANGER, "agreements.end", "Exchange::Agreement", {"relations": ["consumer"]}, "+consumer_ends"),
        (EXCHANGER, "agreements.end", "Exchange::Agreement", THEIRS, None),
        (STACK, "agreements.suspend", "Exchange::Agreement", THEIRS, "+operation_of_agreements"),
        (STACK, "agreements.decide", "Exchange::Agreement", THEIRS, None),
        (CITIZEN, "agreements.decide", "Exchange::Agreement", {}, None),
        (
            service("social_security"),
            "dataset.read",
            "Exchange::Dataset",
            {"relations": ["agreement"]},
            "+read_under_agreement",
        ),
        (service("social_security"), "dataset.read", "Exchange::Dataset", {}, "-no_agreement"),
        (HOSPITAL, "dataset.push", "Exchange::Dataset", {"relations": ["agreement"]}, None),
        (CITIZEN, "usages.read", "Exchange::Usage", ME, "+own_usages"),
        (CITIZEN, "usages.report", "Exchange::Usage", ANOTHER, "-person_not_own"),
        (
            CITIZEN,
            "usages.read",
            "Exchange::Usage",
            ANOTHER | {"relations": ["guardian"]},
            "+guardian_usages",
        ),
        (OFFICER, "usages.read", "Exchange::Usage", ME, None),
        (
            organisation("own_records", "exchange:usages:find"),
            "usages.read",
            "Exchange::Usage",
            ME | {"relations": ["self"]},
            "+portal_usages",
        ),
        (organisation("own_records", "exchange:usages:find"), "usages.read", "Exchange::Usage", ME, None),
        (CITIZEN, "consents.give", "Exchange::Consent", ME, "+own_consents"),
        (CITIZEN, "consents.revoke", "Exchange::Consent", ANOTHER, "-person_not_own"),
        (
            CITIZEN,
            "consents.give",
            "Exchange::Consent",
            ANOTHER | {"relations": ["guardian"]},
            "+guardian_consents",
        ),
        (HOSPITAL, "consents.give", "Exchange::Consent", ME, None),
        (CITIZEN, "cases.read", "Exchange::Case", ME, "+own_cases"),
        (CITIZEN, "cases.decide", "Exchange::Case", ME, None),
        (OFFICER, "cases.decide", "Exchange::Case", OURS, "+privacy_officer_decides"),
        (OFFICER, "cases.decide", "Exchange::Case", THEIRS, None),
        (EXCHANGER, "cases.decide", "Exchange::Case", {}, "+staff_answer_for_services"),
        (EXCHANGER, "cases.decide", "Exchange::Case", THEIRS, None),
        (STEWARD, "releases.publish", "Exchange::Release", {}, "+steward_publishes"),
        (EXCHANGER, "releases.publish", "Exchange::Release", {}, None),
        (organisation("research"), "exports.request", "Exchange::Export", OURS, "+own_exports"),
        (organisation("research"), "exports.read", "Exchange::Export", THEIRS, "-export_of_another"),
        (organisation("research"), "exports.decide", "Exchange::Export", OURS, None),
    ],
    "health": [
        (CITIZEN, "fhir.read", "Health::Record", ME | {"special": True}, "+own_health"),
        (CITIZEN, "health.record.read", "Health::Record", ANOTHER, "-person_not_own"),
        (
            CITIZEN,
            "health.record.read",
            "Health::Record",
            ANOTHER | {"relations": ["guardian"]},
            "+guardian_health",
        ),
        (CITIZEN, "fhir.write", "Health::Record", ME, None),
        (HOSPITAL, "fhir.write", "Health::Record", OURS, "+custodian_keeps"),
        (HOSPITAL, "fhir.read", "Health::Record", OURS | {"special": True}, "+custodian_keeps"),
        (HOSPITAL, "fhir.write", "Health::Record", THEIRS, "-written_by_custodian"),
        (HOSPITAL, "fhir.read", "Health::Record", THEIRS, "-record_of_another"),
        (HOSPITAL, "fhir.search", "Health::Record", THEIRS | {"relations": ["treatment"]}, "+treating"),
        (
            HOSPITAL,
            "fhir.read",
            "Health::Record",
            THEIRS | {"relations": ["treatment"], "special": True},
            "-specially_protected",
        ),
        (
            HOSPITAL,
            "fhir.read",
            "Health::Record",
            THEIRS | {"consent": True, "special": True},
            "+consented",
        ),
        (organisation("research"), "fhir.read", "Health::Record", {"relations": ["treatment"]}, None),
        (HOSPITAL, "fhir.export", "Health::Record", OURS, "+custodian_exports"),
        (
            HOSPITAL,
            "fhir.export",
            "Health::Record",
            THEIRS | {"relations": ["treatment"]},
            "+treating_exports",
        ),
        (HOSPITAL, "fhir.export", "Health::Record", THEIRS | {"consent": True}, "+consented_exports"),
        (HOSPITAL, "fhir.export", "Health::Record", THEIRS, "-record_of_another"),
        (organisation("research"), "fhir.export", "Health::Record", {"relations": ["custodian"]}, None),
        (organisation("research"), "fhir.export", "Health::Record", {"relations": ["treatment"]}, None),
        (CLINICIAN, "fhir.export", "Health::Record", OURS, None),
        (CITIZEN, "fhir.export", "Health::Record", ME, None),
        (CLINICIAN, "fhir.read", "Health::Record", OURS, "+clinician_of_custodian"),
        (CLINICIAN, "fhir.read", "Health::Record", THEIRS, "-record_of_another"),
        (CLINICIAN, "fhir.write", "Health::Record", OURS, None),
        (CLINICIAN, "break_glass", "Health::Record", THEIRS, "+clinician_breaks_glass"),
        (CITIZEN, "treatment.object", "Health::Record", ME, "+own_treatment"),
        (CITIZEN, "treatment.object", "Health::Record", ANOTHER, "-person_not_own"),
        (CLINICIAN, "treatment.object", "Health::Record", THEIRS, None),
        (AUDITOR, "break_glass", "Health::Record", THEIRS, None),
        (HOSPITAL, "break_glass", "Health::Record", THEIRS, None),
        (
            CLINICIAN,
            "fhir.read",
            "Health::Record",
            THEIRS | {"relations": ["break_glass"], "special": True},
            "+glass_broken",
        ),
        (AUDITOR, "fhir.read", "Health::Record", THEIRS | {"relations": ["break_glass"]}, None),
        (AUDITOR, "fhir.read", "Health::Record", OURS, None),
        (OFFICER, "access_reviews.decide", "Health::Review", OURS, "+privacy_officer_reviews"),
        (OFFICER, "access_reviews.read", "Health::Review", THEIRS, None),
        (OFFICER, "accesses.read", "Health::Access", OURS, "+privacy_officer_supervises"),
        (OFFICER, "accesses.read", "Health::Access", THEIRS, None),
        (CITIZEN, "accesses.read", "Health::Access", ME, "+own_accesses"),
        (CITIZEN, "accesses.read", "Health::Access", ANOTHER, "-person_not_own"),
        (CLINICIAN, "accesses.read", "Health::Access", OURS, None),
        (HOSPITAL, "accesses.read", "Health::Access", OURS, None),
        (OFFICER, "fhir.read", "Health::Record", OURS, None),
        (service("exchange"), "fhir.read", "Health::Record", {}, None),
    ],
}
EVERYWHERE: list[Case] = [
    (
        Principal(kind="organisation", subject="no-auth", scopes=frozenset({"*"})),
        "offers.read",
        "Kit::Offer",
        {},
        "+unguarded",
    ),
    (
        service("exchange", "exchange:offers:read"),
        "offers.read",
        "Kit::Offer",
        {},
        "+offers_for_exchange",
    ),
    (
        service("exchange", "exchange:batches:push"),
        "batches.take",
        "Kit::Offer",
        {},
        "+batches_from_exchange",
    ),
    (service("health", "exchange:batches:push"), "batches.take", "Kit::Offer", {}, "-offers_elsewhere"),
    (
        service("stack", "events:replay"),
        "dead_letters.read",
        "Kit::DeadLetters",
        {},
        "+dead_letters_for_operators",
    ),
    (service("health", "events:read"), "dead_letters.read", "Kit::DeadLetters", {}, None),
    (
        service("stack", "events:replay"),
        "dead_letters.replay",
        "Kit::DeadLetters",
        {},
        "+dead_letters_for_operators",
    ),
    (service("health", "events:read"), "dead_letters.replay", "Kit::DeadLetters", {}, None),
    (
        service("stack", "operations:read"),
        "operations.read",
        "Kit::Operations",
        {},
        "+operations_for_operators",
    ),
    (service("gateway"), "operations.read", "Kit::Operations", {}, None),
    (HOSPITAL, "operations.read", "Kit::Operations", {}, None),
    (service("health", "exchange:offers:read"), "offers.read", "Kit::Offer", {}, "-offers_elsewhere"),
    (HOSPITAL, "offers.read", "Kit::Offer", {}, "-offers_elsewhere"),
    (AUDITOR, "offers.read", "Kit::Offer", {}, "-offers_elsewhere"),
]
KNOWN = {
    name: name if name in {"health", "social_security", "education", "transport"} else f"services.{name}"
    for name in CASES
}


def named(case: Case) -> str:
    who, action, _, facts, decides = case
    roles = "+".join(sorted(who.roles)) or who.service or who.kind
    return f"{roles} {action} {' '.join(f'{k}={v}' for k, v in facts.items())} {decides}"


@pytest.mark.parametrize(
    ("package", "case"),
    [
        pytest.param(KNOWN[name], case, id=f"{name}: {named(case)}")
        for name, cases in CASES.items()
        for case in (*cases, *EVERYWHERE)
    ],
)
def test_a_case(package: str, case: Case) -> None:
    who, action, kind, facts, decides = case
    given = dict(facts)
    asked: dict[str, Any] = {name: given.pop(name) for name in ("relations", "consent") if name in given}
    found = Policies.of(package).decide(who, action, Resource(kind, **given), **asked)
    sign = "+" if found.permitted else "-"
    assert (f"{sign}{found.policy}" if found.policy else None) == decides
    assert found.permitted == bool(decides and decides.startswith("+"))


@pytest.mark.parametrize("name", CASES)
def test_every_policy_decides_a_case(name: str) -> None:
    """Whoever writes a policy adds the case it decides, and one beside it that it does not."""
    decided = {decides[1:] for *_, decides in (*CASES[name], *EVERYWHERE) if decides}
    assert Policies.of(KNOWN[name]).ids - {"staff_outside_area", "person_not_own"} <= decided


def test_every_service_has_cases() -> None:
    assert set(CASES) == set(NAMES) - {"gateway"}
