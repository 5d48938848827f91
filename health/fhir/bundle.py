"""`POST /fhir`: a transaction, all of it or nothing, or a batch (FHIR R4 http.html#transaction)."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import orjson

from health import repository
from health.fhir import access, scopes
from health.fhir.batch import Doors
from health.fhir.commit import Push, Result, applied
from health.fhir.entries import Entry, Prepared, Request, Target
from health.fhir.outcome import Issue, Refusal, outcome, refused
from health.fhir.resolve import ATTEMPTS, MovedError, Sender, found_in, meant
from health.fhir.text import instant
from health.fhir.workers import Workers
from health.reaching import Granted
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.database import Row, Transaction
from services.kit.idempotency import Answer, content_key, idempotent, known_answer, request_hash
from services.kit.policy import Policies
from services.kit.principals import Principal
from services.kit.problems import unauthenticated

Return = Literal["representation", "minimal", "OperationOutcome"]
_RIGHT = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}
_REPEATABLE = frozenset({"PUT", "DELETE"})
_READS = {"reads": "after"}
"""Kept with an answer that lacks what its transaction read: that is read anew for each repetition."""


async def answered(
    kit: Kit,
    workers: Workers,
    principal: Principal,
    raw: bytes,
    *,
    key: str | None,
    base: str,
    wanted: Return,
    ask: Doors,
    unchecked: bool = False,
) -> bytes:
    """The response Bundle of a batch or transaction.

    The same bytes from the same client count once, whatever key they come with: most resources carry no
    identifier by which a repetition could be seen otherwise. A bundle of PUTs and DELETEs alone needs no such
    memory (what stands already makes no new version) and must not have it: after another one it is a change
    back. Only its Idempotency-Key tells a late repetition from that.

    Args:
        key: the Idempotency-Key, if one was sent.
        wanted: what the entries of the response carry of what was written.
        ask: the doors for the entries of a batch, and for what a transaction reads once it is committed.
        unchecked: references may lead to what is not here.

    Raises:
        Refusal: nothing was applied, and why.
    """
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    client = principal.client_id
    digest, whole = await asyncio.to_thread(_digests, raw)
    keys = [content_key(digest)] if key is None else [key, content_key(digest)]
    async with kit.db.session() as db:
        answers = [await known_answer(db, client, one, whole) for one in keys]
    known = next((answer for answer in answers if answer is not None), None)
    sender = sender_of(kit.policy, principal, unchecked=unchecked)
    if known is not None and not known.headers:
        return await _finished(kit, sender, known.body, [], wanted, ask)
    for attempt in range(ATTEMPTS):
        prepared = await workers.bundle(raw, base, unchecked=unchecked)
        if prepared.batch:
            return bundle_of("batch-response", await ask.all(prepared.requests, key, content_key(digest)))
        if known is not None:
            break
        push = Push("fhir.transaction", digest, sender)
        try:
            known = await _transaction(kit, workers, principal, raw, prepared, push, keys, whole, base)
        except MovedError:
            if attempt == ATTEMPTS - 1:
                raise
    assert known is not None
    return await _finished(kit, sender, known.body, prepared.requests, wanted, ask)


async def _transaction(
    kit: Kit,
    workers: Workers,
    principal: Principal,
    raw: bytes,
    prepared: Prepared,
    push: Push,
    keys: Sequence[str],
    whole: bytes,
    base: str,
) -> Answer:
    """Applies what is prepared, or finds that it is already."""
    if not prepared.requests:
        access.check_writes(principal)
    unmet: list[Entry] = []
    async with access.told(kit, principal, push.action):
        if prepared.targets:
            check_methods(kit.policy, principal, {(target.type, "PATCH") for target in prepared.targets})
            stored = await patched(kit, push.sender, prepared.targets, base)
            prepared = await workers.bundle(raw, base, stored, unchecked=push.sender.unchecked)
        check_rights(kit.policy, principal, prepared)
        writes = [*prepared.entries, *prepared.deletes]
        if all(entry.method in _REPEATABLE for entry in writes):
            keys = keys[:-1]
        async with kit.db.transaction(principal) as tx:

            async def apply() -> Answer:
                identity = kit.calls.client(IdentityClient)
                results = await applied(tx, prepared, push, identity=identity, base=base)
                unmet.extend(entry for entry in prepared.deletes if not results[entry.index].version)
                return Answer(200, _response(results, prepared), _READS if prepared.requests else {})

            answer = await _once(tx, principal.client_id, keys, whole, apply)
    await note_unmet(kit, principal, unmet)
    return answer


async def note_unmet(kit: Kit, principal: Principal, entries: Sequence[Entry]) -> None:
    """Deletions that met nothing: where there is something that the sender may not see, that is on record."""
    for entry in entries:
        if entry.condition is None:
            await access.leave_refused(kit, principal, "fhir.delete", entry.type, entry.id)


async def patched(
    kit: Kit, sender: Sender, targets: Sequence[Target], base: str
) -> dict[int, dict[str, Any]]:
    """What the patches of a push change: id, version and body, by entry.

    Raises:
        Refusal: 403 where the scopes are for others, 404 or 410 where there is nothing, 412 where a search
            means several.
        NotYoursError: another organisation keeps it.
    """
    by_search = [target for target in targets if target.condition is not None]
    asked = [(target.type, target.condition or "", target.path) for target in by_search]
    named = {target.index: f"{target.type}/{target.id}" for target in targets if target.id is not None}
    async with kit.db.session() as db:
        located = await repository.located(db, sender.seen, named.values())
        seen = {index: located[local] for index, local in named.items() if local in located}
        found = {index: one for index, (one, visible) in seen.items() if visible}
        for target, one in zip(by_search, await meant(db, asked, sender, base), strict=True):
            if one is not None:
                found[target.index] = one
        gone = await repository.deletions(db, named.values())
        pks = [one.pk for one in found.values()]
        bodies = await repository.current(db, pks)
        beyond = await repository.beyond(db, sender.granted("u"), pks)
    for target in targets:
        if target.index not in found or found[target.index].pk not in bodies:
            raise _missing(target, gone.get(named.get(target.index, "")), sender)
        sender.check_owns(found[target.index], target.path)
    if beyond:
        # Before anything is tried on it: whether a `test` holds tells what it says.
        raise refused(403, "forbidden", access.NARROWER)
    return {index: bodies[one.pk] for index, one in found.items()}


def _missing(target: Target, gone: Row | None, sender: Sender) -> Refusal:
    what = f"{target.type}/{target.id}" if target.id else f"{target.type}?{target.condition}"
    if gone is not None and sender.owns(found_in(gone)):
        return refused(410, "deleted", f"{what} was deleted", target.path)
    return refused(404, "not-found", f"there is no {what} here for this caller", target.path)


async def _finished(
    kit: Kit, sender: Sender, body: bytes, reads: Sequence[Request], wanted: Return, ask: Doors
) -> bytes:
    """The answer with what was only read, and with what the sender wants to see of what it wrote."""
    if not reads and wanted == "minimal":
        return body
    entries = orjson.loads(body).get("entry", [])
    if wanted == "representation":
        located = {
            i: _located(entry) for i, entry in enumerate(entries) if entry and "location" in entry["response"]
        }
        async with kit.db.session() as db:
            bodies = await repository.bodies(
                db, list(located.values()), client=sender.client, organisation=sender.organisation
            )
        for i, version in located.items():
            if version in bodies:
                entries[i] = {"resource": orjson.Fragment(bodies[version]), **entries[i]}
    elif wanted == "OperationOutcome":
        for entry in filter(None, entries):
            done = Issue("informational", entry["response"]["status"], severity="information")
            entry["response"].setdefault("outcome", orjson.Fragment(outcome([done])))
    for request in reads:
        entries[request.index] = await ask.one(request)
    return bundle_of("transaction-response", entries)


def _located(entry: dict[str, Any]) -> tuple[str, str, int]:
    kind, id, _, version = entry["response"]["location"].split("/")
    return kind, id, int(version)


def bundle_of(kind: str, entries: Sequence[Any], **beside: Any) -> bytes:
    """A Bundle of a type, with what stands in it beside its entries."""
    bundle = {"resourceType": "Bundle", "type": kind, **beside}
    # An empty array is not allowed in FHIR JSON.
    return orjson.dumps({**bundle, "entry": entries} if entries else bundle)


def _digests(raw: bytes) -> tuple[bytes, bytes]:
    return hashlib.sha256(raw).digest(), request_hash(b"POST /fhir", raw)


async def _once(
    tx: Transaction, client: str, keys: Sequence[str], whole: bytes, work: Callable[[], Awaitable[Answer]]
) -> Answer:
    """The answer kept under any of the keys, from now on under each; the work is done when there is none."""
    if not keys:
        return await work()
    async with idempotent(tx, client, keys[0], whole) as slot:
        if slot.answer is None:
            slot.keep(await _once(tx, client, keys[1:], whole, work))
    answer = slot.answer or slot.kept
    assert answer is not None
    return answer


def check_rights(policies: Policies, principal: Principal, prepared: Prepared) -> None:
    """Raises Refusal 403 unless the caller may write every entry; a patient's own token writes none."""
    writes = [*prepared.entries, *prepared.deletes]
    granted = check_methods(policies, principal, {(entry.type, entry.method) for entry in writes})
    for entry in prepared.entries:
        if not granted[entry.type, entry.method].includes(entry.type, entry.tokens):
            raise refused(403, "forbidden", access.NARROWER, entry.resource_path)


