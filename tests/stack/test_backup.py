"""`./run backup` and the archived log, against real servers: whole or not there, sealed, kept as told."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.stack.archive import Archive, Base, segment_name
from services.stack.sealing import Key
from tests.support.keeping import Kept, eventually, is_root

pytestmark = pytest.mark.chaos
NOW = datetime(2026, 3, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def kept(public_folders: Path) -> Iterator[Kept]:
    folder = public_folders / "backup"
    folder.mkdir()
    found = Kept(folder, HUIMIN_ARCHIVE_TIMEOUT_S="2")
    try:
        found.start()
        yield found
    finally:
        found.stop()


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_in_a_backup_is_in_clear(kept: Kept) -> None:
    kept.sql("create table told as select 'a word nobody else has' as it from generate_series(1, 100)")
    (kept.home.clients / "hospital.json").write_text('{"d": "a private key"}')
    printed = kept.done("backup")
    assert "✓" in printed
    kept.archived_now()
    words = [b"a word nobody else has", b"a private key", kept.home.secret().encode()]
    data = next(path for path in kept.server().rglob("*") if path.is_file() and words[0] in path.read_bytes())
    assert data  # it is in the database as it is here
    for path in files_of(kept.store):
        content = path.read_bytes()
        assert not any(word in content for word in words), path
        assert path.stat().st_mode & 0o077 == 0


def test_the_log_is_archived_in_time_though_nobody_asks(kept: Kept) -> None:
    kept.done("backup")
    base = kept.archive().bases()[-1]
    kept.sql("create table soon (it int)", "insert into soon values (1)")
    written = datetime.now(UTC)
    eventually(lambda: kept.archive().reach(base).until >= written)


def test_a_killed_backup_is_none_and_the_next_one_sweeps_it(kept: Kept) -> None:
    whole = kept.archive().bases()
    kept.sql("create table large as select repeat(md5(n::text), 30) from generate_series(1, 60000) n")
    process = kept.begin("backup")
    eventually(lambda: list(kept.store.glob("*/base/*/data.partial")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert kept.archive().bases() == whole
    assert len(list(kept.store.glob("*/base/*"))) == len(whole) + 1
    kept.done("backup")
    assert [base.label for base in kept.archive().bases()][: len(whole)] == [base.label for base in whole]
    assert len(list(kept.store.glob("*/base/*"))) == len(kept.archive().bases())


def test_two_backups_at_a_time_are_refused(kept: Kept) -> None:
    handle = os.open(kept.store, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert "another backup is being made" in kept.refused("backup")
    finally:
        os.close(handle)
    kept.done("backup")


@pytest.mark.skipif(not is_root(), reason="only root can mount a small disk")
def test_a_full_disk_is_said_and_leaves_nothing_half(public_folder: Path) -> None:
    store = public_folder / "store"
    store.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", store], check=False)
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    kept = Kept(public_folder)
    try:
        kept.start()
        kept.done("backup")
        before = kept.archive().bases()
        kept.sql("create table large (it bytea)", "alter table large alter it set storage external")
        noise = "insert into large select sha512(random()::text::bytea) from generate_series(1, 150000)"
        kept.sql(noise, "checkpoint")
        printed = kept.refused("backup")
        assert "No space left" in printed or "cannot be archived" in printed
        assert kept.archive().bases() == before
        assert not list(store.glob("*/base/*/data*.partial"))
        eventually(lambda: any("cannot be archived" in one["detail"] for one in kept.outcomes("backup")))
        # The server has kept what could not go; it goes when there is room.
        subprocess.run(["mount", "-o", "remount,size=200m", store], check=True)
        kept.archived_now()
        kept.done("backup")
    finally:
        kept.stop()
        subprocess.run(["umount", "-l", store], check=True)


def test_a_place_that_is_gone_holds_nothing_up(kept: Kept) -> None:
    """The server goes on, keeps its log, and hands it over when the place is back."""
    wal = kept.archive().wal
    aside = wal.with_name("aside")
    wal.rename(aside)
    wal.touch()
    try:
        kept.sql("create table during (it int)", "insert into during values (1)", "select pg_switch_wal()")
        eventually(lambda: any("cannot be archived" in one["detail"] for one in kept.outcomes("backup")))
        kept.sql("insert into during values (2)")
    finally:
        wal.unlink()
        aside.rename(wal)
    kept.archived_now()
    eventually(lambda: "archived again" in kept.outcomes("backup")[-1]["detail"])


def test_without_a_suite_or_an_archive_it_says_so(kept: Kept, public_folder: Path) -> None:
    assert "the suite does not run" in Kept(public_folder).refused("backup")
    assert "set HUIMIN_BACKUP" in kept.refused("backup", HUIMIN_BACKUP="off")


@pytest.mark.parametrize("command", [["backup"], ["restore", "--at", "latest"], ["drill"], ["promote"]])
def test_a_database_of_others_is_left_to_them(public_folder: Path, command: list[str]) -> None:
    printed = Kept(public_folder).refused(*command, HUIMIN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert "its own administrator's means" in printed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUIMIN_BACKUP_KEEP", "0"),
        ("HUIMIN_BACKUP_KEEP_DAYS", "-1"),
        ("HUIMIN_ARCHIVE_TIMEOUT_S", "soon"),
        ("HUIMIN_BACKUP_EVERY_H", "nan"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(kept: Kept, name: str, value: str) -> None:
    assert name in kept.refused("backup", **{name: value})


# --- retention ---------------------------------------------------------------------------------------


def made(folder: Path, ages_days: list[float]) -> Archive:
    """An archive with a base backup of each age, ten segments of log behind each."""
    archive = Archive(folder, "1", Key(b"k" * 32))
    source = folder / "segment"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"log")
    for place, age in enumerate(sorted(ages_days, reverse=True)):
        since = (NOW - timedelta(days=age)).isoformat()
        archive.complete(Base(f"{place}", "1", 1, place * 10, since, 1))
        for segment in range(place * 10, place * 10 + 10):
            archive.keep_log(segment_name(1, segment), source)
    return Archive(folder, "1", Key(b"k" * 32))


@pytest.mark.parametrize(
    ("ages", "keep_days", "keep", "gone"),
    [
        ([1, 2, 3], 14, 2, 0),
        ([1, 15], 14, 2, 0),  # the older one reaches into the fourteen days
        ([1, 15, 16], 14, 2, 1),
        ([20, 21, 22, 23], 14, 2, 2),
        ([20, 21, 22, 23], 14, 1, 3),
        ([20, 21, 22, 23], 14, 9, 0),
        ([0.1, 0.2, 0.3], 0, 1, 2),
    ],
)
def test_what_is_kept_reaches_as_far_back_as_said(
    tmp_path: Path, ages: list[float], keep_days: float, keep: int, gone: int
) -> None:
    archive = made(tmp_path, ages)
    before = archive.bases()
    assert archive.prune(keep_days=keep_days, keep=keep, now=NOW) == [base.label for base in before[:gone]]
    after = Archive(tmp_path, "1", Key(b"k" * 32))
    assert after.bases() == before[gone:]
    assert len(after.reach(after.bases()[0]).names) == 10 * (len(ages) - gone)
    assert len(after.names) == 10 * (len(ages) - gone)  # and no log that nothing needs
    if (NOW - before[0].reachable_from).days >= keep_days:
        assert (NOW - after.bases()[0].reachable_from).total_seconds() >= keep_days * 86400


def test_a_gap_ends_the_reach_and_is_named(tmp_path: Path) -> None:
    archive = made(tmp_path, [1, 2])
    (archive.wal / segment_name(1, 7)).unlink()
    first, second = archive.bases()
    bent = Archive(tmp_path, "1", Key(b"k" * 32))
    assert bent.reach(first).missing == segment_name(1, 7)
    assert len(bent.reach(first).names) == 7
    assert bent.reach(second).missing is None


def test_the_log_is_followed_onto_a_new_timeline(tmp_path: Path) -> None:
    """After a promotion in segment 4: what the old timeline wrote behind it is not what happened."""
    archive = made(tmp_path, [1])
    history, source = tmp_path / "history", tmp_path / "segment"
    history.write_text("1\t0/4000100\tno recovery target specified\n")
    archive.keep_log("00000002.history", history)
    for segment in (4, 5):
        archive.keep_log(segment_name(2, segment), source)
    after = Archive(tmp_path, "1", Key(b"k" * 32))
    names = after.reach(after.bases()[0]).names
    assert names[:6] == [segment_name(1, n) for n in range(4)] + [segment_name(2, n) for n in (4, 5)]


def test_times_do_not_depend_on_the_files_own(tmp_path: Path) -> None:
    """A store that was copied has the times of the copy."""
    archive = made(tmp_path, [1])
    before = archive.reach(archive.bases()[0]).until
    for path in archive.wal.iterdir():
        os.utime(path, (time.time() + 9999, time.time() + 9999))
    assert Archive(tmp_path, "1", Key(b"k" * 32)).reach(archive.bases()[0]).until == before
