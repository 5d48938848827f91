"""Takes a push: every row judged, every person found, then all of it in one commit, or nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from services.kit.database import Connection, Database, Row, Transaction
from services.kit.idempotency import Answer, idempotent
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import Problem, bad_request
from social_security.imports import parquet_door
from social_security.imports.checks import Refused, masked
from social_security.imports.csv_rows import CsvFile
from social_security.imports.kinds import CLAIM_LINES, CLAIMS, Kind
from social_security.imports.people import Found, Person
from social_security.imports.push import SentFile, digest_of, in_order, sha256_of
from social_security.imports.refusals import MOST_ROWS, Refusals
from social_security.imports.rows import Checked, checked_rows, fault_of
from social_security.repository import intake
from social_security.repository.intake import Staging
from social_security.shapes import FileReceipt, Mode, Receipt

DEADLINE_MS = 600_000
NAMES_KEPT = 500_000

Resolve = Callable[[Sequence[Person]], Awaitable[Found]]


@dataclass(slots=True)
class _Counts:
    rows_in: int = 0
    repeated: int = 0
    inserted: int = 0
    updated: int = 0


@dataclass(slots=True)
class _Push:
    """A push on its way through one transaction."""

    tx: Transaction
    organisation: str
    files: list[SentFile]
    mode: Mode
    today: date
    at: datetime
    refusals: Refusals = field(default_factory=Refusals)
    counts: dict[str, _Counts] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)

    def stop_if_refused(self) -> None:
        if self.refusals and self.mode == "atomic":
            raise self.refusals.problem()


async def receive(
    *,
    database: Database,
    resolve: Resolve,
    principal: Principal,
    files: Sequence[SentFile],
    mode: Mode,
    today: date,
    key: str | None = None,
) -> Receipt:
    """Takes the push and answers with its receipt.

    The same push sent again gets the receipt it got before, unless the organisation has since sent something
    else that it would undo: then it counts as a new push, since that is what its sender now says. A retry
    that may come late carries an Idempotency-Key, which holds whatever was sent in between.

    Args:
        key: the Idempotency-Key, if the sender gave one.

    Raises:
        Problem: 400 for what cannot be read, 422 for rows refused; nothing is applied then.
        DomainError: identity does not answer; nothing is applied.
    """
    readable = [await _readable(file) for file in in_order(files)]
    organisation = principal.organisation or principal.client_id
    digest = digest_of(files, mode)
    async with database.transaction(principal) as tx:
        at = await intake.take_turn(tx, organisation=organisation, deadline_ms=DEADLINE_MS)
        push = _Push(tx, organisation, list(files), mode, today, at)
        if key is None:
            return await _taken(push, readable, digest, resolve)
        async with idempotent(tx, principal.client_id, key, bytes.fromhex(digest)) as slot:
            if slot.answer is not None:
                earlier = Receipt.model_validate_json(slot.answer.body)
                return earlier.model_copy(update={"duplicate_of": earlier.receipt_id})
            receipt = await _taken(push, readable, digest, resolve)
            slot.keep(Answer(201, receipt.model_dump_json().encode()))
            return receipt


async def _taken(push: _Push, files: Sequence[CsvFile], digest: str, resolve: Resolve) -> Receipt:
    last, same = await intake.newest_receipts(push.tx, organisation=push.organisation, digest=digest)
    if same is not None and last is not None and last["id"] == same["id"] and not same["refused"]:
        return receipt_of(same, duplicate=True)
    await _stage_all(push, files)
    await _find_people(push, resolve)
    await _refuse_lines_without_claim(push)
    push.stop_if_refused()
    try:
        async with push.tx.savepoint():
            return await _apply(push, digest, same)
    except _Repeated as repeated:
        return receipt_of(repeated.receipt, duplicate=True)


class _Repeated(Exception):
    """The push was taken before and changes nothing: undo what was kept of it, answer with that receipt."""

    def __init__(self, receipt: Row) -> None:
        super().__init__()
        self.receipt = receipt


async def _readable(file: SentFile) -> CsvFile:
    if file.parquet:
        return await parquet_door.as_csv(file)
    return await asyncio.to_thread(CsvFile, file.path, file.kind, charset=file.charset)


def staging_of(kind: Kind) -> Staging:
    return Staging(kind.table, kind.key, kind.kept, kind.about_person)


async def _stage_all(push: _Push, files: Sequence[CsvFile]) -> None:
    """Every row that can be read and typed into its staging table; the others to the refusals."""
    if any(file.kind is CLAIM_LINES for file in files):
        # The lines are held against the claims of the same push, even where it has none.
        await intake.make_staging(push.tx, staging_of(CLAIMS))
    for file in files:
        staging = staging_of(file.kind)
        if file.kind is not CLAIMS or CLAIM_LINES not in [other.kind for other in files]:
            await intake.make_staging(push.tx, staging)
        counts = push.counts[file.kind.name] = _Counts()
        rows = checked_rows(file, today=push.today)
        while (checked := await asyncio.to_thread(_next, rows)) is not None:
            counts.rows_in += len(checked.lines) + len(checked.faults)
            push.refusals.add(file.kind, checked.faults)
            _note_names(push, file.kind, checked)
            if checked.rows:
                await intake.stage(push.tx, staging, _records(file.kind, checked))
        if not counts.rows_in:
            raise bad_request("no_rows", f"{file.kind.name} has a header and no rows; nothing was applied")
        await _refuse_contradictions(push, file.kind, counts)
    push.stop_if_refused()


def _next(rows: Iterator[Checked]) -> Checked | None:
    return next(rows, None)


def _records(kind: Kind, checked: Checked) -> Iterator[tuple[object, ...]]:
    sent = staging_of(kind).sent
    if kind.names == sent:
        return ((line, *row) for line, row in zip(checked.lines, checked.rows, strict=True))
    at = [kind.names.index(name) for name in sent]
    return ((line, *(row[i] for i in at)) for line, row in zip(checked.lines, checked.rows, strict=True))


def _note_names(push: _Push, kind: Kind, checked: Checked) -> None:
    """What a push says of a person's name helps identity to find or make the person; it is not kept here."""
    if "name" not in kind.names or len(push.names) > NAMES_KEPT:
        return
    number, name = kind.names.index("citizen_number"), kind.names.index("name")
    for row in checked.rows:
        if row[name] is not None:
            push.names.setdefault(row[number], row[name])


