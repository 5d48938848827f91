"""Code systems and value sets: what they hold, what is above and below a code."""

from health.reaching import Reach
from health.repository import terminology as kept
from health.terminology.composing import NotKnown, NotLoaded, Terminology, TerminologyError, TooCostly
from services.kit.database import Connection

CODES_MAX = 10_000
"""Codes that one answer holds; a value set that comes to more is asked for by pages, or with a filter."""

__all__ = [
    "CODES_MAX",
    "NotKnown",
    "NotLoaded",
    "Terminology",
    "TerminologyError",
    "TooCostly",
    "above",
    "below",
    "codes_of",
]


async def codes_of(db: Connection, reach: Reach, value_set_url: str) -> list[tuple[str, str]] | None:
    """System and code of everything in a value set; None where there is no such value set.

    Raises:
        NotLoaded: it rests on a code system that is not loaded.
        TooCostly: it comes to more than `CODES_MAX` codes.
    """
    known = Terminology(db, reach)
    try:
        value_set = await known.value_set(value_set_url)
    except NotKnown:
        return None
    rows = await kept.members(db, await known.composed(value_set), limit=CODES_MAX + 1)
    if len(rows) > CODES_MAX:
        raise TooCostly(f"the value set {value_set_url} comes to more than {CODES_MAX:,} codes")
    return [(row["system"], row["code"]) for row in rows]


async def below(db: Connection, reach: Reach, system: str, code: str) -> list[str] | None:
    """A code and all that is below it; None where there is no such code. Raises TooCostly."""
    found = await Terminology(db, reach).system(system)
    if found is None:
        return None
    codes = await kept.below(db, found.pk, code, limit=CODES_MAX + 1)
    if len(codes) > CODES_MAX:
        raise TooCostly(f"below {code} there are more than {CODES_MAX:,} codes")
    return codes or None


async def above(db: Connection, reach: Reach, system: str, code: str) -> list[str] | None:
    """A code and all that is above it; None where there is no such code."""
    found = await Terminology(db, reach).system(system)
    row = await kept.concept(db, found.pk, code) if found is not None else None
    return [code, *row["ancestors"]] if row is not None else None
