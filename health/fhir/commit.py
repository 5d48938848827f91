"""Writes what a push comes to, in the caller's transaction: versions, history, index rows, people, one leaf,
one event. What a resource says already is left as it stands.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from health import patients, repository
from health.fhir import deletion, extract, indexing, reindexing, treatment
from health.fhir.entries import Entry, Prepared
from health.fhir.outcome import Issue, Refusal
from health.fhir.resolve import Plan, Sender, resolved
from health.fhir.subscriptions import kept as subscriptions
from health.fhir.text import text_of
from health.reaching import NOBODY
from health.versions import Deletion, Person, Treating, Version
from services.identity.client import IdentityClient
from services.kit.canonical import leaf_hash, tree_root
from services.kit.database import Transaction

Status = Literal["201 Created", "200 OK", "204 No Content"]
EVENT = "health.records.accepted"
_AT_A_STRETCH = 200
"""Versions put together before the event loop gets its turn: 200 take some 5 ms."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one entry; the version is 0 where there was nothing to delete."""

    status: Status
    type: str
    id: str
    version: int
    ts: datetime
    issue: Issue | None = None

    @property
    def location(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"

    @property
    def etag(self) -> str:
        return f'W/"{self.version}"'


@dataclass(frozen=True, slots=True)
class Push:
    """The push as its sender made it, for the leaf and the event."""

    action: str
    digest: bytes
    sender: Sender


async def applied(
    tx: Transaction,
    prepared: Prepared,
    push: Push,
    *,
    identity: IdentityClient,
    base: str,
    coming: Mapping[str, int] | None = None,
    turn: Callable[[], Awaitable[None]] | None = None,
) -> dict[int, Result]:
    """Does everything that a push asks, in R4's order (http.html#trules); the results by entry.

    Args:
        coming: keys chosen for what it brings and for what follows it, by `Type/id`.
        turn: awaited once its resources are written, before what must see the push that goes before it.

    Raises:
        Refusal: nothing of it can be done, and why.
        DomainError: identity does not answer.
    """
    now = _now()
    gone = await deletion.deleted(tx, prepared.deletes, push.sender, base=base, now=now)
    plan = await resolved(tx, prepared, push.sender, base, coming or {})
    results = await committed(tx, plan, push, identity=identity, base=base, gone=gone, now=now, turn=turn)
    await deletion.check_unmentioned(tx, gone, push.sender)
    for entry in prepared.deletes:
        one = gone.get(entry.index)
        found = (one.id, one.version, one.ts) if one is not None else (entry.id, 0, now)
        results[entry.index] = Result("204 No Content", entry.type, *found)
    return results


async def committed(
    tx: Transaction,
    plan: Plan,
    push: Push,
    *,
    identity: IdentityClient,
    base: str,
    gone: Mapping[int, Deletion],
    now: datetime,
    turn: Callable[[], Awaitable[None]] | None = None,
) -> dict[int, Result]:
    """Keeps everything of the plan; the results by entry.

    Args:
        gone: what was deleted before.
        turn: as for `applied`.

    Raises:
        Refusal: a Patient carries an identifier that cannot be right.
        DomainError: identity does not answer.
    """
    versions = await _versions(tx, plan, push.sender, now)
    people = await _people(identity, plan, versions, push.sender, base)
    kept = [versions[index] for index in sorted(versions)]
    deletions = list(gone.values())
    links = await repository.keep(tx, kept) if kept else []
    links += [repository.link_of(one) for one in deletions]
    if turn is not None:
        await turn()
    await reindexing.registered(tx, plan.prepared.parameters, kept)
    await subscriptions.note(tx, kept, deletions, action=push.action, calls=identity.calls, base=base)
    if people:
        await repository.keep_people(tx, list(people.values()), now)
    if treating := list(_treating(plan, versions, push.sender, now)):
        await repository.keep_care(tx, treating)
    await _tell(tx, plan, push, [*kept, *deletions], links, people)
    await treatment.claim(tx, {t.pt for t in treating} | {person.pt for person in people.values()})
    return _results(plan, versions, people)


def _now() -> datetime:
    """To the millisecond, which is what `meta.lastUpdated` says."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def _versions(tx: Transaction, plan: Plan, sender: Sender, now: datetime) -> dict[int, Version]:
    """The versions to be kept, by entry."""
    created = [
        e
        for e in plan.prepared.entries
        if e.index not in plan.stored and e.index not in plan.twins and e.index not in plan.gone
    ]
    new = [entry for entry in created if entry.local not in plan.pks]
    pks = await repository.next_pks(tx, len(new)) if new else []
    plan.pks.update(zip((entry.local for entry in new), pks, strict=True))
    for entry in plan.prepared.entries:
        if (row := plan.gone.get(entry.index)) is not None:
            plan.pks[entry.local] = row["pk"]
    versions: dict[int, Version] = {}
    for n, entry in enumerate(created):
        if n % _AT_A_STRETCH == 0:
            await asyncio.sleep(0)
        versions[entry.index] = _version(
            plan, entry, sender, now, pk=plan.pks[entry.local], number=1, previous=None
        )
    for entry in plan.prepared.entries:
        if (row := plan.gone.get(entry.index)) is not None:
            versions[entry.index] = _version(
                plan, entry, sender, now, pk=row["pk"], number=row["version"] + 1, previous=row["link"]
            )
            versions[entry.index].again = True
    for entry in plan.prepared.entries:
        if entry.index in plan.updated and entry.index not in plan.twins:
            row = plan.locked[plan.stored[entry.index].pk]
            if _said_already(plan, entry, row):
                continue
            versions[entry.index] = _version(
                plan, entry, sender, now, pk=row["pk"], number=row["version"] + 1, previous=row["link"]
            )
    return versions


def _said_already(plan: Plan, entry: Entry, row: Any) -> bool:
    stored = plan.stored[entry.index]
    rest = _rewritten(plan, entry, entry.rest)
    return bool(row["body"] == text_of(entry.type, stored.id, row["version"], row["ts"], entry.meta, rest))


def _version(
    plan: Plan, entry: Entry, sender: Sender, now: datetime, *, pk: int, number: int, previous: bytes | None
) -> Version:
    stored = plan.stored.get(entry.index)
    id = stored.id if stored is not None else entry.id
    return Version(
        pk=pk,
        type=entry.type,
        id=id,
        version=number,
        ts=now,
        pt=_compartment(plan, entry, pk),
        occurred=entry.occurred if entry.occurred is not None else extract.microseconds(now),
        organisation=sender.organisation,
        client=sender.client,
        body=text_of(entry.type, id, number, now, entry.meta, _rewritten(plan, entry, entry.rest)),
        method="PUT" if entry.method == "POST" and number > 1 else entry.method,
        index=indexing.index_of(entry, plan.final, plan.pks),
        special=entry.special,
        redacted=_redacted(plan, entry, id, number, now),
        previous=previous,
    )


def _treating(plan: Plan, versions: dict[int, Version], sender: Sender, now: datetime) -> Iterator[Treating]:
    """Who treats whom, as the kept visits, episodes, requests and appointments say."""
    for entry in plan.prepared.entries:
        version = versions.get(entry.index)
        if version is None or entry.treats is None or version.pt == NOBODY:
            continue
        for named in entry.treats or [""]:
            organisation = plan.final.get(named, named).partition("/")[2] or None
            until = treatment.ends(entry.treated, now)
            yield Treating(version.pk, version.pt, organisation, sender.organisation, until)


def _redacted(plan: Plan, entry: Entry, id: str, number: int, now: datetime) -> str | None:
    if entry.redacted is None:
        return None
    meta, rest = entry.redacted
    return text_of(entry.type, id, number, now, meta, _rewritten(plan, entry, rest))


def _rewritten(plan: Plan, entry: Entry, rest: str) -> str:
    """The text with stored ids where chosen ones stood in; a chosen id stands nowhere else in a text."""
    for chosen in entry.uses:
        if chosen in plan.final:
            rest = rest.replace(chosen, plan.final[chosen])
    return rest


def _compartment(plan: Plan, entry: Entry, pk: int) -> int:
    if entry.type == "Patient":
        return pk
    if entry.patient is None:
        return NOBODY
    return plan.pks.get(plan.final.get(entry.patient, entry.patient), NOBODY)


async def _people(
    identity: IdentityClient, plan: Plan, versions: dict[int, Version], sender: Sender, base: str
) -> dict[int, Person]:
    """The persons of the Patients that are kept, by entry."""
    entries = [e for e in plan.prepared.entries if e.index in versions and e.person is not None]
    try:
        people = await patients.linked(
            identity,
            [_facts(e, versions[e.index], base) for e in entries],
            organisation=sender.organisation or sender.client,
        )
    except patients.InvalidIdentifier as error:
        entry = entries[error.patient]
        assert entry.person is not None
        where = "identifier" if error.position is None else entry.person["paths"][error.position]
        raise Refusal(422, [Issue("value", str(error), f"{entry.resource_path}.{where}")]) from error
    return {entry.index: person for entry, person in zip(entries, people, strict=True)}


def _facts(entry: Entry, version: Version, base: str) -> patients.Facts:
    said = dict(entry.person or {})
    identifiers, deceased = said.pop("identifiers"), said.pop("deceased")
    del said["paths"]
    return patients.Facts(
        pt=version.pk,
        identifiers=identifiers,
        attributes=said,
        deceased=deceased,
        own_system=f"{base}Patient",
        own_value=version.id,
    )


async def _tell(
    tx: Transaction,
    plan: Plan,
    push: Push,
    kept: Sequence[Version | Deletion],
    links: Sequence[bytes],
    people: dict[int, Person],
) -> None:
    subjects = {person.sector_id for person in people.values() if person.sector_id is not None}
    others = {version.pt for version in kept} - {person.pt for person in people.values()} - {NOBODY}
    if others:
        subjects.update(await repository.sector_ids(tx, others))
    root = tree_root([leaf_hash(link) for link in links]).hex()
    about: dict[str, Any] = {"subjects": sorted(subjects)} if len(subjects) > 1 else {}
    await tx.leaf(
        action=push.action,
        records=len(kept),
        subject=next(iter(subjects)) if len(subjects) == 1 else None,
        # The leaf anchors the histories' chains: this is the tree over the links made by this push.
        resource=f"history:{root}",
        batch_hash=push.digest.hex(),
        **about,
    )
    types = Counter(version.type for version in kept)
    await tx.publish(
        EVENT,
        aggregate=f"batch/{push.digest.hex()}",
        data={"batch": push.digest.hex(), "count": len(kept), "types": dict(types), "history": root},
    )


def _results(plan: Plan, versions: dict[int, Version], people: dict[int, Person]) -> dict[int, Result]:
    found: dict[int, Result] = {}
    for entry in plan.prepared.entries:
        version = versions.get(entry.index)
        stored = plan.stored.get(entry.index)
        if version is not None:
            status: Status = "201 Created" if version.version == 1 or version.again else "200 OK"
            issue = _conflict(entry, people.get(entry.index))
            found[entry.index] = Result(status, version.type, version.id, version.version, version.ts, issue)
        elif stored is not None:
            row = plan.locked.get(stored.pk)
            number, ts = (row["version"], row["ts"]) if row is not None else (stored.version, stored.ts)
            found[entry.index] = Result("200 OK", stored.type, stored.id, number, ts)
        else:
            first = found[plan.twins[entry.index]]
            found[entry.index] = Result("200 OK", first.type, first.id, first.version, first.ts)
    return found


def _conflict(entry: Entry, person: Person | None) -> Issue | None:
    if person is None or person.sector_id is not None:
        return None
    words = "kept, but linked to no person: its identifiers contradict what is known"
    return Issue("processing", words, f"{entry.resource_path}.identifier", "warning")
