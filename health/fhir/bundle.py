"""`POST /fhir`: a transaction, all of it or nothing (FHIR R4 http.html#transaction)."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence

import orjson

from health.fhir import access
from health.fhir.commit import Push, Result, committed, instant
from health.fhir.entries import Entry, Prepared
from health.fhir.outcome import refused
from health.fhir.resolve import Sender, resolved
from health.fhir.workers import Workers
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.database import Transaction
from services.kit.idempotency import Answer, content_key, idempotent, known_answer, request_hash
from services.kit.policy import Policies
from services.kit.principals import Principal

_RIGHT = {"POST": "c", "PUT": "u"}


async def transaction(
    kit: Kit, workers: Workers, principal: Principal, raw: bytes, *, key: str | None, base: str
) -> bytes:
    """The transaction-response Bundle.

    The same bytes from the same client count once, whatever key they come with: most resources carry no
    identifier by which a repetition could be seen otherwise. A bundle of PUTs alone needs no such memory
    (what stands already makes no new version) and must not have it: after another one it is a change back.
    Only its Idempotency-Key tells a late repetition from that.

    Args:
        key: the Idempotency-Key, if one was sent.

    Raises:
        Refusal: nothing was applied, and why.
    """
    access.check_writes(principal)
    client = principal.client_id
    digest, whole = await asyncio.to_thread(_digests, raw)
    keys = [content_key(digest)] if key is None else [key, content_key(digest)]
    async with kit.db.session() as db:
        for one in keys:
            known = await known_answer(db, client, one, whole)
            if known is not None:
                return known.body
    prepared = await workers.bundle(raw, base)
    check_rights(kit.policy, principal, prepared.entries)
    if all(entry.method == "PUT" for entry in prepared.entries):
        keys.pop()
    async with access.told(kit, principal, "fhir.transaction"), kit.db.transaction(principal) as tx:

        async def apply() -> Answer:
            return Answer(200, await _applied(kit, tx, principal, prepared, digest, base))

        answer = await _once(tx, client, keys, whole, apply)
    return answer.body


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


def check_rights(policies: Policies, principal: Principal, entries: Sequence[Entry]) -> None:
    """Raises Refusal 403 unless the caller may write every entry; a patient's own token writes none."""
    for kind, method in sorted({(entry.type, entry.method) for entry in entries}):
        if access.reach(policies, principal, kind, _RIGHT[method]).sector_ids:
            raise refused(403, "forbidden", f"a patient's token cannot write {kind}")


def sender_of(policies: Policies, principal: Principal) -> Sender:
    seen = access.tied(policies, principal, "fhir.search")
    return Sender(principal.client_id, principal.organisation, seen, principal.unguarded)


async def _applied(
    kit: Kit, tx: Transaction, principal: Principal, prepared: Prepared, digest: bytes, base: str
) -> bytes:
    sender = sender_of(kit.policy, principal)
    plan = await resolved(tx, prepared, sender, base)
    identity = kit.calls.client(IdentityClient)
    push = Push("fhir.transaction", digest, sender)
    return _response(await committed(tx, plan, push, identity=identity, base=base))


def _response(results: Sequence[Result]) -> bytes:
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [{"response": _entry_response(result)} for result in results],
        }
    )


def _entry_response(result: Result) -> dict[str, object]:
    found: dict[str, object] = {
        "status": result.status,
        "location": result.location,
        "etag": result.etag,
        "lastModified": instant(result.ts),
    }
    if result.issue is not None:
        found["outcome"] = {"resourceType": "OperationOutcome", "issue": [result.issue.body()]}
    return found
