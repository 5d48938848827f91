"""Crowd warnings: the episode state machine, and what it says written down and told once.

A zone is normal until enough observations in a row reach a level; it leaves a level after enough in a row
stay below that level less the hysteresis. Everything in between keeps the level, so that a crowd that
hovers at a limit does not make the warning flap.

Observations come in event-time order. A manual count is one; so is each one-minute flow window, once all
the zone's sensors that are not silent have reported it, or one of them a later one. What only some of them
have said of a minute counts for a level that is to be raised at once: in a surge nobody waits for the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal
from uuid import UUID

from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Row, Transaction
from services.kit.ids import uuid7
from services.kit.policy import Resource
from services.kit.principals import Principal
from services.kit.problems import not_found
from transport import shapes
from transport.repository import flows as flow_rows
from transport.repository import warnings as repository
from transport.texts import warning_text


class Level(IntEnum):
    """How full a zone is, in the words of the field (LB/T 034-2014 practice: 80, 90, 100 %)."""

    NORMAL = 0
    YELLOW = 1
    ORANGE = 2
    RED = 3

    @property
    def word(self) -> shapes.LevelName:
        words: tuple[shapes.LevelName, ...] = ("normal", "yellow", "orange", "red")
        return words[self]


_RAISED = (Level.YELLOW, Level.ORANGE, Level.RED)
Kind = Literal["raised", "changed", "ended"]
Cause = Literal["flow", "count"]
Named = Callable[[str], bool]
"""Whether the caller may see who took a warning of an area in hand."""
Three = tuple[int, int, int]
"""One number for each of YELLOW, ORANGE, RED."""

NONE_YET: Three = (0, 0, 0)
COUNTER_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Rule:
    """A capacity policy as the state machine needs it: whole people, and observations in a row.

    Attributes:
        raise_at: people from which an observation counts towards the level.
        keep_at: people below which an observation counts towards leaving it.
        dwell_up: observations in a row needed to reach each level.
    """

    policy: UUID
    capacity: int
    raise_at: Three
    keep_at: Three
    dwell_up: Three
    dwell_down: int


@dataclass(frozen=True, slots=True)
class State:
    """Where a zone's episode stands, and how many observations in a row lie above or below each level."""

    level: Level = Level.NORMAL
    above: Three = NONE_YET
    below: Three = NONE_YET
    episode: int = 0
    revision: int = 0
    policy: UUID | None = None
    at: datetime | None = None
    """Event time of the last counted observation; an older one no longer counts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step of an episode. `revision` numbers the steps of the episode from 1."""

    kind: Kind
    level: Level
    previous: Level
    episode: int
    revision: int
    people: int
    rule: Rule
    at: datetime


def step(rule: Rule, state: State, people: int, at: datetime) -> tuple[State, Change | None]:
    """Counts one observation; one that is not later than the last counted is left out."""
    if state.at is not None and at <= state.at:
        return state, None
    state = replace(_counted(rule, state, people), at=at)
    return _moved(rule, state, _level_up(rule, state) or _level_down(rule, state), people, at)


def peek(rule: Rule, state: State, people: int, at: datetime) -> tuple[State, Change | None]:
    """Looks at a window that is still open: a level that needs one observation rises; nothing is counted."""
    if state.at is not None and at < state.at:
        return state, None
    level = max(
        (level for level in _RAISED if rule.dwell_up[level - 1] == 1 and people >= rule.raise_at[level - 1]),
        default=Level.NORMAL,
    )
    if level <= state.level:
        return state, None
    if state.policy != rule.policy:
        state = replace(state, policy=rule.policy, above=NONE_YET, below=NONE_YET)
    # The way down starts afresh; otherwise a long calm before the surge would end the warning at once.
    state = replace(state, below=_three(0 if i < level else n for i, n in enumerate(state.below)))
    return _moved(rule, state, level, people, at)


def _counted(rule: Rule, state: State, people: int) -> State:
    same = state.policy == rule.policy
    above = state.above if same else NONE_YET
    below = state.below if same else NONE_YET
    return replace(
        state,
        policy=rule.policy,
        above=_three(_more(n, people >= at) for n, at in zip(above, rule.raise_at, strict=True)),
        below=_three(_more(n, people < at) for n, at in zip(below, rule.keep_at, strict=True)),
    )


def _three(numbers: Iterable[int]) -> Three:
    yellow, orange, red = numbers
    return yellow, orange, red


def _more(count: int, goes_on: bool) -> int:
    return min(count + 1, COUNTER_MAX) if goes_on else 0


def _level_up(rule: Rule, state: State) -> Level | None:
    for level in reversed(_RAISED):
        if level > state.level and state.above[level - 1] >= rule.dwell_up[level - 1]:
            return level
    return None


