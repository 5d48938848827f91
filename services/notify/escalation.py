"""Escalation: a fact that has to be acknowledged climbs through those on duty until somebody does.

Taking an event in only says where its fact stands; whoever looks at the due-table tells people, the first
tier too. A step, whom it tells and when the next one is due are one commit: killed in between, a process
leaves the step to whoever looks next. The database's clock is the only one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.kit import telemetry
from services.kit.app import Kit
from services.kit.areas import area_prefix
from services.kit.cursors import bad_cursor, decode_cursor, encode_cursor
from services.kit.database import Connection, Transaction
from services.kit.events import Event
from services.kit.principals import Principal
from services.kit.waking import wait, wake, woken
from services.notify import deliveries, messages, notifications, templates
from services.notify.duty_shapes import Climbing, ListOf, Words
from services.notify.ladders import Climb, Rule, advance, rule_of
from services.notify.notifications import Told
from services.notify.repository import escalations as repository
from services.notify.repository import rosters
from services.notify.repository.messages import NewMessage
from services.notify.repository.notifications import now

DUE = "notify escalation"
BATCH = 500
LOOK_EVERY_S = 1.0


@dataclass
class _Following:
    """Where the facts of some things stand while their events are gone through in order."""

    at: datetime
    current: dict[str, Climb]
    changed: dict[str, Climb] = field(default_factory=dict)
    news: list[tuple[Event, str, str]] = field(default_factory=list)
    """Event, whose fact it belongs to, and the fact whose people hear of it."""
    stopped: set[str] = field(default_factory=set)

    def take(self, event: Event, rule: Rule) -> None:
        fact = rule.fact_of(event.aggregate, event.data)
        standing = self.current.get(event.aggregate)
        match event.type.rpartition(".")[2]:
            case "raised" | "changed":
                self._begin(event, rule, fact, standing)
            case "acknowledged" if standing and standing.fact == fact and not standing.stopped:
                standing.stop(acknowledged_at=self.at)
                self._stop(event, standing)
            case "ended" if standing:
                standing.stop(over_at=self.at)
                self._stop(event, standing)
                del self.current[event.aggregate]

    def _begin(self, event: Event, rule: Rule, fact: str, before: Climb | None) -> None:
        """Another level is another fact."""
        if before is not None and before.fact == fact:
            return
        new = Climb(
            fact=fact,
            thing=event.aggregate,
            event=event.form(),
            area=event.area,
            site=event.data.get("site"),
            level=rule.level_of(event.data.get("level")),
            since=self.at,
            step=0,
            told=0,
            planned_at=self.at,
            next_at=self.at,
        )
        if before is not None:
            _carry_on(new, before)
            before.stop(over_at=self.at)
            self.changed[before.fact] = before
            self.stopped.add(before.fact)
            if new.step:
                self.news.append((event, fact, before.fact))
        self.changed[fact] = self.current[new.thing] = new

    def _stop(self, event: Event, standing: Climb) -> None:
        self.changed[standing.fact] = standing
        self.stopped.add(standing.fact)
        self.news.append((event, standing.fact, standing.fact))


def _carry_on(new: Climb, before: Climb) -> None:
    """Before somebody has acknowledged, time goes on for a level that takes another's place. What only gets
    better stays in hand, or waits for the step that is next, and is news for those told already."""
    if before.acknowledged_at is None:
        new.since = before.since
    if new.level <= before.level and before.step > 0:
        new.acknowledged_at = before.acknowledged_at
        new.step, new.told = before.step, before.told
        new.planned_at, new.next_at = before.planned_at, before.next_at
        new.unattended_at = before.unattended_at


async def follow(tx: Transaction, events: Sequence[Event], at: datetime) -> None:
    """Notes where the facts of the events stand, and tells those who know of them what became of them."""
    climbing = [(event, rule) for event in events if (rule := rule_of(event.type)) is not None]
    if not climbing:
        return
    standing = await repository.open_of(tx, sorted({event.aggregate for event, _ in climbing}))
    state = _Following(at, {climb.thing: climb for climb in standing})
    for event, rule in climbing:
        state.take(event, rule)
    if not state.changed:
        return
    await repository.put(tx, list(state.changed.values()))
    known = {climb.fact for climb in standing if climb.told}
    await deliveries.stop(tx, sorted(state.stopped), at)  # also where only systems were told
    who = await notifications.told_of(tx, sorted(known & {heard for _, _, heard in state.news}))
    news = [
        Told(recipient, event.form(), fact, urgent=False)
        for event, fact, heard in state.news
        for recipient in sorted(who.get(heard, ()))
    ]
    await notifications.tell(tx, news, at)
    tx.after_commit(lambda: wake(DUE))


async def climb(tx: Transaction, at: datetime, *, pace: float) -> int:
    """Takes the steps that are due at this time; how many facts that were."""
    await repository.turned_back(tx, at)
    due = await repository.due(tx, at, BATCH)
    if not due:
        return 0
    known = await notifications.told_of(tx, [one.fact for one in due])
    reach = await _reach(tx, due, at, pace)
    after: list[Climb] = []
    told: list[Told] = []
    for one in due:
        rule = _rule(one, pace)
        moved, new = advance(one, at, rule, reach[one.fact], known[one.fact])
        after.append(moved)
        told += [
            Told(recipient, one.event, one.fact, not one.stopped and _rings(one, rule, tier), tier)
            for recipient, tier in new.items()
        ]
    await repository.put(tx, after)
    await notifications.tell(tx, told, at)
    called = [new for was, new in zip(due, after, strict=True) if _called(was, new, pace)]
    await messages.add(tx, [_call(one) for one in called])
    await deliveries.announce(
        tx, [deliveries.Announcement(messages.UNACKNOWLEDGED, None, one.fact, one.event) for one in called]
    )
    unattended = sum(one.unattended_at == at for one in after)
    if unattended:
        telemetry.facts_unattended.labels(tx.service).inc(unattended)
        telemetry.logger(tx.service).error("nobody is on duty for a fact", extra={"facts": unattended})
    return len(due)


def _rule(one: Climb, pace: float) -> Rule:
    rule = rule_of(one.event["type"], pace)
    assert rule is not None, one.event["type"]
    return rule


def _rings(one: Climb, rule: Rule, tier: int) -> bool:
    return one.level >= rule.urgent_from or tier > 1


def _called(was: Climb, new: Climb, pace: float) -> bool:
    """Whether the operators are to hear of it: the ladder ends, and it is in nobody's hands."""
    steps = len(_rule(was, pace).steps[was.level - 1])
    return was.step < steps <= new.step and not was.stopped


