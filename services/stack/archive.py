"""The place backups are kept: sealed base backups, and the log between and behind them.

<folder>/<system>/base/<label>/data    a base backup as PostgreSQL's own tar stream
                              /files   what the home keeps beside the database
                              /about   what the two are; written last: without it there is no backup
<folder>/<system>/wal/<name>           segments and histories of the log, under PostgreSQL's own names

<system> is the database cluster's own number: one made anew has another, and they never mix.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from services.stack.sealing import Key, OtherKeyError, sealed, sync_folder, unsealed
from services.stack.terminal import Refusal

SEGMENT_BYTES = 16 * 2**20
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")


@dataclass(frozen=True)
class Base:
    """A whole base backup.

    Attributes:
        timeline, segment: where in the log recovery from it begins.
        since: the first moment it can be brought to, RFC 3339.
        bytes: what it takes, sealed.
    """

    label: str
    system: str
    timeline: int
    segment: int
    since: str
    bytes: int

    @property
    def reachable_from(self) -> datetime:
        return datetime.fromisoformat(self.since)


@dataclass(frozen=True)
class Reach:
    """The unbroken log behind a base backup.

    Attributes:
        names: of its segments, in order.
        times: until when each has everything that was acknowledged, seconds since the epoch.
        missing: the name of the segment that is not there although later ones are.
    """

    names: list[str]
    times: list[float]
    missing: str | None

    @property
    def until(self) -> datetime:
        return datetime.fromtimestamp(self.times[-1] if self.times else 0.0, UTC)


class Archive:
    """The backups of one database cluster."""

    def __init__(self, folder: Path, system: str, key: Key) -> None:
        self.folder = folder
        self.system = system
        self.key = key
        self._bases = folder / system / "base"
        self.wal = folder / system / "wal"

    @classmethod
    def all_in(cls, folder: Path, key: Key) -> list["Archive"]:
        """Every cluster that has something there. Raises Refusal when the folder is not there."""
        if not folder.is_dir():
            raise Refusal(f"找不到备份目录 {folder} · there is no such folder: name it with --from")
        systems = sorted(entry.name for entry in folder.iterdir() if entry.name.isdigit())
        return [cls(folder, system, key) for system in systems]

    # --- base backups ----------------------------------------------------------------------------------

    def place_of(self, label: str) -> Path:
        return self._bases / label

    def name_of(self, label: str, part: str) -> str:
        return f"{self.system}/base/{label}/{part}"

    def bases(self) -> list[Base]:
        """The whole ones, oldest first.

        Raises:
            SealError: one was bent; OtherKeyError where they are under another secret.
        """
        found = [self._about(about.parent.name) for about in self._bases.glob("*/about")]
        return sorted(found, key=lambda base: base.since)

    def _about(self, label: str) -> Base:
        with unsealed(self.place_of(label) / "about", self.key, self.name_of(label, "about")) as about:
            return Base(**json.loads(about.read()))

    def complete(self, base: Base) -> None:
        """Makes a base backup whose parts are there one that counts."""
        with sealed(
            self.place_of(base.label) / "about", self.key, self.name_of(base.label, "about")
        ) as about:
            about.write(json.dumps(asdict(base)).encode())
        sync_folder(self._bases)

    def sweep(self) -> None:
        """Takes away what interrupted backups left; only while no other is being made."""
        for folder in self._bases.glob("*"):
            if not (folder / "about").exists():
                shutil.rmtree(folder)

    # --- the log ---------------------------------------------------------------------------------------

    def keep_log(self, name: str, source: Path) -> None:
        """Seals a file of the log under its name, with the time it was last written at."""
        with (
            source.open("rb") as plain,
            sealed(
                self.wal / name, self.key, f"{self.system}/wal/{name}", time_ns=source.stat().st_mtime_ns
            ) as kept,
        ):
            shutil.copyfileobj(plain, kept, 2**20)

    def open_log(self, name: str, target: Path) -> None:
        """Writes a file of the log back."""
        with (
            unsealed(self.wal / name, self.key, f"{self.system}/wal/{name}") as kept,
            target.open("wb") as to,
        ):
            shutil.copyfileobj(kept, to, 2**20)

    def read_log(self, name: str) -> str:
        with unsealed(self.wal / name, self.key, f"{self.system}/wal/{name}") as kept:
            return kept.read().decode()

    @cached_property
    def names(self) -> frozenset[str]:
        """What was there of the log when first asked."""
        return frozenset(file.name for file in self.wal.glob("*") if file.suffix != ".partial")

    @cached_property
    def timelines(self) -> list[tuple[int, int]]:
        """The newest timeline and those it came from, newest first: each with its first segment's number."""
        histories = sorted(name for name in self.names if _HISTORY.fullmatch(name))
        if not histories:
            return [(1, 0)]
        lines = [line.split("\t") for line in self.read_log(histories[-1]).splitlines() if line[:1].isdigit()]
        begins, found = 0, []
        for timeline, switch, *_ in lines:
            found.append((int(timeline), begins))
            begins = segment_of(switch)
        found.append((int(histories[-1][:8], 16), begins))
        return found[::-1]

    def reach(self, base: Base) -> Reach:
        """How far the log goes on behind a base backup without a gap."""
        names: list[str] = []
        times: list[float] = []
        segment, later = base.segment, max(self._segments(), default=0)
        while name := self._holder(segment):
            with unsealed(self.wal / name, self.key, f"{self.system}/wal/{name}") as file:
                names.append(name)
                times.append(file.time)
            segment += 1
        missing = segment_name(self.timelines[0][0], segment) if segment <= later else None
        return Reach(names, times, missing)

    def _holder(self, segment: int) -> str | None:
        for timeline, begins in self.timelines:
            if begins <= segment and (name := segment_name(timeline, segment)) in self.names:
                return name
        return None

    def _segments(self) -> Iterator[int]:
        return (number_of(name) for name in self.names if _SEGMENT.fullmatch(name))

    def histories(self) -> list[str]:
        return [name for name in self.names if _HISTORY.fullmatch(name)]

    # --- retention -------------------------------------------------------------------------------------

    def prune(self, *, keep_days: float, keep: int, now: datetime) -> list[str]:
        """Takes away base backups that nothing within `keep_days` needs, and the log before the oldest left.

        Returns:
            The labels of those that went.
        """
        bases = self.bases()
        old = [base for base in bases if (now - base.reachable_from).total_seconds() > keep_days * 86400]
        # The newest of the old ones reaches into the days that are kept.
        gone = bases[: max(0, min(len(old) - 1, len(bases) - keep))]
        for base in gone:
            folder = self.place_of(base.label)
            (folder / "about").unlink()  # first: half of a backup must not look like one
            shutil.rmtree(folder)
        if gone:
            first = bases[len(gone)].segment
            for name in self.names:
                if _SEGMENT.match(name) and number_of(name) < first:
                    (self.wal / name).unlink(missing_ok=True)
        return [base.label for base in gone]


