"""Readings, flow windows, anchors and the state row of each zone.

Locks are always taken in one order: zone states by id, then readings, sensors and windows by key. Writers
that touch the same zones therefore wait for each other and never deadlock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

Columns = Sequence[Sequence[Any]]
"""The columns sensor, seq, starts, ends, n_in, n_out, zone_from, zone_to."""

_INTAKE = """
with sent as (
    select * from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::int[], $6::int[],
                         $7::text[], $8::text[])
        as t(sensor, seq, starts, ends, n_in, n_out, zone_from, zone_to)),
taken as (
    insert into reading (sensor, seq, starts, ends, n_in, n_out, zone_from, zone_to)
    select * from sent order by sensor, seq, starts, ends
    on conflict do nothing
    returning sensor, ends, n_in, n_out, zone_from, zone_to),
new as (select sensor, count(*) as readings from taken group by sensor),
heard as (
    insert into sensor_state as k (sensor, latest_at, received_at, readings)
    select s.sensor, max(s.ends), now(), coalesce(max(n.readings), 0)
      from sent s left join new n on n.sensor = s.sensor
     group by s.sensor order by s.sensor
    on conflict (sensor) do update
       set latest_at = greatest(k.latest_at, excluded.latest_at), received_at = excluded.received_at,
           readings = k.readings + excluded.readings),
moved as (
    select zone_to as zone, date_trunc('minute', ends - interval '1 microsecond') as minute, ends, n_in, n_out
      from taken where zone_to is not null
    union all
    select zone_from, date_trunc('minute', ends - interval '1 microsecond'), ends, n_out, n_in
      from taken where zone_from is not null),
summed as (
    select m.zone, m.minute, sum(m.n_in) as n_in, sum(m.n_out) as n_out, count(*) as readings,
           max(m.ends) as latest_at,
           coalesce(sum(m.n_in - m.n_out)
                    filter (where z.anchor_at is null or m.ends > z.anchor_at), 0) as net
      from moved m join zone_state z on z.zone = m.zone
     group by m.zone, m.minute order by m.zone, m.minute),
windows as (
    insert into flow_window as w (zone, minute, n_in, n_out, readings)
    select zone, minute, n_in, n_out, readings from summed
    on conflict (zone, minute) do update
       set n_in = w.n_in + excluded.n_in, n_out = w.n_out + excluded.n_out,
           readings = w.readings + excluded.readings, updated_at = now(),
           revision = w.revision + case when
               w.minute + interval '1 minute' + $9::interval <=
                   (select latest_at from zone_state z where z.zone = excluded.zone)
               or greatest(w.minute + interval '1 minute', w.updated_at) + $9::interval <= now()
               then 1 else 0 end)
select zone, minute, net::bigint as net, latest_at, (select count(*) from taken) as taken from summed
"""


_WINDOW = """w.minute, w.n_in, w.n_out, w.readings, w.revision,
    w.minute + interval '1 minute' + $2::interval <= s.latest_at
    or greatest(w.minute + interval '1 minute', w.updated_at) + $2::interval <= now() as final
