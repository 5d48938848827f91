"""What the domains are told about one person agrees: rows, bundles and rosters speak of the same lives."""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

from fhir.resources.R4B.bundle import Bundle

from city.build import dumped
from city.hospital import VISIT_NUMBER
from city.numbers import CITIZEN_NUMBER
from tests.city.conftest import Told


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    return []


def test_a_bundle_is_one_patients_transaction(told: Told) -> None:
    for story in told.stories:
        assert story.bundle["type"] == "transaction"
        [patient] = resources(story.bundle, "Patient")
        assert {"system": CITIZEN_NUMBER, "value": story.person.number, "use": "official"} in patient[
            "identifier"
        ]
        assert patient["birthDate"] == story.person.birth.isoformat()
        assert patient.get("deceasedDateTime") == (story.person.death and story.person.death.isoformat())


def test_references_stay_in_their_bundle_and_every_url_is_its_own(told: Told) -> None:
    every: set[str] = set()
    for story in told.stories:
        urls = [entry["fullUrl"] for entry in story.bundle["entry"]]
        assert len(set(urls)) == len(urls)
        assert every.isdisjoint(urls)
        every.update(urls)
        assert set(references(story.bundle)) <= set(urls)
        assert all(url.startswith("urn:uuid:") for url in urls)


def test_there_are_about_fifteen_resources_a_person(told: Told) -> None:
    sent = told.truth["counts"]["fhir"]["sent"]
    own = sum(count for kind, count in sent.items() if kind not in ("Organization", "Practitioner"))
    assert 13 <= own / len(told.stories) <= 17
    assert {"Encounter", "Condition", "Observation", "Immunization", "MedicationRequest", "Procedure"} <= set(
        sent
    )


def test_a_sample_of_bundles_is_valid_r4(told: Told) -> None:
    for story in told.stories[::25]:
        Bundle.model_validate_json(dumped(story.bundle))


def test_the_old_are_ill_more_often_than_the_young(told: Told) -> None:
    def visits(low: int, high: int) -> float:
        found = [
            len(s.history.visits) for s in told.stories if low <= s.person.age_on(told.city.today) <= high
        ]
        return sum(found) / len(found)

    assert visits(65, 120) > 1.8 * visits(18, 44)


def test_small_children_are_vaccinated(told: Told) -> None:
    toddlers = [
        s for s in told.stories if 2 <= s.person.age_on(told.city.today) <= 6 and s.person.death is None
    ]
    assert all(len(story.history.shots) >= 8 for story in toddlers)


def test_a_birth_is_the_mothers_stay(told: Told) -> None:
    """A child of the last years was born in the hospital of its mother, on its birthday."""
    by_index = {story.person.index: story for story in told.stories}
    births = [p for p in told.city.people if p.mother is not None and p.birth >= told.city.population.start]
    days = [(by_index[p.mother], p.birth) for p in births if p.mother is not None]
    stays = [
        any(v.illness.code == "O80.9" and v.first == day for v in mother.history.visits)
        for mother, day in days
    ]
    # A mother already in hospital that day for another reason has no second stay.
    assert sum(stays) >= 0.9 * len(births) > 0


def test_claims_are_the_encounters_of_the_last_two_years(told: Told) -> None:
    """Same person, provider and days; but for the claims that were planted."""
    planted = {row.split()[1] for p in told.truth["planted"] + told.truth["near_misses"] for row in p["rows"]}
    for story in told.stories:
        encounters = {
            f"M-{e['identifier'][0]['value']}": e
            for e in resources(story.bundle, "Encounter")
            if e["identifier"][0]["system"] == VISIT_NUMBER
        }
        for claim in story.social.claims:
            assert claim.citizen_number == story.person.number
            if claim.claim_id in planted:
                continue
            period = encounters[claim.claim_id]["period"]
            if claim.admitted_on:
                assert (claim.admitted_on, claim.discharged_on) == (period["start"][:10], period["end"][:10])
            else:
                assert claim.claimed_on == period["start"][:10]
        young = [v for v in story.history.visits if (told.city.today - v.first).days <= 730]
        assert len(young) == len([c for c in story.social.claims if c.claim_id in encounters])


