"""The one table of scopes, and SMART's narrowing."""

import pytest

from services.identity import scopes
from services.kit.purposes import PURPOSES
from services.stack.house import NAMES


@pytest.mark.parametrize(
    ("granted", "asked", "covered"),
    [
        ("system/*.cruds", "system/*.cruds", True),
        ("system/*.cruds", "system/Observation.c", True),
        ("system/*.cruds", "system/Observation.cs", True),
        ("system/*.cruds", "system/Observation.rs?category=laboratory", True),
        ("system/*.rs", "system/Observation.c", False),
        ("system/Observation.rs", "system/*.rs", False),
        ("system/Observation.rs?category=laboratory", "system/Observation.rs", False),
        ("system/Observation.rs?category=laboratory", "system/Observation.rs?category=laboratory", True),
        ("patient/*.rs", "user/*.rs", False),
        ("patient/*.rs", "patient/Observation.sr", False),
        ("patient/*.rs", "patient/Observation.", False),
        ("identity:translate", "identity:translate", True),
        ("identity:translate", "identity", False),
    ],
)
def test_a_grant_covers_itself_and_what_is_narrower(granted: str, asked: str, covered: bool) -> None:
    assert scopes.covers(granted, asked) is covered


def test_every_role_and_every_kind_of_client_says_what_it_is_for() -> None:
    assert set(scopes.ROLE_PURPOSES) >= set(scopes.ROLES)
    assert set(scopes.CLIENT_PURPOSES) == set(scopes.CLIENTS)
    said = {
        *scopes.ROLE_PURPOSES.values(),
        *(code for row in scopes.CLIENT_PURPOSES.values() for code in row),
    }
    assert said <= set(PURPOSES)


def test_a_session_is_for_what_its_role_at_that_service_is_for() -> None:
    roles = ["auditor", "exchange_staff", "clinician"]
    assert scopes.purpose_at("social_security", "staff", roles) == "benefit_audit"
    assert scopes.purpose_at("education", "staff", roles) is None
    assert scopes.purpose_at("health", "person", []) == "own_records"


def test_every_scope_belongs_to_a_service_of_the_house() -> None:
    rows = [
        *scopes.CLIENTS.values(),
        *scopes.SERVICES.values(),
        *scopes.CITIZEN.values(),
        *scopes.ROLES.values(),
    ]
    for scope in frozenset[str]().union(*rows):
        assert set(scopes.audiences_of(scope)) <= set(NAMES), scope


def test_every_service_of_the_house_has_a_row() -> None:
    assert set(scopes.SERVICES) == {*NAMES, "stack"}


def test_no_outside_client_gets_what_is_between_the_services() -> None:
    inner = {
        "identity:persons:resolve",
        "identity:translate",
        "exchange:offers:read",
        "exchange:read",
        "events:read",
    }
    outside = [*scopes.CLIENTS.values(), *scopes.CITIZEN.values(), *scopes.ROLES.values()]
    assert frozenset[str]().union(*outside).isdisjoint(inner)


def test_a_citizens_scopes_are_for_the_service_they_stand_under() -> None:
    for service, row in scopes.CITIZEN.items():
        assert {scopes.audiences_of(scope) for scope in row} == {(service,)}
