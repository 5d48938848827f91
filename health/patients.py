"""Which person a Patient is about: identity knows people, this service knows them by its sector's id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from health.versions import Person
from services.identity.client import IdentityClient
from services.identity.shapes import CITIZEN_NUMBER, Identifier, PersonPush, Resolved


@dataclass(frozen=True, slots=True)
class Facts:
    """What a Patient resource says about a person.

    Attributes:
        pt: the Patient's key here.
        identifiers: system and value, in the resource's order.
        attributes: name, birth_date, sex, death_date, area, phone, as far as it says them.
        own_system, own_value: what names the Patient where it carries no identifier.
    """

    pt: int
    identifiers: Sequence[Mapping[str, str]]
    attributes: Mapping[str, Any] = field(repr=False)
    deceased: bool
    own_system: str
    own_value: str


class InvalidIdentifier(Exception):
    """An identifier that cannot be right, of the n-th Patient.

    Attributes:
        position: of the identifier among the Patient's; None where it cannot be told.
    """

    def __init__(self, patient: int, position: int | None, words: str) -> None:
        super().__init__(words)
        self.patient = patient
        self.position = position


async def linked(identity: IdentityClient, patients: Sequence[Facts], *, organisation: str) -> list[Person]:
    """The person each Patient is about, in the order given; found or made by identity in one call.

    Record and card numbers count as the organisation's own: those of another name nobody here.

    A Patient whose identifiers contradict what is known is kept without a person until somebody has looked.

    Raises:
        InvalidIdentifier: a citizen number fails its check, for example.
        DomainError: identity does not answer.
    """
    if not patients:
        return []
    pushes = [_push(n, facts) for n, facts in enumerate(patients)]
    answers = await identity.resolve(pushes, organisation=organisation)
    found = []
    for n, (facts, answer) in enumerate(zip(patients, answers, strict=True)):
        if answer.outcome == "invalid":
            raise InvalidIdentifier(n, _position_of_number(facts), answer.problem or "an identifier is wrong")
        found.append(_person(facts, answer))
    return found


def _person(facts: Facts, answer: Resolved) -> Person:
    died = facts.attributes.get("death_date")
    return Person(
        pt=facts.pt,
        sector_id=answer.sector_id,
        # One that a clerk looks at is somebody new until then.
        outcome="created" if answer.outcome == "review" else answer.outcome,
        deceased=facts.deceased,
        death_date=date.fromisoformat(died) if died else None,
        numbered=_position_of_number(facts) is not None,
    )


def _push(n: int, facts: Facts) -> PersonPush:
    identifiers = [Identifier(**identifier) for identifier in facts.identifiers]
    if not identifiers:
        identifiers = [Identifier(system=facts.own_system, value=facts.own_value)]
    return PersonPush(ref=str(n), identifiers=identifiers, **facts.attributes)


def _position_of_number(facts: Facts) -> int | None:
    systems = [identifier["system"] for identifier in facts.identifiers]
    return systems.index(CITIZEN_NUMBER) if CITIZEN_NUMBER in systems else None