def readable_bases(folder: Path, key: Key) -> list[tuple[Archive, Base]]:
    """Base backups of every cluster in the folder that this key opens, oldest first.

    Raises:
        Refusal: there is none; OtherKeyError when all are under another secret.
    """
    found: list[tuple[Archive, Base]] = []
    closed: OtherKeyError | None = None
    for archive in Archive.all_in(folder, key):
        try:
            found += [(archive, base) for base in archive.bases()]
        except OtherKeyError as error:
            closed = error
    if not found:
        raise closed or Refusal(
            f"{folder} 中没有完整的备份 · holds no whole backup: make one with ./run backup"
        )
    return sorted(found, key=lambda pair: pair[1].since)


def segment_name(timeline: int, number: int) -> str:
    """As PostgreSQL names the files of its log (XLogFileName), with segments of 16 MB."""
    high, low = divmod(number, 2**32 // SEGMENT_BYTES)
    return f"{timeline:08X}{high:08X}{low:08X}"


def number_of(name: str) -> int:
    return int(name[8:16], 16) * (2**32 // SEGMENT_BYTES) + int(name[16:24], 16)


def segment_of(place: str) -> int:
    """The number of the segment that a place in the log (`0/3000028`) is in."""
    high, _, low = place.partition("/")
    return ((int(high, 16) << 32) + int(low, 16)) // SEGMENT_BYTES
