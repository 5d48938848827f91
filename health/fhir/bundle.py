"""`POST /fhir`: a transaction, all of it or nothing (FHIR R4 http.html#transaction)."""

import hashlib
from collections.abc import Sequence

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
from services.kit.principals import EVERYTHING, Principal

_RIGHT = {"POST": "c", "PUT": "u"}


async def transaction(
    kit: Kit, workers: Workers, principal: Principal, raw: bytes, *, key: str | None, base: str
) -> bytes:
    """The transaction-response Bundle.

    The same bytes from the same client count once, whatever key they come with: most resources carry no
    identifier by which a repetition could be seen otherwise.

    Args:
        key: the Idempotency-Key, if one was sent.

    Raises:
        Refusal: nothing was applied, and why.
    """
    access.check_writes(principal)
    client = principal.client_id
    digest = hashlib.sha256(raw).digest()
    once = content_key(digest)
    whole = request_hash(b"POST /fhir", raw)
    async with kit.db.session() as db:
        known = await known_answer(db, client, once, whole)
        if known is None and key is not None:
            known = await known_answer(db, client, key, whole)
    if known is not None:
        return known.body
    prepared = await workers.bundle(raw, base)
    check_rights(principal, prepared.entries)
    async with kit.db.transaction(principal) as tx:
        async with idempotent(tx, client, once, whole) as slot:
            if slot.answer is None:
                slot.keep(Answer(200, await _applied(kit, tx, principal, prepared, digest, base)))
            answer = slot.answer or slot.kept
        assert answer is not None
        if key is not None:
            async with idempotent(tx, client, key, whole) as keyed:
                if keyed.answer is None:
                    keyed.keep(answer)
    return answer.body


def check_rights(principal: Principal, entries: Sequence[Entry]) -> None:
    """Raises Refusal 403 unless the caller may write every entry; a patient's own token writes none."""
    for kind, method in sorted({(entry.type, entry.method) for entry in entries}):
        if access.reach(principal, kind, _RIGHT[method]).sector_id is not None:
            raise refused(403, "forbidden", f"a patient's token cannot write {kind}")


def sender_of(principal: Principal) -> Sender:
    return Sender(principal.client_id, principal.organisation, EVERYTHING in principal.scopes)


async def _applied(
    kit: Kit, tx: Transaction, principal: Principal, prepared: Prepared, digest: bytes, base: str
) -> bytes:
    sender = sender_of(principal)
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
