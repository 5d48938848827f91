"""One person's records under two entries of the register: shown together once a clerk has decided that they
are one, and apart again when that is taken back.

Everything goes through the public doors of the real suite.
"""

import time
from typing import Any

import pytest

from city.areas import PREFECTURE
from city.registry import persons
from city.simulation import City
from city.walkins import WalkIn, walk_ins
from tests.journeys.test_matching import REASON, UNMERGE, expected, merged, reviews, sides
from tests.support.suite import Suite

MINE = "{ me { health { patients { nodes { id name } } allergies { nodes { title } } } } }"
ALLERGY_STATUS = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
CLERK, SECOND_CLERK = "merged-records-clerk", "merged-records-clerk-2"


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=60, seed=37)


@pytest.fixture(scope="module")
def walk_in(suite: Suite, city: City) -> WalkIn:
    """Somebody with a record under their citizen number, taken in once more without papers."""
    suite.as_stack("POST", "identity", "/identity/persons", {"people": list(persons(city))})
    for clerk in (CLERK, SECOND_CLERK):
        suite.account(clerk, kind="staff", roles=["identity_clerk"], areas=[PREFECTURE])
    found = next(one for one in walk_ins(city) if one.same)
    for bundle in (city.bundle(found.like, city.history(found.like)), found.bundle | allergic(found)):
        with suite.client("hospital", city.alliance_of(found.like).hospital.code) as http:
            answer = http.post("/fhir", json=bundle)
        assert answer.status_code == 200, answer.text
    return found


def allergic(walk_in: WalkIn) -> dict[str, Any]:
    """The entries of the patient without papers, and what the hospital found out."""
    [patient] = walk_in.bundle["entry"]
    allergy = {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": {"coding": [{"system": ALLERGY_STATUS, "code": "active"}]},
        "code": {"text": "strawberries, found without papers"},
        "patient": {"reference": patient["fullUrl"]},
    }
    request = {"method": "POST", "url": "AllergyIntolerance"}
    full_url = "urn:uuid:6f0c2a52-5d0e-4b0e-9a53-0d6f6a6f2b11"
    return {"entry": [patient, {"fullUrl": full_url, "resource": allergy, "request": request}]}


def record(suite: Suite, as_: str) -> tuple[int, bool]:
    """How many hospitals' patients the person is, and whether what was found without papers is shown."""
    answer = suite.graphql(MINE, as_=as_)
    assert "errors" not in answer, answer
    health = answer["data"]["me"]["health"]
    found = [node["title"] for node in health["allergies"]["nodes"]]
    return len(health["patients"]["nodes"]), "strawberries, found without papers" in found


def soon(suite: Suite, as_: str, wanted: tuple[int, bool]) -> tuple[int, bool]:
    """The same, once the gateway has heard of a decision, or at last."""
    for _ in range(600):
        if (found := record(suite, as_)) == wanted:
            break
        time.sleep(0.1)
    return found


def signed_in(suite: Suite, walk_in: WalkIn, username: str) -> str:
    suite.account(username, kind="person", identifier=walk_in.like.number)
    return username


def test_both_records_are_shown_while_they_are_one_persons(suite: Suite, walk_in: WalkIn) -> None:
    before = signed_in(suite, walk_in, "merged-before")
    alone, found = record(suite, before)
    assert (alone > 0, found) == (True, False)
    [pair] = [review for review in reviews(suite, "OPEN", CLERK) if sides(review) == expected(walk_in)]
    said = {"id": pair["id"], "reason": REASON}
    merged(suite, pair["id"], CLERK, SECOND_CLERK)
    assert record(suite, signed_in(suite, walk_in, "merged-now")) == (alone + 1, True)
    # A session of before shows it too, long before its tokens end.
    assert soon(suite, before, (alone + 1, True)) == (alone + 1, True)
    answer = suite.graphql(UNMERGE, said, as_=CLERK)
    assert answer["data"]["unmerge"]["state"] == "DIFFERENT", answer
    assert soon(suite, before, (alone, False)) == (alone, False)
    assert record(suite, signed_in(suite, walk_in, "merged-after")) == (alone, False)


def test_nobody_else_sees_either(suite: Suite, city: City, walk_in: WalkIn) -> None:
    other = next(one for one in city.people if one is not walk_in.like)
    suite.account("merged-other", kind="person", identifier=other.number)
    assert record(suite, "merged-other") == (0, False)
