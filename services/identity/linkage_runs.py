"""The whole register looked through for doubles: the shipped model over everybody, in a job.

It decides nothing. What it finds joins the clerical queue, where two clerks have to agree; a pair that stands
there already, whatever was decided about it, is left as it is. So a run may be repeated.
"""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.identity import linkage, queueing
from services.identity.known import Known
from services.identity.likeness import judged
from services.identity.lookalikes import numbers_differ
from services.identity.match_shapes import (
    LinkageRun,
    LinkageRunPage,
)
from services.identity.matching import Facts
from services.identity.register import Register
from services.identity.repository import pairs
from services.identity.vault import open_vault
from services.kit.app import Kit
from services.kit.cursors import encode_cursor, uuid_after
from services.kit.database import Connection, Database, Row, Transaction
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import not_found

if TYPE_CHECKING:
    from services.kit.jobs import RunningJob

JOB = "services.identity.tasks:link_register"
RUNS = Resource("Identity::Match", id="linkage-runs")
READ_AT_ONCE = 20_000
JUDGED_AT_ONCE = 500
_FIELDS = ("id", "name", "birth_date", "sex", "area", "phone_hmac", "citizen_number")


async def start(tx: Transaction, kit: Kit, who: Principal) -> LinkageRun:
    """A new run, or the one that is under way."""
    kit.permitted(who, "linkage.run", RUNS)
    assert kit.jobs is not None
    await pairs.lock_linkage(tx)
    last = await pairs.linkage_runs(tx, JOB)
    if not last or last[0]["state"] not in ("queued", "running"):
        id = await kit.jobs.submit(tx, kind=JOB)
        await tx.leaf(action="linkage.run", resource=f"linkage-runs/{id}")
        last = await pairs.linkage_runs(tx, JOB, id=id)
    return _run(last[0])


async def page(db: Connection, kit: Kit, who: Principal, *, after: str | None, limit: int) -> LinkageRunPage:
    """The runs, the latest first."""
    kit.permitted(who, "linkage.run", RUNS)
    rows = await pairs.linkage_runs(db, JOB, after=uuid_after(after), limit=limit + 1)
    items = [_run(row) for row in rows[:limit]]
    return LinkageRunPage(items=items, next=encode_cursor(items[-1].id) if len(rows) > limit else None)


async def one(db: Connection, kit: Kit, who: Principal, id: UUID) -> LinkageRun:
    """Raises Problem 404."""
    kit.permitted(who, "linkage.run", RUNS)
    rows = await pairs.linkage_runs(db, JOB, id=id)
    if not rows:
        raise not_found(f"there is no linkage run {id}", code="no_run")
    return _run(rows[0])


def _run(row: Row) -> LinkageRun:
    said = row["result"] or {}
    return LinkageRun(
        id=row["id"],
        state=row["state"],
        done=row["progress_done"],
        total=row["progress_total"],
        people=said.get("people"),
        pairs=said.get("pairs"),
        queued=said.get("queued"),
        error=row["error"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
    )


async def run(job: "RunningJob") -> dict[str, Any]:
    """Compares everybody with everybody; half of the steps are people read, half pairs judged.

    What it writes of people to disk lies under the suite's home, for its own user, until it ends.
    """
    root = job.kit.settings.home / "identity" / "linkage"
    shutil.rmtree(root, ignore_errors=True)  # what a run that was killed has left
    root.mkdir(mode=0o700, parents=True)
    vault = await open_vault(job.kit)
    async with vault.transaction() as tx:
        register = await Register.open(tx, job.kit.settings)
    with TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        people = await _read(job, vault, folder / "people.parquet")
        source = f"read_parquet('{folder / 'people.parquet'}')"
        found, total = await asyncio.to_thread(_alike, source, folder)
        queued = seen = 0
        for chunk in _chunks(found):
            queued += await _queue(job, vault, register, chunk)
            seen += len(chunk)
            await job.progress(people + people * seen // total, 2 * people)
    return {"people": people, "pairs": total, "queued": queued}


def _alike(source: str, folder: Path) -> tuple[Path, int]:
    from services.identity.linkage.batch import alike

    return alike(linkage.load(), source, folder)


async def _read(job: "RunningJob", vault: Database, target: Path) -> int:
    """What the model compares of everybody, as a file; returns how many there are."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(field, pa.string()) for field in _FIELDS])
    done, after = 0, None
    with ParquetWriter(target, schema) as writer:
        while True:
            async with vault.read() as db:
                rows = await pairs.people_after(db, after, READ_AT_ONCE)
            if not rows:
                return done
            said: Mapping[str, list[Any]] = {field: [row[field] for row in rows] for field in _FIELDS}
            await asyncio.to_thread(writer.write_table, pa.table(said, schema=schema))
            done, after = done + len(rows), UUID(rows[-1]["id"])
            await job.progress(done)


def _chunks(path: Path) -> Iterator[list[tuple[UUID, UUID]]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        for batch in file.iter_batches(JUDGED_AT_ONCE, columns=["id_l", "id_r"]):
            yield [(UUID(row["id_l"]), UUID(row["id_r"])) for row in batch.to_pylist()]


async def _queue(
    job: "RunningJob", vault: Database, register: Register, found: Sequence[tuple[UUID, UUID]]
) -> int:
    """Puts those of the pairs that may be one person before the clerks; returns how many are new."""
    async with job.transaction(vault) as tx:
        known = Known()
        await known.read(tx, {pid for pair in found for pid in pair})
        apart = [pair for pair in found if all(pid in known.facts for pid in pair)]
        asked = [
            (known.facts[one], known.facts[other])
            for one, other in apart
            if known.root(one) != known.root(other)
            and not numbers_differ(known.facts[one], known.facts[other])
        ]
        rows = await _judged(tx, asked, source=f"linkage/{job.id}") if asked else []
        added = await pairs.add_reviews(tx, rows)
        told = [row for row in rows if row.id in added]
        if told:
            people = {pid for row in told for pid in (row.pid, row.other)}
            await tx.leaf(
                action="linkage.run",
                subjects=register.log_ids(people),
                records=len(told),
                resource=f"linkage-runs/{job.id}",
                reason="identification",
            )
    return len(told)


async def _judged(
    tx: Transaction, asked: Sequence[tuple[Facts, Facts]], *, source: str
) -> list[pairs.ReviewRow]:
    """As a push would be judged today, with the evidence that a clerk is shown."""
    population, _ = await pairs.population(tx)
    likenesses = await asyncio.to_thread(judged, asked, population)
    return [
        queueing.pair(one.pid, other.pid, "model", likeness, source)
        for (one, other), likeness in zip(asked, likenesses, strict=True)
        if likeness.verdict != "none"
    ]