def _level_down(rule: Rule, state: State) -> Level | None:
    if state.level is Level.NORMAL or state.below[state.level - 1] < rule.dwell_down:
        return None
    for number in range(state.level - 1, 0, -1):
        if state.below[number - 1] < rule.dwell_down:
            return Level(number)
    return Level.NORMAL


def _moved(
    rule: Rule, state: State, level: Level | None, people: int, at: datetime
) -> tuple[State, Change | None]:
    if level is None:
        return state, None
    begins = state.level is Level.NORMAL
    kind: Kind = "raised" if begins else "ended" if level is Level.NORMAL else "changed"
    episode = state.episode + 1 if begins else state.episode
    revision = 1 if begins else state.revision + 1
    change = Change(kind, level, state.level, episode, revision, people, rule, at)
    return replace(state, level=level, episode=episode, revision=revision), change


async def record(tx: Transaction, zone: Row, change: Change, cause: Cause) -> None:
    """Writes a step of the zone's episode and tells it, in the commit of what caused it.

    The caller holds the zone's state row, so steps of one zone are recorded and published in their order.
    """
    left = await repository.leave_level(tx, zone["zone"], _left_as(change), change.at)
    if change.kind == "ended":
        assert left is not None, "an episode that ends has an active warning"
        warning = left
        await repository.end_episode(tx, zone["zone"], change.episode, change.at)
    else:
        warning = await repository.enter_level(
            tx,
            id=uuid7(),
            zone=zone["zone"],
            policy=change.rule.policy,
            episode=change.episode,
            level=change.level,
            cause=cause,
            people=change.people,
            capacity=change.rule.capacity,
            at=change.at,
        )
    event = await tx.publish(
        f"transport.warning.{change.kind}",
        aggregate=f"zone/{zone['zone']}",
        area=zone["area"],
        data=_told(zone, warning, change, cause),
    )
    await repository.insert_change(
        tx,
        zone=zone["zone"],
        episode=change.episode,
        revision=change.revision,
        kind=change.kind,
        level=change.level,
        previous=change.previous,
        people=change.people,
        capacity=change.rule.capacity,
        at=change.at,
        warning=warning,
        event=event,
    )


def _left_as(change: Change) -> str:
    if change.kind == "ended":
        return "ended"
    return "superseded" if change.level > change.previous else "lowered"


def _told(zone: Row, warning: UUID, change: Change, cause: Cause) -> dict[str, Any]:
    return {
        "warning": str(warning),
        "zone": zone["zone"],
        "zone_name": {"zh": zone["name_zh"], "en": zone["name_en"]},
        "site": zone["site"],
        "policy": str(change.rule.policy),
        "episode": change.episode,
        "revision": change.revision,
        "level": change.level.word,
        "previous": change.previous.word,
        "people": change.people,
        "capacity": change.rule.capacity,
        "share": round(change.people / change.rule.capacity, 4),
        "at": change.at.isoformat(),
        "cause": cause,
        "text": warning_text(
            change.kind,
            zone_zh=zone["name_zh"],
            zone_en=zone["name_en"],
            level=change.level.word,
            previous=change.previous.word,
            people=change.people,
            capacity=change.rule.capacity,
        ),
    }


async def acknowledge(kit: Kit, tx: Transaction, *, id: UUID, who: Principal, note: str | None) -> Row:
    """Notes who has taken the warning in hand. The first acknowledgement stands; later ones change nothing.

    Raises:
        Problem: 404 for no such warning, 403 for one outside the caller's areas.
    """
    found = await repository.warnings_by_id(tx, [id])
    if not found:
        raise not_found(f"there is no warning {id}")
    warning = found[0]
    kit.permitted(
        who, "warning.acknowledge", Resource("Transport::Warning", id=f"warnings/{id}", area=warning["area"])
    )
    # The zone's row first, as every writer does: its events then carry the order of their commits.
    await flow_rows.lock_zones(tx, [warning["zone"]])
    first = await repository.acknowledge(tx, id, by=who.subject, organisation=who.organisation, note=note)
    [warning] = await repository.warnings_by_id(tx, [id])
    if first:
        await tx.publish(
            "transport.warning.acknowledged",
            aggregate=f"zone/{warning['zone']}",
            area=warning["area"],
            data=_told_acknowledged(warning),
        )
    return warning


def _told_acknowledged(warning: Row) -> dict[str, Any]:
    """Goes to every subscriber, so it says for which organisation, not who or with what words."""
    level = Level(warning["level"]).word
    return {
        "warning": str(warning["id"]),
        "zone": warning["zone"],
        "zone_name": {"zh": warning["name_zh"], "en": warning["name_en"]},
        "site": warning["site"],
        "policy": str(warning["policy"]),
        "episode": warning["episode"],
        "revision": None,
        "level": level,
        "previous": level,
        "people": warning["people"],
        "capacity": warning["capacity"],
        "share": round(warning["people"] / warning["capacity"], 4),
        "at": warning["acknowledged_at"].isoformat(),
        "cause": warning["cause"],
        "organisation": warning["acknowledged_for"],
        "text": warning_text(
            "acknowledged",
            zone_zh=warning["name_zh"],
            zone_en=warning["name_en"],
            level=level,
            previous=level,
            people=warning["people"],
            capacity=warning["capacity"],
        ),
    }


