"""SQL of the datasets offered to other domains, beyond what the service asks for itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.kit.database import Connection, Row


async def immunizations(
    db: Connection, *, after: int, limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """Completed immunizations of known persons, in the order they were first recorded.

    Args:
        clause: of `row_filters.sql` over these columns, its parameters from $3 on.
    """
    return await db.fetch(
        f"""select * from (
                select r.pk, p.sector_id,
                       r.body::jsonb #>> '{{vaccineCode,coding,0,code}}' as vaccine_code,
                       coalesce(r.body::jsonb #>> '{{vaccineCode,text}}',
                                r.body::jsonb #>> '{{vaccineCode,coding,0,display}}') as vaccine,
                       left(r.body::jsonb ->> 'occurrenceDateTime', 10) as occurred_on
                from resource r join patient_person p on p.pt = r.pt
                where r.type = 'Immunization' and p.sector_id is not null
                  and r.body::jsonb ->> 'status' = 'completed') as offered
            where pk > $1 and {clause} order by pk limit $2""",
        after,
        limit,
        *values,
    )


async def immunizations_changed_at(db: Connection) -> datetime | None:
    """When the newest one came; the index is in that order."""
    found: datetime | None = await db.fetchval(
        "select ts from resource where type = 'Immunization' order by pk desc limit 1"
    )
    return found


@dataclass(frozen=True, slots=True)
class Place:
    """Up to which change somebody has read. Numbers of transactions mean something in one cluster alone."""

    cluster: int
    xid: int = 0
    seq: int = 0


async def cluster(db: Connection) -> int:
    return int(await db.fetchval("select system_identifier from pg_control_system()"))


async def order_changes_of_elsewhere(db: Connection) -> None:
    """Changes restored from another database cluster may have numbers that this one has yet to reach."""
    await db.execute(
        """update death_change set xid = pg_current_xact_id()
           where xid >= pg_snapshot_xmax(pg_current_snapshot())"""
    )


async def death_changes(
    db: Connection, *, after: Place, limit: int, clause: str, values: Sequence[Any]
) -> list[Row]:
    """Whose date of death changed, in order: xid, seq, sector_id, the date now (null when it is none of the
    dataset's, or not of the rows chosen) and `told`, whether it is or was one of the rows chosen.

    Transactions are numbered when they begin to write and seen when they commit. Up to the oldest that goes
    on nothing can come in between; what lies behind it waits, at most as long as that transaction lasts.

    Args:
        clause: of `row_filters.sql` over `death_date`, its parameters from $4 on.
    """
    return await db.fetch(
        f"""select xid::text::bigint as xid, seq, change.sector_id, death_date,
                   death_date is not null or exists (
                       select from (select was as death_date) as before
                       where death_date is not null and {clause}) as told
            from (select * from death_change
                  where (xid, seq) > ($1::text::xid8, $2::bigint)
                      and xid < pg_snapshot_xmin(pg_current_snapshot())
                  order by xid, seq limit $3) as change
            left join lateral (
                select death_date
                from (select max(death_date) as death_date from patient_person as person
                      where person.sector_id = change.sector_id) as known
                where death_date is not null and {clause}) as kept on true
            order by change.xid, seq""",
        str(after.xid),
        after.seq,
        limit,
        *values,
    )


async def settled(db: Connection, after: Place) -> bool:
    """Whether there is no change behind this place, in order or not."""
    return not await db.fetchval(
        "select exists (select from death_change where (xid, seq) > ($1::text::xid8, $2::bigint))",
        str(after.xid),
        after.seq,
    )
