"""What a bulk export reads: each statement starts from what the caller may see."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from health.criteria import Criteria
from health.reaching import NOBODY, Reach
from health.repository import clauses
from health.repository.reach import Args, reached, readable, shown, tie
from services.kit.database import Connection, Row

AT_ONCE = 500
LARGE_BYTES = 64 * 1024
"""A larger resource is read by itself."""
_WHOSE = "(select p.sector_id from patient_person p where p.pt = m.pt) as sector_id"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a type is exported.

    Attributes:
        patients: pt of those whose compartments are; None for everybody's.
        anybody: what belongs to no patient too.
        since: changed after this.
        until: not changed after this.
        filters: one of these holds; none: whatever it says.
    """

    type: str
    patients: Sequence[int] | None = None
    anybody: bool = True
    since: datetime | None = None
    until: datetime | None = None
    filters: tuple[Criteria, ...] = ()


async def horizon(db: Connection) -> datetime:
    """A time up to which everything that will ever have been changed is in any snapshot taken from now on.

    A change gets its time within its transaction, to the millisecond, and is seen with its commit: what was
    begun and is not committed may still get a time as early as its beginning.
    """
    found: datetime = await db.fetchval(
        """select date_trunc('milliseconds', least(clock_timestamp(), min(xact_start)))
                  - interval '1 millisecond'
           from pg_stat_activity
           where datname = current_database() and usename = current_user and pid <> pg_backend_pid()"""
    )
    return found


async def exported(db: Connection, reach: Reach, wanted: Wanted) -> AsyncIterator[list[Row]]:
    """Resources in no particular order, some at a time: body, sector_id, and by what tie the caller sees it.

    Args:
        db: a connection within a transaction, whose snapshot is what is exported.
    """
    args = Args()
    body = shown(reach, args, "m")
    small = f"case when octet_length({body}) <= {args(LARGE_BYTES)} then {body} end"
    sql = f"""select m.pk, {small} as body, {_WHOSE}, {tie(reach, args, "m")} as tie
              {readable(reach, args)} and {_wanted(wanted, args)}"""
    if wanted.filters:
        held = (clauses.all_hold(one, args, "m.pk", reach) for one in wanted.filters)
        sql += f" and ({' or '.join(held)})"
    async for rows in _streamed(db, sql, args):
        yield [row for row in rows if row["body"] is not None]
        for row in rows:
            if row["body"] is None:
                yield await _alone(db, reach, row["pk"])


async def _alone(db: Connection, reach: Reach, pk: int) -> list[Row]:
    args = Args(pk)
    body, by = shown(reach, args, "m"), tie(reach, args, "m")
    sql = f"select m.pk, {body} as body, {_WHOSE}, {by} as tie from resource m where m.pk = $1"
    return await db.fetch(sql, *args.values)


async def deleted(db: Connection, reach: Reach, wanted: Wanted) -> AsyncIterator[list[Row]]:
    """The ids of what was deleted meanwhile."""
    args = Args()
    sql = f"select m.id from deleted m where {reached(reach, args, 'm')} and {_wanted(wanted, args)}"
    async for rows in _streamed(db, sql, args):
        yield rows


async def _streamed(db: Connection, sql: str, args: Args) -> AsyncIterator[list[Row]]:
    cursor = await cast(Any, db).cursor(sql, *args.values)
    while rows := await cursor.fetch(AT_ONCE):
        yield rows


def _wanted(wanted: Wanted, args: Args) -> str:
    found = [f"m.type = {args(wanted.type)}"]
    if wanted.patients is not None:
        found.append(f"m.pt = any({args(list(wanted.patients))})")
    if wanted.patients is not None or not wanted.anybody:
        found.append(f"m.pt <> {NOBODY}")
    if wanted.since is not None:
        found.append(f"m.ts > {args(wanted.since)}")
    if wanted.until is not None:
        found.append(f"m.ts <= {args(wanted.until)}")
    return " and ".join(found)


async def patients(db: Connection, reach: Reach, ids: Sequence[str]) -> dict[str, int]:
    """pk of those of the Patients that the caller may see, by id."""
    args = Args()
    rows = await db.fetch(
        f"select m.id, m.pk {readable(reach, args)} and m.type = 'Patient' and m.id = any({args(list(ids))})",
        *args.values,
    )
    return {row["id"]: row["pk"] for row in rows}
