"""Patients without papers: found among the city's people, decided by a clerk, and the decision taken back.

Everything goes through the public doors of the real suite; which of them are whom is the city's truth.
"""

from typing import Any

import pytest

from city.areas import PREFECTURE
from city.registry import persons
from city.simulation import City
from city.walkins import WalkIn, walk_ins
from tests.support.suite import Suite

REASON = "checked against the hospital's own file"
REVIEWS = """
query Reviews($state: MatchState!, $after: String) {
  matchReviews(first: 100, after: $after, state: $state) {
    nodes { id state decidedBy weight prior sides { name birthDate registered } parts { comparisonEn bits } }
    pageInfo { endCursor hasNextPage }
  }
}
"""
DECIDE = """
mutation Decide($id: ID!, $decision: MatchDecision!, $reason: String!) {
  decideMatch(id: $id, decision: $decision, reason: $reason) { state }
}
"""
UNMERGE = "mutation Undo($id: ID!, $reason: String!) { unmerge(id: $id, reason: $reason) { state } }"
Pair = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=300, seed=23)


@pytest.fixture(scope="module")
def taken_in(suite: Suite, city: City) -> list[WalkIn]:
    """The register first, then the hospitals' patients without papers."""
    suite.as_stack("POST", "identity", "/identity/persons", {"people": list(persons(city))})
    for username, role, area in (
        ("match-clerk", "identity_clerk", PREFECTURE),
        ("match-clerk-2", "identity_clerk", PREFECTURE),
        ("match-clerk-elsewhere", "identity_clerk", "110000"),
        ("match-auditor", "auditor", PREFECTURE),
    ):
        suite.account(username, kind="staff", roles=[role], areas=[area])
    found = list(walk_ins(city))
    for one in found:
        with suite.client("hospital", city.alliance_of(one.like).hospital.code) as http:
            answer = http.post("/fhir", json=one.bundle)
        assert answer.status_code == 200, answer.text
    return found


def reviews(suite: Suite, state: str, as_: str = "match-clerk") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        answer = suite.graphql(REVIEWS, {"state": state, "after": after}, as_=as_)
        assert "errors" not in answer, suite.printed()
        page = answer["data"]["matchReviews"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return found
        after = page["pageInfo"]["endCursor"]


def merged(suite: Suite, review: str, proposes: str, confirms: str) -> None:
    """One clerk's word is a proposal, whatever often it is said; another's makes it so."""
    said = {"id": review, "decision": "SAME", "reason": REASON}
    proposed = suite.graphql(DECIDE, said, as_=proposes)
    assert proposed["data"]["decideMatch"]["state"] == "PROPOSED", proposed
    assert suite.graphql(DECIDE, said, as_=proposes)["data"]["decideMatch"] is None
    confirmed = suite.graphql(DECIDE, said, as_=confirms)
    assert confirmed["data"]["decideMatch"]["state"] == "SAME", confirmed


def sides(review: dict[str, Any]) -> Pair:
    return frozenset((side["name"], side["birthDate"]) for side in review["sides"])


def expected(one: WalkIn) -> Pair:
    """The pair as the truth has it: what the hospital wrote, and the person it looks like."""
    patient = one.bundle["entry"][0]["resource"]
    written = patient["name"][0]["text"], patient["birthDate"]
    return frozenset({written, (one.like.name.text, one.like.birth.isoformat())})


def test_a_clerk_decides_and_the_register_is_as_the_city_knows_it(
    suite: Suite, taken_in: list[WalkIn]
) -> None:
    truth = {expected(one): one.same for one in taken_in}
    queue = {sides(review): review for review in reviews(suite, "OPEN") if sides(review) in truth}
    wanted = {pair for pair, same in truth.items() if same}
    # The model is sure of none of them by itself, misses none that is somebody known, and troubles the
    # clerk with few that are not.
    assert wanted <= set(queue)
    assert not {pair for pair in map(sides, reviews(suite, "SAME")) if pair in truth}
    assert len(set(queue) - wanted) <= 1
    for pair, review in queue.items():
        assert sum(part["bits"] for part in review["parts"]) + review["prior"] == pytest.approx(
            review["weight"], abs=0.1
        )
        if truth[pair]:
            merged(suite, review["id"], "match-clerk", "match-clerk-2")
        else:
            said = {"id": review["id"], "decision": "DIFFERENT", "reason": REASON}
            answer = suite.graphql(DECIDE, said, as_="match-clerk")
            assert answer["data"]["decideMatch"]["state"] == "DIFFERENT", answer
    decided = {sides(review) for review in reviews(suite, "SAME")} & set(truth)
    assert decided == wanted
    undone = queue[next(iter(wanted))]
    answer = suite.graphql(UNMERGE, {"id": undone["id"], "reason": REASON}, as_="match-clerk")
    assert answer["data"]["unmerge"]["state"] == "DIFFERENT", answer
    assert {sides(review) for review in reviews(suite, "SAME")} & set(truth) == wanted - {sides(undone)}


def test_a_decision_without_grounds_is_refused(suite: Suite, taken_in: list[WalkIn]) -> None:
    review = (reviews(suite, "SAME") + reviews(suite, "DIFFERENT") + reviews(suite, "OPEN"))[0]
    for said in (
        {"id": review["id"], "decision": "SAME", "reason": ""},
        {"id": review["id"], "decision": "SAME", "reason": f"it is {taken_in[0].like.number}"},
        {"id": "none", "decision": "SAME", "reason": REASON},
    ):
        answer = suite.graphql(DECIDE, said, as_="match-clerk")
        assert answer["data"]["decideMatch"] is None
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
        assert taken_in[0].like.number not in str(answer)


def test_neither_another_role_nor_another_area_sees_them(suite: Suite, taken_in: list[WalkIn]) -> None:
    assert taken_in
    for who in ("match-auditor", None):
        answer = suite.graphql(REVIEWS, {"state": "OPEN"}, as_=who)
        assert answer["data"]["matchReviews"] is None
        assert answer["errors"][0]["extensions"]["code"] in {"FORBIDDEN", "UNAUTHENTICATED"}
    assert reviews(suite, "OPEN", "match-clerk-elsewhere") == []
    mine = (reviews(suite, "SAME") + reviews(suite, "DIFFERENT") + reviews(suite, "OPEN"))[0]
    said = {"id": mine["id"], "decision": "SAME", "reason": REASON}
    answer = suite.graphql(DECIDE, said, as_="match-clerk-elsewhere")
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
