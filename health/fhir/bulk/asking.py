"""What every bulk request goes through: who may ask, how it stands, how it is cancelled.

Who asks is kept with the request, so that it is decided again, when the job runs, by the policies of then.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal
from uuid import UUID

import orjson

from health.fhir import access
from health.fhir.interactions import Fhir, Reply
from health.fhir.outcome import refused
from health.reaching import Reach
from health.repository import bulk as repository
from services.kit.app import Kit
from services.kit.database import Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import unauthenticated

Kind = Literal["export", "import"]
JOBS: Mapping[Kind, str] = {"export": "health.tasks:export", "import": "health.tasks:load"}
AT_ONCE = 3
"""Requests of one client that may be under way; the next is asked to come again."""
RETRY_AFTER_S = 5
_ATTEMPTS = 20
_NOT_KEPT = frozenset({"token", "expires_at", "sector_ids"})


def check(who: Principal) -> None:
    """Raises Problem 401, or Refusal 403 unless the caller is an organisation's own client."""
    if who.kind == "anonymous":
        raise unauthenticated("this needs a bearer token")
    if who.kind != "organisation" and not who.unguarded:
        raise refused(403, "forbidden", "bulk data is for an organisation's own client, with system/ scopes")


async def submit(tx: Transaction, kit: Kit, who: Principal, kind: Kind, asked: dict[str, Any]) -> UUID:
    """Keeps the request, and a job for it.

    Raises:
        Refusal: 429 when too many of the client's are under way.
    """
    if await repository.unfinished(tx, who.client_id) >= AT_ONCE:
        words = f"{AT_ONCE} bulk requests of this client are under way; wait for one, or delete one"
        raise refused(429, "throttled", words, **{"retry-after": str(RETRY_AFTER_S)})
    assert kit.jobs is not None
    id = uuid7()
    job = await kit.jobs.submit(tx, kind=JOBS[kind], args={"bulk": str(id)}, max_attempts=_ATTEMPTS)
    said = {name: value for name, value in asdict(who).items() if name not in _NOT_KEPT}
    kept = said | {name: sorted(said[name]) for name in ("scopes", "roles")}
    await repository.add(
        tx,
        id,
        kind,
        client=who.client_id,
        organisation=who.organisation,
        who=kept,
        asked=asked,
        job=job,
    )
    return id


def asker(row: Row) -> Principal:
    """Who asked for it, with the rights the token had then."""
    said = dict(row["who"])
    said |= {name: frozenset(said[name]) for name in ("scopes", "roles")}
    return Principal(**said | {"areas": tuple(said["areas"])})


def accepted(fhir: Fhir, id: UUID) -> Reply:
    return Reply(b"", 202, {"content-location": f"{fhir.base}bulk/{id}"})


async def find(fhir: Fhir, who: Principal, id: UUID) -> Row:
    """Raises Refusal 404 for anybody but the client and organisation that asked."""
    check(who)
    async with fhir.kit.db.session() as db:
        row = await repository.find(db, id)
    if row is None or (row["client"], row["organisation"]) != (who.client_id, who.organisation):
        raise refused(404, "not-found", f"this client has no bulk request {id}")
    return row


async def status(fhir: Fhir, who: Principal, id: UUID) -> Reply:
    """202 while it is on its way, 200 with the manifest when it is done.

    Raises:
        Refusal: 404 for no request of the caller's, 500 for one that failed.
    """
    row = await find(fhir, who, id)
    if row["ready_at"] is not None:
        return Reply(await _manifest(fhir, row), 200, _until(row["expires_at"]))
    if row["state"] in ("failed", "cancelled", "done"):
        words = f"it ended without a result: {row['error'] or row['state']}"
        raise refused(500, "exception", words)
    done, total = row["progress_done"], row["progress_total"]
    progress = f"{done} of {total}" if total else f"{done} resources"
    return Reply(b"", 202, {"x-progress": progress, "retry-after": str(RETRY_AFTER_S)})


def _until(expires: datetime) -> dict[str, str]:
    return {"expires": format_datetime(expires, usegmt=True), "content-type": "application/json"}


async def _manifest(fhir: Fhir, row: Row) -> bytes:
    async with fhir.kit.db.session() as db:
        files = await repository.files(db, row["id"])
    inputs = {f"input-{n}": one for n, one in enumerate(row["asked"].get("inputs", ()), 1)}
    found: dict[str, Any] = {
        "transactionTime": _instant(row["as_of"] or row["ready_at"]),
        "request": row["asked"]["request"],
        "requiresAccessToken": True,
        "output": [],
        "deleted": [],
        "error": [],
    }
    for file in files:
        if file["role"] in found and file["lines"]:
            about = {"inputUrl": inputs[file["type"]]} if file["type"] in inputs else {}
            url = f"{fhir.base}bulk/{row['id']}/{file['name']}"
            type_ = {"deleted": "Bundle", "error": "OperationOutcome"}.get(file["role"], file["type"])
            found[file["role"]].append({"type": type_, "url": url, "count": file["lines"], **about})
    return orjson.dumps(found)


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def cancel(fhir: Fhir, who: Principal, id: UUID) -> Reply:
    """Ends the job and removes what it has written; what an import has taken stays taken."""
    row = await find(fhir, who, id)
    kit = fhir.kit
    assert kit.jobs is not None
    async with kit.db.transaction(who) as tx:
        # The runner writes nothing more from here on: it needs the job's row for that.
        await kit.jobs.cancel(tx, row["job"])
        await repository.forget(tx, id)
        kind = row["kind"]
        await tx.leaf(action=f"fhir.{kind}.deleted", records=0, resource=f"bulk/{id}")
    return Reply(b"", 202)


def kept(kit: Kit) -> timedelta:
    return timedelta(hours=kit.settings.bulk_retention_hours)


def tied(kit: Kit, who: Principal) -> Reach:
    """What the access policies let the caller export.

    Raises:
        Refusal: 403 when none does.
    """
    found = access.tied(kit.policy, who, "fhir.export")
    if not found.everybody and not found.relations:
        decision = kit.policy.decide(who, "fhir.export", Resource(access.RECORD), relations=["custodian"])
        words = f"{decision.reason_en} {decision.reason_zh} (purpose: {who.purpose or 'not said'})"
        raise refused(403, "forbidden", words)
    return found
