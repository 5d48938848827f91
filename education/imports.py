"""A roster pushed by a school: receive → structure → rows → references → people → plan → apply → receipt.

The push is received in a commit of its own (bytes kept, SHA-256 as its key), and everything after that is one
commit more. Whatever interrupts the second, the first is there, and the same bytes sent again go on with the
same receipt. Which standard the bytes speak is the caller's business: a `Dialect` turns them into steps.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from education import learners, sealing
from education.faults import STRUCTURE_CODES
from education.repository import episodes, intake, people, roster, staging
from education.repository.staging import Sheet
from education.repository.tables import TABLES
from education.shapes import EpisodesReceipt, FileReceipt, Mode, PeopleReceipt, VanishedRows
from education.stages import STAGE_OF_GRADE
from services.kit.app import Kit
from services.kit.database import Transaction
from services.kit.idempotency import key_reused
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import forbidden

# A bulk file may silently end this share of what it speaks for; beyond it a person is asked.
ENDED_UNASKED_PERCENT = 5
# After so many changed rows PostgreSQL's statistics are of another table; autovacuum comes after the commit.
PLANNED_ANEW_ROWS = 2_000
# Each holds a database connection for as long as it takes; readers of records must find one meanwhile.
AT_ONCE = 3
SLOTS = "import_slots"
SCHOOL_TIME = ZoneInfo("Asia/Shanghai")


class Step(Protocol):
    """One step of reading a push; see education/oneroster/parsing.py for the kinds."""

    @property
    def kind(self) -> str: ...
    @property
    def head(self) -> Mapping[str, Any]: ...
    @property
    def payload(self) -> bytes: ...


@dataclass(frozen=True)
class Dialect:
    """How one wire standard is read, and what it calls our tables and columns."""

    read: Callable[[bytes, bytes, datetime], AsyncGenerator[Step, None]]
    """`(body, digest key, now)`: its steps; faults are steps too."""
    files: Mapping[str, str]
    headers: Mapping[str, Mapping[str, str]]
    fault_columns: tuple[str, ...]


@dataclass
class _Push:
    """What is known of a push while it is being worked on."""

    import_id: UUID
    source: str
    mode: Mode
    dialect: Dialect
    received_at: datetime
    """The now of everything it says: applied late or again, it says the same."""
    manifest: dict[str, str] = field(default_factory=dict)
    sheets: dict[str, Sheet] = field(default_factory=dict)
    rows_in: dict[str, int] = field(default_factory=dict)

    @property
    def ordered(self) -> list[Sheet]:
        return [self.sheets[name] for name in TABLES if name in self.sheets]

    @property
    def accepts_valid(self) -> bool:
        return self.mode == "accept-valid"


def source_of(who: Principal) -> str:
    """Whose records the caller pushes: ids are unique within a sending organisation."""
    source = who.organisation or who.client_id
    if not source:
        raise forbidden("a roster is pushed by an organisation's client; this token names none")
    return source


async def open_slots(kit: Kit) -> None:
    """So many pushes are worked on at a time; the others wait their turn (a startup hook of the app)."""
    kit.parts[SLOTS] = asyncio.Semaphore(AT_ONCE)


async def push(
    kit: Kit, who: Principal, *, body: bytes, mode: Mode, dialect: Dialect, key: str | None = None
) -> tuple[UUID, bool]:
    """Takes a push in. Returns its import, and whether it was already there.

    What came of it stands in the receipt: refused pushes have one too.

    Args:
        key: the Idempotency-Key, if one was sent. Without one, bytes are a repetition as long as nothing of
            their source came after them.

    Raises:
        Problem: 422 when the key came with other bytes before.
    """
    source = source_of(who)
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(body).digest())
    import_id, status = await _receive(kit, who, source, mode, sha256, body, key)
    if status != "received":
        return import_id, True
    slots: asyncio.Semaphore = kit.parts[SLOTS]
    async with slots, kit.db.transaction(who) as tx:
        await staging.begin(tx, source)
        row = await intake.lock(tx, import_id)
        if row["status"] != "received":
            return import_id, row["status"] == "applied"
        await _work(kit, tx, _Push(import_id, source, mode, dialect, row["received_at"]), body, sha256)
    return import_id, False


async def replay(kit: Kit, tx: Transaction, import_id: UUID, *, dialect: Dialect) -> None:
    """Applies a kept push again, from its own bytes, within the caller's transaction."""
    row = await intake.lock(tx, import_id)
    body = sealing.unseal(kit.settings, await intake.parts(tx, import_id), str(import_id))
    await staging.begin(tx, row["source"])
    push = _Push(import_id, row["source"], row["mode"], dialect, row["received_at"])
    await _work(kit, tx, push, body, row["sha256"])


