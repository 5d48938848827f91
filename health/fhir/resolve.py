"""What the entries of a push mean in the store: which are there already, and whom references name.

FHIR R4 http.html#trules. The store is asked once for each kind of question, however many entries ask it.
What is not found is asked again under a lock on its name, so that of two pushes at the same moment one makes
the resource and the other finds it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from health import keys, repository
from health.criteria import Criteria, Tokens
from health.fhir import search
from health.fhir.access import NARROWER, NotYoursError
from health.fhir.entries import Conditional, Entry, Prepared
from health.fhir.outcome import Issue, Refusal
from health.fhir.search.coded import settled
from health.fhir.search.here import Here
from health.reaching import NOBODY, Granted, Reach
from health.versions import Found
from services.kit.database import Connection, Row

SHOWN = 5
ATTEMPTS = 3
"""How often what stands on a version is done anew when that was changed meanwhile."""
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"|\*')


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pushes.

    Attributes:
        seen: what it may read: nothing else is found by its searches and references.
        granted: which resources its scopes are for by a right (one of c, r, u, d, s).
        unlimited: may change other organisations' resources too (conformance tools, --no-auth).
        unchecked: may refer to what is not here.
    """

    client: str
    organisation: str | None
    seen: Reach
    granted: Callable[[str], Granted]
    unlimited: bool = False
    unchecked: bool = False

    def owns(self, found: Found) -> bool:
        return (
            self.unlimited
            or found.client == self.client
            or (found.organisation is not None and found.organisation == self.organisation)
        )

    def check_owns(self, found: Found, path: str) -> None:
        """Raises NotYoursError."""
        if not self.owns(found):
            raise NotYoursError(found, path)


def found_in(row: Row) -> Found:
    """What was deleted, as what is there."""
    return Found(*(row[name] for name in Found.__slots__))


@dataclass(slots=True)
class Plan:
    """What a push comes to.

    Attributes:
        stored: what an entry is in the store already, by the entry's index.
        final: the reference to write instead of a chosen one.
        pks: keys of stored resources, by reference.
        updated: entries that may change what is stored; the others of `stored` are left as they are.
        locked: rows of what may change, by key.
        gone: deletions that entries come after, by the entry's index.
        twins: entries that say the same as an earlier one of their bundle, and which.
    """

    prepared: Prepared
    stored: dict[int, Found] = field(default_factory=dict)
    final: dict[str, str] = field(default_factory=dict)
    pks: dict[str, int] = field(default_factory=dict)
    updated: set[int] = field(default_factory=set)
    locked: dict[int, Row] = field(default_factory=dict)
    gone: dict[int, Row] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)

    def local(self, entry: Entry) -> str:
        return self.final.get(entry.local, entry.local)

    def know(self, found: Found) -> None:
        self.pks[found.local] = found.pk

    def take(self, entry: Entry, found: Found, *, updated: bool) -> None:
        """The entry is this stored resource."""
        self.know(found)
        self.stored[entry.index] = found
        if entry.local != found.local:
            self.final[entry.local] = found.local
        if updated:
            self.updated.add(entry.index)

    def twin(self, entry: Entry, first: Entry) -> None:
        """The entry says the same as an earlier one of its bundle."""
        self.twins[entry.index] = first.index
        self.final[entry.local] = self.local(first)


async def resolved(
    db: Connection, prepared: Prepared, sender: Sender, base: str, coming: Mapping[str, int]
) -> Plan:
    """Settles everything a push leaves to the store.

    Args:
        coming: keys chosen for what it brings and for what follows it, by `Type/id`: it may refer to these.

    Raises:
        Refusal: a reference leads nowhere, a search finds none or several, a resource belongs to others.
    """
    plan = Plan(prepared)
    conditional = [entry for entry in prepared.entries if entry.condition is not None]
    asked = [
        search.condition(entry.type, entry.condition or "", base=base, path=condition_path(entry))
        for entry in conditional
    ]
    references = [
        search.condition(c.type, c.query, base=base, path=c.paths[0]) for c in prepared.conditionals
    ]
    _check_searches([*asked, *references], sender)
    asked = [await settled(db, sender.seen, one) for one in asked]
    references = [await settled(db, sender.seen, one) for one in references]
    await _settle_conditions(db, plan, conditional, asked, sender)
    await _settle_registers(db, plan, sender)
    await _settle_locals(db, plan, sender, coming)
    await _settle_references(db, plan, references, sender)
    await _lock(db, plan, sender)
    plan.pks = {**coming, **plan.pks}
    return plan