def check_methods(
    policies: Policies, principal: Principal, asked: set[tuple[str, str]]
) -> dict[tuple[str, str], Granted]:
    """What the token's scopes are for, by type and method; raises Refusal 403 as `check_rights`."""
    granted = {}
    for kind, method in sorted(asked):
        reach = access.reach(policies, principal, kind, _RIGHT[method])
        if reach.sector_ids:
            raise refused(403, "forbidden", f"a patient's token cannot write {kind}")
        if not principal.unguarded:
            scopes.check_for_all(principal.scopes, kind, kind)
        granted[kind, method] = reach.granted
    return granted


def sender_of(policies: Policies, principal: Principal, *, unchecked: bool = False) -> Sender:
    """
    Args:
        unchecked: it wants references that lead nowhere here; only for conformance tools (--no-auth).

    Raises:
        Refusal: 403 for anybody else who wants that.
    """
    if unchecked and not principal.unguarded:
        raise refused(403, "forbidden", "references are checked here", "X-References")
    seen = access.tied(policies, principal, "fhir.search")
    granted = partial(access.granted, principal)
    return Sender(principal.client_id, principal.organisation, seen, granted, principal.unguarded, unchecked)


def _response(results: Mapping[int, Result], prepared: Prepared) -> bytes:
    """In the order of the entries; nothing yet where something is only read."""
    size = len(results) + len(prepared.requests)
    return bundle_of(
        "transaction-response",
        [{"response": _entry_response(results[i])} if i in results else None for i in range(size)],
    )


def _entry_response(result: Result) -> dict[str, object]:
    found: dict[str, object] = {"status": result.status}
    if result.status != "204 No Content":
        found["location"] = result.location
    if result.version:
        found |= {"etag": result.etag, "lastModified": instant(result.ts)}
    if result.issue is not None:
        found["outcome"] = {"resourceType": "OperationOutcome", "issue": [result.issue.body()]}
    return found
