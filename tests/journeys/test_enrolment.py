"""Enrolment: a school authority's roster, to the learner's own lifelong record, and on to the next school.

Everything goes through the public doors of the real suite, with the city's pupils and the city's own account
of where they are.
"""

from datetime import date
from typing import Any

import pytest

from city.numbers import CITIZEN_NUMBER
from city.people import Person
from city.school import Roster, grade_code
from city.simulation import City
from city.truth import rosters
from tests.support.suite import Suite

LEARNING = """
{ me { learning {
    stage grade school { name identifier }
    episodes { school { identifier } stage grade grades { grade } since until primary }
    classes(first: 50) { nodes { title course terms role open } pageInfo { hasNextPage } }
} } }
"""
Push = tuple[Roster, dict[str, Any]]
STAGES = {"kindergarten": "0", "primary": "1", "junior": "2", "senior": "3"}


@pytest.fixture(scope="module")
def city() -> City:
    return City(people=400, seed=7)


@pytest.fixture(scope="module")
def pushed(suite: Suite, city: City) -> list[Push]:
    """Each school group's roster, and the receipt it was answered with."""
    found = []
    for roster in rosters(city):
        answer = push(suite, roster.group.organisation.code, roster.zip())
        assert answer.status_code == 201, answer.text
        found.append((roster, answer.json()))
    return found


def push(suite: Suite, organisation: str, body: bytes, *, kind: str = "school", **params: str) -> Any:
    with suite.client(kind, organisation) as http:
        return http.post(
            "/education/imports", params=params, content=body, headers={"content-type": "application/zip"}
        )


def learning(suite: Suite, person: Person) -> dict[str, Any] | None:
    """What the person reads of themselves at the gateway."""
    username = f"learner-{person.index}"
    if username not in suite._sessions:
        identifier = {"system": CITIZEN_NUMBER, "value": person.number}
        suite.account(username, kind="person", identifier=identifier)
    answer = suite.graphql(LEARNING, as_=username)
    assert "errors" not in answer, answer
    found: dict[str, Any] | None = answer["data"]["me"]["learning"]
    return found


def test_every_row_of_every_group_is_taken_and_accounted_for(
    pushed: list[Push],
) -> None:
    for roster, receipt in pushed:
        assert {
            file["file"].removesuffix(".csv"): file["inserted"] for file in receipt["files"]
        } == roster.counts()
        assert (receipt["status"], receipt["errors"]) == ("accepted", 0)
        assert receipt["episodes"]["opened"] == len(roster.pupils)


def test_pupils_find_themselves_where_the_city_knows_them(
    suite: Suite, city: City, pushed: list[Push]
) -> None:
    one_of_each = {pupil.seat.stage: pupil for roster, _ in pushed for pupil in roster.pupils if pupil.seat}
    assert set(one_of_each) >= {"primary", "junior"}
    for pupil in one_of_each.values():
        assert pupil.seat is not None
        school = city.institutions.school_groups[pupil.seat.group].schools[pupil.seat.school].organisation
        found = learning(suite, pupil)
        assert found is not None
        assert found["school"] == {"name": school.name, "identifier": school.code}
        assert (found["stage"], found["grade"]) == (STAGES[pupil.seat.stage], grade_code(pupil.seat.grade))
        assert [(e["primary"], e["until"]) for e in found["episodes"]] == [(True, None)]
        places = found["classes"]["nodes"]
        assert {place["role"] for place in places} == {"student"}
        assert all(place["terms"] == ["第一学期", "第二学期"] for place in places)


def test_who_no_school_has_sent_has_no_record(suite: Suite, city: City, pushed: list[Push]) -> None:
    parent = next(
        city.people[at] for roster, _ in pushed for pupil in roster.pupils for at in pupil.guardians
    )
    assert learning(suite, parent) is None


def test_a_pupil_who_moves_is_taken_in_at_once_and_counted_once(
    suite: Suite, city: City, pushed: list[Push]
) -> None:
    """The new group sends the pupil before the old one has let go: attendance first, papers after."""
    (old, _), (new, _) = pushed[0], pushed[-1]
    if old is new:
        pytest.skip("this city has one school group")
    pupil = next(one for one in old.pupils if one.seat and one.seat.stage == "primary")
    arrival = _as_sent_by(new, old, pupil)
    receipt = push(suite, new.group.organisation.code, new.zip()).json()
    assert receipt["episodes"]["provisional"] == 1
    assert [fault["code"] for fault in receipt["faults"]] == ["enrolled_elsewhere"]
    waiting = learning(suite, pupil)
    assert waiting is not None
    assert sorted((e["primary"], e["until"]) for e in waiting["episodes"]) == [(False, None), (True, None)]

    _leaves(old, pupil)
    assert push(suite, old.group.organisation.code, old.zip()).status_code == 201
    settled = learning(suite, pupil)
    assert settled is not None
    assert settled["school"]["identifier"] == arrival
    assert [e["until"] for e in settled["episodes"] if e["primary"] and e["until"] is None] == [None]


def test_one_bad_row_refuses_the_push_and_leaves_the_record_alone(
    suite: Suite, city: City, pushed: list[Push]
) -> None:
    roster = pushed[0][0]
    pupil = next(one for one in roster.pupils if one.seat and one.seat.stage == "junior")
    before = learning(suite, pupil)
    user = next(row for row in roster.rows["users"] if pupil.number in row["userIds"])
    line = roster.rows["users"].index(user) + 2
    kept = dict(user)
    user |= {"grades": "12", "userIds": "{citizen-number:" + pupil.number[:17] + "?}"}
    try:
        answer = push(suite, roster.group.organisation.code, roster.zip())
    finally:
        user |= kept
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert (fault["file"], fault["line"], fault["field"]) == ("users.csv", line, "userIds")
    assert pupil.number[:17] not in answer.text
    assert learning(suite, pupil) == before


def test_only_schools_push_rosters(suite: Suite, pushed: list[Push]) -> None:
    body = pushed[0][0].zip()
    refused = push(suite, "some-hospital", body, kind="hospital")
    assert refused.status_code in (401, 403), refused.text
    with suite.client(None) as nobody:
        assert nobody.post("/education/imports", content=body).status_code == 401
        assert nobody.get("/education/records/me").status_code == 401


def _as_sent_by(new: Roster, old: Roster, pupil: Person) -> str:
    """Adds the pupil to the new group's roster; the code of the school they come to."""
    user = next(row for row in old.rows["users"] if pupil.number in row["userIds"])
    school = next(row for row in new.rows["orgs"] if row["type"] == "school")
    new.rows["users"].append(
        {**user, "sourcedId": "arrival-1", "primaryOrgSourcedId": school["sourcedId"], "agentSourcedIds": ""}
    )
    new.rows["demographics"].append(
        {"sourcedId": "arrival-1", "birthDate": pupil.birth.isoformat(), "sex": pupil.sex}
    )
    new.rows["roles"].append(
        {
            "sourcedId": "arrival-role-1",
            "userSourcedId": "arrival-1",
            "roleType": "primary",
            "role": "student",
            "orgSourcedId": school["sourcedId"],
            "beginDate": date(2026, 10, 8).isoformat(),
        }
    )
    return school["identifier"]


def _leaves(roster: Roster, pupil: Person) -> None:
    user = next(row for row in roster.rows["users"] if pupil.number in row["userIds"])
    role = next(
        row
        for row in roster.rows["roles"]
        if row["userSourcedId"] == user["sourcedId"] and row["role"] == "student"
    )
    role["endDate"] = date(2026, 10, 15).isoformat()
