"""`./run restore`: an empty home becomes what the suite was, to the second, or it says why not."""

import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.keeping import Kept, eventually, is_root

pytestmark = pytest.mark.chaos


class Lost(Kept):
    """An installation with rows from before and after a moment, that was deleted and then lost whole."""

    moment: datetime
    deleted: datetime


@pytest.fixture(scope="module")
def lost(public_folders: Path) -> Lost:
    folder = public_folders / "restore"
    folder.mkdir()
    kept = Lost(folder)
    try:
        kept.start()
        kept.sql("create table tale (n int primary key)", "insert into tale select generate_series(1, 1000)")
        (kept.home.clients / "hospital.json").write_text("a client's key")
        kept.done("backup")
        kept.sql("insert into tale select generate_series(1001, 1500)")
        time.sleep(1.1)
        kept.moment = datetime.now(UTC).replace(microsecond=0)
        kept.archived_now()
        kept.sql("insert into tale values (5000)", "delete from tale")
        kept.deleted = kept.archived_now()
        kept.archived_now()
        secret = kept.home.secret()
    finally:
        kept.stop()
    shutil.rmtree(kept.home.path)
    kept.home.path.mkdir(mode=0o711)
    (kept.home.path / "secret").write_text(secret)
    return kept


def restored(lost: Lost, name: str, at: str, *arguments: str) -> Kept:
    home = lost.another(name)
    home.done("restore", "--at", at, "--from", str(lost.store), *arguments)
    return home


def test_what_was_deleted_is_back_to_the_second(lost: Lost) -> None:
    home = restored(lost, "back", lost.moment.isoformat().replace("+00:00", "Z"))
    try:
        home.start()
        assert home.sql("select count(*) from tale") == "1500"
        assert home.sql("select count(*) from tale where n = 5000") == "0"
        # It goes on from there, on a timeline of its own, with a backup of its own.
        assert home.sql("select timeline_id from pg_control_checkpoint()") == "2"
        home.sql("insert into tale values (7777)")
        home.done("backup")
        moment = home.archived_now()
    finally:
        home.stop()
    assert (home.home.clients / "hospital.json").read_text() == "a client's key"
    assert home.outcomes("restore")[0]["ok"]
    again = home.another("again")
    again.done("restore", "--at", moment.isoformat(), "--from", str(home.store))
    try:
        again.start()
        assert again.sql("select count(*) from tale where n = 7777") == "1"
    finally:
        again.stop()


def test_the_moment_before_and_the_one_after_the_loss(lost: Lost) -> None:
    for name, moment, rows in (("before", lost.moment, "1500"), ("after", lost.deleted, "0")):
        home = restored(lost, name, moment.astimezone().isoformat())
        try:
            home.start()
            assert home.sql("select count(*) from tale") == rows
        finally:
            home.stop()


def test_the_broker_begins_empty(lost: Lost) -> None:
    home = restored(lost, "broker", "latest")
    assert not home.server("valkey").exists() or not any(home.server("valkey").iterdir())


@pytest.mark.skipif(not is_root(), reason="only root can become another user")
def test_the_servers_own_user_owns_what_came_back(lost: Lost) -> None:
    home = restored(lost, "owned", "latest")
    data = home.server() / "data"
    assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {65534}


# --- what is refused ---------------------------------------------------------------------------------


def test_a_home_that_is_not_empty_is_left_alone(lost: Lost) -> None:
    home = lost.another("full")
    (home.home.path / "clients").mkdir()
    (home.home.path / "clients" / "hospital.json").write_text("a client's key")
    printed = home.refused("restore", "--at", "latest", "--from", str(lost.store))
    assert "is not an empty home" in printed
    assert "clients" in printed


def test_a_time_out_of_reach_is_told_what_can_be_reached(lost: Lost) -> None:
    home = lost.another("early")
    for at in (lost.moment - timedelta(days=1), datetime.now(UTC) + timedelta(hours=1)):
        printed = home.refused("restore", "--at", at.isoformat(), "--from", str(lost.store))
        assert "cannot be restored to" in printed
        since = lost.archive().bases()[0].reachable_from.astimezone().isoformat(timespec="seconds")
        assert since in printed
    assert "is not a time" in home.refused("restore", "--at", "yesterday", "--from", str(lost.store))
    assert "no such folder" in home.refused("restore", "--at", "latest", "--from", str(lost.folder / "none"))
    assert not (home.server() / "data").exists()


def test_another_secret_opens_nothing(lost: Lost) -> None:
    home = lost.another("other", secret=False)
    assert "the secret is missing" in home.refused("restore", "--at", "latest", "--from", str(lost.store))
    asked = ("restore", "--at", "latest", "--from", str(lost.store))
    assert "sealed with another secret" in home.refused(*asked, HUIMIN_SECRET="not the one")


def copied(lost: Lost, name: str) -> tuple[Kept, Path]:
    home = lost.another(name)
    store = home.folder / "copied"
    shutil.copytree(lost.store, store)
    return home, store


@pytest.mark.parametrize("part", ["base/*/data", "base/*/files", "base/*/about", "wal/*"])
def test_a_bent_file_is_not_used(lost: Lost, part: str) -> None:
    home, store = copied(lost, "bent-" + part.replace("/", "-").replace("*", ""))
    path = max(path for path in store.glob(f"*/{part}") if not path.name.endswith(".backup"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    printed = home.refused("restore", "--at", "latest", "--from", str(store))
    assert "was altered" in printed
    assert not (home.server() / "data").exists()


def test_a_backup_that_was_cut_off_is_not_used(lost: Lost) -> None:
    home, store = copied(lost, "cut")
    (path,) = store.glob("*/base/*/data")
    os.truncate(path, path.stat().st_size - 100)
    printed = home.refused("restore", "--at", "latest", "--from", str(store))
    assert "is cut off there" in printed or "was altered" in printed
    assert not (home.server() / "data").exists()


def test_a_missing_segment_ends_what_can_be_reached(lost: Lost) -> None:
    home, store = copied(lost, "gap")
    base, archive = lost.archive().bases()[0], lost.archive()
    names = archive.reach(base).names
    place = next(n for n, until in enumerate(archive.reach(base).times) if until >= lost.deleted.timestamp())
    missing = names[place]
    assert missing != names[-1]
    (store / archive.system / "wal" / missing).unlink()
    printed = home.refused("restore", "--at", lost.deleted.isoformat(), "--from", str(store))
    assert f"segment {missing} is missing" in printed
    reachable = datetime.fromtimestamp(archive.reach(base).times[place - 1], UTC)
    assert lost.moment < reachable < lost.deleted
    assert reachable.astimezone().isoformat(timespec="seconds") in printed
    home.done("restore", "--at", "latest", "--from", str(store))


def test_a_restore_that_was_killed_is_no_home_and_can_be_done_again(lost: Lost) -> None:
    home = lost.another("killed")
    asked = ("restore", "--at", "latest", "--from", str(lost.store))
    process = home.begin(*asked)
    eventually(lambda: (home.server() / "data.partial" / "global").exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (home.server() / "data").exists()
    home.done(*asked)
    assert (home.server() / "data").exists()
