"""Flow windows, occupancy and anchors: how readings and counts become the number of people in a zone.

`inside = anchor + Σ(in - out)` of the readings that ended after the anchor. In minus out alone drifts without
end, so any count by a person, a camera or the tickets is an anchor from which it starts again. The sum may
fall below zero; people are then shown as zero and the debt is kept, or those who left would be counted again.

Readings commute, so their order does not matter to the sums. It does to the warnings: see `advance`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.kit.database import Row, Transaction
from services.kit.problems import Fault, conflict
from transport import warnings
from transport.capacity import rule_of
from transport.repository import flows as repository
from transport.repository import zones as zone_rows
from transport.warnings import Cause, Change, Level, Rule, State

LATENESS = timedelta(minutes=5)
"""After this a window is final. Later readings still count, as a revision."""
SILENT_PERIODS = 3
"""A sensor that misses so many of its periods is silent: its zones' figures are not to be trusted, and nobody
waits for it."""
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """A checked reading; `line` says where it stood in what was sent, from 1."""

    sensor: str
    seq: int | None
    starts: datetime
    ends: datetime
    n_in: int
    n_out: int
    line: int

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.sensor, self.starts, self.ends) if self.seq is None else (self.sensor, self.seq)

    @property
    def content(self) -> tuple[Any, ...]:
        return (self.starts, self.ends, self.n_in, self.n_out)


@dataclass(frozen=True, slots=True)
class Movement:
    """What a batch moved in one zone and minute: `net` since the zone's anchor, `latest_at` the last end."""

    minute: datetime
    net: int
    latest_at: datetime


@dataclass(slots=True)
class Zone:
    """A zone under its lock: occupancy, episode, and what this transaction has to tell about it."""

    row: Row
    policies: Sequence[tuple[datetime, Rule]]
    anchor_at: datetime | None
    anchor_people: int
    net: int
    latest_at: datetime | None
    open_minute: datetime | None
    state: State
    changes: list[tuple[Change, Cause]] = field(default_factory=list)

    @property
    def people(self) -> int:
        return max(0, self.anchor_people + self.net)

    def observe(self, at: datetime, cause: Cause, *, still_open: bool = False) -> None:
        """One look at the zone as it stands, at an event time."""
        rule = self._rule_at(at)
        if rule is None:
            return
        look = warnings.peek if still_open else warnings.step
        self.state, change = look(rule, self.state, self.people, at)
        if change is not None:
            self.changes.append((change, cause))

    def _rule_at(self, at: datetime) -> Rule | None:
        for begins, rule in reversed(self.policies):
            if begins <= at:
                return rule
        return None

    def columns(self) -> tuple[Any, ...]:
        s = self.state
        return (
            self.row["zone"],
            self.anchor_at,
            self.anchor_people,
            self.net,
            self.latest_at,
            self.open_minute,
            s.policy,
            int(s.level),
            list(s.above),
            list(s.below),
            s.episode,
            s.revision,
            s.at,
        )


def advance(zone: Zone, movements: Iterable[Movement], *, complete_until: datetime | None) -> None:
    """Puts a batch's movements into the zone in event-time order and looks at it after each minute.

    A movement in an earlier minute than the one that is open corrects the occupancy from now on; the past is
    not judged again, so late readings cannot make a warning flap.

    Args:
        complete_until: up to when every sensor that is not silent has reported.
    """
    ordered = sorted(movements, key=lambda m: m.minute)
    late = [m for m in ordered if zone.open_minute is not None and m.minute < zone.open_minute]
    zone.net += sum(m.net for m in late)
    for movement in ordered[len(late) :]:
        if zone.open_minute is not None and movement.minute > zone.open_minute:
            zone.observe(zone.open_minute + MINUTE, "flow")
        zone.net += movement.net
        zone.open_minute = movement.minute
        zone.latest_at = max(zone.latest_at or movement.latest_at, movement.latest_at)
    if zone.open_minute is None or zone.latest_at is None:
        return
    if complete_until is not None and zone.open_minute + MINUTE <= complete_until:
        zone.observe(zone.open_minute + MINUTE, "flow")
    zone.observe(zone.latest_at, "flow", still_open=True)


async def lock(tx: Transaction, zones: Iterable[str]) -> dict[str, Zone]:
    """The zones' states, locked in one order everywhere, with the policies that may apply."""
    rows = await repository.lock_zones(tx, list(zones))
    policies: dict[str, list[tuple[datetime, Rule]]] = defaultdict(list)
    for found in await zone_rows.policies_of(tx, [row["zone"] for row in rows]):
        policies[found["zone"]].append(
            (found["valid_from"], rule_of(found["id"], found["capacity"], found["content"]))
        )
    return {row["zone"]: _zone(row, policies[row["zone"]]) for row in rows}


def _zone(row: Row, policies: Sequence[tuple[datetime, Rule]]) -> Zone:
    return Zone(
        row=row,
        policies=policies,
        anchor_at=row["anchor_at"],
        anchor_people=row["anchor_people"],
        net=row["net"],
        latest_at=row["latest_at"],
        open_minute=row["open_minute"],
        state=State(
            level=Level(row["level"]),
            above=tuple(row["above"]),
            below=tuple(row["below"]),
            episode=row["episode"],
            revision=row["revision"],
            policy=row["policy"],
            at=row["observed_at"],
        ),
    )


