"""Who had to do with a person's health records: this service's access leaves as AuditEvents, nothing stored.

A person sees those about themself, the privacy officer of an organisation those made for it. To everybody
else AuditEvent is a resource like any other: what hospitals send of their own logs.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from health.fhir import access, audit_event, extract, references
from health.fhir.bundle import bundle_of
from health.fhir.interactions import Fhir, Reply
from health.fhir.outcome import Issue, Refusal, refused
from health.fhir.paging import Pairs, links
from health.fhir.searching import bounded
from health.repository import accesses
from health.repository.accesses import Accesses
from services.kit.database import Connection, Row
from services.kit.policy import Resource
from services.kit.principals import Principal

KIND = "AuditEvent"
ACTION, RESOURCE = "accesses.read", "Health::Access"
OFFICER = "privacy_officer"
COUNT_DEFAULT, COUNT_MAX = 50, 200
_DATE = re.compile(r"(eq|gt|lt|ge|le|sa|eb)?(\d.*)")


@dataclass(frozen=True, slots=True)
class _Viewer:
    """Whose accesses may be seen: those about these persons, or those made for this organisation."""

    sector_ids: tuple[str, ...] | None
    organisation: str | None


@dataclass(slots=True)
class _Search:
    asked: Accesses
    patients: list[list[str]]
    count: int = COUNT_DEFAULT
    total: bool = False


def serves(principal: Principal, kind: str) -> bool:
    """Whether to this caller the resources of the type are the access leaves."""
    return kind == KIND and (principal.kind == "person" or OFFICER in principal.roles)


async def find(fhir: Fhir, principal: Principal, pairs: Pairs, *, patient: str | None = None) -> Reply:
    """A page of AuditEvents, the latest first.

    Args:
        patient: id of the Patient whose log it is (`$access-log`), else of nobody in particular.

    Raises:
        Refusal: 400 for a parameter that is not taken or malformed; 403 who may not; 404 for a patient that
            is not the caller themself, nor kept by the officer's organisation; 503 for what takes too long.
    """
    viewer = _viewer(fhir, principal, "s")
    place = KIND if patient is None else f"Patient/{patient}/$access-log"
    own = urlencode(pairs)
    pairs, after = fhir.pages.asked(place, pairs)
    before = (datetime.fromisoformat(after[0]), after[1]) if after is not None else None
    search = _parsed(pairs, _PARAMETERS if patient is None else _OF_LOG, fhir.base)
    search.asked = replace(search.asked, subjects=viewer.sector_ids, organisation=viewer.organisation)
    if patient is not None:
        search.patients.append([patient])
    async with bounded(fhir) as db:
        for ids in search.patients:
            persons = await _persons(db, viewer, ids)
            if patient is not None and not persons:
                raise refused(404, "not-found", f"there is no Patient/{patient} here for this caller")
            known = search.asked.subjects
            subjects = persons if known is None else tuple(id for id in known if id in persons)
            search.asked = replace(search.asked, subjects=subjects)
        rows = await accesses.accesses(db, search.asked, before=before, limit=search.count + 1)
        page = rows[: search.count]
        events = await _events(fhir, db, viewer, page)
        total = await accesses.count_accesses(db, search.asked) if search.total else None
    _leave(fhir, principal, len(page))
    following = None
    if len(rows) > len(page) > 0:
        following = fhir.pages.token(place, pairs, [page[-1]["at"].isoformat(), page[-1]["seq"]])
    entries = [
        {"fullUrl": f"{fhir.base}{KIND}/{event['id']}", "resource": event, "search": {"mode": "match"}}
        for event in events
    ]
    around = links(fhir.base, place, own, following=following)
    return Reply(bundle_of("searchset", entries, **({} if total is None else {"total": total}), link=around))


async def read(fhir: Fhir, principal: Principal, id: str) -> Reply:
    """One AuditEvent.

    Raises:
        Refusal: 403 who may not; 404 for one that is not there or not the caller's to see.
    """
    viewer = _viewer(fhir, principal, "r")
    asked = Accesses(subjects=viewer.sector_ids, organisation=viewer.organisation, seqs=_numbers([id]))
    async with fhir.kit.db.read() as db:
        rows = await accesses.accesses(db, asked, limit=1)
        events = await _events(fhir, db, viewer, rows)
    if not events:
        raise refused(404, "not-found", f"there is no {KIND}/{id} here for this caller")
    _leave(fhir, principal, 1)
    return Reply(orjson.dumps(events[0]))


def _viewer(fhir: Fhir, principal: Principal, right: str) -> _Viewer:
    access.check_whole(principal, KIND, right)
    whose = Resource(RESOURCE, owner=principal.sector_id, organisation=principal.organisation)
    fhir.kit.permitted(principal, ACTION, whose)
    if principal.kind == "person":
        return _Viewer(principal.sector_ids, None)
    assert principal.organisation is not None, "the policy permits it for the organisation's own"
    return _Viewer(None, principal.organisation)


async def _persons(db: Connection, viewer: _Viewer, ids: Iterable[str]) -> tuple[str, ...]:
    """The persons of these Patients, as far as the viewer may know them."""
    found = await accesses.persons_of(db, ids, viewer.organisation)
    if viewer.sector_ids is None:
        return tuple(found)
    return viewer.sector_ids if set(found) & set(viewer.sector_ids) else ()


async def _events(fhir: Fhir, db: Connection, viewer: _Viewer, rows: Sequence[Row]) -> list[dict[str, Any]]:
    about = {id for row in rows for id in row["subjects"]}
    known = await accesses.patients_of(db, about & set(viewer.sector_ids or about), viewer.organisation)
    events = []
    for row in rows:
        leaf = orjson.loads(row["body"])
        patients = [patient for id in row["subjects"] for patient in known.get(id, ())[:1]]
        if viewer.organisation is not None and leaf["outcome"] == accesses.REFUSED:
            # Whoever was refused a record is not told by the log whose it is, nor why.
            patients = []
            leaf.pop("reason", None)
        events.append(audit_event.audit_event(row["seq"], row["at"], leaf, patients, base=fhir.base))
    return events


def _leave(fhir: Fhir, principal: Principal, shown: int) -> None:
    assert fhir.kit.leaves is not None
    fhir.kit.leaves.add(principal, action=ACTION, subject=principal.sector_id, resource=KIND, records=shown)


# What can be asked


def _parsed(pairs: Pairs, takes: Mapping[str, "_Take"], base: str) -> _Search:
    search, issues = _Search(Accesses(), []), []
    for name, value in pairs:
        values = [one.removeprefix(base) for one in value.split(",")]
        if name == "_format":
            continue
        if name not in takes:
            words = f"unknown parameter {name!r}; taken are {', '.join(takes)}"
            issues.append(Issue("not-supported", words, name))
            continue
        try:
            if "\0" in value:
                raise ValueError("no value holds a character U+0000")
            takes[name](search, values)
        except ValueError as error:
            issues.append(Issue("value", f"{name}: {error}", name))
    if issues:
        raise Refusal(400, issues)
    return search


def _count(search: _Search, values: list[str]) -> None:
    [value] = values
    if not value.isascii() or not value.isdigit():
        raise ValueError(f"{value[:20]!r} is not a whole number from 0 on")
    search.count = min(int(value[:9]), COUNT_MAX)
    search.total = search.total or search.count == 0


def _total(search: _Search, values: list[str]) -> None:
    if values not in (["none"], ["estimate"], ["accurate"]):
        raise ValueError("none, estimate or accurate")
    search.total = search.total or values != ["none"]


def _sort(_: _Search, values: list[str]) -> None:
    if values not in (["-date"], ["-_lastUpdated"]):
        raise ValueError("the latest come first: -date")


def _id(search: _Search, values: list[str]) -> None:
    search.asked = replace(search.asked, seqs=_numbers(values))


def _numbers(ids: Iterable[str]) -> tuple[int, ...]:
    """The leaves' own numbers; what cannot be an id of one names none."""
    numbers = [id.removeprefix(references.LEAF_ID) for id in ids if id.startswith(references.LEAF_ID)]
    return tuple(int(n) for n in numbers if n.isascii() and n.isdigit() and len(n) < 19)