def condition_path(entry: Entry) -> str:
    if not entry.path.startswith("Bundle"):
        return "If-None-Exist" if entry.method == "POST" else entry.type
    return f"{entry.path}.request.{'ifNoneExist' if entry.method == 'POST' else 'url'}"


# Conditional creates and updates


async def _settle_conditions(
    db: Connection, plan: Plan, entries: Sequence[Entry], asked: Sequence[Criteria], sender: Sender
) -> None:
    if not entries:
        return
    found = await _found(db, asked, sender)
    missing = [i for i, answers in enumerate(found) if not answers]
    if missing:
        await repository.reserve(db, [_name_of(asked[i]) for i in missing])
        for i, answers in zip(missing, await _found(db, [asked[i] for i in missing], sender), strict=True):
            found[i] = answers
    first: dict[Criteria, Entry] = {}
    for entry, criteria, answers in zip(entries, asked, found, strict=True):
        if len(answers) > 1:
            raise Refusal(412, [_several(entry.condition or "", answers, condition_path(entry))])
        if answers:
            if entry.id_said and entry.id != answers[0].id:
                words = f"{entry.condition} means {answers[0].local}; the resource says the id {entry.id!r}"
                raise Refusal(400, [Issue("invalid", words, f"{entry.resource_path}.id")])
            plan.take(entry, answers[0], updated=entry.method == "PUT")
        elif criteria in first:
            if entry.method == "PUT":
                _check_twins(entry, first[criteria])
            plan.twin(entry, first[criteria])
        else:
            first[criteria] = entry


async def meant(
    db: Connection, asked: Sequence[tuple[str, str, str]], sender: Sender, base: str
) -> list[Found | None]:
    """The one stored resource that each search means: of a type, by a query that stands at a place.

    Raises:
        Refusal: 412 where it means several.
    """
    criteria = [search.condition(kind, query, base=base, path=path) for kind, query, path in asked]
    _check_searches(criteria, sender)
    criteria = [await settled(db, sender.seen, one) for one in criteria]
    answers = await _found(db, criteria, sender)
    for (_, query, path), found in zip(asked, answers, strict=True):
        if len(found) > 1:
            raise Refusal(412, [_several(query, found, path)])
    return [next(iter(found), None) for found in answers]


def _check_searches(asked: Iterable[Criteria], sender: Sender) -> None:
    for kind in sorted({criteria.type for criteria in asked}):
        if not sender.granted("s").names(kind):
            raise Refusal(403, [Issue("forbidden", f"the token grants no right to search {kind}")])


def _name_of(criteria: Criteria) -> int:
    return keys.key("condition", repr(criteria))


def _several(query: str, found: Sequence[Found], path: str) -> Issue:
    names = ", ".join(f.local for f in found[:SHOWN])
    return Issue("multiple-matches", f"{query} means several resources: {names}", path)


async def _found(db: Connection, asked: Sequence[Criteria], sender: Sender) -> list[list[Found]]:
    """What each search means: among the sender's own resources, else among all it may search for.

    Those by one token, nearly all, travel in one statement.
    """
    seen = replace(sender.seen, granted=sender.granted("s"))
    alone = {i: hash for i, criteria in enumerate(asked) if (hash := _only_token(criteria)) is not None}
    known = await repository.known_by(db, seen, set(alone.values()), client=sender.client) if alone else {}
    answers = [
        known.get(alone[i], [])
        if i in alone
        else await repository.matching(db, seen, criteria, client=sender.client, limit=SHOWN + 1)
        for i, criteria in enumerate(asked)
    ]
    return [[f for f in found if f.client == sender.client] or found for found in answers]


def _only_token(criteria: Criteria) -> int | None:
    match criteria.clauses:
        case (Tokens((hash,)),):
            return hash
    return None


# Registers


