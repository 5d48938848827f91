"""The decision whom a push means, without a database."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from services.identity.matching import Facts, Refusal, checked, match
from services.identity.shapes import PersonPush
from services.identity.vault import Box, Vault
from tests.identity.parties import CITIZEN_NUMBER, citizen_number, person

TODAY = date(2026, 11, 23)
VAULT = Vault(Box(bytes(32)), bytes(32))
BORN = date(1985, 3, 14)
NUMBER = citizen_number(BORN, 1)
OTHER = citizen_number(BORN, 3)
MRN = "urn:hospital:a:mrn"
ONE, TWO = UUID(int=1), UUID(int=2)


def said(*identifiers: tuple[str, str], **attributes: Any) -> PersonPush:
    return PersonPush.model_validate(person("r", *identifiers, **attributes))


def blind(system: str, value: str) -> tuple[str, bytes]:
    return system, VAULT.blind(system, value)


KNOWN = Facts(ONE, "张伟", BORN, "male", None, None, VAULT.blind(CITIZEN_NUMBER, NUMBER))
OWNERS = {blind(CITIZEN_NUMBER, NUMBER): ONE, blind(MRN, "1"): ONE, blind(MRN, "2"): TWO}
FACTS = {ONE: KNOWN, TWO: Facts(TWO)}


def decide(push: PersonPush) -> tuple[UUID | None, tuple[str, ...]]:
    return match(checked(push, VAULT, TODAY), OWNERS, FACTS)


@pytest.mark.parametrize(
    ("push", "outcome", "code"),
    [
        (said((CITIZEN_NUMBER, NUMBER[:-1] + "?")), "invalid", "citizen_number_form"),
        (said((CITIZEN_NUMBER, "330106198503140018")), "invalid", "citizen_number_checksum"),
        (said((CITIZEN_NUMBER, NUMBER), birth_date="1985-03-15"), "conflict", "birth_date_differs"),
        (said((CITIZEN_NUMBER, NUMBER), (CITIZEN_NUMBER, OTHER)), "conflict", "several_citizen_numbers"),
        (said((MRN, "1"), birth_date="2027-01-01"), "invalid", "birth_date_in_future"),
        (said((MRN, "1"), birth_date="2001-01-01", death_date="2000-01-01"), "invalid", "death_before_birth"),
        (said((MRN, "1"), (MRN, "2")), "conflict", "several_people"),
        (said((CITIZEN_NUMBER, NUMBER), (MRN, "2")), "conflict", "several_people"),
        (said((MRN, "1"), (CITIZEN_NUMBER, OTHER)), "conflict", "citizen_number_differs"),
        (said((MRN, "1"), birth_date="1985-03-15"), "conflict", "birth_date_differs"),
    ],
)
def test_doubt_is_refused(push: PersonPush, outcome: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        decide(push)
    assert (refused.value.outcome, refused.value.code) == (outcome, code)
    assert NUMBER not in refused.value.problem


@pytest.mark.parametrize(
    ("push", "pid", "warnings"),
    [
        (said((CITIZEN_NUMBER, NUMBER)), ONE, ()),
        (said((CITIZEN_NUMBER, NUMBER.lower()), birth_date="1985-03-14", sex="male"), ONE, ()),
        (said((MRN, "1"), name="张 伟"), ONE, ()),
        (said((MRN, "1"), name="张玮"), ONE, ("name_differs",)),
        (said((CITIZEN_NUMBER, NUMBER), sex="female"), ONE, ("sex_differs",)),
        (said((CITIZEN_NUMBER, OTHER)), None, ()),
        (said((MRN, "3"), name="张伟", birth_date="1985-03-14"), None, ()),
        (said(), None, ()),
    ],
)
def test_exact_identifiers_alone_decide(
    push: PersonPush, pid: UUID | None, warnings: tuple[str, ...]
) -> None:
    """The same name and birth date is nobody in particular."""
    assert decide(push) == (pid, warnings)


def test_a_citizen_number_says_birth_date_and_sex() -> None:
    found = checked(said((CITIZEN_NUMBER, NUMBER)), VAULT, TODAY)
    assert (found.birth_date, found.sex) == (BORN, "male")


def test_the_15_digit_form_is_the_same_number() -> None:
    found = checked(said((CITIZEN_NUMBER, "110105491231002")), VAULT, TODAY)
    assert found.keys[0].value == "11010519491231002X"


def test_what_was_known_stays_and_the_registry_replaces() -> None:
    candidate = checked(said((MRN, "1"), name="张玮", area="330106"), VAULT, TODAY)
    assert KNOWN.with_added(candidate) == Facts(ONE, "张伟", BORN, "male", None, "330106", KNOWN.citizen_hmac)
    assert KNOWN.with_added(candidate, replacing=True).name == "张玮"
