"""From what a resource is found by to rows of the index tables: references get the store's ids and keys."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from health import keys
from health.fhir.definitions import definitions
from health.fhir.entries import Entry
from health.fhir.extract import Rows
from health.versions import Index


def note(entry: Entry, rows: Rows) -> None:
    """Writes rows down in the entry, as they travel from the worker processes."""
    entry.tokens = list(rows.tokens)
    entry.references = [list(row) for row in rows.references]
    entry.dates = [list(row) for row in rows.dates]
    entry.strings = [list(row) for row in rows.strings]
    entry.numbers = _once(rows.numbers)
    entry.quantities = _once(rows.quantities)
    entry.uris = [list(row) for row in rows.uris]
    entry.position = list(rows.position) if rows.position is not None else None


def index_of(entry: Entry, final: Mapping[str, str], pks: Mapping[str, int]) -> Index:
    """
    Args:
        final: the reference to write instead of one chosen before the store was asked.
        pks: keys of stored resources, by reference.
    """
    references = {
        (keys.reference_key(entry.type, name, target), keys.param_key(entry.type, name), pks.get(target))
        for name, target in ((name, final.get(target, target)) for name, target in entry.references)
    }
    known = definitions().parameters.get(entry.type, {})
    found = {final.get(target, target) for name, target in entry.references if name in known}
    references |= {
        (keys.key("mention", target), keys.MENTION, pks[target])
        for target in {final.get(used, used) for used in entry.uses} - found
        if target in pks
    }
    return Index(
        tokens=entry.tokens,
        references=list(references),
        dates=entry.dates,
        strings=entry.strings,
        numbers=entry.numbers,
        quantities=entry.quantities,
        uris=entry.uris,
        position=entry.position,
    )


def _once(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows of numbers, each once however it is written: 1.0 and 1.00 are one."""
    found = {(key, Decimal(low), Decimal(high)): [key, low, high] for key, low, high in rows}
    return list(found.values())
