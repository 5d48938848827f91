"""Following a sector's key: stored ids of people are renewed when identity has a new version.

    take        the event `identity.sector.rekeyed`: a job, due once no token without the new ids is left
    renew       the job: takes what each old id becomes, switches, has identity adopt the version, and ends
                with the overlap

Which columns hold ids their triggers say (`services.kit.migrations.renewable`). The switch is one commit:
with the tables locked against writers every column is renewed, and the triggers wake. From then on whoever
still writes an old id, however long ago it was asked for, has it renewed by the database. What is not written
but compared with stored ids goes through `renewed` or `settle`. Identity knows every old id there is, and
gives out no other while a version comes, so that none is met that is not known here.

Identity adopts after the switch is committed, never before: old ids that it gives out meanwhile are renewed
here, whereas new ones given out too early would find nothing. Whatever dies in between, the job is run again,
and each step finds what it did before.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from services.kit import events
from services.kit.jobs import Jobs
from services.kit.problems import conflict

if TYPE_CHECKING:
    from services.kit.database import Connection, Transaction
    from services.kit.jobs import RunningJob

_SWITCHED = "exists (select from renewal where switched_at is not null and ended_at is null)"
JOB = "services.kit.renewal:renew"
TOKENS_LIVE = timedelta(minutes=10)
"""More than a token for one service lives, and than identity's processes take to hear of a version."""
ATTEMPTS = 300
"""About a day: identity may be away for long."""
PAGE = 5000
LONGEST_WAIT_S = 60
_COLUMNS = """
select quote_ident(relname) as table, quote_ident(attname) as column, quote_ident(tgname) as trigger
from pg_trigger join pg_class on pg_class.oid = tgrelid
join pg_attribute on attrelid = tgrelid and attnum = any(tgattr)
where relnamespace = current_schema()::text::regnamespace and tgname = 'renew_' || attname
order by pg_trigger.oid"""


@dataclass(frozen=True, slots=True)
class Column:
    """One that holds ids, and the trigger that keeps old ones out of it; all quoted."""

    table: str
    name: str
    trigger: str


async def take(tx: "Transaction", event: events.Event) -> None:
    """Has the service's own sector renewed."""
    if event.data["sector"] != tx.service:
        return
    version = event.data["version"]
    if await tx.fetchval("select true from renewal where version = $1", version):
        return
    due = event.time + TOKENS_LIVE
    job = await Jobs(tx.service).submit(
        tx, kind=JOB, args={"version": version}, due_at=due, max_attempts=ATTEMPTS
    )
    await tx.execute("insert into renewal (version, job_id) values ($1, $2)", version, job)


RENEWS = events.on("identity.sector.rekeyed", take)
"""Stands among the `handlers` of every service that stores ids of a sector of its own."""


async def renewed(db: "Connection", ids: Sequence[str]) -> dict[str, str]:
    """Of ids that came from elsewhere those that are stored under a new one, and under which."""
    rows = await db.fetch(
        f"select old_id, new_id from renewed_id where old_id = any($1) and {_SWITCHED}", ids
    )
    return {row["old_id"]: row["new_id"] for row in rows}


async def settle(tx: "Connection", staging: str, column: str, *, tables: Sequence[str]) -> None:
    """Ids that were staged before a switch, as they are stored now; none comes before the commit.

    Args:
        staging: a temporary table of the commit's own.
        tables: what is written from it.
    """
    await tx.execute(f"lock table {', '.join(tables)} in row exclusive mode")
    await tx.execute(f"{_renewing(staging, column)} and {_SWITCHED}")


async def check_place(db: "Connection", id: str | None) -> None:
    """For pages in the order of ids: whether a place in them is still one.

    Raises:
        Problem: 409, the ids were renewed, and with them their order.
    """
    if id and await renewed(db, [id]):
        raise conflict("ids_renewed", "ids of people were renewed meanwhile; read from the beginning")


async def renew(job: "RunningJob") -> dict[str, Any]:
    """Everything that is due of a renewal; it may be run again at any time."""
    version: int = job.args["version"]
    row = await _row(job, version)
    if row is None or row["ended_at"] is not None:
        return {"version": version}
    if row["switched_at"] is None:
        await _end_others(job, version)
        await _fill(job, version)
        await _switch(job, version)
    until = row["understood_until"] or await _adopt(job, version)
    if until <= datetime.now(UTC):
        await _end(job, version)
    return {"version": version, "understood_until": until.isoformat()}


async def _row(job: "RunningJob", version: int) -> asyncpg.Record | None:
    async with job.kit.db.read() as db:
        return await db.fetchrow("select * from renewal where version = $1", version)


async def _end_others(job: "RunningJob", version: int) -> None:
    """An earlier version whose overlap is over, before its own job has come to say so."""
    async with job.kit.db.read() as db:
        rows = await db.fetch(
            "select version from renewal where version < $1 and ended_at is null order by version", version
        )
    for row in rows:
        await _end(job, row["version"])


