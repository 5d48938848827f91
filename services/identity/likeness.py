"""How alike two sources are, and what follows: one person, a clerk's decision, or nothing.

The engine and the model are `linkage`'s; here is what the register compares, and how a choice falls among
several. Pure, and slow enough for a batch of it to belong in a thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from uuid import UUID

from services.identity import linkage
from services.identity.linkage import Features, Verdict, Weight
from services.identity.linkage.scoring import weigh
from services.identity.matching import Facts
from services.identity.vault import Vault

KEYS_VERSION = 1
"""Of what `keys_of` makes; a person's `keyed` says which version stands in the table."""
KEY_BYTES = 16
REVIEWS_PER_PUSH = 3
"""So many candidates at most go to a clerk: the heaviest."""


@dataclass(frozen=True)
class Likeness:
    """What a pair weighs by the model."""

    weight: Weight
    model: str
    verdict: Verdict

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """As it is kept with the pair: levels and weights in words, nothing personal."""
        return {
            "prior": round(self.weight.prior, 2),
            "probability": round(self.weight.probability, 6),
            "parts": [
                {
                    "comparison": part.comparison,
                    "level": part.level,
                    "bits": round(part.bits, 2),
                    "agrees": part.agrees,
                    "comparison_zh": part.comparison_zh,
                    "comparison_en": part.comparison_en,
                    "zh": part.zh,
                    "en": part.en,
                }
                for part in self.weight.parts
            ],
        }


@dataclass(frozen=True, slots=True)
class Lookalike:
    """A source that a push may be of the same person with."""

    pid: UUID
    likeness: Likeness


def features_of(facts: Facts) -> Features:
    """Without the citizen number: who has the same is known by it, and two that differ never meet here."""
    return Features(
        name=facts.name,
        birth_date=facts.birth_date.isoformat() if facts.birth_date else None,
        sex=facts.sex,
        area=facts.area,
        phone_hmac=facts.phone_hmac.hex() if facts.phone_hmac else None,
    )


def keys_of(facts: Facts, vault: Vault) -> tuple[bytes, ...]:
    """Where others like this one are found. Blind, as a key holds a name and a birth date."""
    said = features_of(facts)
    keys = linkage.blocking_keys(replace(said, area=said.area or facts.near))
    return tuple(vault.blind("blocking", key)[:KEY_BYTES] for key in keys)


def all_keys(people: Iterable[Facts], vault: Vault) -> dict[UUID, tuple[bytes, ...]]:
    return {facts.pid: keys_of(facts, vault) for facts in people}


def judged(pairs: Sequence[tuple[Facts, Facts]], population: int) -> list[Likeness]:
    """What each pair weighs, among so many people.

    A register that has hardly begun does not make it likelier that two records are of one person: never among
    fewer than the model was made for.
    """
    model = linkage.load()
    model = model.for_population(max(population, model.population))
    columns = {}
    for facts in {facts.pid: facts for pair in pairs for facts in pair}.values():
        columns[facts.pid] = model.columns_of(features_of(facts).record)
    found = []
    for left, right in pairs:
        weight = weigh(model, columns[left.pid], columns[right.pid])
        found.append(Likeness(weight, model.name, model.verdict(weight)))
    return found


def chosen(
    found: Sequence[Lookalike], roots: Mapping[UUID, UUID]
) -> tuple[Lookalike | None, list[Lookalike]]:
    """Who it is by the model alone, and otherwise whom a clerk should look at, heaviest first.

    Of several sources of one person the most alike counts. Several people that each would do by themselves
    are a clerk's matter, all of them.
    """
    best: dict[UUID, Lookalike] = {}
    for one in sorted(found, key=lambda one: (-one.likeness.weight.total, one.pid)):
        if one.likeness.verdict != "none":
            best.setdefault(roots.get(one.pid, one.pid), one)
    people = list(best.values())
    sure = [one for one in people if one.likeness.verdict == "auto"]
    if len(sure) == 1:
        return sure[0], []
    return None, people[:REVIEWS_PER_PUSH]