async def _settle_registers(db: Connection, plan: Plan, sender: Sender) -> None:
    """Organizations and the like that a bundle repeats from an earlier one of the same sender: a hospital
    sends them in bundle after bundle, and they are known again by identifier, among its own."""
    entries = [
        entry
        for entry in plan.prepared.entries
        if entry.type in repository.REGISTERS
        and entry.method == "POST"
        and entry.condition is None
        and entry.identifiers
        and entry.path.startswith("Bundle")
    ]
    if not entries:
        return
    hashes = {hash for entry in entries for hash in entry.identifiers}
    known = await _own(db, hashes, sender)
    missing = {hash for hash in hashes if not known.get(hash)}
    if missing:
        await repository.reserve(db, missing)
        known |= await _own(db, missing, sender)
    first: dict[int, Entry] = {}
    for entry in entries:
        found = {f.pk: f for hash in entry.identifiers for f in known.get(hash, ())}
        if len(found) > 1:
            path = f"{entry.resource_path}.identifier"
            raise Refusal(412, [_several(f"its identifiers: {entry.type}", [*found.values()], path)])
        earlier = next((first[hash] for hash in entry.identifiers if hash in first), None)
        if found:
            plan.take(entry, next(iter(found.values())), updated=True)
        if earlier is not None:
            _check_twins(entry, earlier)
            plan.twin(entry, earlier)
        for hash in entry.identifiers:
            first.setdefault(hash, entry)


async def _own(db: Connection, hashes: Iterable[int], sender: Sender) -> dict[int, list[Found]]:
    known = await repository.known_by(db, sender.seen, hashes, client=sender.client)
    return {hash: [f for f in found if f.client == sender.client] for hash, found in known.items()}


def _check_twins(entry: Entry, earlier: Entry) -> None:
    if entry.rest != earlier.rest:
        words = f"{earlier.path} has the same identifier and says something else"
        raise Refusal(409, [Issue("conflict", words, entry.resource_path)])


# Updates by id, and references to what is stored


async def _settle_locals(db: Connection, plan: Plan, sender: Sender, coming: Mapping[str, int]) -> None:
    puts = [e for e in plan.prepared.entries if _says_id(plan, e)]
    outside = plan.prepared.outside
    if puts or outside:
        found = await repository.located(db, sender.seen, {*outside, *(entry.local for entry in puts)})
        missing = [entry.local for entry in puts if entry.local not in found]
        if missing:
            await repository.reserve(db, [keys.key("id", local) for local in missing])
            found |= await repository.located(db, sender.seen, missing)
        for stored, seen in found.values():
            if seen:
                plan.know(stored)
        for entry in puts:
            if entry.local in found:
                if entry.condition is not None:
                    sender.check_owns(found[entry.local][0], entry.path)
                    words = f"{entry.local} is there already, and {entry.condition} does not mean it"
                    raise Refusal(409, [Issue("conflict", words, f"{entry.resource_path}.id")])
                plan.take(entry, found[entry.local][0], updated=True)
        await _settle_gone(db, plan, [entry for entry in puts if entry.local not in found], sender)
        # What the sender may not read is told like what is not there.
        _raise(
            Issue("not-found", f"{local} is neither in the store nor in what was sent", path)
            for local, paths in outside.items()
            if not found.get(local, (None, False))[1] and local not in coming and not sender.unchecked
            for path in paths
        )


def _says_id(plan: Plan, entry: Entry) -> bool:
    """Whether the entry goes to the id it says, as it does too where its search finds nothing."""
    if entry.condition is not None:
        return entry.id_said and entry.index not in plan.stored and entry.index not in plan.twins
    return entry.method in {"PUT", "PATCH"}


async def _settle_gone(db: Connection, plan: Plan, entries: Sequence[Entry], sender: Sender) -> None:
    """Of what was deleted, an update makes the next version."""
    if not entries:
        return
    known = await repository.deletions(db, [entry.local for entry in entries])
    for entry in entries:
        row = known.get(entry.local)
        if entry.method == "PATCH":
            raise MovedError(entry)
        if row is not None:
            sender.check_owns(found_in(row), entry.path)
            plan.gone[entry.index] = row