async def save(tx: Transaction, zones: Iterable[Zone]) -> None:
    zones = list(zones)
    await repository.save_zones(tx, [zone.columns() for zone in zones])
    for zone in zones:
        for change, cause in zone.changes:
            await warnings.record(tx, zone.row, change, cause)


async def apply_readings(
    tx: Transaction, readings: Sequence[Reading], edges: dict[str, tuple[str | None, str | None]]
) -> int:
    """Commits readings with the caller's transaction; each key counts once, ever.

    Args:
        edges: (zone_from, zone_to) of every sensor among the readings.

    Returns:
        How many were new; the others were known already with the same content.

    Raises:
        SequenceReused: a key is known with other content.
    """
    zones = await lock(tx, {zone for edge in edges.values() for zone in edge if zone is not None})
    columns = _columns(readings, edges)
    rows = await repository.take_readings(tx, columns, LATENESS)
    taken: int = rows[0]["taken"] if rows else 0
    if taken < len(readings):
        other = await repository.other_content(tx, columns)
        if other:
            raise SequenceReused([readings[i] for i in other])
    movements: dict[str, list[Movement]] = defaultdict(list)
    for row in rows:
        movements[row["zone"]].append(Movement(row["minute"], row["net"], row["latest_at"]))
    complete = await repository.complete_until(tx, list(movements), SILENT_PERIODS) if movements else {}
    for id, moved in movements.items():
        advance(zones[id], moved, complete_until=complete.get(id))
    await save(tx, [zones[id] for id in movements])
    return taken


def _columns(
    readings: Sequence[Reading], edges: dict[str, tuple[str | None, str | None]]
) -> tuple[list[Any], ...]:
    return (
        [r.sensor for r in readings],
        [r.seq for r in readings],
        [r.starts for r in readings],
        [r.ends for r in readings],
        [r.n_in for r in readings],
        [r.n_out for r in readings],
        [edges[r.sensor][0] for r in readings],
        [edges[r.sensor][1] for r in readings],
    )


class SequenceReused(Exception):
    """Readings whose key was used before for something else: a counter that began its numbers anew, perhaps.

    Dropping them as duplicates would lose people without anybody noticing.
    """

    def __init__(self, readings: Sequence[Reading]) -> None:
        super().__init__(f"{len(readings)} readings have a key that was used before")
        self.readings = readings


@dataclass(frozen=True, slots=True)
class Counted:
    accepted: int
    duplicates: int
    people: int | None


async def apply_counts(
    tx: Transaction, *, zone: str, counts: Sequence[tuple[datetime, int]], by: str
) -> Counted:
    """Makes counts the zone's anchors; each is an observation.

    A count may be of any age: paper lists are typed in later, and whole histories are loaded. One older than
    the zone's anchor is kept for the record and changes neither the occupancy nor a warning.

    Raises:
        Problem: 409 when another number was counted at the same time.
    """
    state = (await lock(tx, [zone]))[zone]
    ordered = _distinct(zone, counts)
    new = await repository.insert_anchors(tx, zone, ordered, source="manual", by=by)
    await _check_known(tx, zone, [count for count in ordered if count[0] not in new])
    applied = [c for c in ordered if c[0] in new and (state.anchor_at is None or c[0] > state.anchor_at)]
    for at, people in applied:
        state.anchor_at, state.anchor_people, state.net = at, people, 0
        state.observe(at, "count")
    if applied:
        await _go_on_from_anchor(tx, state)
        await save(tx, [state])
    known = state.anchor_at is not None or state.latest_at is not None
    return Counted(len(new), len(counts) - len(new), state.people if known else None)


async def _go_on_from_anchor(tx: Transaction, zone: Zone) -> None:
    if zone.latest_at is None or zone.anchor_at is None or zone.latest_at <= zone.anchor_at:
        return
    zone.net = await repository.moved_since(tx, zone.row["zone"], zone.anchor_at)
    zone.observe(zone.latest_at, "flow", still_open=True)


def _distinct(zone: str, counts: Sequence[tuple[datetime, int]]) -> list[tuple[datetime, int]]:
    seen: dict[datetime, int] = {}
    for position, (at, people) in enumerate(counts):
        if seen.setdefault(at, people) != people:
            raise _other_count(zone, at, seen[at], people, position)
    return sorted(seen.items())


async def _check_known(tx: Transaction, zone: str, counts: Sequence[tuple[datetime, int]]) -> None:
    known = await repository.anchors_at(tx, zone, [at for at, _ in counts]) if counts else {}
    for position, (at, people) in enumerate(counts):
        if known[at] != people:
            raise _other_count(zone, at, known[at], people, position)


def _other_count(zone: str, at: datetime, known: int, people: int, position: int) -> Exception:
    message = f"{known} people were counted in {zone} at {at.isoformat()}; to correct it, send a later count"
    return conflict(
        "count_conflict",
        message,
        Fault(message, path=f"$[{position}].count", field="count", value=str(people)),
    )
