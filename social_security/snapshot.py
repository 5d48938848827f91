"""The data as they are now, frozen: PostgreSQL's current rows, and what the exchange gives, as Parquet files.

A run reads its snapshot and nothing else, so that it can be run again to the byte and shown to whoever asks
on which data a finding rests. Snapshots hold personal data: their folder is the service's own, and only the
newest are kept.
"""

import asyncio
import calendar
import csv
import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from services.kit import renewal
from services.kit.database import Database, Transaction
from services.kit.ids import uuid7
from social_security import process
from social_security.repository import runs

Commit = Callable[[], AbstractAsyncContextManager[Transaction]]
"""A commit of the run's own: one that only its job's one runner can make."""

KEPT = 2
MEMORY_MB = 2048
THREADS = 2
DEADLINE_S = 1800.0
PROGRAM = "social_security.analytics"


@dataclass(slots=True)
class Deaths:
    """What the exchange gave of health.deaths, and under which agreement."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    agreement: str | None = None
    untranslated: int = 0

    def add(self, rows: Sequence[dict[str, Any]], *, agreement: str, untranslated: int) -> None:
        self.rows.extend(rows)
        self.agreement = agreement
        self.untranslated += untranslated


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files as a run reads them: for each table its path under `folder`, rows and sha256."""

    id: UUID
    folder: Path
    as_of: datetime
    files: list[dict[str, Any]]

    @property
    def sha256(self) -> str:
        lines = sorted(f"{file['table']} {file['rows']} {file['sha256']}" for file in self.files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def paths(self) -> dict[str, str]:
        return {file["table"]: str(self.folder / file["file"]) for file in self.files}


async def take(
    database: Database, root: Path, *, deaths: Deaths | None, merged: Mapping[str, str]
) -> Snapshot:
    """Freezes every table in one view of the database.

    Args:
        root: where the service keeps its snapshots.
        deaths: what the exchange gave of health.deaths; None when it gave nothing.
        merged: ids stored here that go by another one now (IdentityClient.merged_ids).

    Raises:
        ProgramFailed: the freezing program did not end well.
    """
    snapshot_id = uuid7()
    folder = root / str(snapshot_id)
    await asyncio.to_thread(_make_private, folder)
    sources: dict[str, Path] = {}
    async with database.read() as connection:
        as_of = await runs.clock(connection)
        # What was asked of others before ids were renewed is put beside what is stored now.
        given = deaths.rows if deaths is not None else []
        said = [row["sector_id"] for row in given if row["sector_id"]]
        now = await renewal.renewed(connection, [*merged, *merged.values(), *said])
        for table in runs.CURRENT:
            sources[table] = folder / f"{table}.csv"
            await runs.copy_current(connection, table, sources[table], deadline_ms=int(DEADLINE_S * 1000))
    if deaths is not None:
        sources["deaths"] = folder / "deaths.csv"
        await asyncio.to_thread(_write_deaths, sources["deaths"], deaths.rows, now)
    same = folder / "merged.csv"
    one = sorted((now.get(id, id), now.get(root, root)) for id, root in merged.items())
    await asyncio.to_thread(_write, same, one)
    what = {
        "do": "freeze",
        "sources": {table: str(path) for table, path in sources.items()},
        "merged": str(same),
        "folder": str(folder),
        "memory_mb": MEMORY_MB,
        "threads": THREADS,
    }
    frozen = await process.told(PROGRAM, what, deadline_s=DEADLINE_S)
    for path in (same, *sources.values()):
        path.unlink()
    return Snapshot(snapshot_id, folder, as_of, [_described(file, deaths) for file in frozen["files"]])


def _described(file: dict[str, Any], deaths: Deaths | None) -> dict[str, Any]:
    if file["table"] != "deaths" or deaths is None:
        return file
    # People health knows and this sector does not are left out by the exchange; how many, is said here.
    return {**file, "agreement": deaths.agreement, "untranslated": deaths.untranslated}


async def tidy(transaction: Commit, root: Path) -> None:
    """Removes the files of all but the newest snapshots, and folders no run ever finished."""
    async with transaction() as tx:
        outdated = await runs.outdated_snapshots(tx, kept=KEPT)
        await runs.mark_removed(tx, outdated)
        known = await runs.kept_snapshots(tx)
    await asyncio.to_thread(_remove, root, set(map(str, outdated)), set(map(str, known)))


def root_of(home: Path) -> Path:
    return home / "social_security" / "snapshots"


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700)


def _write_deaths(path: Path, deaths: Sequence[dict[str, Any]], now: Mapping[str, str]) -> None:
    """A row without a person of this sector, or without a day, says nothing here."""
    said = (
        (now.get(row["sector_id"], row["sector_id"]), day_of(str(row["death_date"])).isoformat())
        for row in deaths
        if row["sector_id"] and row["death_date"]
    )
    _write(path, said)


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def day_of(death: str) -> date:
    """The day of a death given as FHIR gives it; of a month or a year alone its last day."""
    if len(death) == 4:
        return date(int(death), 12, 31)
    if len(death) == 7:
        year, month = int(death[:4]), int(death[5:])
        return date(year, month, calendar.monthrange(year, month)[1])
    return date.fromisoformat(death[:10])


def _remove(root: Path, outdated: set[str], known: set[str]) -> None:
    """Outdated snapshots, and those of runs that died; never one that may still be in the making."""
    for folder in root.iterdir() if root.is_dir() else ():
        abandoned = folder.name not in known and time.time() - folder.stat().st_mtime > 2 * DEADLINE_S
        if folder.name in outdated or abandoned:
            shutil.rmtree(folder)
