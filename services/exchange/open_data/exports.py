"""Exports for research and enterprises: application → decision by a data steward → a sealed file.

The people in it carry pseudonyms of this export alone: HMAC-SHA-256 of the exchange's own id under a key that
is drawn for the file and never kept. So no two exports join, and nobody can lead a pseudonym back. Whoever
does not share everything told of them with k - 1 others is left out.
"""

import asyncio
import hmac
import io
import json
import os
import zipfile
from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from services.exchange import catalogue
from services.exchange.open_data import anonymity, files, source
from services.exchange.open_data.generalising import generalised, ways_for
from services.exchange.open_data.source import Authority
from services.exchange.open_shapes import Application, ApplicationIn, ApplicationPage, ExportItem
from services.exchange.repository import open_data as repository
from services.exchange.shapes import Dataset
from services.exchange.terms import DECIDE_WITHIN_DAYS
from services.exchange.working_days import HERE, term
from services.kit import purposes
from services.kit.app import Kit
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.jobs import RunningJob
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, conflict, forbidden, not_found, unprocessable

JOB = "services.exchange.tasks:make_export"
LONGEST = timedelta(days=366)
PSEUDONYM = "pseudonym"
MEDIA_TYPE = "application/jose"
LOOK_EVERY_S = 30.0
AT_ONCE = 100
_ALGORITHMS = ["ECDH-ES+A256KW", "A256GCM"]
_ROWS_AT_A_STRETCH = 5_000


async def apply(kit: Kit, body: ApplicationIn, *, who: Principal) -> Application:
    """Takes an organisation's application.

    Raises:
        Problem: 403 for who is no organisation, or for a dataset that is not shared; 404 for none; 422 with
            the field for items, ways, a term or a key that cannot be.
    """
    organisation = who.organisation or who.client_id
    resource = Resource("Exchange::Export", "new", organisation=organisation)
    kit.policy.require(who, "exports.request", resource, relations={"custodian"}, purpose=purposes.RESEARCH)
    dataset = await catalogue.shared(kit, body.dataset)
    _check(body, dataset)
    id, due = uuid7(), term(datetime.now(UTC), DECIDE_WITHIN_DAYS)
    said = body.model_dump(mode="json", exclude={"valid_until"}, exclude_none=True)
    row = {
        "id": id,
        "client_id": who.client_id,
        "organisation": organisation,
        **said,
        "valid_until": body.valid_until,
        "due_at": due.ends,
        "due_by_weekdays": due.by_weekdays,
    }
    async with kit.db.transaction(who) as tx:
        await repository.add_application(tx, row)
        await tx.leaf(action="exports.request", resource=body.dataset, records=0, reason=body.title)
        return await find(kit, tx, id, who=who)


def _check(body: ApplicationIn, dataset: Dataset) -> None:
    types = {item.name: item.type for item in dataset.items if item.name != dataset.sector_id}
    faults = []
    for place, one in enumerate(body.items):
        path = f"$.items[{place}]"
        if one.item not in types:
            known = ", ".join(types)
            faults.append(Fault(f"{dataset.id} has the items {known}", field="item", path=f"{path}.item"))
        elif one.way not in ways_for(types[one.item]):
            ways = ", ".join(sorted(ways_for(types[one.item])))
            faults.append(Fault(f"{one.item} can be told by {ways}", field="way", path=f"{path}.way"))
    today = datetime.now(HERE).date()
    if not today <= body.valid_until <= today + LONGEST:
        faults.append(
            Fault("the term ends within a year from today", field="valid_until", path="$.valid_until")
        )
    try:
        ECKey.import_key(body.encryption_jwk.model_dump(exclude_none=True)).public_key  # noqa: B018 - a point?
    except (JoseError, ValueError):
        faults.append(Fault("x and y are no point of P-256", field="encryption_jwk", path="$.encryption_jwk"))
    if faults:
        raise unprocessable("invalid_application", faults[0].message, *faults)


async def page(
    kit: Kit, db: Connection, *, who: Principal, state: str | None, after: str | None, limit: int
) -> ApplicationPage:
    """Applications, the newest first: an organisation's own; everybody's for a data steward.

    Raises:
        Problem: 403 for anybody else.
    """
    organisation = None if who.kind == "staff" else who.organisation or who.client_id
    resource = Resource("Exchange::Export", organisation=organisation)
    kit.policy.require(who, "exports.read", resource, relations=_relations(who, organisation))
    rows = await repository.applications(
        db, organisation=organisation, state=state, before=uuid_after(after), limit=limit + 1
    )
    items = [_shape_of(row) for row in rows[:limit]]
    return ApplicationPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def find(kit: Kit, db: Connection, id: UUID, *, who: Principal) -> Application:
    """Raises Problem 404, for another organisation's as for none."""
    return _shape_of(await _readable(kit, db, id, who))


