"""Sites, zones, sensors and capacity policies."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from services.kit.database import Connection, Row

_ZONE = """
select z.id, z.site, z.name_zh, z.name_en, z.area, z.effective_area_m2, z.geometry, z.owner,
       s.anchor_at, s.anchor_people, s.net, s.latest_at, s.level, s.episode, s.observed_at,
       a.source as anchor_source,
       p.id as policy, p.capacity,
       (select array_agg(n.id order by n.id)
          from sensor n left join sensor_state k on k.sensor = n.id
         where (n.zone_from = z.id or n.zone_to = z.id)
           and coalesce(k.received_at, n.created_at) < now() - n.period_seconds * $1 * interval '1 second'
       ) as silent
  from zone z
  join zone_state s on s.zone = z.id
  left join occupancy_anchor a on a.zone = z.id and a.at = s.anchor_at
  left join lateral (select id, capacity from capacity_policy c
                      where c.zone = z.id and c.valid_from <= now()
                      order by valid_from desc limit 1) p on true
"""


async def zones_of(db: Connection, ids: Sequence[str], silent_periods: int) -> list[Row]:
    return await db.fetch(f"{_ZONE} where z.id = any($2)", silent_periods, list(ids))


async def zones_in(db: Connection, area: str, after: str, limit: int, silent_periods: int) -> list[Row]:
    """Zones whose area starts with the prefix, by id."""
    return await db.fetch(
        f"{_ZONE} where starts_with(z.area, $2) and z.id > $3 order by z.id limit $4",
        silent_periods,
        area,
        after,
        limit,
    )


async def owner_of_site(db: Connection, site: str) -> Row | None:
    return await db.fetchrow("select id, owner, area from site where id = $1 for update", site)


async def owners_of_zones(db: Connection, ids: Sequence[str]) -> dict[str, Row]:
    rows = await db.fetch("select id, owner, area from zone where id = any($1)", list(ids))
    return {row["id"]: row for row in rows}


async def owner_of_sensor(db: Connection, sensor: str) -> Row | None:
    return await db.fetchrow("select id, owner from sensor where id = $1 for update", sensor)


async def put_site(
    db: Connection, *, id: str, name_zh: str, name_en: str, area: str, owner: str | None
) -> bool:
    """True when the site is new."""
    created: bool = await db.fetchval(
        """insert into site (id, name_zh, name_en, area, owner) values ($1, $2, $3, $4, $5)
           on conflict (id) do update set name_zh = excluded.name_zh, name_en = excluded.name_en,
               area = excluded.area, updated_at = now()
           returning xmax = 0""",
        id,
        name_zh,
        name_en,
        area,
        owner,
    )
    return created


async def put_zone(
    db: Connection,
    *,
    id: str,
    site: str | None,
    name_zh: str,
    name_en: str,
    area: str,
    effective_area_m2: Decimal | None,
    geometry: dict[str, Any] | None,
    owner: str | None,
) -> bool:
    """True when the zone is new; it then has its state row too."""
    created: bool = await db.fetchval(
        """insert into zone (id, site, name_zh, name_en, area, effective_area_m2, geometry, owner)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (id) do update set site = excluded.site, name_zh = excluded.name_zh,
               name_en = excluded.name_en, area = excluded.area,
               effective_area_m2 = excluded.effective_area_m2, geometry = excluded.geometry,
               updated_at = now()
           returning xmax = 0""",
        id,
        site,
        name_zh,
        name_en,
        area,
        effective_area_m2,
        geometry,
        owner,
    )
    await db.execute("insert into zone_state (zone) values ($1) on conflict do nothing", id)
    return created


async def put_sensor(
    db: Connection,
    *,
    id: str,
    kind: str,
    zone_from: str | None,
    zone_to: str | None,
    period_seconds: int,
    operator: str | None,
    owner: str | None,
) -> bool:
    """True when the sensor is new."""
    created: bool = await db.fetchval(
        """insert into sensor (id, kind, zone_from, zone_to, period_seconds, operator, owner)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (id) do update set kind = excluded.kind, zone_from = excluded.zone_from,
               zone_to = excluded.zone_to, period_seconds = excluded.period_seconds,
               operator = excluded.operator, updated_at = now()
           returning xmax = 0""",
        id,
        kind,
        zone_from,
        zone_to,
        period_seconds,
        operator,
        owner,
    )
    return created


async def sensors(db: Connection, ids: Sequence[str]) -> dict[str, Row]:
    rows = await db.fetch("select id, zone_from, zone_to, operator from sensor where id = any($1)", list(ids))
    return {row["id"]: row for row in rows}


async def latest_policy(db: Connection, zone: str) -> Row | None:
    """The policy that reaches furthest into the future."""
    return await db.fetchrow(
        "select * from capacity_policy where zone = $1 order by valid_from desc limit 1", zone
    )


async def policy_at(db: Connection, zone: str, at: datetime) -> Row | None:
    return await db.fetchrow(
        """select * from capacity_policy where zone = $1 and valid_from <= $2
            order by valid_from desc limit 1""",
        zone,
        at,
    )


async def policies_of(db: Connection, zones: Sequence[str]) -> list[Row]:
    return await db.fetch(
        """select id, zone, valid_from, capacity, content from capacity_policy
            where zone = any($1) order by zone, valid_from""",
        list(zones),
    )


async def insert_policy(
    db: Connection,
    *,
    id: UUID,
    zone: str,
    valid_from: datetime,
    capacity: int,
    content: dict[str, Any],
    set_by: str,
) -> bool:
    """False when another policy holds from that very time."""
    return (
        await db.fetchval(
            """insert into capacity_policy (id, zone, valid_from, capacity, content, set_by)
               values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning true""",
            id,
            zone,
            valid_from,
            capacity,
            content,
            set_by,
        )
        is True
    )


async def totals(db: Connection) -> dict[str, int]:
    """How much there is, for the start page."""
    row = await db.fetchrow(
        """select (select count(*) from zone) as zones, (select count(*) from sensor) as sensors,
                  (select coalesce(sum(readings), 0)::bigint from sensor_state) as readings,
                  (select count(*) from occupancy_anchor) as counts,
                  (select count(*) from warning) as warnings"""
    )
    assert row is not None
    return dict(row)


async def operates_in(db: Connection, zone: str, organisation: str | None) -> bool:
    found = await db.fetchval(
        "select exists (select from sensor where (zone_from = $1 or zone_to = $1) and operator = $2)",
        zone,
        organisation,
    )
    return found is True
