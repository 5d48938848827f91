"""What has to stand before the city can push, and who can sign in to look at it."""

import pytest

import city
from city.areas import DISTRICTS
from city.numbers import is_citizen_number
from city.sights import SITES
from city.simulation import City
from tests.city.conftest import Told


def test_it_is_the_same_for_the_same_city() -> None:
    assert city.roster(60, 5) == city.roster(60, 5)
    assert city.roster(60, 5) != city.roster(60, 6)


def test_every_sender_has_a_client_of_its_kind() -> None:
    clients = city.roster(60, 5).clients
    assert [(client.name, client.kind) for client in clients] == [
        ("population-register", "registry"),
        ("pension-office", "agency"),
        ("medical-fund", "insurer"),
        ("scenic-area", "site"),
        ("gates", "gate"),
        ("hospital-1", "hospital"),
        ("hospital-2", "hospital"),
        ("school-group-1", "school"),
        ("school-group-2", "school"),
    ]


def test_clients_are_of_organisations_that_are_listed() -> None:
    found = city.roster(60, 5)
    assert {client.organisation for client in found.clients} <= {row["uscc"] for row in found.organisations}
    assert {row["parent"] for row in found.organisations} - {None} <= {
        row["uscc"] for row in found.organisations
    }


def test_gates_and_their_zones_are_one_organisations() -> None:
    by_name = {client.name: client.organisation for client in city.roster(60, 5).clients}
    assert by_name["gates"] == by_name["scenic-area"]


def test_places_are_the_prefectures() -> None:
    codes = [row["code"] for row in city.roster(60, 5).places]
    assert codes == ["330000", "330100", *(area.code for area in DISTRICTS)]


def test_a_larger_city_has_more_of_them() -> None:
    kinds = [client.kind for client in city.roster(20_000, 1).clients]
    assert kinds.count("school") == 4
    assert kinds.count("hospital") == 2


@pytest.mark.parametrize("people", [300, 2_000])
def test_demo_people_are_known_to_all_domains(people: int) -> None:
    whole = City(people=people)
    by_number = {person.number: person for person in whole.people}
    accounts = {account.username: account for account in city.roster(people).accounts}
    staff = {"flow-staff", "auditor", "health-desk", "pension-desk", "operator", "clerk", "doctor"}
    staff |= {"second-clerk", "privacy", "flow-second", "flow-chief", "duty-lead"}
    assert set(accounts) == {"student", "parent", "pensioner", "insured", *staff}
    person_of = {}
    for name in ("student", "parent", "pensioner", "insured"):
        identifier = accounts[name].identifier
        assert identifier is not None
        assert is_citizen_number(identifier["value"])
        person_of[name] = by_number[identifier["value"]]
    student = person_of["student"]
    assert student.seat is not None
    assert whole.history(student).visits
    assert whole.social_records(student).contributions
    assert person_of["parent"].index in student.guardians
    assert student.area in {site.area for site in SITES}
    assert person_of["pensioner"].pension == "employee_pension"
    insured = person_of["insured"]
    assert insured.death is None
    assert whole.history(insured).visits
    planted = [plant for plant in whole.social_records(insured).planted if not plant.near_miss]
    assert planted


def test_who_is_on_duty_has_an_account() -> None:
    found = city.roster(60, 5)
    roles = {account.username: account.roles for account in found.accounts}
    [roster] = found.duty_rosters
    assert roles[roster["lead"]] == ["duty_lead"]
    assert [roles[one["username"]] for one in roster["members"]] == [["flow_staff"]] * 3
    assert [one["tier"] for one in roster["members"]] == [1, 2, 3]


def test_staff_have_roles_and_areas_but_no_identifier() -> None:
    staff = [account for account in city.roster(60, 5).accounts if account.kind == "staff"]
    assert [account.roles for account in staff] == [
        ["flow_staff"],
        ["flow_staff"],
        ["flow_staff"],
        ["duty_lead"],
        ["auditor"],
        ["exchange_staff"],
        ["exchange_staff"],
        ["identity_clerk"],
        ["identity_clerk"],
        ["operator"],
        ["clinician"],
        ["privacy_officer"],
    ]
    assert all(account.areas == ["330100"] and account.identifier is None for account in staff)


def test_the_roster_is_that_of_the_city_that_is_pushed(told: Told) -> None:
    names = {client.name for client in city.roster(told.city.size, told.city.seed).clients}
    here = told.city.institutions
    assert {one.client for one in here.alliances} | {one.client for one in here.school_groups} <= names
