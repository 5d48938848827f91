"""Whose records a caller may see; `repository.reach` says it in SQL."""

from collections.abc import Iterable
from dataclasses import dataclass

NOBODY = 0
"""The patient compartment of what belongs to no patient."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Which resources a token's scopes are for, whoever they are about.

    Attributes:
        everything: no scope limits it.
        types: all resources of these types.
        narrowed: of a type those that have, of each group of keys of the token index, one.
    """

    everything: bool = False
    types: frozenset[str] = frozenset()
    narrowed: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...] = ()

    def names(self, type: str) -> bool:
        """Whether any resource of the type can be among them."""
        return self.everything or type in self.types or any(type == kind for kind, _ in self.narrowed)

    def includes(self, type: str, tokens: Iterable[int]) -> bool:
        """Whether a resource with these keys of the token index is among them."""
        if self.everything or type in self.types:
            return True
        has = set(tokens)
        return any(
            type == kind and all(not has.isdisjoint(hashes) for hashes in clauses)
            for kind, clauses in self.narrowed
        )

    def covers(self, other: "Granted", type: str) -> bool:
        """Whether all resources of the type that the other is for are surely among them."""
        if self.everything or type in self.types:
            return True
        narrowed = {one for one in other.narrowed if one[0] == type}
        return not other.everything and type not in other.types and narrowed <= set(self.narrowed)


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose records a caller may see; nobody's, unless one of these says otherwise.

    Attributes:
        everybody: every record there is.
        sector_ids: one person's alone, by all ids the sector has given out for that person.
        client, organisation: who asks, where records are reached through what ties them to the patient.
        actor: the person at the keyboard, for emergency accesses.
        relations: the ties that permit it: custodian, treatment, consent, break_glass.
        special: those of them that permit what is specially protected too.
        consented: sector ids of those whose consent covers it.
        granted: which of all that the token's scopes are for.
    """

    everybody: bool = False
    sector_ids: tuple[str, ...] = ()
    client: str = ""
    organisation: str | None = None
    actor: str = ""
    relations: frozenset[str] = frozenset()
    special: frozenset[str] = frozenset()
    consented: tuple[str, ...] = ()
    granted: Granted = Granted(everything=True)


EVERYBODY = Reach(everybody=True)
