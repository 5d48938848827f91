"""What a sender is told: the receipt of a push, its faults, the proposals it led to."""

from uuid import UUID

from education.faults import ARCHIVE_CODES, RULES, Fault
from education.repository import intake
from education.shapes import (
    FAULTS_SHOWN,
    EpisodesReceipt,
    FaultPage,
    FileReceipt,
    ImportPage,
    ImportSummary,
    PeopleReceipt,
    Proposal,
    ProposedPage,
    Receipt,
    RosterFault,
)
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Row
from services.kit.problems import Fault as ProblemFault
from services.kit.problems import Problem, not_found

STATUS = {"received": "received", "applied": "accepted", "rejected": "rejected"}


async def receipt(
    db: Connection, *, source: str, import_id: UUID, files: dict[str, str], sent_before: bool = False
) -> Receipt:
    """The receipt of one of the sender's own pushes.

    Raises:
        Problem: 404 for any other.
    """
    row = await _row(db, source, import_id)
    faults = await intake.faults(db, import_id, after=0, limit=FAULTS_SHOWN)
    more = None
    if row["errors"] + row["warnings"] > len(faults):
        more = f"/education/imports/{import_id}/faults?after={encode_cursor(faults[-1]['n'])}"
    return Receipt(
        **dict(_summary(row)),
        sent_before=sent_before,
        proposals=[_proposal(found, files) for found in await intake.proposals(db, import_id)],
        faults=[_fault(found) for found in faults],
        more_faults=more,
    )


async def listed(db: Connection, *, source: str, first: int, after: str | None) -> ImportPage:
    before = _uuid(decode_cursor(after, 1)[0]) if after else None
    rows = await intake.receipts(db, source, before=before, limit=first + 1)
    following = encode_cursor(rows[first - 1]["id"]) if len(rows) > first else None
    return ImportPage(items=[_summary(row) for row in rows[:first]], next=following)


async def faults_of(
    db: Connection, *, source: str, import_id: UUID, first: int, after: str | None
) -> FaultPage:
    await _row(db, source, import_id)
    behind = _number(decode_cursor(after, 1)[0]) if after else 0
    rows = await intake.faults(db, import_id, after=behind, limit=first + 1)
    following = encode_cursor(rows[first - 1]["n"]) if len(rows) > first else None
    return FaultPage(items=[_fault(row) for row in rows[:first]], next=following)


async def proposed(
    db: Connection, *, source: str, import_id: UUID, proposal_id: UUID, first: int, after: str | None
) -> ProposedPage:
    """The ids of the rows that a proposal would end."""
    if proposal_id not in {row["id"] for row in await intake.proposals(db, import_id)}:
        raise not_found("there is no such proposal of this import")
    await _row(db, source, import_id)
    behind = decode_cursor(after, 1)[0] if after else ""
    ids = await intake.proposed_rows(db, proposal_id, after=behind, limit=first + 1)
    following = encode_cursor(ids[first - 1]) if len(ids) > first else None
    return ProposedPage(items=ids[:first], next=following)


def refusal(found: Receipt) -> Problem:
    """The answer to a push that was refused: every fault that fits, and where the rest is."""
    errors = [fault for fault in found.faults if fault.severity == "error"]
    archive = all(fault.code in ARCHIVE_CODES for fault in errors)
    count = "1 fault" if found.errors == 1 else f"{found.errors} faults"
    detail = f"{count}; nothing was applied. First: {_said(errors[0])}"
    return Problem(
        400 if archive else 422,
        "unreadable_archive" if archive else "roster_refused",
        detail,
        faults=[
            ProblemFault(
                fault.message,
                line=fault.line,
                field=fault.column,
                path=fault.sourced_id,
                file=fault.file,
                code=fault.code,
                hint=fault.hint,
                value=fault.value,
            )
            for fault in errors
        ],
        headers={"Location": f"/education/imports/{found.receipt_id}"},
        extra={
            "receipt_id": str(found.receipt_id),
            "faults_total": found.errors,
            **({"more_faults": found.more_faults} if found.more_faults else {}),
        },
    )


def _said(fault: RosterFault) -> str:
    where = ", ".join(
        part for part in (fault.file, f"line {fault.line}" if fault.line else None, fault.column) if part
    )
    return f"{where}: {fault.message}" if where else fault.message


async def _row(db: Connection, source: str, import_id: UUID) -> Row:
    row = await intake.receipt(db, source, import_id)
    if row is None:
        raise not_found("there is no such import of yours")
    return row


def _summary(row: Row) -> ImportSummary:
    return ImportSummary.model_validate(
        {
            "receipt_id": row["id"],
            "status": STATUS[row["status"]],
            "mode": row["mode"],
            "sha256": row["sha256"].hex(),
            "size_bytes": row["size_bytes"],
            "received_at": row["received_at"],
            "finished_at": row["finished_at"],
            "system": row["manifest"].get("source.systemName") or None,
            "files": [FileReceipt.model_validate(file) for file in row["files"]],
            "people": PeopleReceipt(**row["people"]),
            "episodes": EpisodesReceipt(**row["episodes"]),
            "errors": row["errors"],
            "warnings": row["warnings"],
        }
    )


def _fault(row: Row) -> RosterFault:
    said = Fault(code=row["code"], about=row["about"]).said()
    return RosterFault(
        file=row["file"] or None,
        line=row["line"],
        column=row["column_name"],
        sourced_id=row["sourced_id"],
        code=row["code"],
        severity=RULES[row["code"]].severity,
        value=row["value"],
        message=said.message,
        message_zh=said.message_zh,
        hint=said.hint,
        hint_zh=said.hint_zh,
    )


def _proposal(row: Row, files: dict[str, str]) -> Proposal:
    found = dict(row)
    file = files[found.pop("table_name")]
    del found["source"]
    return Proposal(**found, file=file)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise bad_cursor() from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise bad_cursor()
    return int(text)
