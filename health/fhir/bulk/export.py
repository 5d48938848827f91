"""`$export`: everything of a population that the asker may see, in one snapshot (Bulk Data Access IG 2.0.0).

The job reads PostgreSQL through a cursor and writes parts as it goes; one whose worker died begins again in
a new snapshot, because nobody can go back to the old one. Nothing can be fetched before the access leaf, with
everybody whose records are in the files, is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import orjson

from health import repository as records
from health.criteria import Criteria
from health.fhir import access, extract, search
from health.fhir.bulk import asking
from health.fhir.bulk.files import Writer
from health.fhir.definitions import definitions
from health.fhir.interactions import Fhir, Reply
from health.fhir.outcome import Refusal, refused
from health.fhir.search.coded import settled
from health.reaching import EVERYBODY, Reach
from health.repository import bulk as repository
from health.repository import exports
from health.repository.exports import Wanted
from services.kit.app import Kit
from services.kit.database import Connection, Row, Transaction
from services.kit.jobs import RunningJob
from services.kit.principals import Principal
from services.kit.telemetry import holds_citizen_number

if TYPE_CHECKING:
    from health.fhir.operations.parameters import Given

ACTION = "fhir.export"
Level = Literal["system", "patient", "group"]
FORMATS = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
TAKES = {
    "_outputFormat": "string",
    "_since": "instant",
    "_until": "instant",
    "_type": "string*",
    "_typeFilter": "string*",
}
PATIENTS = {"patient": "Reference*"}


async def ask(
    fhir: Fhir, who: Principal, level: Level, given: "Given", *, url: str, group: str = ""
) -> Reply:
    """Takes the request; the job it becomes stands at the Content-Location.

    Raises:
        Refusal: 400, 403, 404 for a Group or Patient the caller may not see, 429.
    """
    asked = _asked(given, url=url, base=fhir.base) | {"level": level, "group": group}
    _filters(asked, fhir.base)
    await _scope(fhir.kit, who, asked)
    async with fhir.kit.db.transaction(who) as tx:
        id = await asking.submit(tx, fhir.kit, who, "export", asked)
        await tx.leaf(action=f"{ACTION}.requested", records=0, resource=f"bulk/{id}")
    return asking.accepted(fhir, id)


def _asked(given: "Given", *, url: str, base: str) -> dict[str, Any]:
    """The request as it is kept."""
    if any(holds_citizen_number(str(value)) for value in given["_typeFilter"]):
        raise refused(
            400, "security", "a citizen number must not stand in a request that is kept", "_typeFilter"
        )
    wanted = given["_outputFormat"][0] if given["_outputFormat"] else "ndjson"
    if wanted.replace(" ", "+") not in FORMATS:
        words = f"{wanted!r} is not offered; application/fhir+ndjson is"
        raise refused(400, "not-supported", words, "_outputFormat")
    types = sorted({one for value in given["_type"] for one in value.split(",")})
    for kind in types:
        if kind not in definitions().resources:
            raise refused(400, "value", f"{kind!r} is no resource type of FHIR R4", "_type")
    return {
        "request": url,
        "types": types,
        "since": _moment(given, "_since"),
        "until": _moment(given, "_until"),
        "filters": given["_typeFilter"],
        "patients": [_patient(one, base) for one in given.get("patient", ())],
    }


def _moment(given: "Given", name: str) -> str | None:
    if not given[name]:
        return None
    # A plus sign of a zone that was not percent-encoded arrives as a space.
    written = given[name][0].replace(" ", "+")
    try:
        if "T" not in written:
            raise ValueError(f"{written!r} is no instant")
        return extract.moment(extract.interval(written)[0]).isoformat()
    except ValueError as error:
        raise refused(400, "value", f"{error}; write e.g. 2026-05-01T08:00:00Z", name) from error


def _patient(reference: Any, base: str) -> str:
    written = reference.get("reference") if isinstance(reference, dict) else None
    kind, _, id = str(written).removeprefix(base).partition("/")
    if kind != "Patient" or not id:
        raise refused(400, "value", "name a patient as Patient/id", "patient")
    return id


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is exported: of these types, of these Patients (None: of everybody), what the reach opens."""

    types: list[str]
    patients: list[int] | None
    reach: Reach


async def _scope(kit: Kit, who: Principal, asked: dict[str, Any]) -> _Scope:
    """What the request comes to by the rights and policies of now.

    Raises:
        Refusal: 403 without the right or a policy; 404 for a Group or a named Patient the caller may not see.
    """
    types = asked["types"] or _granted(who)
    tied = asking.tied(kit, who)
    for kind in types:
        reach = access.reach(kit.policy, who, kind, "s")
    if not reach.everybody:
        relations, special = reach.relations & tied.relations, reach.special & tied.special
        reach = replace(reach, relations=relations, special=special)
    named = await _members(kit, who, asked["group"]) if asked["group"] else asked["patients"]
    if not named and not asked["group"]:
        return _Scope(types, None, reach)
    named_here = [f"Patient/{id}" for id in named]
    reach = await access.with_consents(kit, who, reach, "fhir.search", named_here)
    async with kit.db.session() as db:
        # Whom the caller may see decides, not whether its scopes are for Patients too.
        patients = await exports.patients(db, replace(reach, granted=EVERYBODY.granted), named)
    missing = [id for id in asked["patients"] if id not in patients]
    if missing:
        raise refused(404, "not-found", f"there is no Patient/{missing[0]} here for this caller", "patient")
    chosen = [pk for id, pk in patients.items() if not asked["patients"] or id in asked["patients"]]
    return _Scope(types, sorted(chosen), reach)