def test_a_claim_is_the_sum_of_its_lines(told: Told) -> None:
    sums: Counter[str] = Counter()
    for line in told.rows("claim_lines"):
        assert Decimal(line.amount) == Decimal(line.unit_price) * Decimal(line.quantity)
        sums[line.claim_id] += Decimal(line.amount)  # type: ignore[assignment]
    claims = told.rows("claims")
    assert {claim.claim_id for claim in claims} == set(sums)
    assert all(Decimal(claim.total) == sums[claim.claim_id] for claim in claims)


def test_keys_are_given_once(told: Told) -> None:
    for kind, width in (("contributions", 1), ("payments", 1), ("claims", 1), ("claim_lines", 2)):
        keys = Counter(tuple(row)[:width] for row in told.rows(kind))
        assert keys.most_common(1)[0][1] == 1
        assert all(len(part) <= 64 for key in keys for part in key)


def test_rows_are_about_people_and_organisations_of_the_city(told: Told) -> None:
    people = {person.number for person in told.city.people}
    codes = {organisation.code for organisation in told.city.institutions.all()}
    assert {
        row.citizen_number for kind in ("contributions", "payments", "claims") for row in told.rows(kind)
    } <= people
    assert {row.employer_uscc for row in told.rows("contributions")} <= codes
    assert {row.provider_uscc for row in told.rows("claims")} <= codes


def test_no_row_lies_after_today(told: Told) -> None:
    today = told.city.today.isoformat()
    assert max(row.declared_on for row in told.rows("contributions")) <= today
    assert max(row.paid_on for row in told.rows("payments")) <= today
    assert max(row.claimed_on for row in told.rows("claims")) <= today
    assert max(row.service_date for row in told.rows("claim_lines")) <= today


def test_a_month_that_is_not_over_has_no_rows_yet() -> None:
    from city.simulation import City

    city = City(people=60, seed=3, today=date(2026, 10, 9))
    rows = [row for person in city.people for row in city.social_records(person).payments]
    assert max(row.period for row in rows) == "2026-09"
    assert max(row.paid_on for row in rows) <= "2026-10-09"


def test_nothing_happens_to_the_dead(told: Told) -> None:
    """But for the payments that were planted."""
    planted = {row for p in told.truth["planted"] + told.truth["near_misses"] for row in p["rows"]}
    for story in told.stories:
        death = story.person.death
        if death is None:
            continue
        assert all(visit.last < death for visit in story.history.visits)
        assert all(shot.day < death for shot in story.history.shots)
        month = f"{death:%Y-%m}"
        assert all(row.period <= month for row in story.social.contributions)
        honest = [row for row in story.social.payments if f"payment {row.payment_id}" not in planted]
        assert all(row.period <= month for row in honest)


def test_guardians_in_the_bundle_are_those_of_the_register(told: Told) -> None:
    for story in told.stories:
        named = {r["identifier"][0]["value"] for r in resources(story.bundle, "RelatedPerson")}
        assert named == {told.city.people[at].number for at in story.person.guardians}


def test_the_truth_counts_what_there_is(told: Told) -> None:
    counts = told.truth["counts"]
    assert counts["fhir"]["entries"] == sum(len(story.bundle["entry"]) for story in told.stories)
    assert counts["social_security"] == {
        kind: len(told.rows(kind)) for kind in ("claim_lines", "claims", "contributions", "payments")
    }
    providers = {
        r["identifier"][0]["value"] for s in told.stories for r in resources(s.bundle, "Organization")
    }
    assert counts["fhir"]["stored"]["Organization"] == len(providers)
    assert told.truth["population"]["dead"] == len(told.truth["deaths"])