async def decide(
    kit: Kit, tx: Transaction, id: UUID, *, approve: bool, reason: str, who: Principal
) -> Application:
    """A data steward's word; an approved export is made at once, by a job.

    Raises:
        Problem: 403 for anybody else, and for whoever belongs to the applicant; 404; 409 for one that is
            decided, or to be approved after its term.
    """
    decided = kit.policy.require(who, "exports.decide", Resource("Exchange::Export", str(id)))
    row = await repository.lock_application(tx, id)
    if row is None:
        raise _unknown(id)
    if row["state"] != "requested":
        raise conflict("already_decided", f"the application is {row['state']}")
    if who.client_id == row["client_id"] or who.organisation == row["organisation"]:
        raise forbidden("nobody decides on their own application", code="own_application")
    if approve and row["valid_until"] < datetime.now(HERE).date():
        raise conflict("validity_passed", "its term is over; it would have to be asked for anew")
    assert kit.jobs is not None
    job_id = await kit.jobs.submit(tx, kind=JOB, args={"application": str(id)}) if approve else None
    state = "approved" if approve else "refused"
    await repository.decide(tx, id, state=state, reason=reason, decided_by=who.subject, job_id=job_id)
    await tx.leaf(
        action=f"exports.{state}",
        resource=row["dataset"],
        records=0,
        reason=reason,
        purpose=purposes.RESEARCH,
        legal_basis=decided.legal_basis,
    )
    await tx.publish(
        f"exchange.export.{state}",
        aggregate=f"export/{id}",
        data={"export": str(id), "dataset": row["dataset"]},
    )
    return await find(kit, tx, id, who=who)


async def sealed_file(kit: Kit, tx: Transaction, id: UUID, *, who: Principal) -> bytes:
    """The file, for the applicant alone; a leaf says that it was fetched.

    Raises:
        Problem: 404 for another's, and for one that is not made or not kept any more.
    """
    application = await _readable(kit, tx, id, who)
    if who.kind == "staff":
        raise forbidden("the file is sealed to the applicant, who fetches it", code="not_the_applicant")
    found = await repository.export(tx, id)
    if found is None:
        raise not_found(f"there is no file: the application is {application['state']}", code="no_file")
    await tx.leaf(
        action="exports.fetch",
        resource=application["dataset"],
        records=found["records"],
        purpose=purposes.RESEARCH,
        legal_basis=application["legal_basis"],
        reason=application["title"],
    )
    return bytes(found["sealed"])


async def make(job: RunningJob) -> dict[str, Any]:
    """Reads the dataset, takes out whoever would stand out, gives pseudonyms, and seals the file."""
    id = UUID(str(job.args["application"]))
    async with job.kit.db.read() as db:
        row = await repository.application(db, id)
    assert row is not None, "an application is never deleted"
    if row["state"] != "approved":
        return {"state": row["state"]}
    items = [ExportItem(**one) for one in row["items"]]
    try:
        dataset = await catalogue.shared(job.kit, row["dataset"], {one.item for one in items})
    except Problem as refusal:
        return await _withheld(job, id, row, refusal.detail)
    authority = Authority("exports.read", purposes.RESEARCH, row["legal_basis"], row["title"])
    people: list[str] = []
    told: list[anonymity.Told] = []
    async for found in source.pages(job, dataset, {one.item for one in items}, authority):
        for place, (line, person) in enumerate(zip(found.rows, found.people, strict=True)):
            if person is not None or not dataset.personal:
                # Rows about nobody stand each for itself.
                people.append(person or f"row {len(people)}")
                told.append(tuple(generalised(line[one.item], one.way) for one in items))
            if place % _ROWS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        await job.progress(len(people))
    export = await asyncio.to_thread(_export, row, items, people, told)
    if not export.records:
        reason = f"nobody shares what is told with {row['k'] - 1} others: tell less"
        return await _withheld(job, id, row, reason)
    return await _kept(job, id, row, export)


@dataclass(frozen=True, slots=True)
class _Export:
    records: int
    left_out: int
    people: int
    k: int
    sealed: bytes


