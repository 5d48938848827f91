"""Who the citizen numbers of a push are: asked of identity in large sets, answered as sector ids."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.identity.client import IdentityClient
from services.identity.shapes import CITIZEN_NUMBER, RESOLVE_LIMIT, Identifier, PersonPush, Resolved
from social_security.imports.checks import Refused

AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Person:
    number: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Sector ids by number; and for numbers that name nobody, why."""

    people: Mapping[str, str]
    problems: Mapping[str, Refused]


async def resolve(identity: IdentityClient, organisation: str, people: Sequence[Person]) -> Found:
    """Raises DomainError when identity does not answer: then nothing of the push is applied."""
    some = asyncio.Semaphore(AT_ONCE)

    async def ask(part: Sequence[Person]) -> list[Resolved]:
        async with some:
            pushes = [_push(at, person) for at, person in enumerate(part)]
            return await identity.resolve(pushes, organisation=organisation)

    parts = [people[at : at + RESOLVE_LIMIT] for at in range(0, len(people), RESOLVE_LIMIT)]
    answers = await asyncio.gather(*(ask(part) for part in parts))
    found: dict[str, str] = {}
    problems: dict[str, Refused] = {}
    for part, answer in zip(parts, answers, strict=True):
        for resolved in answer:
            number = part[int(resolved.ref)].number
            if resolved.sector_id is not None:
                found[number] = resolved.sector_id
            else:
                problems[number] = _refused(resolved)
    return Found(found, problems)


def _push(at: int, person: Person) -> PersonPush:
    return PersonPush(
        ref=str(at),
        identifiers=[Identifier(system=CITIZEN_NUMBER, value=person.number)],
        name=person.name,
    )


def _refused(resolved: Resolved) -> Refused:
    reason = resolved.problem or "identity cannot say who this is"
    return Refused(f"person_{resolved.code or resolved.outcome}", reason)
