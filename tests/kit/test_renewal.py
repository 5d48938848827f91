"""Stored ids follow the sector's key: in one commit, whoever writes meanwhile, whoever dies."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.kit import renewal
from services.kit.app import Kit
from services.kit.events import Event
from services.kit.ids import uuid7
from services.kit.jobs.running import RunningJob
from services.kit.jobs.table import claim
from services.kit.kit_tables import RENEWAL_SQL, renewable_sql
from services.kit.operations import figures
from services.kit.problems import Problem
from services.stack.home import ROOT
from tests.kit.rekeyed import IDS, Rekeyed, new_of
from tests.kit.scratch import Scratch
from tests.kit.test_jobs import environment_of

TABLES = (
    """
create table person (id text primary key, name text);
create table paper (
    n integer primary key,
    person text not null references person deferrable,
    witness text,
    words text not null
);
create table plain (owner text, note text, unique (owner, note));
create table heard (n bigint generated always as identity, what text not null);

create function keep_paper() returns trigger language plpgsql as $$
begin
    raise exception 'a paper is never changed' using errcode = 'restrict_violation';
end $$;
create trigger keep_paper before update or delete on paper for each row execute function keep_paper();
create function hear() returns trigger language plpgsql as $$
begin
    insert into heard (what) values (new.name);
    return null;
end $$;
create trigger hear after update on person for each row execute function hear();
"""
    + RENEWAL_SQL
    + renewable_sql("person", "id")
    + renewable_sql("paper", "person")
    + renewable_sql("paper", "witness")
    + renewable_sql("plain", "owner")
)
COLUMNS = (("person", "id"), ("paper", "person"), ("paper", "witness"), ("plain", "owner"))


@pytest.fixture
async def office(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """A service with ids of 30 of identity's 40 people; pages of identity are small."""
    monkeypatch.setattr(renewal, "PAGE", 7)
    kit = await scratch.kit("office", TABLES)
    async with kit.db.transaction() as tx:
        await tx.executemany("insert into person values ($1, $2)", [(id, f"name of {id}") for id in IDS[:30]])
        await tx.executemany(
            "insert into paper values ($1, $2, $3, 'words')",
            [(n, id, IDS[n + 1] if n % 2 else None) for n, id in enumerate(IDS[:29])],
        )
        await tx.executemany(
            "insert into plain values ($1, 'a')", [(id,) for id in (*IDS[:30], "staff", None)]
        )
    return kit


def told(version: int = 2, sector: str = "office") -> Event:
    data = {"sector": sector, "version": version, "from_version": version - 1, "overlap_days": 30}
    at = datetime.now(UTC) - renewal.TOKENS_LIVE
    return Event(uuid7(), "identity.sector.rekeyed", "identity", f"sector/{sector}", 1, at, None, data, None)


async def jobs(kit: Kit) -> list[asyncpg.Record]:
    async with kit.db.read() as db:
        return await db.fetch("select * from job order by submitted_at, id")


async def due_job(kit: Kit) -> UUID:
    async with kit.db.transaction() as tx:
        await renewal.take(tx, told())
    [job] = await jobs(kit)
    found: UUID = job["id"]
    return found


async def renew(kit: Kit, identity: Rekeyed, id: UUID) -> dict[str, Any]:
    """One attempt, by whoever claims the job next."""
    identity.answer(kit)
    async with kit.db.transaction() as tx:
        await tx.execute("update job set lease_until = now() - interval '1 s' where id = $1", id)
        await tx.execute("update job set due_at = now() where id = $1", id)
    async with kit.db.transaction() as tx:
        job = await claim(tx, id)
    assert job is not None
    return await renewal.renew(RunningJob(kit, job))


async def stored(kit: Kit) -> set[str]:
    """Every id in a declared column."""
    async with kit.db.read() as db:
        rows = [
            row for t, c in COLUMNS for row in await db.fetch(f"select {c} from {t} where {c} like 'h1%'")
        ]
    return {row[0] for row in rows}


async def content(kit: Kit) -> list[list[tuple[Any, ...]]]:
    """All tables, with every id as it is in version 2."""
    async with kit.db.read() as db:
        rows = [await db.fetch(f"select * from {table}") for table in ("person", "paper", "plain")]
    become = {id: new_of(id) for id in IDS}
    return [
        sorted((tuple(become.get(value, value) for value in row) for row in table), key=repr)
        for table in rows
    ]


async def test_every_declared_column_is_renewed_in_one_commit_and_nothing_else(office: Kit) -> None:
    before, identity = await content(office), Rekeyed()
    id = await due_job(office)
    result = await renew(office, identity, id)
    assert result["version"] == 2
    assert await stored(office) == {new_of(one) for one in IDS[:30]}
    assert await content(office) == before
    assert identity.adopted == [2]
    async with office.db.read() as db:
        assert await db.fetchval("select count(*) from heard") == 0, "an id is no change of what it names"
        leaf = await db.fetchval("select body from leaf")
    assert '"action":"sector_ids.stored"' in leaf
    assert "h1_" not in leaf
    done = (await jobs(office))[0]
    assert (done["progress_done"], done["progress_total"]) == (len(IDS), len(IDS))
    shown = (await figures.read(office)).renewal
    assert shown is not None
    assert (shown.version, shown.done, shown.total) == (2, len(IDS), len(IDS))
    assert (shown.error, shown.understood_until) == (None, identity.until)
    assert shown.switched_at is not None