def _date(search: _Search, values: list[str]) -> None:
    [value] = values
    found = _DATE.fullmatch(value.replace(" ", "+"))
    if found is None:
        raise ValueError(f"{value[:40]!r} is no date: write e.g. 2026-01-14 or ge2026-01-14T10:00Z")
    low, high = map(extract.moment, extract.interval(found[2]))
    since = {"gt": high, "sa": high}.get(found[1], low) if found[1] not in ("lt", "le", "eb") else None
    until = {"lt": low, "eb": low}.get(found[1], high) if found[1] not in ("gt", "ge", "sa") else None
    asked = search.asked
    search.asked = replace(
        asked,
        since=max(filter(None, (asked.since, since)), default=None),
        until=min(filter(None, (asked.until, until)), default=None),
    )


def _start(search: _Search, values: list[str]) -> None:
    _date(search, [f"ge{one}" for one in values])


def _end(search: _Search, values: list[str]) -> None:
    _date(search, [f"le{one}" for one in values])


def _patient(search: _Search, values: list[str]) -> None:
    search.patients.append([one.removeprefix("Patient/") for one in values])


def _entity(search: _Search, values: list[str]) -> None:
    patients = [one for one in values if one.startswith("Patient/")]
    if patients and len(patients) < len(values):
        raise ValueError("Patients, or resources of other types")
    if patients:
        _patient(search, values)
    else:
        search.asked = replace(search.asked, resources=tuple(values))


def _agent(search: _Search, values: list[str]) -> None:
    search.asked = replace(search.asked, agents=tuple(_code(one) for one in values))


def _action(search: _Search, values: list[str]) -> None:
    wanted = audit_event.actions_that(_code(one) for one in values)
    search.asked = replace(search.asked, actions=(*search.asked.actions, wanted))


def _subtype(search: _Search, values: list[str]) -> None:
    codes = {_code(one) for one in values}
    named = {a for a, (_, interaction) in audit_event.REST.items() if interaction in codes}
    search.asked = replace(search.asked, actions=(*search.asked.actions, (tuple(named | codes), True)))


def _outcome(search: _Search, values: list[str]) -> None:
    codes = {_code(one) for one in values}
    said = {audit_event.PERMITTED: "permitted", audit_event.REFUSED: "refused"}
    search.asked = replace(search.asked, outcomes=tuple(said.get(code, code) for code in codes))


def _code(token: str) -> str:
    """Of `system|code` or `code`; no code stands in two of the systems used here."""
    return token.rpartition("|")[2]


_Take = Callable[[_Search, list[str]], None]
_PARAMETERS: Mapping[str, _Take] = {
    "_count": _count,
    "_id": _id,
    "_lastUpdated": _date,
    "_sort": _sort,
    "_total": _total,
    "action": _action,
    "agent": _agent,
    "agent:identifier": _agent,
    "date": _date,
    "entity": _entity,
    "outcome": _outcome,
    "patient": _patient,
    "subtype": _subtype,
}
_OF_LOG: Mapping[str, _Take] = {**_PARAMETERS, "start": _start, "end": _end}