async def _receive(
    kit: Kit, who: Principal, source: str, mode: Mode, sha256: bytes, body: bytes, key: str | None
) -> tuple[UUID, str]:
    async with kit.db.transaction(who) as tx:
        await intake.take_turn(tx, who.client_id)
        known = await intake.find_by_key(tx, who.client_id, key) if key is not None else None
        if known is not None and known["sha256"] != sha256:
            raise key_reused()
        known = known or await intake.find(tx, who.client_id, sha256)
        import_id, status = (known["id"], known["status"]) if known is not None else (uuid7(), "received")
        if known is None:
            await intake.receive(
                tx,
                id=import_id,
                source=source,
                client_id=who.client_id,
                mode=mode,
                sha256=sha256,
                size_bytes=len(body),
            )
            sealed = await asyncio.to_thread(sealing.seal, kit.settings, body, str(import_id))
            await intake.keep_parts(tx, import_id, sealed)
        if key is not None:
            await intake.remember_key(tx, who.client_id, key, import_id)
    return import_id, status


async def _work(kit: Kit, tx: Transaction, push: _Push, body: bytes, sha256: bytes) -> None:
    key = kit.settings.secret_for("education", "roster-digest")
    async with aclosing(push.dialect.read(body, key, push.received_at)) as steps:
        await _stage(tx, push, steps)
    if await staging.count_errors(tx, sorted(STRUCTURE_CODES)):
        await _reject(tx, push)
        return
    await _check(tx, push)
    if not push.accepts_valid and await staging.count_errors(tx):
        await _reject(tx, push)
        return
    users_file = push.dialect.files["account"]
    found = await learners.resolve(kit, tx, push.source, push.sheets, users_file)
    if found.refused:
        if not push.accepts_valid:
            await _reject(tx, push)
            return
        await _take_out_refused(tx, push)
    await _apply(tx, push, found, sha256)


async def _stage(tx: Transaction, push: _Push, source: AsyncIterator[Step]) -> None:
    """Copies the push into staging tables as it is read, so that no more than a piece is ever held."""
    steps = _Steps(source)
    while (step := await steps.next()) is not None:
        match step.kind:
            case "package":
                push.manifest = dict(step.head)
            case "table":
                table = TABLES[step.head["table"]]
                headers = push.dialect.headers[table.name]
                push.sheets[table.name] = Sheet(table, step.head["file"], step.head["mode"], headers)
                await staging.copy_in(tx, table, step.head["columns"], steps.payloads("rows"))
            case "read":
                push.rows_in[step.head["table"]] = step.head["rows_in"]
            case "faults":
                steps.put_back(step)
                await staging.copy_faults(tx, push.dialect.fault_columns, steps.payloads("faults"))


class _Steps:
    """Steps with one step of looking ahead."""

    def __init__(self, source: AsyncIterator[Step]) -> None:
        self._source = source
        self._held: Step | None = None

    async def next(self) -> Step | None:
        held, self._held = self._held, None
        return held or await anext(self._source, None)

    def put_back(self, step: Step) -> None:
        self._held = step

    async def payloads(self, kind: str) -> AsyncIterator[bytes]:
        while (step := await self.next()) is not None:
            if step.kind != kind:
                self.put_back(step)
                return
            yield step.payload


async def _check(tx: Transaction, push: _Push) -> None:
    """What only the push as a whole can show: doubles, circles, references."""
    for sheet in push.ordered:
        await staging.check_doubles(tx, sheet)
        if sheet.table.name == "organisation":
            await staging.check_parents(tx, sheet)
    if push.accepts_valid:
        await _take_out_refused(tx, push)
        return
    for sheet in push.ordered:
        await staging.check_references(tx, sheet, push.sheets, push.source, after_refusals=False)


async def _take_out_refused(tx: Transaction, push: _Push) -> None:
    """Sets refused rows aside, and what pointed to them, until what remains stands by itself."""
    for sheet in push.ordered:
        await staging.take_out_refused(tx, sheet)
        while await staging.check_references(tx, sheet, push.sheets, push.source, after_refusals=True):
            await staging.take_out_refused(tx, sheet)


async def _reject(tx: Transaction, push: _Push) -> None:
    files = [
        FileReceipt(file=sheet.file, mode=_file_mode(sheet), rows_in=push.rows_in.get(sheet.table.name, 0))
        for sheet in push.ordered
    ]
    await intake.finish(
        tx,
        push.import_id,
        status="rejected",
        mode=push.mode,
        manifest=push.manifest,
        files=[file.model_dump(mode="json") for file in files],
        people={},
        episodes={},
        file_order=list(push.dialect.files.values()),
    )
    await intake.count_faults(tx, push.import_id, staging.ERRORS)
    await intake.forget_bytes(tx, push.import_id)