"""


async def lock_zones(db: Connection, zones: Sequence[str]) -> list[Row]:
    """The state rows, locked in the order of their ids."""
    return await db.fetch(
        """select s.*, z.name_zh, z.name_en, z.area, z.site
             from zone_state s join zone z on z.id = s.zone
            where s.zone = any($1) order by s.zone for update of s""",
        sorted(zones),
    )


async def take_readings(db: Connection, columns: Columns, lateness: Any) -> list[Row]:
    """Inserts what is new, adds it to the windows, and tells what moved in each zone and minute.

    Each row carries `taken`, the number of readings that were new in the whole batch; no rows: none was.
    """
    return await db.fetch(_INTAKE, *columns, lateness)


async def other_content(db: Connection, columns: Columns) -> list[int]:
    """Positions (from 0) of readings whose key stands in the table already with different content."""
    rows = await db.fetch(
        """with sent as (
               select t.*, (position - 1)::int as place
                 from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[],
                             $5::int[], $6::int[]) with ordinality
                      as t(sensor, seq, starts, ends, n_in, n_out, position)),
           known as (
               select s.place, s.starts, s.ends, s.n_in, s.n_out, r.starts as starts_was, r.ends as ends_was,
                      r.n_in as in_was, r.n_out as out_was
                 from sent s join reading r on r.sensor = s.sensor and r.seq = s.seq
               union all
               select s.place, s.starts, s.ends, s.n_in, s.n_out, r.starts, r.ends, r.n_in, r.n_out
                 from sent s join reading r
                   on r.sensor = s.sensor and r.starts = s.starts and r.ends = s.ends and r.seq is null
                where s.seq is null)
           select place from known
            where (starts, ends, n_in, n_out) <> (starts_was, ends_was, in_was, out_was)
            order by place""",
        *columns[:6],
    )
    return [row["place"] for row in rows]


async def complete_until(db: Connection, zones: Sequence[str], silent_periods: int) -> dict[str, datetime]:
    """Up to when all sensors of a zone that are heard of at present have reported."""
    rows = await db.fetch(
        """select wanted.id as zone, min(k.latest_at) as until
             from unnest($1::text[]) as wanted(id)
             join lateral (select id, period_seconds from sensor where zone_to = wanted.id
                           union all
                           select id, period_seconds from sensor where zone_from = wanted.id) n on true
             join sensor_state k on k.sensor = n.id
            where k.received_at >= now() - n.period_seconds * $2 * interval '1 second'
            group by wanted.id""",
        list(zones),
        silent_periods,
    )
    return {row["zone"]: row["until"] for row in rows}


async def save_zones(db: Connection, states: Iterable[Sequence[Any]]) -> None:
    await db.executemany(
        """update zone_state set anchor_at = $2, anchor_people = $3, net = $4, latest_at = $5,
                  open_minute = $6, policy = $7, level = $8, above = $9, below = $10, episode = $11,
                  revision = $12, observed_at = $13
            where zone = $1""",
        states,
    )


async def moved_since(db: Connection, zone: str, at: datetime) -> int:
    """People who came less people who went, by readings that ended after `at`.

    Whole minutes come from the windows; only the minute that `at` cuts is added up from its readings.
    """
    found: int = await db.fetchval(
        """with cut as (select date_trunc('minute', $2::timestamptz) as minute)
           select coalesce((select sum(n_in - n_out) from flow_window where zone = $1 and minute >= $2), 0)
                + coalesce((select sum(case when zone_to = $1 then n_in - n_out else n_out - n_in end)
                              from reading, cut
                             where (zone_to = $1 or zone_from = $1) and cut.minute < $2
                               and ends > $2 and ends <= cut.minute + interval '1 minute'), 0)""",
        zone,
        at,
    )
    return int(found)


async def insert_anchors(
    db: Connection, zone: str, rows: Sequence[tuple[datetime, int]], *, source: str, by: str
) -> set[datetime]:
    """The times that were new."""
    found = await db.fetch(
        """insert into occupancy_anchor (zone, at, people, source, recorded_by)
           select $1, t.at, t.people, $4, $5 from unnest($2::timestamptz[], $3::int[]) as t(at, people)
            order by t.at
           on conflict do nothing returning at""",
        zone,
        [at for at, _ in rows],
        [people for _, people in rows],
        source,
        by,
    )
    return {row["at"] for row in found}


async def anchors_at(db: Connection, zone: str, times: Sequence[datetime]) -> dict[datetime, int]:
    rows = await db.fetch(
        "select at, people from occupancy_anchor where zone = $1 and at = any($2)", zone, list(times)
    )
    return {row["at"]: row["people"] for row in rows}


async def windows_of(
    db: Connection,
    zone: str,
    *,
    since: datetime | None,
    until: datetime | None,
    before: datetime | None,
    limit: int,
    lateness: Any,
) -> list[Row]:
    """Newest first. `final` as the intake judges it: later readings still count, as a revision."""
    return await db.fetch(
        f"""select {_WINDOW}
              from flow_window w join zone_state s on s.zone = w.zone
             where w.zone = $1 and ($3::timestamptz is null or w.minute >= $3)
               and ($4::timestamptz is null or w.minute < $4)
               and ($5::timestamptz is null or w.minute < $5)
             order by w.minute desc limit $6""",
        zone,
        lateness,
        since,
        until,
        before,
        limit,
    )


async def insert_refused(
    db: Connection, receipt: UUID, client: str, rows: Iterable[tuple[int, str, str | None, str, str]]
) -> None:
    await db.copy_records_to_table(
        "refused_reading",
        records=[(receipt, client, *row) for row in rows],
        columns=["receipt", "client", "line", "code", "field", "message", "body"],
    )


async def refused_of(db: Connection, receipt: UUID, client: str, after: int, limit: int) -> list[Row]:
    return await db.fetch(
        """select line, code, field, message, body from refused_reading
            where receipt = $1 and client = $2 and line > $3 order by line limit $4""",
        receipt,
        client,
        after,
        limit,
    )


async def newest_windows(db: Connection, zones: Sequence[str], each: int, lateness: Any) -> list[Row]:
    """The newest few of each zone, newest first."""
    return await db.fetch(
        f"""select w.zone, {_WINDOW}
              from unnest($1::text[]) as wanted(id)
              join zone_state s on s.zone = wanted.id
              cross join lateral (select * from flow_window f where f.zone = s.zone
                                   order by f.minute desc limit $3) w
             order by w.zone, w.minute desc""",
        list(zones),
        lateness,
        each,
    )
