"""A health record: from the hospitals that write it to the citizen who reads it, and nobody else.

Everything goes through the public doors of the real suite, with the city's patients and the city's own
account of what happened to them.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from city.hospital import count_types
from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.simulation import City
from tests.support.suite import Suite, running_suite

PATIENTS = 30
REGISTERS = ("Organization", "Practitioner")
RECORD = """
query Record($after: String, $code: String) {
  me { health {
    encounters(first: 100) { nodes { id date end title organisation } }
    conditions(first: 100) { nodes { title status } }
    immunizations(first: 100) { nodes { date title } }
    allergies { nodes { title } }
    observations(first: 20, after: $after, code: $code) {
      nodes { id date title value { number unit } components { title value { number unit } } }
      pageInfo { endCursor hasNextPage }
    }
  } }
}
"""
Bundles = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def suite(public_folders: Path) -> Iterator[Suite]:
    """One of its own: another journey's hospitals would be matched, not made anew."""
    folder = public_folders / "records"
    folder.mkdir()
    with running_suite(folder) as found:
        yield found


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=200, seed=11)


@pytest.fixture(scope="module")
def patients(city: City) -> list[Person]:
    """Those with most to tell."""
    return sorted(city.people, key=lambda person: -len(city.history(person).visits))[:PATIENTS]


@pytest.fixture(scope="module")
def sent(city: City, patients: list[Person]) -> Bundles:
    return {person.index: city.bundle(person, city.history(person)) for person in patients}


@pytest.fixture(scope="module")
def hospitals(city: City, patients: list[Person]) -> set[str]:
    return {city.alliance_of(person).hospital.code for person in patients}


@pytest.fixture(scope="module")
def before(suite: Suite, hospitals: set[str], sent: Bundles) -> Counter[str]:
    """What other tests of the run have left in the store, by type."""
    kinds = {kind for bundle in sent.values() for kind in count_types(bundle)}
    return Counter({kind: stored(suite, hospitals, kind) for kind in kinds})


@pytest.fixture(scope="module")
def pushed(suite: Suite, city: City, patients: list[Person], sent: Bundles, before: Counter[str]) -> Bundles:
    """Each patient's bundle, taken whole by the doors of health."""
    found = sent
    for person in patients:
        with suite.client("hospital", city.alliance_of(person).hospital.code) as http:
            answer = http.post("/fhir", json=found[person.index])
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["entry"]) == len(found[person.index]["entry"])
    return found


def record(suite: Suite, person: Person, **variables: Any) -> dict[str, Any]:
    """What the person reads of themselves at the gateway."""
    username = f"patient-{person.index}"
    if username not in suite._sessions:
        suite.account(username, kind="person", identifier={"system": CITIZEN_NUMBER, "value": person.number})
    answer = suite.graphql(RECORD, variables, as_=username)
    assert "errors" not in answer, answer
    found: dict[str, Any] = answer["data"]["me"]["health"]
    return found