async def test_rows_stay_as_guarded_as_they_were(office: Kit) -> None:
    await renew(office, Rekeyed(), await due_job(office))
    for change in ("words = 'other'", f"person = '{new_of(IDS[5])}'", f"person = '{IDS[5]}'"):
        with pytest.raises(asyncpg.RestrictViolationError, match="a paper is never changed"):
            async with office.db.transaction() as tx:
                await tx.execute(f"update paper set {change} where n = 1")


async def test_only_the_services_own_sector_counts_and_each_version_once(office: Kit) -> None:
    async with office.db.transaction() as tx:
        await renewal.take(tx, told(sector="factory"))
        await renewal.take(tx, told())
        await renewal.take(tx, told())
    [job] = await jobs(office)
    assert job["args"] == {"version": 2}


async def test_it_waits_until_no_token_without_the_new_ids_is_left(office: Kit) -> None:
    event = told()
    async with office.db.transaction() as tx:
        await renewal.take(tx, event)
    [job] = await jobs(office)
    assert job["due_at"] == event.time + renewal.TOKENS_LIVE
    from services.identity import app, tokens

    shortest = timedelta(seconds=tokens.EXCHANGED_TOKEN_S + app.SECTOR_KEYS_EVERY_S)
    assert shortest < renewal.TOKENS_LIVE


# --- after the switch ---------------------------------------------------------------------------------


async def test_an_old_id_that_comes_late_is_renewed_by_the_database(office: Kit) -> None:
    await renew(office, Rekeyed(), await due_job(office))
    known, stranger, newcomer = IDS[3], IDS[35], "h1_NEWCOMER"
    async with office.db.transaction() as tx:
        for id in (known, stranger, newcomer):
            await tx.execute("insert into person values ($1, 'late') on conflict do nothing", id)
        await tx.copy_records_to_table("plain", records=[(stranger, "b"), (newcomer, "b")])
        await tx.execute("update plain set owner = $1 where owner = 'staff'", IDS[0] + "x")
        await tx.execute("insert into plain values ($1, 'a') on conflict do nothing", known)
    found = await stored(office)
    assert {new_of(stranger), newcomer, IDS[0] + "x"} < found
    assert found.isdisjoint(IDS)
    async with office.db.read() as db:
        assert await db.fetchval("select count(*) from plain where owner = $1", new_of(known)) == 1


async def test_what_is_compared_is_renewed_too(office: Kit) -> None:
    async def looked_up(*ids: str) -> dict[str, str]:
        async with office.db.read() as db:
            return await renewal.renewed(db, ids)

    async def place(id: str | None) -> None:
        async with office.db.read() as db:
            await renewal.check_place(db, id)

    id = await due_job(office)
    assert await looked_up(IDS[0]) == {}
    await place(IDS[0])
    await renew(office, Rekeyed(), id)
    assert await looked_up(IDS[0], "h1_NOBODY", new_of(IDS[1])) == {IDS[0]: new_of(IDS[0])}
    for good in (None, "", new_of(IDS[0])):
        await place(good)
    with pytest.raises(Problem, match="read from the beginning"):
        await place(IDS[0])
    async with office.db.transaction() as tx:
        await tx.execute("create temporary table sent (person text) on commit drop")
        await tx.copy_records_to_table("sent", schema_name="pg_temp", records=[(IDS[2],), ("h1_NEW",)])
        await renewal.settle(tx, "sent", "person", tables=["person"])
        rows = await tx.fetch("select person from sent")
    assert {row["person"] for row in rows} == {"h1_NEW", new_of(IDS[2])}


async def test_with_the_overlap_old_ids_end(office: Kit) -> None:
    identity = Rekeyed(understood_until=datetime.now(UTC) + timedelta(days=1))
    await renew(office, identity, await due_job(office))
    first, last = await jobs(office)
    assert last["due_at"] == identity.until
    assert last["args"] == first["args"]
    async with office.db.transaction() as tx:
        await tx.execute("update renewal set understood_until = now()")
    await renew(office, identity, last["id"])
    async with office.db.transaction() as tx:
        assert await tx.fetchval("select count(*) from renewed_id") == 0
        await tx.execute("insert into person values ($1, 'unknown to all')", IDS[36])
    assert IDS[36] in await stored(office), "nobody knows any more what it was"
    await renew(office, identity, last["id"])
    assert identity.adopted == [2]


async def test_the_next_version_ends_the_one_before(office: Kit) -> None:
    """Its own last job may be late."""
    await renew(office, Rekeyed(), await due_job(office))
    async with office.db.transaction() as tx:
        await renewal.take(tx, told(version=3))
    later = [job for job in await jobs(office) if job["args"] == {"version": 3}]
    await renew(office, Rekeyed(version=3), later[0]["id"])
    async with office.db.read() as db:
        rows = await db.fetch("select version, ended_at is null as goes_on from renewal order by version")
    assert [tuple(row) for row in rows] == [(2, False), (3, True)]