def _export(
    row: Row, items: Sequence[ExportItem], people: Sequence[str], told: Sequence[anonymity.Told]
) -> _Export:
    """The file and its figures; without records, where nobody shares what is told with enough others."""
    kept = {person: n for person, n in anonymity.alike(people, told).items() if n >= row["k"]}
    key = os.urandom(32)
    rows = sorted(
        (_pseudonym(key, person), *line) for person, line in zip(people, told, strict=True) if person in kept
    )
    figures = {
        "records": len(rows),
        "left_out": len(people) - len(rows),
        "people": len(kept),
        "k": min(kept.values(), default=0),
    }
    columns = [PSEUDONYM, *(one.item for one in items)]
    about = {name: row[name] for name in ("title", "dataset", "legal_basis")}
    notes = {**about, "items": row["items"], **figures}
    return _Export(**figures, sealed=_sealed(row["encryption_jwk"], _zip(columns, rows, notes)))


def _pseudonym(key: bytes, person: str) -> str:
    return "x1_" + b32encode(hmac.digest(key, person.encode(), "sha256"))[:26].decode()


def _zip(columns: Sequence[str], rows: Sequence[Sequence[str]], notes: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.csv", files.as_csv(columns, rows))
        archive.writestr("data.parquet", files.as_parquet(columns, rows))
        archive.writestr("about.json", json.dumps(notes, ensure_ascii=False, indent=2))
    return out.getvalue()


def _sealed(jwk: dict[str, Any], plain: bytes) -> bytes:
    header = {"alg": jwk["alg"], "enc": "A256GCM", "cty": "application/zip"}
    key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    return jwe.encrypt_compact(header, plain, key, algorithms=_ALGORITHMS).encode()


async def _kept(job: RunningJob, id: UUID, row: Row, export: _Export) -> dict[str, Any]:
    async with job.transaction() as tx:
        await repository.keep_export(
            tx,
            id,
            records=export.records,
            left_out=export.left_out,
            people=export.people,
            k=export.k,
            sealed=export.sealed,
        )
        await _ended(tx, id, row, "exported", records=export.records)
    return {"state": "exported", "records": export.records, "left_out": export.left_out, "k": export.k}


async def _withheld(job: RunningJob, id: UUID, row: Row, reason: str) -> dict[str, Any]:
    async with job.transaction() as tx:
        await _ended(tx, id, row, "withheld", reason=reason)
    return {"state": "withheld", "reason": reason}


async def _ended(
    tx: Transaction, id: UUID, row: Row, state: str, *, records: int = 0, reason: str | None = None
) -> None:
    await repository.set_state(tx, id, state, reason)
    await tx.leaf(action=f"exports.{state}", resource=row["dataset"], records=records, reason=reason)
    await tx.publish(f"exchange.export.{state}", aggregate=f"export/{id}", data={"export": str(id)})


async def sweep(kit: Kit) -> int:
    """Tells of applications nobody decided in time, ends those whose term is over, and what no job makes any
    more; how many.
    """
    async with kit.db.transaction() as tx:
        overdue = await repository.newly_overdue(tx, limit=AT_ONCE)
        for row in overdue:
            await tx.publish(
                "exchange.export.overdue",
                aggregate=f"export/{row['id']}",
                data={
                    "export": str(row["id"]),
                    "dataset": row["dataset"],
                    "due_at": row["due_at"].isoformat(),
                },
            )
        ended = await repository.end_expired(tx, limit=AT_ONCE)
        failed = await repository.exports_failed(tx, limit=AT_ONCE)
        for row in failed:
            await _ended(tx, row["id"], row, "withheld", reason=repository.NOT_MADE)
        await repository.withhold_failed(tx)
    return len(overdue) + len(ended) + len(failed)


async def keep_terms(kit: Kit) -> None:
    while True:
        if await sweep(kit) < AT_ONCE:
            await asyncio.sleep(LOOK_EVERY_S)


async def _readable(kit: Kit, db: Connection, id: UUID, who: Principal) -> Row:
    row = await repository.application(db, id)
    if row is None:
        raise _unknown(id)
    resource = Resource("Exchange::Export", str(id), organisation=row["organisation"])
    relations = _relations(who, row["organisation"])
    if not kit.policy.decide(who, "exports.read", resource, relations=relations).permitted:
        raise _unknown(id)
    return row


def _relations(who: Principal, organisation: str | None) -> set[str]:
    """A client without an organisation keeps what it asked for under its own name."""
    return (
        {"custodian"}
        if organisation is not None and organisation in {who.organisation, who.client_id}
        else set()
    )


def _shape_of(row: Row) -> Application:
    return Application(**{name: row[name] for name in Application.model_fields})


def _unknown(id: UUID) -> Problem:
    return not_found(f"there is no application {id}", code="unknown_application")
