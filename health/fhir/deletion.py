"""What the DELETE entries of a push mean, and that nothing is left that refers to what went
(FHIR R4 http.html#delete).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache

from health import keys, repository
from health.fhir.access import NARROWER
from health.fhir.definitions import definitions
from health.fhir.entries import Entry
from health.fhir.outcome import Issue, Refusal
from health.fhir.resolve import Sender, check_version, condition_path, meant
from health.fhir.text import text_of
from health.versions import Deletion, Found
from services.kit.database import Connection


async def deleted(
    db: Connection, entries: Sequence[Entry], sender: Sender, *, base: str, now: datetime
) -> dict[int, Deletion]:
    """Takes away what the entries mean; by entry what went. Of what is not there, or not there for the
    sender, nothing is told.

    Raises:
        Refusal: a search means several, a version is another, two entries mean the same.
        NotYoursError: another organisation keeps it.
    """
    if not entries:
        return {}
    found = await _meant(db, entries, sender, base)
    rows = await repository.hold_to_delete(db, {one.pk for one in found.values()})
    first: dict[int, Entry] = {}
    deletions: dict[int, Deletion] = {}
    for entry in entries:
        one = found.get(entry.index)
        row = rows.get(one.pk) if one is not None else None
        if entry.if_match is not None:
            check_version(entry, row["version"] if row is not None else None)
        if one is None or row is None:
            continue
        sender.check_owns(one, entry.path)
        if first.setdefault(one.pk, entry) is not entry:
            words = f"{first[one.pk].path} deletes {one.local} already"
            raise Refusal(409, [Issue("conflict", words, entry.path)])
        number = row["version"] + 1
        deletions[entry.index] = Deletion(
            pk=one.pk,
            type=one.type,
            id=one.id,
            version=number,
            ts=now,
            pt=row["pt"],
            organisation=sender.organisation,
            client=sender.client,
            body=text_of(one.type, one.id, number, now, "", ""),
            previous=row["link"],
        )
    if await repository.beyond(db, sender.granted("d"), [one.pk for one in deletions.values()]):
        raise Refusal(403, [Issue("forbidden", NARROWER)])
    if deletions:
        await repository.delete(db, list(deletions.values()))
    return deletions


async def _meant(db: Connection, entries: Sequence[Entry], sender: Sender, base: str) -> dict[int, Found]:
    named = {entry.index: entry.local for entry in entries if entry.condition is None}
    located = await repository.located(db, sender.seen, named.values())
    found = {index: located[local] for index, local in named.items() if local in located}
    by_search = {entry.index: entry for entry in entries if entry.condition is not None}
    asked = [(entry.type, entry.condition or "", condition_path(entry)) for entry in by_search.values()]
    answers = zip(by_search, await meant(db, asked, sender, base), strict=True)
    return {index: one for index, (one, seen) in found.items() if seen} | {
        index: one for index, one in answers if one is not None
    }


async def check_unmentioned(db: Connection, gone: Mapping[int, Deletion], sender: Sender) -> None:
    """Raises Refusal 409 when anything refers to what was deleted; those the sender may see are named."""
    if not gone:
        return
    mentioning = await repository.mentioning(
        db, sender.seen, {one.pk for one in gone.values()}, _reference_keys()
    )
    issues = [
        Issue("conflict", f"{one.local} stays: {_told(*mentioning[one.pk])} refer to it")
        for one in gone.values()
        if one.pk in mentioning
    ]
    if issues:
        raise Refusal(409, issues)


def _told(named: Sequence[str], others: bool) -> str:
    return ", ".join([*named, *(["records that are not this caller's to see"] if others else [])])


@cache
def _reference_keys() -> tuple[int, ...]:
    """Of every kind of row in the index of references."""
    return tuple(_every_key())


def _every_key() -> Iterable[int]:
    yield keys.MENTION
    for kind, parameters in definitions().parameters.items():
        for name, parameter in parameters.items():
            if parameter.kind == "reference":
                yield keys.param_key(kind, name)