async def _apply(tx: Transaction, push: _Push, found: learners.Found, sha256: bytes) -> None:
    receipts: list[FileReceipt] = []
    if "organisation" in push.sheets:
        await roster.touch_users_of_changed_organisations(tx, push.source)
    await people.make_learners(tx, push.import_id, staged="account" in push.sheets)
    for sheet in push.ordered:
        receipts.append(await _apply_sheet(tx, push, sheet))
    await people.link(tx, push.source)
    await _end_vanished(tx, push, receipts)
    today = push.received_at.astimezone(SCHOOL_TIME).date()
    refreshed = await episodes.refresh(tx, push.source, push.import_id, today=today, stages=STAGE_OF_GRADE)
    file, headers = push.dialect.files["role"], push.dialect.headers["role"]
    await episodes.note_provisional(tx, push.import_id, file, headers["org_sourced_id"])
    await _finish(tx, push, receipts, found, refreshed, sha256)


async def _apply_sheet(tx: Transaction, push: _Push, sheet: Sheet) -> FileReceipt:
    table, source = sheet.table, push.source
    difference = await roster.difference(tx, table, source)
    await roster.note_stale(tx, sheet, source)
    await roster.note_touched(tx, table, source)
    quarantined = await staging.refused_rows(tx, sheet)
    changed, added = await roster.apply(tx, table, source, push.import_id)
    if changed + added > PLANNED_ANEW_ROWS:
        await roster.tell_planner(tx, table)
    rows_in = push.rows_in[table.name]
    if (
        difference.rows + quarantined != rows_in
        or changed + added != rows_in - quarantined - difference.unchanged
    ):
        raise AssertionError(
            f"{sheet.file}: {rows_in} rows in, {difference}, {quarantined} quarantined, "
            f"but {changed} changed and {added} added"
        )
    return FileReceipt(
        file=sheet.file,
        mode=_file_mode(sheet),
        rows_in=rows_in,
        quarantined=quarantined,
        **asdict(difference),
    )


async def _end_vanished(tx: Transaction, push: _Push, receipts: list[FileReceipt]) -> None:
    """All is found before anything is ended: a user's roles decide whose files speak for the user."""
    await staging.declare_scope(tx, push.sheets)
    missed: list[tuple[Sheet, FileReceipt, roster.Vanished]] = []
    for sheet, receipt in zip(push.ordered, receipts, strict=True):
        if sheet.mode == "bulk":
            missed.append((sheet, receipt, await roster.find_vanished(tx, sheet, push.source)))
        await roster.settle_older_proposals(tx, sheet, push.source)
    for sheet, receipt, vanished in missed:
        if vanished.rows:
            receipt.vanished = await _ended_or_proposed(tx, push, sheet, vanished)


async def _ended_or_proposed(
    tx: Transaction, push: _Push, sheet: Sheet, vanished: roster.Vanished
) -> VanishedRows:
    few = vanished.rows * 100 <= ENDED_UNASKED_PERCENT * vanished.of
    # A school that is gone takes everything with it; and a row without an id may be any of the missing ones.
    sure = sheet.table.name != "organisation" and not await staging.nameless_refusals(tx, sheet)
    if few and sure:
        await roster.end_vanished(tx, sheet.table, push.source, push.import_id)
        return VanishedRows(rows=vanished.rows, of=vanished.of, ended=vanished.rows)
    proposal = uuid7()
    await roster.propose(tx, proposal, push.import_id, push.source, sheet.table, vanished)
    return VanishedRows(rows=vanished.rows, of=vanished.of, ended=0, proposal=proposal)


async def _finish(
    tx: Transaction,
    push: _Push,
    receipts: list[FileReceipt],
    found: learners.Found,
    refreshed: episodes.Refreshed,
    sha256: bytes,
) -> None:
    await intake.finish(
        tx,
        push.import_id,
        status="applied",
        mode=push.mode,
        manifest=push.manifest,
        files=[receipt.model_dump(mode="json") for receipt in receipts],
        people=PeopleReceipt(matched=found.matched, created=found.created).model_dump(),
        episodes=EpisodesReceipt(**asdict(refreshed)).model_dump(),
        file_order=list(push.dialect.files.values()),
    )
    await intake.count_faults(tx, push.import_id, staging.ERRORS)
    changed = sum(receipt.inserted + receipt.updated + receipt.ended for receipt in receipts)
    await tx.leaf(
        action="education.roster.import",
        subjects=await people.subjects(tx, push.source) or None,
        records=changed,
        batch_hash=sha256.hex(),
        resource=f"import/{push.import_id}",
    )
    await tx.publish(
        "education.roster.imported",
        aggregate=f"education/import/{push.import_id}",
        data={
            "import_id": str(push.import_id),
            "source": push.source,
            "sha256": sha256.hex(),
            "files": {r.file: r.model_dump(mode="json", exclude={"file", "vanished"}) for r in receipts},
        },
    )


def _file_mode(sheet: Sheet) -> Any:
    return sheet.mode
