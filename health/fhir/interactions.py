"""Read, vread, create, update, patch and delete of single resources (FHIR R4 http.html)."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from health import repository
from health.fhir import access
from health.fhir.bundle import Return, check_methods, check_rights, note_unmet, patched, sender_of
from health.fhir.commit import Push, Result, applied
from health.fhir.definitions import definitions
from health.fhir.entries import Entry, Prepared, Target
from health.fhir.outcome import Issue, outcome, refused
from health.fhir.paging import Pages
from health.fhir.resolve import ATTEMPTS, MovedError, Sender
from health.fhir.workers import Workers
from health.reaching import Reach
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.database import Row, Transaction
from services.kit.idempotency import Answer, idempotent, known_answer, request_hash
from services.kit.principals import Principal
from services.kit.problems import unauthenticated

_RIGHT = Issue("informational", "nothing was found wrong", severity="information")


@dataclass(frozen=True, slots=True)
class Fhir:
    """What the interactions stand on; one for the running service.

    Attributes:
        base: the server's base URL with a slash at its end.
    """

    kit: Kit
    workers: Workers
    pages: Pages
    base: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of `/fhir`."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a write comes with beside its body.

    Attributes:
        search: what it goes to by a search (a conditional update, patch or delete), or `If-None-Exist`.
        if_match: the version it stands on.
        key: its Idempotency-Key.
        wanted: what it shall be answered with.
        unchecked: references may lead to what is not here.
    """

    search: str | None = None
    if_match: str | None = None
    key: str | None = None
    wanted: Return = "representation"
    unchecked: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What a reader has already: `If-None-Match`, `If-Modified-Since`."""

    etags: str | None = None
    since: str | None = None

    def covers(self, row: Row) -> bool:
        """Whether this version is it (RFC 9110 section 13.2.2: the first of the two decides)."""
        if self.etags is not None:
            named = {one.strip().removeprefix("W/").strip('"') for one in self.etags.split(",")}
            return not named.isdisjoint({"*", str(row["version"])})
        try:
            since = parsedate_to_datetime(self.since or "")
        except ValueError:
            return False  # section 13.1.3: what is no date is left aside
        return since.tzinfo is not None and row["ts"].replace(microsecond=0) <= since


NOTHING = Known()


def check_type(kind: str) -> None:
    """Raises Refusal 404 unless R4 has the type."""
    if kind not in definitions().resources:
        raise refused(404, "not-supported", f"{kind!r} is no resource type of FHIR R4")


async def read(
    fhir: Fhir,
    principal: Principal,
    kind: str,
    id: str,
    version: int | None = None,
    *,
    known: Known = NOTHING,
) -> Reply:
    """The current version, or a certain one; 304 where the reader has it.

    Raises:
        Refusal: 404, also for what is not the caller's to see; 410 for what was deleted.
    """
    check_type(kind)
    reach = access.reach(fhir.kit.policy, principal, kind, "r")
    row, shown = await looked_up(fhir, reach, kind, id, version)
    if row is None:
        reach = await access.with_consents(fhir.kit, principal, reach, "fhir.read", [f"{kind}/{id}"])
        if reach.consented:
            row, shown = await looked_up(fhir, reach, kind, id, version)
    if row is None:
        await access.leave_refused(fhir.kit, principal, "fhir.read", kind, id)
    if row is None or shown is None:
        # The same answer for what is not there and for what is not this caller's to see.
        what = f"{kind}/{id}" if version is None else f"{kind}/{id}/_history/{version}"
        raise refused(404, "not-found", f"there is no {what} here for this caller")
    action = "fhir.read" if version is None else "fhir.vread"
    await access.leave(fhir.kit, principal, action, [row], resource=f"{kind}/{id}")
    headers = _version_headers(shown["version"], shown["ts"])
    if shown["body"] is None:
        raise refused(410, "deleted", f"{kind}/{id} was deleted", **headers)
    if known.covers(shown):
        return Reply(b"", 304, headers)
    return Reply(shown["body"].encode(), headers=headers)


async def looked_up(
    fhir: Fhir, reach: Reach, kind: str, id: str, version: int | None = None
) -> tuple[Row | None, Row | None]:
    """The resource, or its deletion, as the caller sees it now, and the version that may be shown."""
    # One statement needs no transaction around it.
    async with fhir.kit.db.session() as db:
        row = await repository.read(db, reach, kind, id) or await repository.gone(db, reach, kind, id)
        if row is None or version in (None, row["version"]):
            return row, row
        return row, await repository.vread(db, reach, kind, id, version) if version else None


async def validate(fhir: Fhir, principal: Principal, kind: str | None, raw: bytes) -> Reply:
    """What would be refused of a resource: an OperationOutcome, with 200 also where much is wrong."""
    if kind is not None:
        check_type(kind)
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    said, issues = await fhir.workers.validate(raw, kind)
    access.reach(fhir.kit.policy, principal, said, "c")
    return Reply(outcome(issues or [_RIGHT]))


async def create(fhir: Fhir, principal: Principal, kind: str, raw: bytes, terms: Terms) -> Reply:
    """Always makes a resource, unless `If-None-Exist` finds one."""
    check_type(kind)
    access.reach(fhir.kit.policy, principal, kind, "c")  # before the work that checking a body is
    sender = sender_of(fhir.kit.policy, principal, unchecked=terms.unchecked)
    prepared = await fhir.workers.resource(raw, fhir.base, kind, None, unchecked=terms.unchecked)
    prepared.entries[0].condition = terms.search
    check_rights(fhir.kit.policy, principal, prepared)
    push = Push("fhir.create", _digest(raw), sender)
    return await _once(fhir, principal, prepared, push, terms, _whole(f"POST /fhir/{kind}", terms, raw))


async def update(fhir: Fhir, principal: Principal, kind: str, id: str, raw: bytes, terms: Terms) -> Reply:
    """A new version; a first one where there was none under this id, or none that the search finds.

    Args:
        id: empty for an update by search.
    """
    check_type(kind)
    access.reach(fhir.kit.policy, principal, kind, "u")
    sender = sender_of(fhir.kit.policy, principal, unchecked=terms.unchecked)
    prepared = await fhir.workers.resource(raw, fhir.base, kind, id, unchecked=terms.unchecked)
    [entry] = prepared.entries
    entry.if_match, entry.condition = terms.if_match, terms.search
    check_rights(fhir.kit.policy, principal, prepared)
    push = Push("fhir.update", _digest(raw), sender)
    return await _once(fhir, principal, prepared, push, terms, _whole(f"PUT /fhir/{kind}/{id}", terms, raw))


async def patch(fhir: Fhir, principal: Principal, kind: str, id: str, raw: bytes, terms: Terms) -> Reply:
    """What a stored resource becomes by a JSON Patch or FHIRPath Patch, as an update.

    Args:
        id: empty for a patch by search.

    Raises:
        Refusal: 404 or 410 without the resource, 412 and 422 as `patching.patched`.
    """
    check_type(kind)
    check_methods(fhir.kit.policy, principal, {(kind, "PATCH")})
    push = Push("fhir.patch", _digest(raw), sender_of(fhir.kit.policy, principal))
    target = Target(0, kind, kind, id or None, terms.search)
    whole = _whole(f"PATCH /fhir/{kind}/{id}", terms, raw)
    if terms.key is not None:
        # What is done already may not be possible again.
        async with fhir.kit.db.session() as db:
            answer = await known_answer(db, principal.client_id, terms.key, whole)
        if answer is not None:
            return _again(answer)
    for _ in range(ATTEMPTS - 1):
        try:
            return await _patched(fhir, principal, target, raw, push, terms, whole)
        except MovedError:
            continue
    return await _patched(fhir, principal, target, raw, push, terms, whole)


async def _patched(
    fhir: Fhir, principal: Principal, target: Target, raw: bytes, push: Push, terms: Terms, whole: bytes
) -> Reply:
    async with access.told(fhir.kit, principal, push.action):
        stored = await patched(fhir.kit, push.sender, [target], fhir.base)
    prepared = await fhir.workers.patch(raw, fhir.base, target.type, stored[target.index])
    prepared.entries[0].if_match = terms.if_match
    check_rights(fhir.kit.policy, principal, prepared)
    return await _once(fhir, principal, prepared, push, terms, whole)


async def delete(fhir: Fhir, principal: Principal, kind: str, id: str, terms: Terms) -> Reply:
    """Takes a resource away; its versions stay. Of what is not there nothing is said.

    Args:
        id: empty for a deletion by search, which must not mean several.

    Raises:
        Refusal: 409 where something refers to it, 412 where a search means several.
    """
    check_type(kind)
    entry = Entry(0, kind, kind, id, "DELETE", "", "", condition=terms.search, if_match=terms.if_match)
    prepared = Prepared([], deletes=[entry])
    check_rights(fhir.kit.policy, principal, prepared)
    digest = _digest(f"DELETE {kind}/{id}?{terms.search or ''}".encode())
    push = Push("fhir.delete", digest, sender_of(fhir.kit.policy, principal))
    whole = _whole(f"DELETE /fhir/{kind}/{id}", terms)
    reply = await _once(fhir, principal, prepared, push, terms, whole)
    if "etag" not in reply.headers:
        await note_unmet(fhir.kit, principal, [entry])
    return reply


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _whole(asked: str, terms: Terms, raw: bytes = b"") -> bytes:
    """What a repetition under the same Idempotency-Key must be the same in."""
    stands_on = [terms.if_match.encode()] if terms.if_match is not None else []
    return request_hash(f"{asked} {terms.search}".encode(), raw, *stands_on)


async def _once(
    fhir: Fhir, principal: Principal, prepared: Prepared, push: Push, terms: Terms, whole: bytes
) -> Reply:
    """Does what is prepared; under an Idempotency-Key that did it before, only answers as then."""
    async with access.told(fhir.kit, principal, push.action), fhir.kit.db.transaction(principal) as tx:
        if terms.key is None:
            return await _written(fhir, tx, prepared, push, terms.wanted)
        async with idempotent(tx, principal.client_id, terms.key, whole) as slot:
            if slot.answer is not None:
                return _again(slot.answer)
            reply = await _written(fhir, tx, prepared, push, terms.wanted)
            slot.keep(Answer(reply.status, reply.body, reply.headers))
            return reply


def _again(answer: Answer) -> Reply:
    return Reply(answer.body, answer.status, dict(answer.headers))


async def _written(fhir: Fhir, tx: Transaction, prepared: Prepared, push: Push, wanted: Return) -> Reply:
    identity = fhir.kit.calls.client(IdentityClient)
    [result] = (await applied(tx, prepared, push, identity=identity, base=fhir.base)).values()
    headers = _version_headers(result.version, result.ts) if result.version else {}
    if prepared.deletes:
        if wanted == "OperationOutcome":
            return Reply(outcome([_done(result)]), 200, headers)
        return Reply(b"", 204, headers)
    return Reply(
        await _returned(tx, result, push.sender, wanted),
        201 if result.status.startswith("201") else 200,
        {"location": fhir.base + result.location, **headers},
    )


async def _returned(tx: Transaction, result: Result, sender: Sender, wanted: Return) -> bytes:
    """What the sender wants to see of what it wrote; nothing of what another wrote and it only found."""
    if wanted == "minimal":
        return b""
    if wanted == "OperationOutcome":
        return outcome([result.issue or _done(result)])
    version = (result.type, result.id, result.version)
    found = await repository.bodies(tx, [version], client=sender.client, organisation=sender.organisation)
    return found.get(version, "").encode()


def _done(result: Result) -> Issue:
    where = result.location if result.version else f"{result.type}: there was nothing to delete"
    return Issue("informational", f"{result.status}: {where}", severity="information")


def _version_headers(version: int, ts: datetime) -> dict[str, str]:
    return {
        "etag": f'W/"{version}"',
        "last-modified": format_datetime(ts.astimezone(UTC), usegmt=True),
    }
