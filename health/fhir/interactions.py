"""Read, vread, search, create and update of single resources (FHIR R4 http.html)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

import orjson

from health import repository
from health.fhir import access, checking, search
from health.fhir.bundle import check_rights, sender_of
from health.fhir.commit import Push, Result, committed
from health.fhir.definitions import definitions
from health.fhir.entries import Prepared
from health.fhir.outcome import Issue, outcome, refused
from health.fhir.paging import PARAMETER, Pages, Pairs
from health.fhir.resolve import resolved
from health.fhir.search import Handling, Search
from health.fhir.workers import Workers
from health.models import EVERYBODY, Reach
from services.identity.client import IdentityClient
from services.kit.app import Kit
from services.kit.database import Connection, Row, Transaction
from services.kit.idempotency import Answer, idempotent, request_hash
from services.kit.principals import Principal
from services.kit.problems import unauthenticated

Return = Literal["representation", "minimal", "OperationOutcome"]


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


def check_type(kind: str) -> None:
    """Raises Refusal 404 unless R4 has the type."""
    if kind not in definitions().resources:
        raise refused(404, "not-supported", f"{kind!r} is no resource type of FHIR R4")


async def read(fhir: Fhir, principal: Principal, kind: str, id: str, version: int | None = None) -> Reply:
    """The current version, or a certain one."""
    check_type(kind)
    reach = access.reach(fhir.kit.policy, principal, kind, "r")
    row, shown = await _looked_up(fhir, reach, kind, id, version)
    if row is None:
        reach = await access.with_consents(fhir.kit, principal, reach, "fhir.read", [f"{kind}/{id}"])
        if reach.consented:
            row, shown = await _looked_up(fhir, reach, kind, id, version)
    if row is None:
        await access.leave_refused(fhir.kit, principal, "fhir.read", kind, id)
    if row is None or shown is None:
        # The same answer for what is not there and for what is not this caller's to see.
        what = f"{kind}/{id}" if version is None else f"{kind}/{id}/_history/{version}"
        raise refused(404, "not-found", f"there is no {what} here for this caller")
    await access.leave(fhir.kit, principal, "fhir.read", [row], resource=f"{kind}/{id}")
    return Reply(shown["body"].encode(), headers=_version_headers(shown["version"], shown["ts"]))


async def _looked_up(
    fhir: Fhir, reach: Reach, kind: str, id: str, version: int | None
) -> tuple[Row | None, Row | None]:
    """The resource as the caller sees it now, and the version that may be shown."""
    # One statement needs no transaction around it.
    async with fhir.kit.db.session() as db:
        row = await repository.read(db, reach, kind, id)
        if row is None or version in (None, row["version"]):
            return row, row
        # Only the current version says whose it is: an earlier one may be about somebody else, as of a
        # result that was filed under the wrong patient and put right. Its keeper has them all.
        kept = reach.everybody or row["tie"] == "custodian"
        return row, await repository.vread(db, row["pk"], version) if kept and version else None


async def find(
    fhir: Fhir, principal: Principal, kind: str, pairs: Pairs, *, handling: Handling, posted: bool
) -> Reply:
    """A page of a search, as a searchset Bundle.

    Args:
        posted: the parameters came in a body (`_search`), where a citizen number may stand.
    """
    check_type(kind)
    reach = access.reach(fhir.kit.policy, principal, kind, "s")
    after, own = 0, f"{fhir.base}{kind}"
    if not posted and pairs:
        own += f"?{urlencode(pairs)}"
    if [name for name, _ in pairs] == [PARAMETER]:
        pairs, after = fhir.pages.opened(kind, pairs[0][1])
        posted = True
    asked = search.parsed(kind, pairs, base=fhir.base, handling=handling)
    if asked.private and not posted:
        words = f"a citizen number must not stand in a URL: POST the search to {kind}/_search"
        raise refused(400, "security", words, "identifier")
    reach = await access.with_consents(fhir.kit, principal, reach, "fhir.search", _patients(kind, pairs))
    async with fhir.kit.db.session() as db:
        if asked.count == 0:
            return await _counted(fhir, principal, db, reach, asked)
        rows = await repository.search(db, reach, asked.criteria, after=after, limit=asked.count + 1)
    page = rows[: asked.count]
    await access.leave(fhir.kit, principal, "fhir.search", page, resource=kind)
    following = fhir.pages.token(kind, pairs, page[-1]["pk"]) if len(rows) > len(page) else None
    return Reply(_searchset(fhir, kind, asked, page, own, following))


async def validate(fhir: Fhir, principal: Principal, kind: str | None, raw: bytes) -> Reply:
    """What would be refused of a resource: an OperationOutcome, with 200 also where much is wrong."""
    if kind is not None:
        check_type(kind)
    if principal.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    said, issues = await fhir.workers.validate(raw, kind)
    access.reach(fhir.kit.policy, principal, said, "c")
    return Reply(outcome(issues or [checking.RIGHT]))


async def create(
    fhir: Fhir,
    principal: Principal,
    kind: str,
    raw: bytes,
    *,
    if_none_exist: str | None,
    key: str | None,
    wanted: Return,
) -> Reply:
    """Always makes a resource, unless `If-None-Exist` finds one."""
    check_type(kind)
    access.reach(fhir.kit.policy, principal, kind, "c")  # before the work that checking a body is
    prepared = await fhir.workers.resource(raw, fhir.base, kind, None)
    prepared.entries[0].condition = if_none_exist
    check_rights(fhir.kit.policy, principal, prepared.entries)
    async with fhir.kit.db.transaction(principal) as tx:
        if key is None:
            return await _written(fhir, tx, principal, prepared, raw, "fhir.create", wanted)
        whole = request_hash(f"POST /fhir/{kind} {if_none_exist}".encode(), raw)
        async with idempotent(tx, principal.client_id, key, whole) as slot:
            if slot.answer is not None:
                return Reply(slot.answer.body, slot.answer.status, dict(slot.answer.headers))
            reply = await _written(fhir, tx, principal, prepared, raw, "fhir.create", wanted)
            slot.keep(Answer(reply.status, reply.body, reply.headers))
            return reply


async def update(
    fhir: Fhir,
    principal: Principal,
    kind: str,
    id: str,
    raw: bytes,
    *,
    if_match: str | None,
    wanted: Return,
) -> Reply:
    """A new version; a first one where there was none under this id."""
    check_type(kind)
    access.reach(fhir.kit.policy, principal, kind, "u")
    prepared = await fhir.workers.resource(raw, fhir.base, kind, id)
    prepared.entries[0].if_match = if_match
    check_rights(fhir.kit.policy, principal, prepared.entries)
    async with access.told(fhir.kit, principal, "fhir.update"), fhir.kit.db.transaction(principal) as tx:
        return await _written(fhir, tx, principal, prepared, raw, "fhir.update", wanted)


async def _written(
    fhir: Fhir,
    tx: Transaction,
    principal: Principal,
    prepared: Prepared,
    raw: bytes,
    action: str,
    wanted: Return,
) -> Reply:
    sender = sender_of(fhir.kit.policy, principal)
    plan = await resolved(tx, prepared, sender, fhir.base)
    push = Push(action, hashlib.sha256(raw).digest(), sender)
    identity = fhir.kit.calls.client(IdentityClient)
    [result] = await committed(tx, plan, push, identity=identity, base=fhir.base)
    return Reply(
        await _returned(tx, result, wanted),
        201 if result.status.startswith("201") else 200,
        {"location": fhir.base + result.location, **_version_headers(result.version, result.ts)},
    )


async def _returned(tx: Transaction, result: Result, wanted: Return) -> bytes:
    if wanted == "minimal":
        return b""
    if wanted == "OperationOutcome":
        done = Issue("informational", f"{result.status}: {result.location}", severity="information")
        return outcome([result.issue or done])
    row = await repository.read(tx, EVERYBODY, result.type, result.id)
    assert row is not None, "what this transaction wrote it can read"
    return str(row["body"]).encode()


def _patients(kind: str, pairs: Pairs) -> list[str]:
    """The Patients a search names, as `Patient/id`."""
    names = ("patient", "patient:Patient", *(["_id"] if kind == "Patient" else []))
    said = [one for name, value in pairs if name in names for one in value.split(",")]
    return [f"Patient/{one.rpartition('/')[2]}" for one in said]


def _version_headers(version: int, ts: datetime) -> dict[str, str]:
    return {
        "etag": f'W/"{version}"',
        "last-modified": ts.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }


async def _counted(fhir: Fhir, principal: Principal, db: Connection, reach: Reach, asked: Search) -> Reply:
    number = await repository.count(db, reach, asked.criteria)
    await access.leave(fhir.kit, principal, "fhir.count", [], resource=asked.criteria.type)
    return Reply(orjson.dumps({"resourceType": "Bundle", "type": "searchset", "total": number}))


def _searchset(
    fhir: Fhir, kind: str, asked: Search, page: Sequence[Row], own: str, following: str | None
) -> bytes:
    """The Bundle around the bodies, which go in as they are kept."""
    links = [{"relation": "self", "url": own}]
    if following is not None:
        links.append({"relation": "next", "url": f"{fhir.base}{kind}?{PARAMETER}={following}"})
    entries: list[object] = [
        {
            "fullUrl": f"{fhir.base}{kind}/{row['id']}",
            "resource": orjson.Fragment(row["body"]),
            "search": {"mode": "match"},
        }
        for row in page
    ]
    if asked.ignored:
        report = orjson.Fragment(outcome(asked.ignored))
        entries.append({"resource": report, "search": {"mode": "outcome"}})
    bundle: dict[str, object] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    # An empty array is not allowed in FHIR JSON.
    return orjson.dumps({**bundle, "entry": entries} if entries else bundle)