def _granted(who: Principal) -> list[str]:
    granted = access.granted(who, "s")
    found = [kind for kind in sorted(definitions().resources) if granted.names(kind)]
    if not found:
        raise refused(403, "forbidden", "the token grants no right to search any type")
    return found


async def _members(kit: Kit, who: Principal, id: str) -> list[str]:
    """The ids of the Patients who are in a Group now.

    Raises:
        Refusal: 404 for none that the caller may see.
    """
    reach = access.reach(kit.policy, who, "Group", "r")
    async with kit.db.session() as db:
        row = await records.read(db, reach, "Group", id)
    if row is None:
        await access.leave_refused(kit, who, ACTION, "Group", id)
        raise refused(404, "not-found", f"there is no Group/{id} here for this caller")
    await access.leave(kit, who, ACTION, [row], resource=f"Group/{id}")
    members = [one for one in orjson.loads(row["body"]).get("member", ()) if not one.get("inactive")]
    targets = (extract.target_of(one.get("entity")) or "" for one in members)
    return sorted({target.partition("/")[2] for target in targets if target.startswith("Patient/")})


@dataclass(slots=True)
class _Told:
    """Whose records went out by one tie, for the access leaf."""

    records: int = 0
    subjects: set[str] = field(default_factory=set)


async def run(job: RunningJob) -> dict[str, Any]:
    """Writes the files of an export, and its leaves."""
    kit, id = job.kit, UUID(str(job.args["bulk"]))
    async with job.transaction() as tx:
        await repository.clear(tx, id)
        row = await repository.find(tx, id)
    assert row is not None, "a request that is forgotten has its job cancelled"
    who = asking.asker(row)
    try:
        scope = await _scope(kit, who, row["asked"])
    except Refusal as refusal:
        raise ValueError(f"not permitted any more: {refusal.detail}") from refusal  # for good
    base = f"{kit.settings.public_url}/fhir/"
    async with kit.db.session() as db:
        as_of = await exports.horizon(db)
        asked = [await _wanted(db, row["asked"], scope, kind, base) for kind in scope.types]
    told: dict[str | None, _Told] = {}
    async with kit.db.read() as db:
        done = 0
        for wanted in asked:
            writer = _writer(job, row, "output", wanted.type)
            async for rows in exports.exported(db, scope.reach, wanted):
                await writer.add([one["body"].encode() for one in rows])
                _tell(told, rows)
                done += len(rows)
                await job.progress(done)
            await writer.close()
            if wanted.since is not None:
                await _write_deleted(job, row, db, scope.reach, wanted)
    async with job.transaction() as tx:
        tx.principal = who
        await _leave(tx, kit, who, row, told)
        await repository.ready(tx, id, as_of=as_of, kept=asking.kept(kit))
    return {"resources": done}


def _writer(job: RunningJob, row: Row, role: Literal["output", "deleted"], kind: str) -> Writer:
    name = kind if role == "output" else f"deleted-{kind}"
    return Writer(job.transaction, row, role=role, name=name, type=kind, kept=asking.kept(job.kit))


def _filters(asked: dict[str, Any], base: str) -> list[Criteria]:
    """The searches of `_typeFilter`.

    Raises:
        Refusal: 400 for one that is no search, or of a type that is not exported.
    """
    found = []
    for one in asked["filters"]:
        kind, mark, query = one.partition("?")
        if not mark or kind not in definitions().resources or (asked["types"] and kind not in asked["types"]):
            words = f"{one[:80]!r} is no search of an exported type: write Type?parameter=value"
            raise refused(400, "value", words, "_typeFilter")
        found.append(search.condition(kind, query, base=base, path="_typeFilter"))
    return found


async def _wanted(db: Connection, asked: dict[str, Any], scope: _Scope, kind: str, base: str) -> Wanted:
    filters = [one for one in _filters(asked, base) if one.types == (kind,)]
    held = tuple([await settled(db, scope.reach, one) for one in filters])

    def moment(name: str) -> datetime | None:
        return datetime.fromisoformat(asked[name]) if asked[name] else None

    whole = asked["level"] == "system"
    return Wanted(kind, scope.patients, whole, moment("since"), moment("until"), held)


def _tell(told: dict[str | None, _Told], rows: Sequence[Row]) -> None:
    for row in rows:
        about = told.setdefault(row["tie"], _Told())
        about.records += 1
        if row["sector_id"] is not None:
            about.subjects.add(row["sector_id"])


async def _write_deleted(job: RunningJob, row: Row, db: Connection, reach: Reach, wanted: Wanted) -> None:
    """What is gone since then, as transaction Bundles of DELETE."""
    writer = _writer(job, row, "deleted", wanted.type)
    async for rows in exports.deleted(db, reach, wanted):
        gone = [{"request": {"method": "DELETE", "url": f"{wanted.type}/{one['id']}"}} for one in rows]
        await writer.add([orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": gone})])
    await writer.close()


async def _leave(tx: Transaction, kit: Kit, who: Principal, row: Row, told: dict[str | None, _Told]) -> None:
    """One leaf for each tie by which the asker sees what went out, usually one; one too where nothing did."""
    for tie, about in (told or {None: _Told()}).items():
        await tx.leaf(
            action=ACTION,
            subjects=sorted(about.subjects),
            records=about.records,
            resource=f"bulk/{row['id']}",
            relation=tie,
            legal_basis=access.basis(kit.policy, who, tie, ACTION) if tie is not None else None,
        )