async def warnings_by_id(db: Connection, *, ids: Sequence[UUID], named: Named) -> list[shapes.CrowdWarning]:
    """Those that exist."""
    return [shape(row, named) for row in await repository.warnings_by_id(db, ids)]


async def warnings_in(
    db: Connection,
    *,
    area: str | None,
    zones: Sequence[str],
    open_only: bool,
    first: int,
    after: str | None,
    named: Named,
) -> shapes.Page[shapes.CrowdWarning]:
    """A page of warnings, newest first."""
    rows = await repository.warnings_in(
        db,
        area=area_prefix(area),
        zones=zones or None,
        open_only=open_only,
        before=_place(after),
        limit=first + 1,
    )
    return _page(rows, first, named)


def _page(rows: Sequence[Row], first: int, named: Named) -> shapes.Page[shapes.CrowdWarning]:
    last = rows[first - 1] if len(rows) > first else None
    following = None if last is None else encode_cursor(last["raised_at"].isoformat(), last["id"])
    return shapes.Page(items=[shape(row, named) for row in rows[:first]], next=following)


def _place(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    at, id = decode_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(at), UUID(id)
    except ValueError as error:
        raise bad_cursor() from error


async def newest_of_zones(
    db: Connection, *, zones: Sequence[str], each: int, named: Named
) -> dict[str, shapes.Page[shapes.CrowdWarning]]:
    """The first page of several zones' warnings at once, by zone."""
    found: dict[str, list[Row]] = {zone: [] for zone in zones}
    for row in await repository.warnings_of_zones(db, list(found), each + 1):
        found[row["zone"]].append(row)
    return {zone: _page(rows, each, named) for zone, rows in found.items()}


async def steps_of(
    db: Connection, *, zone: str, episode: int | None, first: int, after: str | None
) -> shapes.Page[shapes.EpisodeStep]:
    """A page of the steps of a zone's episodes, oldest first."""
    start = (0, 0)
    if after is not None:
        try:
            number, revision = (int(part) for part in decode_cursor(after, 2))
        except ValueError as error:
            raise bad_cursor() from error
        start = (number, revision)
    rows = await repository.changes_of(db, zone, episode=episode, after=start, limit=first + 1)
    last = rows[first - 1] if len(rows) > first else None
    following = None if last is None else encode_cursor(last["episode"], last["revision"])
    return shapes.Page(items=[_step_shape(row) for row in rows[:first]], next=following)


def _step_shape(row: Row) -> shapes.EpisodeStep:
    return shapes.EpisodeStep(
        episode=row["episode"],
        revision=row["revision"],
        kind=row["kind"],
        level=Level(row["level"]).word,
        previous=Level(row["previous"]).word,
        people=row["people"],
        capacity=row["capacity"],
        at=row["at"],
        warning=row["warning"],
    )


def shape(row: Row, named: Named) -> shapes.CrowdWarning:
    """A warning as the caller may see it: who took it in hand is for those who could have."""
    level = Level(row["level"]).word
    return shapes.CrowdWarning(
        id=row["id"],
        zone=row["zone"],
        zone_name=shapes.Name.model_construct(zh=row["name_zh"], en=row["name_en"]),
        area=row["area"],
        policy=row["policy"],
        episode=row["episode"],
        level=level,
        state=row["state"],
        cause=row["cause"],
        people=row["people"],
        capacity=row["capacity"],
        share=round(row["people"] / row["capacity"], 4),
        raised_at=row["raised_at"],
        changed_at=row["changed_at"],
        ended_at=row["ended_at"],
        recorded_at=row["recorded_at"],
        acknowledgement=None if row["acknowledged_at"] is None else _acknowledgement(row, named),
        text=shapes.Name.model_construct(
            **warning_text(
                "raised",
                zone_zh=row["name_zh"],
                zone_en=row["name_en"],
                level=level,
                previous="normal",
                people=row["people"],
                capacity=row["capacity"],
            )
        ),
    )


def _acknowledgement(row: Row, named: Named) -> shapes.Acknowledgement:
    staff = named(row["area"])
    return shapes.Acknowledgement(
        at=row["acknowledged_at"],
        organisation=row["acknowledged_for"],
        by=row["acknowledged_by"] if staff else None,
        note=row["note"] if staff else None,
    )
