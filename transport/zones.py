"""Sites, zones and sensors: set up by the organisation that runs them, read by whoever may see flows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.kit.areas import area_prefix
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Row, Transaction
from services.kit.principals import EVERYTHING, Principal
from services.kit.problems import Fault, Problem, forbidden, not_found, unprocessable
from transport import shapes
from transport.flows import LATENESS, SILENT_PERIODS
from transport.repository import flows as flow_rows
from transport.repository import zones as repository
from transport.warnings import Level


async def put_site(tx: Transaction, *, id: str, site: shapes.SiteIn, who: Principal) -> bool:
    """True when it is new.

    Raises:
        Problem: 403 for another organisation's site, or outside the caller's areas.
    """
    _may_set_up(who, site.area)
    _owned(who, "site", await repository.owner_of_site(tx, id))
    return await repository.put_site(
        tx, id=id, name_zh=site.name.zh, name_en=site.name.en, area=site.area, owner=who.organisation
    )


async def put_zone(tx: Transaction, *, id: str, zone: shapes.ZoneIn, who: Principal) -> bool:
    """True when it is new.

    Raises:
        Problem: 403 as for sites; 422 for a site that does not exist.
    """
    _may_set_up(who, zone.area)
    _owned(who, "zone", (await repository.owners_of_zones(tx, [id])).get(id))
    if zone.site is not None:
        site = await repository.owner_of_site(tx, zone.site)
        if site is None:
            raise _names_nothing("site", zone.site)
        _owned(who, "site", site)
    return await repository.put_zone(
        tx,
        id=id,
        site=zone.site,
        name_zh=zone.name.zh,
        name_en=zone.name.en,
        area=zone.area,
        effective_area_m2=zone.effective_area_m2,
        geometry=zone.geometry.model_dump(mode="json") if zone.geometry else None,
        owner=who.organisation,
    )


async def put_sensor(tx: Transaction, *, id: str, sensor: shapes.SensorIn, who: Principal) -> bool:
    """True when it is new.

    Raises:
        Problem: 403 for another organisation's sensor or zone; 422 for a zone that does not exist.
    """
    edge = {"zone_from": sensor.zone_from, "zone_to": sensor.zone_to}
    if sensor.zone_from is not None and sensor.zone_from == sensor.zone_to:
        message = "a sensor sits between two different zones, or between one and the outside (null)"
        raise unprocessable("invalid_edge", message, Fault(message, field="zone_to", path="$.zone_to"))
    operator = sensor.operator or who.organisation
    if operator is None:
        message = "say which organisation's readings count; your token is of none"
        raise unprocessable("operator_missing", message, Fault(message, field="operator", path="$.operator"))
    _owned(who, "sensor", await repository.owner_of_sensor(tx, id))
    zones = await repository.owners_of_zones(tx, [zone for zone in edge.values() if zone is not None])
    for field, zone in edge.items():
        if zone is not None and zone not in zones:
            raise _names_nothing(field, zone)
    for row in zones.values():
        _owned(who, "zone", row)
    return await repository.put_sensor(
        tx,
        id=id,
        kind=sensor.kind,
        zone_from=sensor.zone_from,
        zone_to=sensor.zone_to,
        period_seconds=sensor.period_seconds,
        operator=operator,
        owner=who.organisation,
    )


async def check_may_set_up(db: Connection, *, zone: str, who: Principal) -> None:
    """Raises Problem 404 for no such zone, 403 for another organisation's."""
    row = (await repository.owners_of_zones(db, [zone])).get(zone)
    if row is None:
        raise no_zone(zone)
    _may_set_up(who, row["area"])
    _owned(who, "zone", row)


async def check_may_count(db: Connection, *, zone: str, who: Principal) -> None:
    """Whether the caller's organisation runs the zone or one of its sensors.

    Raises:
        Problem: 404 for no such zone, 403 for another organisation's.
    """
    row = (await repository.owners_of_zones(db, [zone])).get(zone)
    if row is None:
        raise no_zone(zone)
    if row["owner"] == who.organisation or EVERYTHING in who.scopes:
        return
    if not await repository.operates_in(db, zone, who.organisation):
        raise forbidden(f"zone {zone} is run by another organisation", code="foreign_zone")


def _may_set_up(who: Principal, area: str) -> None:
    if not who.may_area(area):
        raise forbidden(f"area {area} is outside yours: {', '.join(who.areas)}", code="outside_area")