async def _refuse_contradictions(push: _Push, kind: Kind, counts: _Counts) -> None:
    """A key twice in one file: word for word the same counts once; with other values neither is taken."""
    staging = staging_of(kind)
    good = counts.rows_in - push.refusals.count(kind)
    distinct = await intake.staged(push.tx, staging)
    if distinct == good:
        return
    counts.repeated = await intake.drop_repetitions(push.tx, staging)
    if distinct == good - counts.repeated:
        return
    found = await intake.contradictions(push.tx, staging, MOST_ROWS + 1)
    key = " and ".join(kind.key)
    faults = {
        row["line"]: [
            fault_of(
                kind,
                row["line"],
                kind.key[0],
                Refused("key_twice", f"the same {key} stands on line {row['other']} with other values"),
            )
        ]
        for row in found
    }
    push.refusals.add(kind, faults)
    await intake.unstage(push.tx, staging, list(faults))


async def _find_people(push: _Push, resolve: Resolve) -> None:
    """Asks identity for everybody in the push; a number it cannot place refuses the rows that carry it."""
    kinds = [file.kind for file in push.files if file.kind.about_person]
    if not kinds:
        return
    stagings = [staging_of(kind) for kind in kinds]
    numbers = await intake.numbers_staged(push.tx, stagings)
    found = await resolve([Person(number, push.names.get(number)) for number in numbers])
    for kind, staging in zip(kinds, stagings, strict=True):
        if not found.problems:
            break
        rows = await intake.lines_of(push.tx, staging, list(found.problems), MOST_ROWS + 1)
        faults = {
            row["line"]: [
                fault_of(
                    kind,
                    row["line"],
                    "citizen_number",
                    found.problems[row["citizen_number"]],
                    masked(row["citizen_number"], personal=True),
                )
            ]
            for row in rows
        }
        push.refusals.add(kind, faults)
        await intake.unstage(push.tx, staging, list(faults))
    await intake.stage_people(push.tx, found.people.items())
    push.subjects.update(found.people.values())
    push.stop_if_refused()


async def _refuse_lines_without_claim(push: _Push) -> None:
    if CLAIM_LINES not in [file.kind for file in push.files]:
        return
    rows = await intake.without_claim(push.tx, organisation=push.organisation, limit=MOST_ROWS + 1)
    refused = Refused(
        "unknown_claim", "no such claim in this push, nor in an earlier one of this organisation"
    )
    faults = {
        row["line"]: [
            fault_of(CLAIM_LINES, row["line"], "claim_id", refused, masked(row["claim_id"], personal=False))
        ]
        for row in rows
    }
    push.refusals.add(CLAIM_LINES, faults)
    await intake.unstage(push.tx, staging_of(CLAIM_LINES), list(faults))