# --- somebody dies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["_switch", "after_locked", "after_switch", "after_adopt"])
async def test_killed_at_a_step_it_is_done_by_the_next(office: Kit, scratch: Scratch, step: str) -> None:
    before, id = await content(office), await due_job(office)
    worker = subprocess.Popen(  # noqa: ASYNC220 - started in milliseconds
        [sys.executable, "-m", "tests.kit.rekeyed", str(id), step],
        cwd=ROOT, env=environment_of(scratch), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert worker.stdout is not None
        assert await asyncio.to_thread(worker.stdout.readline) == "here\n"
    finally:
        worker.kill()
        worker.wait()
    old = await stored(office)
    assert old == {new_of(one) if step in ("after_switch", "after_adopt") else one for one in IDS[:30]}
    identity = Rekeyed()
    await renew(office, identity, id)
    assert await stored(office) == {new_of(one) for one in IDS[:30]}
    assert await content(office) == before
    assert identity.adopted == ([] if step == "after_adopt" else [2]), "said again where it is not known"
    assert len(await jobs(office)) == 2, "one job for the overlap's end"


async def test_while_identity_is_away_nothing_is_lost(office: Kit) -> None:
    identity, id = Rekeyed(), await due_job(office)
    page = identity.request

    async def two_pages(service: str, method: str, path: str, **asked: Any) -> Any:
        identity.away = asked.get("params", {}).get("after", "") > IDS[10]
        return await page(service, method, path, **asked)

    identity.request = two_pages  # type: ignore[method-assign]
    with pytest.raises(Exception, match="identity does not answer"):
        await renew(office, identity, id)
    async with office.db.read() as db:
        filled = await db.fetchval("select count(*) from renewed_id")
    assert 0 < filled < len(IDS)
    assert await stored(office) == set(IDS[:30])
    await renew(office, Rekeyed(), id)
    assert await stored(office) == {new_of(one) for one in IDS[:30]}


async def test_a_version_that_identity_does_not_prepare_is_waited_for(office: Kit) -> None:
    with pytest.raises(RuntimeError, match="identity prepares version 7, not 2"):
        await renew(office, Rekeyed(version=7), await due_job(office))
    assert await stored(office) == set(IDS[:30])


# --- somebody writes ----------------------------------------------------------------------------------


async def test_the_switch_waits_for_who_has_written_and_holds_up_who_comes(office: Kit) -> None:
    id = await due_job(office)
    async with office.db.transaction() as tx:
        await tx.execute("insert into plain values ($1, 'before')", IDS[31])
        switching = asyncio.create_task(renew(office, Rekeyed(), id))
        async with office.db.session() as session:
            while not await session.fetchval("select exists (select from pg_locks where not granted)"):
                assert not switching.done()
                await asyncio.sleep(0.02)
        coming = asyncio.create_task(_insert(office, "insert into plain values ($1, 'after')", IDS[32]))
        await asyncio.sleep(0.1)
        assert not switching.done()
    await switching
    await coming
    assert {new_of(IDS[31]), new_of(IDS[32])} < await stored(office)
    assert (await stored(office)).isdisjoint(IDS)


async def _insert(kit: Kit, sql: str, *values: Any) -> None:
    async with kit.db.transaction() as tx:
        await tx.execute(sql, *values)


@given(
    writers=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 30), st.integers(0, 30)), max_size=25),
    start=st.integers(0, 30),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_old_id_is_left_whenever_it_was_asked_for(
    scratch: Scratch, writers: Sequence[tuple[int, int, int]], start: int
) -> None:
    """Writers ask who somebody is, wait, begin a commit, wait, and write; the switch comes at any moment."""
    async with AsyncExitStack() as stack:
        kit = await Scratch(scratch.settings, stack).kit("office", TABLES)
        await _insert(kit, "insert into person select unnest($1::text[]), 'x'", list(IDS[:10]))
        job, identity = await due_job(kit), Rekeyed()

        async def write(who: int, wait_ms: int, hold_ms: int) -> None:
            await asyncio.sleep(wait_ms / 1000)
            id = new_of(IDS[who]) if identity.adopted else IDS[who]
            async with kit.db.transaction() as tx:
                await asyncio.sleep(hold_ms / 1000)
                await tx.execute("insert into person values ($1, 'w') on conflict do nothing", id)
                await tx.execute(
                    "insert into paper select coalesce(max(n), 0) + 1, $1, null, 'w' from paper "
                    "on conflict do nothing",
                    id,
                )
                await tx.execute("insert into plain values ($1, 'w') on conflict do nothing", id)

        async def switch() -> None:
            await asyncio.sleep(start / 1000)
            await renew(kit, identity, job)

        await asyncio.gather(switch(), *(write(*writer) for writer in writers))
        expected = {new_of(id) for id in (*IDS[:10], *(IDS[who] for who, _, _ in writers))}
        assert await stored(kit) == expected
        async with kit.db.read() as db:
            assert await db.fetchval("select count(*) from person") == len(expected), "nobody is there twice"
