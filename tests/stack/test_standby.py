"""The standby: what was acknowledged is there after the primary is killed and its disk is gone."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from services.stack.postgres import server_url
from tests.support.keeping import Kept, eventually

pytestmark = pytest.mark.chaos
DOUBLED = {"HUIMIN_STANDBY": "1", "HUIMIN_BACKUP": "off", "HUIMIN_STANDBY_WAIT_S": "3"}
WRITERS = 4
LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@pytest.fixture
def doubled(public_folder: Path) -> Iterator[Kept]:
    kept = Kept(public_folder, **DOUBLED)
    try:
        yield kept
    finally:
        kept.stop()


def started(kept: Kept) -> Kept:
    kept.start(children=4)
    eventually(lambda: followed(kept))
    kept.sql("create table acknowledged (n int primary key)")
    return kept


def followed(kept: Kept) -> bool:
    return bool(kept.outcomes("standby")) and kept.outcomes("standby")[-1]["ok"]


class Writers:
    """Sessions that commit numbers one by one and remember those that were acknowledged."""

    def __init__(self, kept: Kept) -> None:
        self.url = server_url(kept.home, "postgres")
        self.acknowledged: list[int] = []

    async def write_until_it_dies(self, kept: Kept, kill_after: int) -> None:
        async def write(first: int) -> None:
            connection = await asyncpg.connect(self.url)
            with contextlib.suppress(OSError, *LOST):
                for number in range(first, 1_000_000, WRITERS):
                    await connection.execute("insert into acknowledged values ($1)", number)
                    self.acknowledged.append(number)

        tasks = [asyncio.create_task(write(first)) for first in range(WRITERS)]
        await asyncio.to_thread(eventually, lambda: len(self.acknowledged) >= kill_after)
        os.kill(kept.child("postgres"), signal.SIGKILL)
        shutil.rmtree(kept.server() / "data", ignore_errors=True)
        await asyncio.gather(*tasks)


async def test_every_acknowledged_commit_outlives_the_primary(doubled: Kept) -> None:
    kept = started(doubled)
    port = kept.home.state()["ports"]["postgres"]
    writers = Writers(kept)
    await writers.write_until_it_dies(kept, 300)
    printed = await asyncio.to_thread(kept.done, "promote")
    assert "RPO 0.0 s" in printed
    assert kept.home.state()["ports"]["postgres"] == port  # where the application's pool looks
    there = {int(n) for n in kept.sql("select n from acknowledged").split()}
    assert set(writers.acknowledged) <= there
    assert len(writers.acknowledged) >= 300
    # The other place has a standby again, and commits wait for it.
    await asyncio.to_thread(eventually, lambda: (kept.server() / "data" / "standby.signal").exists())
    await asyncio.to_thread(eventually, lambda: waits(kept))
    kept.sql("insert into acknowledged values (-1)")


def waits(kept: Kept) -> bool:
    asked = "select application_name, sync_state from pg_stat_replication"
    return kept.sql(asked) == "huimin_standby|sync" and kept.sql("show synchronous_standby_names") != ""


def test_the_places_change_back_and_outlive_a_restart(doubled: Kept) -> None:
    kept = started(doubled)
    for number in (1, 2):
        kept.sql(f"insert into acknowledged values ({number})")
        kept.done("promote")
        eventually(lambda: waits(kept))
    kept.stop()
    kept.start(children=4)
    assert kept.sql("select count(*) from acknowledged") == "2"
    eventually(lambda: waits(kept))


def test_a_stopped_suite_can_be_promoted_and_is_not_made_anew(doubled: Kept) -> None:
    kept = started(doubled)
    kept.sql("insert into acknowledged values (1)")
    kept.stop()
    shutil.rmtree(kept.server() / "data")
    with pytest.raises(AssertionError, match="its standby is there"):
        kept.start(children=4)
    kept.done("promote")
    kept.start(children=4)
    assert kept.sql("select n from acknowledged") == "1"


def test_commits_wait_for_a_standby_that_is_away_then_go_on_with_an_alarm(doubled: Kept) -> None:
    kept = started(doubled)
    stopped = kept.child("standby")
    os.kill(stopped, signal.SIGSTOP)
    for worker in children_of(stopped):
        os.kill(worker, signal.SIGSTOP)
    try:
        began = time.monotonic()
        # It is still connected, and answers nothing: the server gives it up, then the keeper does.
        kept.sql("insert into acknowledged values (1)")
        assert time.monotonic() - began >= 3.0
        eventually(lambda: not kept.outcomes("standby")[-1]["ok"])
        assert "may lack them" in kept.refused("promote")
    finally:
        for worker in (*children_of(stopped), stopped):
            os.kill(worker, signal.SIGCONT)
    eventually(lambda: followed(kept))
    eventually(lambda: waits(kept))
    kept.sql("insert into acknowledged values (2)")


def children_of(pid: int) -> list[int]:
    from services.stack.processes import descendants

    return [child for child in descendants(pid) if child != pid]


async def test_where_they_are_to_wait_for_ever_they_do(public_folder: Path) -> None:
    kept = Kept(public_folder, **DOUBLED | {"HUIMIN_STANDBY_WAIT_S": "never"})
    try:
        started(kept)
        os.kill(kept.child("standby"), signal.SIGSTOP)
        for worker in children_of(kept.child("standby")):
            os.kill(worker, signal.SIGSTOP)
        connection = await asyncpg.connect(server_url(kept.home, "postgres"))
        waiting = asyncio.create_task(connection.execute("insert into acknowledged values (1)"))
        await asyncio.sleep(6.0)
        assert not waiting.done()
        for worker in (*children_of(kept.child("standby")), kept.child("standby")):
            os.kill(worker, signal.SIGCONT)
        await asyncio.wait_for(waiting, 60.0)
        await connection.close()
    finally:
        kept.stop()


def test_a_folder_with_anothers_data_is_refused(doubled: Kept) -> None:
    kept = started(doubled)
    kept.stop()
    shutil.rmtree(kept.server() / "data")
    (kept.server("standby") / "data").rename(kept.folder / "other")
    kept.start(children=4)  # a new database, and its standby
    kept.stop()
    shutil.rmtree(kept.server("standby") / "data")
    (kept.folder / "other").rename(kept.server("standby") / "data")
    with pytest.raises(AssertionError, match="another database's data"):
        kept.start(children=4)
