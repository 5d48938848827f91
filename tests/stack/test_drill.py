"""The drill, and what it is for: everything deleted, the home lost, all of it back to the second."""

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from services.stack.drill import rows_of
from services.stack.postgres import server_url
from services.stack.processes import descendants
from tests.support.keeping import Kept, eventually
from tests.support.suite import PASSWORD, Suite, start_suite

pytestmark = [pytest.mark.long, pytest.mark.chaos, pytest.mark.timeout(600)]
Rows = dict[str, tuple[int, int]]


class Whole(Kept):
    """The whole suite, not its servers alone."""

    def up(self) -> Suite:
        self.suite = start_suite(self.folder, environment=self.environment)
        self.suite.wait_ready(children=5)
        return self.suite

    def rows(self) -> Rows:
        return asyncio.run(self._rows())

    async def _rows(self) -> Rows:
        connection = await asyncpg.connect(server_url(self.home))
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await rows_of(connection)
        finally:
            await connection.close()

    def frozen(self) -> tuple[Rows, datetime]:
        """What there is at a moment when nobody can write, and the moment."""
        writers = [pid for name in ("app", "worker") for pid in descendants(self.child(name))]
        for pid in writers:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.0)  # what was on its way is committed
            moment = datetime.now(UTC)
            time.sleep(0.5)
            return self.rows(), moment
        finally:
            for pid in writers:
                os.kill(pid, signal.SIGCONT)

    def accounts(self, *names: str) -> None:
        assert self.suite is not None
        for name in names:
            who = {"kind": "staff", "roles": ["operator"], "areas": ["000000"]}
            body = {"username": name, "password": PASSWORD, **who}
            self.suite.as_stack("POST", "identity", "/identity/accounts", body)


@pytest.fixture
def whole(public_folder: Path) -> Iterator[Whole]:
    kept = Whole(public_folder, HUIMIN_ARCHIVE_TIMEOUT_S="5", HUIMIN_BACKUP_EVERY_H="0", HUIMIN_DEMO="1")
    try:
        yield kept
    finally:
        kept.stop()


def test_the_drill_compares_every_table_and_tells_its_outcome(whole: Whole) -> None:
    suite = whole.up()
    whole.accounts("first")
    whole.done("backup")
    whole.accounts("second")
    printed = whole.done("drill")
    assert re.search(r"RPO \d+\.\d s  RTO \d+\.\d s", printed)
    told = suite.as_stack("GET", "audit", "/audit/outcomes?kind=drill")["items"]
    assert [outcome["ok"] for outcome in told] == [True]
    assert told[0]["rto_s"] > 0
    assert not (whole.home.path / "drill").exists()
    # What differs is named: a table that the copy has not.
    (about,) = whole.store.glob("*/base/*/about")
    about.unlink()
    assert "no backup yet" in whole.refused("drill")
    outcomes = suite.as_stack("GET", "audit", "/audit/outcomes?kind=drill")["items"]
    assert [outcome["ok"] for outcome in outcomes] == [False, True]


def test_everything_deleted_is_back_to_the_second_and_the_log_verifies(whole: Whole) -> None:
    whole.up()
    whole.accounts("first")
    whole.done("backup")
    whole.accounts("second", "third")
    heads, late = whole.folder / "heads", whole.folder / "late"
    whole.done("verify")
    time.sleep(3.0)
    whole.done("verify", "--keep", str(heads))
    before, moment = whole.frozen()
    whole.accounts("fourth")
    whole.done("verify")  # reading the log is an access, too: it grows
    time.sleep(3.0)
    whole.done("verify", "--keep", str(late))
    asyncio.run(delete_everything(whole))
    assert all(count == 0 for table, (count, _) in whole.rows().items() if ".leaf" in table)
    eventually(lambda: whole.archive().reach(whole.archive().bases()[-1]).until > moment)
    whole.stop()
    secret = whole.home.secret()
    shutil.rmtree(whole.home.path)
    whole.home.path.mkdir(mode=0o711)
    (whole.home.path / "secret").write_text(secret)
    whole.done("restore", "--at", moment.isoformat())
    kept = Kept(whole.folder, **whole.environment)
    kept.start()
    found = whole.rows()
    kept.stop()
    assert found == before
    suite = whole.up()
    assert suite.session("third")
    eventually(lambda: suite.as_stack("GET", "audit", "/audit/outcomes?kind=restore")["items"])
    time.sleep(2.0)
    assert "✓" in whole.done("verify", "--head", str(heads))
    # A head that was signed after the moment is of a log that is no more; the log says why.
    printed = whole.refused("verify", "--head", str(late))
    assert "the log was restored" in printed
    assert moment.astimezone().isoformat(timespec="seconds") in printed


async def delete_everything(whole: Whole) -> None:
    connection = await asyncpg.connect(server_url(whole.home))
    try:
        await connection.execute("set session_replication_role = replica")
        async with connection.transaction():
            for table in await rows_of(connection):
                await connection.execute(f"alter table {table} disable trigger all")
                await connection.execute(f"delete from {table}")
    finally:
        await connection.close()


def test_the_keeper_makes_the_backup_that_is_due_and_tells_it(whole: Whole) -> None:
    whole.environment["HUIMIN_BACKUP_EVERY_H"] = "24"
    suite = whole.up()
    eventually(lambda: suite.as_stack("GET", "audit", "/audit/outcomes?kind=backup")["items"])
    time.sleep(12.0)
    assert len(whole.archive().bases()) == 1