async def _lock(db: Connection, plan: Plan, sender: Sender) -> None:
    """Takes hold of what will be changed and what is referred to; only now is its version sure."""
    changing = {plan.stored[index].pk for index in plan.updated}
    _raise(_changed_twice(plan), 409)
    for entry in plan.prepared.entries:
        if entry.index in plan.updated:
            sender.check_owns(plan.stored[entry.index], entry.path)
    if changing:
        plan.locked = await repository.locked(db, changing)
        await _check_scopes(db, plan, sender)
    if plan.pks:
        held = await repository.hold(db, plan.pks.values())
        for entry in plan.prepared.entries:
            if any(
                plan.pks.get(plan.final.get(one, one), NOBODY) not in {NOBODY, *held} for one in entry.uses
            ):
                raise MovedError(entry)
    for entry in plan.prepared.entries:
        stored = plan.stored.get(entry.index)
        version = None
        if entry.index in plan.updated and stored is not None:
            if stored.pk not in plan.locked:
                raise MovedError(entry)
            version = plan.locked[stored.pk]["version"]
        if entry.over not in {None, version}:
            raise MovedError(entry)
        if entry.if_match is not None:
            check_version(entry, version)


class MovedError(Refusal):
    """What the entry stands on was changed or deleted by somebody else just now."""

    def __init__(self, entry: Entry) -> None:
        words = "what this stands on was changed at the same moment; send it again"
        super().__init__(409, [Issue("conflict", words, entry.path)])


async def _check_scopes(db: Connection, plan: Plan, sender: Sender) -> None:
    """What is changed is what the scopes are for, not only what it becomes."""
    for right, methods in (("u", ("PUT", "PATCH")), ("d", ("DELETE",))):
        changing = {e.index for e in plan.prepared.entries if e.method in methods} & plan.updated
        pks = [plan.stored[index].pk for index in changing]
        if pks and await repository.beyond(db, sender.granted(right), pks):
            raise Refusal(403, [Issue("forbidden", NARROWER)])


def _changed_twice(plan: Plan) -> Iterable[Issue]:
    """Entries that turn out to mean a resource another entry changes already (http.html#trules)."""
    first: dict[int, Entry] = {}
    for entry in plan.prepared.entries:
        if entry.index in plan.updated and entry.index not in plan.twins:
            stored = plan.stored[entry.index]
            earlier = first.setdefault(stored.pk, entry)
            if earlier is not entry:
                yield Issue("conflict", f"{earlier.path} changes {stored.local} already", entry.path)


def check_version(entry: Entry, version: int | None) -> None:
    wanted = _ETAG.fullmatch(entry.if_match or "")
    path = f"{entry.path}.request.ifMatch" if entry.path.startswith("Bundle") else "If-Match"
    if wanted is None:
        raise Refusal(400, [Issue("value", f'write the version as W/"3", not {entry.if_match!r}', path)])
    if version is None or wanted[1] not in {None, str(version)}:
        words = f"version {wanted[1] or '*'} was to be changed, the current one is {version or 'none'}"
        raise Refusal(412, [Issue("conflict", words, path)])


# References by search


async def _settle_references(db: Connection, plan: Plan, asked: Sequence[Criteria], sender: Sender) -> None:
    conditionals = plan.prepared.conditionals
    if not conditionals:
        return
    answers = await _found(db, asked, sender)
    bundle = Here(plan.prepared.entries, plan.local, plan.final)
    here = [bundle.matches(one, c.paths[0]) for one, c in zip(asked, conditionals, strict=True)]
    issues: list[Issue] = []
    for conditional, found, entries in zip(conditionals, answers, here, strict=True):
        # Where the bundle has one, another organisation's of the same name is not meant.
        stored = [f for f in found if not entries or f.client == sender.client]
        for one in stored:
            plan.know(one)
        meant = sorted({*(one.local for one in stored), *entries})
        if len(meant) == 1:
            plan.final[conditional.stand_in] = meant[0]
        else:
            issues += _unresolved(conditional, meant)
    _raise(issues)


def _unresolved(conditional: Conditional, meant: Sequence[str]) -> Iterable[Issue]:
    query = f"{conditional.type}?{conditional.query}"
    if not meant:
        words = f"{query} means no resource, neither in the bundle nor in the store"
    else:
        words = f"{query} means {len(meant)} resources: {', '.join(meant[:SHOWN])}; it must mean one"
    code = "multiple-matches" if meant else "not-found"
    return [Issue(code, words, path) for path in conditional.paths]


def _raise(issues: Iterable[Issue], status: int = 422) -> None:
    found = list(issues)
    if found:
        raise Refusal(status, found)