def _call(one: Climb) -> NewMessage:
    data = {"type": one.event["type"], **one.event["data"], "told": one.told}
    at = notifications.moment_of(one.event)
    return NewMessage(messages.UNACKNOWLEDGED, UUID(one.event["id"]), at, one.area, data)


async def _reach(
    db: Connection, due: Sequence[Climb], at: datetime, pace: float
) -> Mapping[str, list[list[str]]]:
    """Of each fact and each step of its ladder, whom the rosters name."""
    found: dict[str, list[list[str]]] = {}
    asked: list[tuple[str | None, str | None, int, int | None]] = []
    places: list[list[str]] = []
    for one in due:
        last = len(_rule(one, pace).steps[one.level - 1])
        found[one.fact] = [[] for _ in range(last)]
        places += found[one.fact]
        asked += [
            (one.area, one.site, one.level, tier if tier < last else None) for tier in range(1, last + 1)
        ]
    for row in await rosters.reachable(db, at, asked):
        places[row["place"] - 1].append(row["recipient"])
    return found


async def listed(
    db: Connection, who: Principal, *, area: str | None, open_only: bool, after: str | None, limit: int
) -> ListOf[Climbing]:
    """What climbs in the caller's areas, the newest first."""
    rows = await repository.listed(
        db,
        area=area_prefix(area),
        prefixes=who.area_prefixes,
        open_only=open_only,
        before=_place(after),
        limit=limit + 1,
    )
    shown = rows[:limit]
    following = encode_cursor(shown[-1].since.isoformat(), shown[-1].fact) if len(rows) > limit else None
    return ListOf(items=[_shape(one) for one in shown], next=following)


def _place(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    since, fact = decode_cursor(cursor, 2)
    try:
        return datetime.fromisoformat(since), fact
    except ValueError as error:
        raise bad_cursor() from error


def _shape(one: Climb) -> Climbing:
    words = {
        language: Words(title=title, body=body)
        for language, (title, body) in templates.words_of(one.event).items()
    }
    same = set(Climbing.model_fields) - {"type", "zh", "en"}
    return Climbing(type=one.event["type"], **{name: getattr(one, name) for name in same}, **words)


async def climbing(kit: Kit) -> None:
    """Takes steps when they are due, for as long as the service runs; any number of processes may."""
    with woken(DUE) as waker:
        while True:
            waker.clear()
            async with kit.db.transaction() as tx:
                moved = await climb(tx, await now(tx), pace=kit.settings.escalation_pace)
            if moved < BATCH:
                await wait(waker, LOOK_EVERY_S)