async def _apply(push: _Push, digest: str, same: Row | None) -> Receipt:
    """Versions, receipt, leaf and event of what is left in staging."""
    receipt_id = uuid7()
    receipt = Receipt(
        receipt_id=receipt_id,
        status="accepted_in_part" if push.refusals else "accepted",
        sha256=sha256_of(push.files),
        mode=push.mode,
        received_at=push.at,
        files=[],
    )
    # The receipt stands first: versions refer to it.
    await _keep(push, receipt, digest)
    files = in_order(push.files)
    await intake.settle_people(push.tx, [staging_of(file.kind) for file in files])
    for file in files:
        staging, counts = staging_of(file.kind), push.counts[file.kind.name]
        counts.updated = await intake.supersede(push.tx, staging, organisation=push.organisation, at=push.at)
        counts.inserted = -counts.updated + await intake.insert_versions(
            push.tx, staging, organisation=push.organisation, receipt_id=receipt_id, at=push.at
        )
        receipt.files.append(_file_receipt(push, file, counts))
    if same is not None and not any(file.inserted or file.updated for file in receipt.files):
        raise _Repeated(same)
    await intake.fill_receipt(push.tx, receipt_id, files=[file.model_dump() for file in receipt.files])
    await _tell(push, receipt)
    return receipt


def _file_receipt(push: _Push, file: SentFile, counts: _Counts) -> FileReceipt:
    refused = push.refusals.count(file.kind)
    return FileReceipt(
        kind=file.kind.name,
        sha256=file.sha256,
        rows_in=counts.rows_in,
        inserted=counts.inserted,
        updated=counts.updated,
        unchanged=counts.rows_in - counts.inserted - counts.updated - refused,
        refused=refused,
    )


async def _keep(push: _Push, receipt: Receipt, digest: str) -> None:
    assert push.tx.principal is not None
    await intake.keep_receipt(
        push.tx,
        receipt_id=receipt.receipt_id,
        organisation=push.organisation,
        client_id=push.tx.principal.client_id,
        digest=digest,
        sha256=receipt.sha256,
        mode=receipt.mode,
        refused=push.refusals.count(),
        received_at=receipt.received_at,
    )
    if push.refusals:
        await intake.keep_refusals(push.tx, receipt.receipt_id, push.refusals.rows())


async def _tell(push: _Push, receipt: Receipt) -> None:
    """One leaf and one event for the push: its hash and counts, and in the leaf whose data it brought."""
    if any(file.kind is CLAIM_LINES for file in push.files):
        push.subjects.update(await intake.claim_subjects(push.tx, organisation=push.organisation))
    taken = sum(file.rows_in - file.refused for file in receipt.files)
    await push.tx.leaf(
        action="import",
        subjects=sorted(push.subjects),
        records=taken,
        resource=f"imports/{receipt.receipt_id}",
        batch_hash=receipt.sha256,
    )
    await push.tx.publish(
        "social_security.import.accepted",
        aggregate=push.organisation,
        data={
            "receipt_id": str(receipt.receipt_id),
            "sha256": receipt.sha256,
            "files": [file.model_dump() for file in receipt.files],
        },
    )


def receipt_of(row: Row, *, duplicate: bool = False) -> Receipt:
    return Receipt(
        receipt_id=row["id"],
        status="accepted_in_part" if row["refused"] else "accepted",
        sha256=row["sha256"],
        mode=row["mode"],
        received_at=row["received_at"],
        files=[FileReceipt(**file) for file in row["files"]],
        duplicate_of=row["id"] if duplicate else None,
    )


async def receipt_for(db: Connection, receipt_id: UUID, *, organisation: str) -> Receipt:
    """A receipt of the organisation's own.

    Raises:
        Problem: 404 when there is none, or it is another's.
    """
    row = await intake.receipt_by_id(db, receipt_id, organisation=organisation)
    if row is None:
        raise Problem(404, "not_found", "no receipt of this organisation has that id")
    return receipt_of(row)


async def counts(db: Connection) -> dict[str, int]:
    """How many rows of each kind are kept, and how many findings are open."""
    return await intake.counts(db)