def of_type(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    resources = (entry["resource"] for entry in bundle["entry"])
    return [resource for resource in resources if resource["resourceType"] == kind]


def stored(suite: Suite, hospitals: set[str], kind: str) -> int:
    """What these hospitals keep: each counts its own, and of the registers, which are open, all there are."""
    totals = []
    for organisation in sorted(hospitals):
        with suite.client("hospital", organisation) as http:
            totals.append(int(http.get(f"/fhir/{kind}", params={"_count": 0}).json()["total"]))
    return max(totals) if kind in REGISTERS else sum(totals)


def test_what_the_city_sent_is_what_is_kept(
    suite: Suite,
    city: City,
    patients: list[Person],
    hospitals: set[str],
    pushed: Bundles,
    before: Counter[str],
) -> None:
    counts: Counter[str] = Counter()
    registers: dict[str, set[tuple[str, str]]] = {kind: set() for kind in REGISTERS}
    for person in patients:
        counts.update(count_types(pushed[person.index]))
        client = city.alliance_of(person).client
        for kind in REGISTERS:
            for resource in of_type(pushed[person.index], kind):
                registers[kind].add((client, resource["identifier"][0]["value"]))
    expected = {**counts, **{kind: len(known) for kind, known in registers.items()}}
    assert {kind: stored(suite, hospitals, kind) - before[kind] for kind in counts} == expected


def test_a_bundle_sent_again_adds_nothing(
    suite: Suite, city: City, patients: list[Person], pushed: Bundles
) -> None:
    person = patients[0]
    organisation = city.alliance_of(person).hospital.code
    number = stored(suite, {organisation}, "Observation")
    with suite.client("hospital", organisation) as http:
        assert http.post("/fhir", json=pushed[person.index]).status_code == 200
    assert stored(suite, {organisation}, "Observation") == number


def test_patients_read_their_own_record_as_the_city_knows_it(
    suite: Suite, city: City, patients: list[Person], pushed: Bundles
) -> None:
    living = [person for person in patients if person.death is None]
    for person in living[:5]:
        bundle, found = pushed[person.index], record(suite, person)
        visits = sorted((e["period"]["start"] for e in of_type(bundle, "Encounter")), reverse=True)
        assert [node["date"] for node in found["encounters"]["nodes"]] == visits
        names = {o["name"] for o in of_type(bundle, "Organization")}
        assert {node["organisation"] for node in found["encounters"]["nodes"]} <= names
        for field, kind, element in (
            ("conditions", "Condition", "code"),
            ("immunizations", "Immunization", "vaccineCode"),
            ("allergies", "AllergyIntolerance", "code"),
        ):
            titles = Counter(resource[element]["text"] for resource in of_type(bundle, kind))
            assert Counter(node["title"] for node in found[field]["nodes"]) == titles


def test_results_come_in_pages_by_code_and_with_their_numbers(
    suite: Suite, patients: list[Person], pushed: Bundles
) -> None:
    person = next(person for person in patients if person.death is None)
    panels = [
        o for o in of_type(pushed[person.index], "Observation") if o["code"]["coding"][0]["code"] == "85354-9"
    ]
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        page = record(suite, person, code="http://loinc.org|85354-9", after=after)["observations"]
        seen += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len({node["id"] for node in seen}) == len(seen) == len(panels)
    numbers = sorted(c["valueQuantity"]["value"] for o in panels for c in o["component"])
    assert sorted(int(c["value"]["number"]) for node in seen for c in node["components"]) == numbers


def test_nobody_reads_another_persons_record(suite: Suite, patients: list[Person], pushed: Bundles) -> None:
    one, other = [person for person in patients if person.death is None][:2]
    first, second = record(suite, one), record(suite, other)
    ids = [{node["id"] for node in found["encounters"]["nodes"]} for found in (first, second)]
    assert all(ids)
    assert not ids[0] & ids[1]
    answer = suite.graphql(RECORD)
    assert (answer.get("data") or {}).get("me") is None


def test_a_wrong_citizen_number_refuses_the_whole_bundle(
    suite: Suite, city: City, patients: list[Person], pushed: Bundles
) -> None:
    person = patients[0]
    organisation = city.alliance_of(person).hospital.code
    numbers = {kind: stored(suite, {organisation}, kind) for kind in ("Patient", "Observation", "Encounter")}
    bundle = copy.deepcopy(pushed[person.index])
    number = person.number[:-1] + ("1" if person.number[-1] != "1" else "2")
    place = next(i for i, e in enumerate(bundle["entry"]) if e["resource"]["resourceType"] == "Patient")
    bundle["entry"][place]["resource"]["identifier"][0]["value"] = number
    with suite.client("hospital", organisation) as http:
        answer = http.post("/fhir", json=bundle)
    assert answer.status_code == 422
    [issue] = answer.json()["issue"]
    assert issue["expression"] == [f"Bundle.entry[{place}].resource.identifier[0].value"]
    assert {kind: stored(suite, {organisation}, kind) for kind in numbers} == numbers


def test_a_school_cannot_write_or_read_health(suite: Suite, patients: list[Person], pushed: Bundles) -> None:
    with suite.client("school") as http:
        for answer in (
            http.post("/fhir", json=pushed[patients[0].index]),
            http.get("/fhir/Patient"),
            http.get("/health/records/me", params={"types": "Observation"}),
        ):
            assert answer.status_code in (401, 403)
    with suite.client(None) as http:
        answer = http.get("/fhir/Patient")
        assert answer.status_code == 401
        assert answer.json()["resourceType"] == "OperationOutcome"
