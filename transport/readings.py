"""Intake of readings: checked one by one, counted once each, committed before the answer.

A JSON body is one push: all of it or nothing. A stream of lines (NDJSON) goes in as batches of up to 1,000
lines, each its own commit; a line that cannot be taken is refused by number and kept with its reason, and the
rest goes on. Whoever loses the connection sends again: what was taken is known by its key.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Database, Transaction
from services.kit.ids import uuid7
from services.kit.principals import Principal
from services.kit.problems import Fault, Problem, bad_request
from services.kit.rendering import problem_of
from transport import ndjson, shapes
from transport.checks import Refused, check, json_of
from transport.flows import Reading, SequenceReused, apply_readings
from transport.repository import flows as repository
from transport.repository import zones as zone_rows

BATCH_LINES = 1_000
CUT_FROM_LINES = 900
"""From here on a batch ends where the time does, to see a moment's readings together if it can."""
JSON_READINGS_MAX = 10_000
JSON_BYTES_MAX = 4 * 1024 * 1024
LINE_BYTES_MAX = 16 * 1024
FAULTS_SHOWN = 1_000
KEPT_BODY_CHARS = 2_000

Edges = dict[str, tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class RefusedLine:
    line: int
    why: Refused
    body: bytes = b""


class Batch:
    """Readings that will be committed together: each key once, what contradicts itself refused."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[Any, ...], Reading] = {}
        self.rivals: dict[tuple[Any, ...], list[Reading]] = {}
        self.duplicates = 0
        self.refused: list[RefusedLine] = []
        self.bodies: dict[int, bytes] = {}
        self.first_line = 0
        self.last_line = 0
        self.ends: datetime | None = None

    def __len__(self) -> int:
        return self.last_line - self.first_line + 1 if self.last_line else 0

    def _reached(self, line: int) -> None:
        self.first_line = self.first_line or line
        self.last_line = max(self.last_line, line)

    def add(self, reading: Reading, body: bytes = b"") -> None:
        self._reached(reading.line)
        self.ends = reading.ends
        if body:
            self.bodies[reading.line] = body
        known = self.by_key.setdefault(reading.key, reading)
        if known.content != reading.content:
            self.rivals.setdefault(reading.key, []).append(reading)
        elif known is not reading:
            self.duplicates += 1

    def refuse(self, line: int, why: Refused, body: bytes = b"") -> None:
        self._reached(line)
        self.refused.append(RefusedLine(line, why, body or self.bodies.get(line, b"")))

    def drop(self, reading: Reading) -> None:
        """The key was used before, for something else: for what one of its rivals says, perhaps."""
        del self.by_key[reading.key]
        self.refuse(reading.line, _reused(reading))
        for rival in self.rivals.pop(reading.key, ()):
            self.add(rival)

    def drop_sensor(self, sensor: str, why: Refused) -> None:
        for key in [key for key in self.by_key if key[0] == sensor]:
            for reading in (self.by_key.pop(key), *self.rivals.pop(key, ())):
                self.refuse(reading.line, why)

    def settle(self) -> None:
        """Of several readings with one key the first is kept; nothing more will be dropped."""
        for rivals in self.rivals.values():
            for reading in rivals:
                self.refuse(reading.line, _reused(reading))
        self.rivals.clear()


def _reused(reading: Reading) -> Refused:
    if reading.seq is None:
        return Refused("span_reused", f"{reading.sensor} counted something else in this span before", "start")
    return Refused(
        "seq_reused",
        f"{reading.sensor} used number {reading.seq} before for another reading; "
        "a counter that starts again needs new numbers",
        "seq",
    )


async def _edges(tx: Transaction, batch: Batch, who: Principal) -> Edges:
    """Where the batch's sensors sit; readings of sensors that may not count are refused."""
    sensors = {reading.sensor for reading in batch.by_key.values()}
    known = await zone_rows.sensors(tx, list(sensors))
    wrong = {id: why for id in sensors if (why := _why_not(id, known.get(id), who)) is not None}
    for id, why in wrong.items():
        batch.drop_sensor(id, why)
    return {id: (known[id]["zone_from"], known[id]["zone_to"]) for id in sensors - wrong.keys()}


def _why_not(id: str, sensor: Any, who: Principal) -> Refused | None:
    if sensor is None:
        return Refused("unknown_sensor", f"there is no sensor {id}; set it up first", "sensor")
    if sensor["zone_from"] is None and sensor["zone_to"] is None:
        return Refused("sensor_without_zone", f"sensor {id} sits on no zone yet", "sensor")
    if not who.unguarded and (sensor["operator"] is None or sensor["operator"] != who.organisation):
        return Refused("foreign_sensor", f"sensor {id} is operated by another organisation", "sensor")
    return None


async def take_push(db: Database, *, who: Principal, body: bytes, now: datetime) -> shapes.Receipt:
    """One JSON push: a reading, an array of them, or `{"readings": […]}`; all or nothing.

    Raises:
        Problem: 400 for no JSON, 413 for too many, 422 naming each reading and member that is wrong.
    """
    values, path = _values_of(json_of(body))
    batch = Batch()
    for index, value in enumerate(values):
        try:
            batch.add(check(value, index + 1, now))
        except Refused as why:
            batch.refuse(index + 1, why)
    batch.settle()
    _stop_if_refused(batch, path)
    try:
        async with db.transaction(who) as tx:
            edges = await _edges(tx, batch, who)
            _stop_if_refused(batch, path)
            accepted = await apply_readings(tx, list(batch.by_key.values()), edges)
    except SequenceReused as reused:
        for reading in reused.readings:
            batch.drop(reading)
        _stop_if_refused(batch, path)
        raise
    return shapes.Receipt(
        receipt_id=uuid7(),
        received=len(values),
        accepted=accepted,
        duplicates=len(values) - accepted,
    )


def _values_of(document: Any) -> tuple[list[Any], str]:
    if isinstance(document, list):
        values, path = document, "$[{}]"
    elif (
        isinstance(document, dict)
        and document.keys() == {"readings"}
        and isinstance(document["readings"], list)
    ):
        values, path = document["readings"], "$.readings[{}]"
    else:
        values, path = [document], "$"
    if not values:
        raise bad_request("empty_push", "there are no readings in the body")
    if len(values) > JSON_READINGS_MAX:
        raise Problem(
            413,
            "too_many_readings",
            f"{len(values)} readings in one push; send at most {JSON_READINGS_MAX:,}, "
            "or any number as application/x-ndjson",
        )
    return values, path


def _stop_if_refused(batch: Batch, path: str) -> None:
    if not batch.refused:
        return
    faults = [_fault(refused, path) for refused in sorted(batch.refused, key=lambda r: r.line)]
    codes = {fault.code for fault in faults}
    code = str(codes.pop()) if len(codes) == 1 else "unacceptable_readings"
    first = faults[0]
    detail = f"{first.path}: {first.message}" + (
        f" ({len(faults)} readings are wrong)" if len(faults) > 1 else ""
    )
    raise Problem(422, code, f"{detail}. Nothing was applied", faults=faults[:FAULTS_SHOWN])


def _fault(refused: RefusedLine, path: str) -> Fault:
    where = path.format(refused.line - 1)
    return Fault(
        refused.why.message,
        path=f"{where}.{refused.why.member}" if refused.why.member else where,
        field=refused.why.member,
        code=refused.why.code,
    )


@dataclass(slots=True)
class Stream:
    """A stream under way: what has been committed of it."""

    receipt_id: UUID
    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    batches: list[shapes.BatchReceipt] = field(default_factory=list)
    errors: list[shapes.LineFault] = field(default_factory=list)

    def committed(self, batch: Batch, accepted: int) -> None:
        taken = len(batch.by_key) + batch.duplicates
        receipt = shapes.BatchReceipt(
            first_line=batch.first_line,
            last_line=batch.last_line,
            accepted=accepted,
            duplicates=taken - accepted,
            refused=len(batch.refused),
        )
        self.batches.append(receipt)
        self.received += taken + receipt.refused
        self.accepted += accepted
        self.duplicates += receipt.duplicates
        self.refused += receipt.refused
        for refused in sorted(batch.refused, key=lambda r: r.line)[: FAULTS_SHOWN - len(self.errors)]:
            why = refused.why
            self.errors.append(
                shapes.LineFault(line=refused.line, code=why.code, field=why.member, message=why.message)
            )

    def receipt(self) -> shapes.Receipt:
        return shapes.Receipt(
            receipt_id=self.receipt_id,
            received=self.received,
            accepted=self.accepted,
            duplicates=self.duplicates,
            refused=self.refused,
            batches=self.batches,
            errors=self.errors,
        )


async def take_stream(db: Database, *, who: Principal, chunks: AsyncIterator[bytes]) -> shapes.Receipt:
    """A stream of lines, committed batch by batch.

    Raises:
        Problem: 422 when no line at all could be taken; what hindered a batch otherwise, with the receipt of
            those before it.
    """
    stream = Stream(uuid7())
    try:
        async for batch in _batches(chunks):
            stream.committed(batch, await _commit(db, who, stream.receipt_id, batch))
    except Exception as error:
        if not stream.batches:
            raise
        raise _broken_off(error, stream) from error
    receipt = stream.receipt()
    if not receipt.received:
        raise bad_request("empty_push", "there are no readings in the body")
    if receipt.refused == receipt.received:
        raise _nothing_taken(receipt)
    return receipt


async def _commit(db: Database, who: Principal, receipt: UUID, batch: Batch) -> int:
    while True:
        try:
            async with db.transaction(who) as tx:
                edges = await _edges(tx, batch, who)
                readings = list(batch.by_key.values())
                accepted = await apply_readings(tx, readings, edges) if readings else 0
                batch.settle()
                if batch.refused:
                    await repository.insert_refused(tx, receipt, who.client_id or who.subject, _kept(batch))
            return accepted
        except SequenceReused as reused:
            for reading in reused.readings:
                batch.drop(reading)


def _kept(batch: Batch) -> list[tuple[int, str, str | None, str, str]]:
    return [
        (r.line, r.why.code, r.why.member, r.why.message, _storable(r.body)[:KEPT_BODY_CHARS])
        for r in sorted(batch.refused, key=lambda r: r.line)
    ]


def _storable(body: bytes) -> str:
    return body[: 4 * KEPT_BODY_CHARS].decode(errors="replace").replace("\0", "\ufffd")


def _broken_off(error: Exception, stream: Stream) -> Problem:
    problem = problem_of(error)
    last = stream.batches[-1].last_line
    return Problem(
        problem.status,
        problem.code,
        f"the stream broke off after line {last}; the lines up to it are committed, send the rest again",
        headers=problem.headers,
        extra={"receipt": stream.receipt().model_dump(mode="json")},
    )


def _nothing_taken(receipt: shapes.Receipt) -> Problem:
    codes = {error.code for error in receipt.errors}
    first = receipt.errors[0]
    return Problem(
        422,
        codes.pop() if len(codes) == 1 else "unacceptable_readings",
        f"line {first.line}: {first.message}. None of the {receipt.received} lines could be taken",
        faults=[Fault(e.message, line=e.line, field=e.field, code=e.code) for e in receipt.errors],
        extra={"receipt_id": str(receipt.receipt_id)},
    )


async def refused_lines(
    db: Connection, *, receipt: UUID, who: Principal, first: int, after: str | None
) -> shapes.Page[shapes.RefusedLine]:
    """What a client's stream was refused, by line."""
    start = decode_cursor(after, 1)[0] if after else "0"
    if not (start.isascii() and start.isdigit() and len(start) < 10):
        raise bad_cursor()
    rows = await repository.refused_of(db, receipt, who.client_id or who.subject, int(start), first + 1)
    following = encode_cursor(rows[first - 1]["line"]) if len(rows) > first else None
    return shapes.Page(items=[shapes.RefusedLine(**dict(row)) for row in rows[:first]], next=following)


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[Batch]:
    """Lines in batches: when one is full, when the sender pauses, at the end."""
    batch = Batch()
    async for lines in ndjson.lines(chunks, most_bytes=LINE_BYTES_MAX):
        now = datetime.now(UTC)
        for number, line in lines:
            reading = _read_line(batch, number, line, now)
            full = len(batch) >= CUT_FROM_LINES and reading is not None and reading.ends != batch.ends
            if full or len(batch) >= BATCH_LINES:
                yield batch
                batch = Batch()
            if reading is not None:
                batch.add(reading, line)
        if not lines and len(batch):
            yield batch
            batch = Batch()
    if len(batch):
        yield batch


def _read_line(batch: Batch, number: int, line: bytes, now: datetime) -> Reading | None:
    """The line's reading; None for an empty line and for one that is refused."""
    if not line.strip():
        return None
    try:
        if len(line) > LINE_BYTES_MAX:
            raise Refused("line_too_long", f"a line may have {LINE_BYTES_MAX:,} bytes")
        return check(_line_value(line), number, now)
    except Refused as why:
        batch.refuse(number, why, line)
        return None


def _line_value(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if line.startswith(b"\xef\xbb\xbf"):
            raise Refused(
                "bad_encoding", "the line begins with a byte order mark; send UTF-8 without"
            ) from error
        if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
            raise Refused("bad_encoding", "this looks like UTF-16; send UTF-8") from error
        try:
            line.decode()
        except UnicodeDecodeError:
            raise Refused("bad_encoding", "the line is not UTF-8") from error
        raise Refused("malformed_json", f"not JSON: {error.msg} at column {error.colno}") from error