def _owned(who: Principal, kind: str, row: Row | None) -> None:
    if row is None or row["owner"] == who.organisation or EVERYTHING in who.scopes:
        return
    raise forbidden(f"{kind} {row['id']} was set up by another organisation", code=f"foreign_{kind}")


def _names_nothing(field: str, id: str) -> Problem:
    message = f"{field} {id} does not exist; set it up first"
    return unprocessable(
        "unknown_reference", message, Fault(message, field=field, path=f"$.{field}", value=id)
    )


def no_zone(id: str) -> Problem:
    return not_found(f"there is no zone {id}", code="unknown_zone")


async def zones_by_id(db: Connection, *, ids: Sequence[str]) -> list[shapes.Zone]:
    """Those that exist."""
    return [_shape(row) for row in await repository.zones_of(db, ids, SILENT_PERIODS)]


async def zones_in(
    db: Connection, *, area: str | None, first: int, after: str | None
) -> shapes.Page[shapes.Zone]:
    """A page of the zones in an area of GB/T 2260, everywhere without one."""
    start = decode_cursor(after, 1)[0] if after else ""
    rows = await repository.zones_in(db, area_prefix(area), start, first + 1, SILENT_PERIODS)
    following = encode_cursor(rows[first - 1]["id"]) if len(rows) > first else None
    return shapes.Page(items=[_shape(row) for row in rows[:first]], next=following)


def _shape(row: Row) -> shapes.Zone:
    counted = row["anchor_at"] is not None or row["latest_at"] is not None
    inside = row["anchor_people"] + row["net"]
    people = max(0, inside) if counted else None
    capacity, area = row["capacity"], row["effective_area_m2"]
    silent = list(row["silent"] or ())
    times = [t for t in (row["anchor_at"], row["latest_at"]) if t is not None]
    return shapes.Zone(
        id=row["id"],
        name=shapes.Name.model_construct(zh=row["name_zh"], en=row["name_en"]),
        area=row["area"],
        site=row["site"],
        effective_area_m2=area,
        occupancy=people,
        as_of=max(times, default=None),
        capacity=capacity,
        share=None if people is None or not capacity else round(people / capacity, 4),
        density=None if people is None or not area else round(people / float(area), 4),
        level=Level(row["level"]).word,
        quality="UNKNOWN" if not counted else "DEGRADED" if silent or inside < 0 else "GOOD",
        silent_sensors=silent,
        anchor=None
        if row["anchor_at"] is None
        else shapes.Anchor(at=row["anchor_at"], people=row["anchor_people"], source=row["anchor_source"]),
        debt=max(0, -inside),
        policy=row["policy"],
    )


async def windows(
    db: Connection,
    *,
    zone: str,
    since: datetime | None,
    until: datetime | None,
    first: int,
    after: str | None,
) -> shapes.Page[shapes.Window]:
    """A page of a zone's flow windows, newest first.

    Raises:
        Problem: 404 for no such zone.
    """
    if not await repository.owners_of_zones(db, [zone]):
        raise no_zone(zone)
    before = _time_of(after)
    rows = await flow_rows.windows_of(
        db, zone, since=since, until=until, before=before, limit=first + 1, lateness=LATENESS
    )
    return _window_page(rows, first)


async def newest_windows(
    db: Connection, *, zones: Sequence[str], each: int
) -> dict[str, shapes.Page[shapes.Window]]:
    """The first page of several zones' windows at once, by zone."""
    found: dict[str, list[Row]] = {zone: [] for zone in zones}
    for row in await flow_rows.newest_windows(db, list(found), each + 1, LATENESS):
        found[row["zone"]].append(row)
    return {zone: _window_page(rows, each) for zone, rows in found.items()}


def _window_page(rows: Sequence[Row], first: int) -> shapes.Page[shapes.Window]:
    following = encode_cursor(rows[first - 1]["minute"].isoformat()) if len(rows) > first else None
    return shapes.Page(items=[_window(row) for row in rows[:first]], next=following)


def _time_of(cursor: str | None) -> datetime | None:
    if cursor is None:
        return None
    try:
        return datetime.fromisoformat(decode_cursor(cursor, 1)[0])
    except ValueError as error:
        raise bad_cursor() from error


def _window(row: Any) -> shapes.Window:
    return shapes.Window(
        minute=row["minute"],
        people_in=row["n_in"],
        people_out=row["n_out"],
        readings=row["readings"],
        revision=row["revision"],
        final=row["final"],
    )
