"""The job of an import: all lines are checked, then what they refer to, then they are kept chunk by chunk.

Each chunk is one commit with its leaf, its event and its receipts, and moves the mark up to which everything
is kept: whoever goes on after a worker that died goes on there. Registers come first, then Patients, so that
what hangs on them finds them; a reference may lead to a line that is kept later.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from health.fhir import access
from health.fhir.bulk import asking, lines
from health.fhir.bulk.files import Writer, append, unpacked
from health.fhir.bulk.uploads import ACTION, check
from health.fhir.bundle import sender_of
from health.fhir.commit import Push, Result, applied
from health.fhir.entries import Entry, Prepared
from health.fhir.outcome import Issue, Refusal
from health.fhir.resolve import Sender
from health.fhir.workers import Workers
from health.repository import bulk as repository
from health.repository import imports
from services.identity.client import IdentityClient
from services.kit.database import Row, Transaction
from services.kit.ids import uuid7
from services.kit.jobs import RunningJob
from services.kit.principals import Principal

CHUNK = 1000
"""Lines kept in one commit."""
AT_ONCE = 3
"""Chunks on their way into the store."""
_REFUSED_AT_ONCE = 2000


async def run(job: RunningJob) -> dict[str, Any]:
    """Takes in what can be taken, and says of every line what became of it."""
    id = UUID(str(job.args["bulk"]))
    async with job.kit.db.session() as db:
        row = await repository.find(db, id)
    assert row is not None, "a request that is forgotten has its job cancelled"
    who = asking.asker(row)
    try:
        check(who)
    except Refusal as refusal:
        raise ValueError(f"not permitted any more: {refusal.detail}") from refusal  # for good
    load = _Load(job, row, who, sender_of(job.kit.policy, who), f"{job.kit.settings.public_url}/fhir/")
    await load.check_lines()
    await load.settle()
    await load.keep()
    return await load.end()


@dataclass(slots=True)
class _Load:
    job: RunningJob
    row: Row
    who: Principal
    sender: Sender
    base: str
    done: int = 0
    total: int = 0

    @property
    def id(self) -> UUID:
        found: UUID = self.row["id"]
        return found

    # Checking

    async def check_lines(self) -> None:
        """Every part in a process of its own; what was checked before a worker died is not checked again."""
        async with self.job.kit.db.session() as db:
            waiting = await imports.parts(db, self.id)
            self.total = 2 * await imports.count(db, self.id)
        parts = iter(waiting)
        async with AsyncExitStack() as stack:
            workers = Workers()
            stack.push_async_callback(workers.close)

            async def work() -> None:
                for part in parts:
                    await self._check(workers, part)

            async with asyncio.TaskGroup() as group:
                # One more than are checked at a time: the next is fetched, the last one staged meanwhile.
                for _ in range(workers.most + 1):
                    group.create_task(work())

    async def _check(self, workers: Workers, part: Row) -> None:
        async with self.job.kit.db.session() as db:
            body = await repository.part(db, part["file"], part["n"])
        assert body is not None, "inputs stay until the import has ended"
        asked = {
            "bulk": str(self.id),
            "place": part["place"],
            "first": part["first"],
            "type": part["type"],
            "base": self.base,
            "seed": f"{self.who.client_id} {self.row['asked']['digest']}",
            "scopes": None if self.who.unguarded else sorted(self.who.scopes),
        }
        found = await workers.lines(asked, await asyncio.to_thread(unpacked, body))
        async with self.job.transaction(beside=True) as tx:
            await imports.stage(tx, self.id, part, taken=found["taken"].encode(), refused=found["refused"])
        self.done += part["lines"]
        await self.job.progress(self.done, self.total)

    # What lines mean among each other and in the store

    async def settle(self) -> None:
        async with self._over_all() as tx:
            repeated = await imports.repeated(tx, self.id)
        foreign = await self._foreign()
        problems = [
            (one["line"], f"{_place(one['first'])} is {one['local']} already", "duplicate")
            for one in repeated
        ]
        problems += [
            (one["line"], f"{one['local']} belongs to another organisation", "forbidden") for one in foreign
        ]
        await self._refuse({line: [Issue(code, words, None)] for line, words, code in problems})
        await self._refuse_dangling()

    async def _foreign(self) -> list[Row]:
        """Lines that would change others' resources; the attempt is on record, as one at each by itself."""
        if self.sender.unlimited:
            return []
        async with self._over_all() as tx:
            tx.principal = self.who
            found = await imports.of_others(
                tx, self.id, client=self.sender.client, organisation=self.sender.organisation
            )
            if found:
                await tx.leaf(
                    action=ACTION,
                    records=0,
                    resource=f"bulk/{self.id}",
                    subjects=sorted({one["sector_id"] for one in found} - {None}),
                    reason=access.NO_TIE,
                    outcome="refused",
                )
        return found

    async def _refuse_dangling(self) -> None:
        """Refuses lines that refer to what is not there, and those that refer to these, and so on."""
        missing = await self._dangling()
        while missing:
            async with self._over_all() as tx:
                rows = await imports.referring(tx, self.id, missing, limit=_REFUSED_AT_ONCE)
            gone = set(missing)
            problems = {row["line"]: list(_dangling(orjson.loads(row["entry"]), gone)) for row in rows}
            await self._refuse(problems)
            if len(rows) < _REFUSED_AT_ONCE:
                missing = await self._dangling() if rows else []

    async def _dangling(self) -> list[str]:
        async with self._over_all() as tx:
            return await imports.dangling(tx, self.id, self.sender.seen)

    @asynccontextmanager
    async def _over_all(self) -> AsyncIterator[Transaction]:
        """A commit over all lines."""
        async with self.job.transaction(beside=True) as tx:
            await imports.unhurried(tx)
            yield tx

    async def _refuse(self, problems: dict[int, list[Issue]]) -> None:
        if problems:
            said = [(line, lines.told(line, issues)) for line, issues in sorted(problems.items())]
            async with self._over_all() as tx:
                await imports.refuse(tx, self.id, said)

    # Keeping

    async def keep(self) -> None:
        """Chunk by chunk; while one is committed, the next ones are prepared and written."""
        receipts = await self._receipts()
        begun: deque[_Keeping] = deque()
        size = CHUNK
        try:
            while await self._begin(begun, receipts, size):
                try:
                    await begun[0].task
                except Refusal as refusal:
                    await _given_up(begun)
                    size = await self._without(begun[0].chunk, refusal)
                    begun.clear()
                else:
                    size = CHUNK
                    self.done += len(begun.popleft().chunk.rows)
                    await self.job.progress(self.done, self.total)
        finally:
            await _given_up(begun)

    async def _begin(self, begun: "deque[_Keeping]", file: UUID, size: int) -> bool:
        """Begins what comes next, up to `AT_ONCE`; whether there is anything.

        Args:
            size: of the first one, if none is begun.
        """
        while len(begun) < AT_ONCE:
            last = begun[-1] if begun else None
            async with self.job.kit.db.session() as db:
                end = last.chunk.end if last is not None else await imports.mark(db, self.id)
                rows = await imports.following(db, self.id, end, limit=CHUNK if begun else size)
            if not rows:
                break
            chunk = _Chunk(rows, [orjson.loads(row["entry"]) for row in rows])
            before = last.task if last is not None else None
            begun.append(_Keeping(chunk, asyncio.create_task(self._keep(chunk, file, before))))
        return bool(begun)

    async def _without(self, chunk: "_Chunk", refusal: Refusal) -> int:
        """Refuses the lines that stand in a chunk's way; how many to try next."""
        problems = lines.by_line(refusal.issues)
        if not problems and len(chunk.rows) > 1:
            return len(chunk.rows) // 2
        await self._refuse(problems or {chunk.rows[0]["line"]: refusal.issues})
        await self._refuse_dangling()
        return CHUNK

    async def _keep(self, chunk: "_Chunk", file: UUID, before: "asyncio.Task[None] | None") -> None:
        """One commit, after the one before it."""

        async def turn() -> None:
            if before is not None:
                await asyncio.shield(before)

        if not chunk.alike:
            await turn()
        async with self.job.transaction(beside=True) as tx:
            tx.principal = self.who
            there = await imports.versions(tx, chunk.made())
            prepared = chunk.prepared(there)
            coming = await imports.pks(tx, self.id, prepared.outside)
            coming |= {row["local"]: row["pk"] for row in chunk.rows}
            push = Push(ACTION, bytes.fromhex(self.row["asked"]["digest"]), self.sender)
            identity = self.job.kit.calls.client(IdentityClient)
            results = await applied(
                tx, prepared, push, identity=identity, base=self.base, coming=coming, turn=turn
            )
            receipts = [_receipt(row, results.get(n), there) for n, row in enumerate(chunk.rows)]
            await append(tx, file, receipts)
            await imports.kept(tx, self.id, chunk.end)

    async def _receipts(self) -> UUID:
        """The file of what was taken, begun by whoever came first."""
        async with self.job.transaction() as tx:
            known = [one["id"] for one in await repository.files(tx, self.id) if one["role"] == "output"]
            id = known[0] if known else uuid7()
            if not known:
                await repository.add_file(
                    tx,
                    id,
                    bulk=self.id,
                    role="output",
                    name="taken.ndjson",
                    type="OperationOutcome",
                    client=self.row["client"],
                    organisation=self.row["organisation"],
                    kept=asking.kept(self.job.kit),
                )
        return id

    # The end

    async def end(self) -> dict[str, Any]:
        """The receipts of what was refused, in the order of the lines."""
        refused, after = 0, -1
        kept = asking.kept(self.job.kit)
        writer = Writer(
            self.job.transaction, self.row, role="error", name="refused", type="OperationOutcome", kept=kept
        )
        while True:
            async with self.job.kit.db.session() as db:
                rows = await imports.problems(db, self.id, after=after, limit=_REFUSED_AT_ONCE)
            if not rows:
                break
            await writer.add([row["outcome"].encode() for row in rows])
            refused, after = refused + len(rows), rows[-1]["line"]
        await writer.close()
        async with self._over_all() as tx:
            await imports.end(tx, self.id)
            await repository.ready(tx, self.id, as_of=None, kept=kept)
        return {"refused": refused}


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Lines that come one after the other, and what was found of each when it was checked."""

    rows: list[Row]
    said: list[dict[str, Any]]

    @property
    def end(self) -> tuple[int, int]:
        return self.rows[-1]["rank"], self.rows[-1]["line"]

    @property
    def alike(self) -> bool:
        """Whether it holds only what hangs on registers and Patients, and so nothing that others wait for."""
        return bool(self.rows[0]["rank"] == lines.LAST)

    def made(self) -> list[str]:
        """What lines without an id make: once, whatever became of that since."""
        said = zip(self.rows, self.said, strict=True)
        return [row["local"] for row, one in said if one["entry"]["method"] == "POST"]

    def prepared(self, there: Mapping[str, int]) -> Prepared:
        """The lines as one push, without those whose resource was made.

        Args:
            there: versions of what lines without ids made, by `Type/id`.
        """
        entries: list[Entry] = []
        outside: dict[str, list[str]] = {}
        for n, (row, one) in enumerate(zip(self.rows, self.said, strict=True)):
            if row["local"] in there:
                continue
            entries.append(Entry(**{**one["entry"], "index": n}))
            for target, paths in one["outside"].items():
                outside.setdefault(target, []).extend(f"line[{row['line']}].{path}" for path in paths)
        here = {entry.local for entry in entries}
        return Prepared(entries, outside={t: paths for t, paths in outside.items() if t not in here})


@dataclass(frozen=True, slots=True)
class _Keeping:
    """A chunk on its way into the store."""

    chunk: _Chunk
    task: "asyncio.Task[None]"


async def _given_up(begun: Iterable[_Keeping]) -> None:
    tasks = [one.task for one in begun]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _place(number: int) -> str:
    place, line = divmod(number, lines.number_of(1, 0))
    return f"input {place}, line {line}"


def _receipt(row: Row, result: Result | None, there: Mapping[str, int]) -> bytes:
    if result is None:
        return lines.taken(row["line"], "200 OK", f"{row['local']}/_history/{there[row['local']]}")
    return lines.taken(row["line"], result.status, result.location)


def _dangling(said: dict[str, Any], gone: set[str]) -> Iterator[Issue]:
    for target, paths in said["outside"].items():
        if target in gone:
            for path in paths:
                yield Issue("not-found", f"{target} is neither in the store nor taken in here", path)