async def _fill(job: "RunningJob", version: int) -> None:
    """What each old id becomes, in the order of the old ones: a second run goes on where the first ended."""
    async with job.kit.db.read() as db:
        known = await db.fetchrow("select count(*), coalesce(max(old_id), '') from renewed_id")
    assert known is not None
    done, after = known
    total: int | None = None
    while after is not None:
        answer = await job.kit.calls.request(
            "identity", "GET", "/identity/sector-ids/renewals", params={"after": after, "limit": PAGE}
        )
        page = answer.json()
        if page["version"] != version:
            raise RuntimeError(f"identity prepares version {page['version']}, not {version}")
        async with job.transaction() as tx:
            await tx.execute(
                """insert into renewed_id (old_id, new_id) select * from unnest($1::text[], $2::text[])
                   on conflict do nothing""",
                [one["old"] for one in page["items"]],
                [one["new"] for one in page["items"]],
            )
        done, after = done + len(page["items"]), page["next"]
        total = total or page["total"]
        await job.progress(done, total)
    async with job.transaction() as tx:
        await tx.execute("analyze renewed_id")


async def _switch(job: "RunningJob", version: int) -> None:
    """From one commit to the next every column holds the new ids, and takes no old one."""
    async with _alone(job) as (tx, columns):
        asleep = await _others(tx, columns)
        # What guards the rows' content has nothing to say about their ids; nobody else writes meanwhile.
        for table, trigger in asleep:
            await tx.execute(f"alter table {table} disable trigger {trigger}")
        await tx.execute("set constraints all deferred")
        rows = 0
        for column in columns:
            status = await tx.execute(_renewing(column.table, column.name))
            rows += int(status.rpartition(" ")[2])
        await tx.execute("set constraints all immediate")
        for table, trigger in (*asleep, *((column.table, column.trigger) for column in columns)):
            await tx.execute(f"alter table {table} enable trigger {trigger}")
        await tx.execute("update renewal set switched_at = now() where version = $1", version)
        await tx.leaf(action="sector_ids.stored", resource=f"{tx.service}/{version}", records=rows)


async def _adopt(job: "RunningJob", version: int) -> datetime:
    """Until when the old ids are understood; at that time the job comes again."""
    answer = await job.kit.calls.request(
        "identity", "POST", "/identity/sector-ids/adoption", json={"version": version}
    )
    [before] = [key for key in answer.json()["keys"] if key["version"] == version - 1]
    until = datetime.fromisoformat(before["understood_until"])
    async with job.transaction() as tx:
        await tx.execute("update renewal set understood_until = $2 where version = $1", version, until)
        await Jobs(tx.service).submit(
            tx, kind=JOB, args={"version": version}, due_at=until, max_attempts=ATTEMPTS
        )
    return until


async def _end(job: "RunningJob", version: int) -> None:
    """Nobody understands an old id any more: they are forgotten here too."""
    async with _alone(job) as (tx, columns):
        for column in columns:
            await tx.execute(f"alter table {column.table} disable trigger {column.trigger}")
        await tx.execute("truncate renewed_id")
        await tx.execute("update renewal set ended_at = now() where version = $1", version)


def _renewing(table: str, column: str) -> str:
    return f"update {table} kept set {column} = r.new_id from renewed_id r where r.old_id = kept.{column}"


@asynccontextmanager
async def _alone(job: "RunningJob") -> AsyncIterator[tuple["Transaction", list[Column]]]:
    """A commit while which nobody else writes to the tables with ids. Who came before is waited for, a little
    longer each time: those that come meanwhile wait behind us."""
    wait_s = 1
    while True:
        async with job.transaction() as tx:
            await tx.execute("set local statement_timeout = 0")
            await tx.execute(f"set local lock_timeout = '{wait_s}s'")
            columns = [Column(*row) for row in await tx.fetch(_COLUMNS)]
            if await _locked(tx, columns):
                yield tx, columns
                return
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def _locked(tx: "Transaction", columns: Sequence[Column]) -> bool:
    """In the order of their declaration, which is the one in which pushes write to them."""
    tables = ", ".join(dict.fromkeys(column.table for column in columns))
    try:
        async with tx.savepoint():
            await tx.execute(f"lock table {tables} in share row exclusive mode")
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def _others(tx: "Transaction", columns: Sequence[Column]) -> list[tuple[str, str]]:
    """The other triggers on these tables, to sleep during the switch."""
    rows = await tx.fetch(
        """select distinct quote_ident(relname) as table, quote_ident(tgname) as trigger
           from pg_trigger join pg_class on pg_class.oid = tgrelid
           where relnamespace = current_schema()::text::regnamespace and quote_ident(relname) = any($1)
               and not tgisinternal and tgenabled = 'O'""",
        [column.table for column in columns],
    )
    return [(row["table"], row["trigger"]) for row in rows]
